"""All-to-all projections as contiguous loops, for anybody's Brian2 script.

    from rnla_neuro import DenseSynapses

    S = DenseSynapses(source, target, '''
        w : 1
        I_post = w*r_pre : 1 (summed)
        feedback_pre = w*ebar_post : 1 (summed)
        dE/dt = (-E + (u_post - drive_post)*rbar_pre)/tau : 1 (clock-driven)
        ''', on_event={"reward_agent > 0": "w += eta*E"}, agents=modulators, method="euler")
    S.w = "randn()*0.1"

in place of ``S = Synapses(…); S.connect()``. Sums and the integration become one pass over the synapses where
nothing stands between them: give them neighbouring places, for example ``order=-1`` to the projection (its
integration) as the sums have by default, or ``S.summed_updaters["feedback_pre"].order = …``.
"""

from rnla_neuro_backends.dense.synapses import DenseSynapses

__all__ = ["DenseSynapses"]
