"""R-NLA in plain Brian2: the groups of a model file, a monitor of ours, and XOR learned from reward alone."""

import brian2 as b2
import numpy as np
from brian2 import ms

from rnla_neuro import load_model, to_brian2

TRIALS = 400  # enough for most seeds; a few sit at three of four patterns for longer

b2.prefs.codegen.target = "numpy"
b2.defaultclock.dt = 1 * ms
# Inputs and noise are held for a trial, so 6 ms are enough; the trace forgets from trial to trial.
model = load_model("rate_nla", {"T": "6*ms", "tau_elig": "1.5*ms", "sigma": "1.0", "eta": "0.2"})
net = to_brian2(model, sizes=(2, 12, 2), seed=3)
monitor = b2.StateMonitor(net.layers[-1], "u", record=True)
rng, rewards, state = np.random.default_rng(1), [], {"right": None}


@b2.network_operation(dt=model.trial.duration * b2.second)
def environment():
    """Reward the decision of the trial that ends here, then show the next pattern."""
    if state["right"] is not None:
        rewards.append(float(net.decide() == state["right"]))
        net.deliver(rewards[-1])
    bits = rng.integers(0, 2, size=2)
    state["right"] = bits[0] ^ bits[1]
    net.present(2.0 * bits - 1.0)
    net.explore()


net.open_gate()
net.network.add(monitor, environment)
net.run(TRIALS * model.trial.duration * b2.second)

first, last = np.mean(rewards[:100]), np.mean(rewards[-100:])
print(f"reward in the first 100 trials {first:.2f}, in the last 100 trials {last:.2f}")
print(f"voltages of the action layer, from {monitor.u.min():.2f} to {monitor.u.max():.2f}")
assert last > 0.8 > first
