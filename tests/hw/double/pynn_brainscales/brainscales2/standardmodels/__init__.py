"""Cell and synapse types."""

from . import cells, synapses

__all__ = ["cells", "synapses"]
