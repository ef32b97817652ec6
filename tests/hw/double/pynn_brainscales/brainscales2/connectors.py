"""PyNN's connectors with `location_selector`; those that the real package does not support raise."""

from __future__ import annotations

import pyNN.connectors as pynn


def _located(base, *, supported=True):
    """Make a connector that takes the two location arguments of this simulator."""

    class Located(base):
        def __init__(self, *args, location_selector=None, source_location_selector=None, **kwargs):
            super().__init__(*args, **kwargs)
            self.location_selector = location_selector
            self.source_location_selector = source_location_selector

        def connect(self, projection):
            if not supported:
                raise NotImplementedError(f"[J3] {base.__name__} is not supported")
            super().connect(projection)

    Located.__name__ = Located.__qualname__ = base.__name__
    return Located


MapConnector = _located(pynn.MapConnector, supported=False)
AllToAllConnector = _located(pynn.AllToAllConnector)
OneToOneConnector = _located(pynn.OneToOneConnector)
FixedProbabilityConnector = _located(pynn.FixedProbabilityConnector)
FromListConnector = _located(pynn.FromListConnector)
FromFileConnector = _located(pynn.FromFileConnector)
ArrayConnector = _located(pynn.ArrayConnector)
CloneConnector = _located(pynn.CloneConnector)
IndexBasedProbabilityConnector = _located(pynn.IndexBasedProbabilityConnector)
DistanceDependentProbabilityConnector = _located(pynn.DistanceDependentProbabilityConnector)
DisplacementDependentProbabilityConnector = _located(pynn.DisplacementDependentProbabilityConnector)
FixedTotalNumberConnector = _located(pynn.FixedTotalNumberConnector)
FixedNumberPreConnector = _located(pynn.FixedNumberPreConnector, supported=False)
FixedNumberPostConnector = _located(pynn.FixedNumberPostConnector, supported=False)
SmallWorldConnector = _located(pynn.SmallWorldConnector, supported=False)
