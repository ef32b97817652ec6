"""A three-factor rule on handwritten digits, in plain Brian2 with DenseSynapses in place of Synapses.

64 rates send to 10 neurons whose softmax is the guess. At each synapse error times presynaptic rate fills an
eligibility trace; when an image ends, an event writes the trace into the weights. The traces are formed only then.

Run it as it is (numpy, nothing to compile), or as one C++ program: ``python examples/dense_synapses.py cpp``.
"""

import sys

import brian2 as b2
import numpy as np
from brian2 import NeuronGroup, StateMonitor, TimedArray, ms
from sklearn.datasets import load_digits

from rnla_neuro import DenseSynapses, GroupReduction

IMAGES, HOLD = 1000, 8 * ms

if "cpp" in sys.argv:
    b2.set_device("cpp_standalone", directory=None)  # in a folder that goes away at the end
else:
    b2.prefs.codegen.target = "numpy"
b2.defaultclock.dt = 1 * ms

digits = load_digits()
order = np.random.default_rng(1).integers(len(digits.data), size=IMAGES)
pixels = TimedArray(digits.data[order] / 16, dt=HOLD)
labels = TimedArray(digits.target[order], dt=HOLD)
tau, tau_E, eta = 3 * ms, 5 * ms, 0.3

retina = NeuronGroup(64, "rate = pixels(t, i) : 1")
guess = NeuronGroup(
    10,
    """
    du/dt = (I - u)/tau : 1
    I : 1
    p : 1
    error = int(i == labels(t)) - p : 1
    """,
    method="euler",
)
GroupReduction(guess, "p", "u")  # p = softmax(u), the maximum subtracted
teacher = NeuronGroup(1, "ends = int(timestep(t + dt, dt) % timestep(HOLD, dt) == 0) : 1")

synapses = DenseSynapses(
    retina,
    guess,
    """
    w : 1
    I_post = w*rate_pre : 1 (summed)
    dE/dt = (-E + error_post*rate_pre)/tau_E : 1 (clock-driven)
    """,
    on_event={"ends_agent > 0": "w += eta*E"},
    agents=teacher,
    method="euler",
    traces="at_events",
)
synapses.w = "randn()*0.01"
answers = StateMonitor(guess, "p", record=True, dt=HOLD)  # at the beginning of each image: the one before it

b2.run(IMAGES * HOLD)

for what, reason in synapses.recognised:
    print(f"{what}: {reason}")
right = np.argmax(answers.p, axis=0)[1:] == digits.target[order][:-1]
print(f"right: {right[:100].mean():.2f} of the first 100 images, {right[-300:].mean():.2f} of the last 300")
assert right[-300:].mean() > 0.85 > right[:100].mean()
