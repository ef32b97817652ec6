"""A Brian2 script in closed loop with an environment: one plain run in which the network decides and learns."""

import brian2 as b2
import numpy as np
from brian2 import ms

from rnla_neuro import load_model, to_brian2
from rnla_neuro.bridge import EnvironmentBridge

TRIALS = 300

b2.prefs.codegen.target = "numpy"
b2.defaultclock.dt = 1 * ms
# Inputs and noise are held for a trial, so 6 ms are enough; the trace forgets from trial to trial.
model = load_model("rate_nla", {"T": "6*ms", "tau_elig": "1.5*ms", "sigma": "1.0", "eta": "0.2"})
T = model.trial.duration
net = to_brian2(model, sizes=(2, 12, 2), seed=5)
monitor = b2.StateMonitor(net.layers[-1], "u", record=True)
net.network.add(monitor)

# Any Gymnasium environment, or a task by its name. Rewards may be late: delay="gamma:2,3ms".
with EnvironmentBridge("xor", seeds=(5,), trial_duration=T, decision_time=model.trial.decision) as bridge:
    loop = net.close_loop(bridge)
    net.run(TRIALS * T * b2.second)
    loop.finish()  # the last decision, and rewards that are still under way

first, last = np.mean(loop.rewards[:100]), np.mean(loop.rewards[-100:])
print(f"{len(loop.actions)} decisions, {loop.delivered} rewards delivered")
print(f"reward in the first 100 trials {first:.2f}, in the last 100 trials {last:.2f}")
print(f"voltages of the action layer, from {monitor.u.min():.2f} to {monitor.u.max():.2f}")
assert len(loop.actions) == loop.delivered == TRIALS
assert last > 0.8 > first
