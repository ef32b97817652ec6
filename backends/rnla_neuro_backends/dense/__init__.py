"""All-to-all projections as contiguous loops, for anybody's Brian2 script.

    from rnla_neuro import DenseSynapses

    S = DenseSynapses(source, target, '''
        w : 1
        I_post = w*r_pre : 1 (summed)
        feedback_pre = w*ebar_post : 1 (summed)
        dE/dt = (-E + (u_post - drive_post)*rbar_pre)/tau : 1 (clock-driven)
        ''', on_event={"reward_agent > 0": "w += eta*E"}, agents=modulators, method="euler")
    S.w = "randn()*0.1"

in place of ``S = Synapses(…); S.connect()``. ``_agent`` names are those of a group with one neuron an agent (one neuron
in all without ``n_agents``). Sums and the integration become one pass over the synapses where nothing stands between
them: give them neighbouring places, for example ``order=-1`` to the projection (its integration), as the sums
have by default, or ``S.summed_updaters["feedback_pre"].order = …``. With ``traces="at_events"`` E is formed only when
an event, a monitor or the user reads it; ``S.recognised`` says of which traces that is true. Softmax, sum, mean and
maximum over a group (or over each agent in it): ``GroupReduction(action, "p", "g*u")``, which sets the parameter p.
"""

from rnla_neuro_backends.dense.reduction import GroupReduction
from rnla_neuro_backends.dense.synapses import DenseSynapses

__all__ = ["DenseSynapses", "GroupReduction"]
