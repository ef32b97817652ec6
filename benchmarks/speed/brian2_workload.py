"""The workload that every row of the speed table runs: one network, its inputs, noise and rewards.

The model is `rate_nla_ou` with three lines changed, so that a step costs what PERFORMANCE counts: the trace
integrates at every step (no gate), dt is 1 ms, and the hidden rate is prospective by its own past
(``r = rbar + tau_m*(rbar - rbar_prev)/dt``). The exploration current fluctuates at every step. The input is held for
100 steps, and one reward at the end of them changes the weights.

Rows that are given whole blocks in advance (the fused kernel) and rows that are not (Brian2) read the same tables.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

BLOCK = 100  # steps between two rewards
DT = 1e-3
TAU_M = TAU_ELIG = 10e-3
BETA, G, C, SIGMA = 0.001, 50.0, 4.0, 0.25
U_TRG, R_MEAN, N_R = 0.0, 0.1, 300.0
TAU_OU, STD = 10e-3, 1.2825 * SIGMA * math.sqrt(2.0)
SYMBOLS = {"dt": DT, "tau_m": TAU_M, "tau_elig": TAU_ELIG, "beta": BETA, "g": G, "c": C, "sigma": SIGMA,
           "u_trg": U_TRG}  # fmt: skip


@dataclass(frozen=True)
class Workload:
    """A network and what happens to it, for `blocks` times 100 steps.

    Attributes:
        sizes: Neurons a layer, inputs first.
        blocks: Inputs shown one after the other, each with one reward.
        eta: Gain of a reward on hidden weights, action weights, and homeostasis; chosen for a change of the
            weights of about their own size.
    """

    sizes: tuple[int, ...]
    blocks: int
    eta: tuple[float, float, float]

    @property
    def name(self) -> str:
        """Sizes as people write them."""
        return "-".join(map(str, self.sizes))

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.blocks * BLOCK

    @property
    def synapses(self) -> int:
        """Weights, biases included."""
        return sum((pre + 1) * post for pre, post in pairwise(self.sizes))

    def gains(self, layer: int) -> tuple[float, float]:
        """What multiplies delta*E and abs(delta)*E_hom in the weights into a layer (1 is the first hidden one)."""
        hidden, action, homeostasis = self.eta
        return (action / BETA, homeostasis) if layer == len(self.sizes) - 1 else (hidden / BETA, 0.0)

    @cached_property
    def weights(self) -> list[FloatArray]:
        """Initial weights, one (n_post, n_pre + 1) a projection, bias last."""
        rng, made = np.random.default_rng(1), []
        for pre, post in pairwise(self.sizes):
            scale = 0.1 if post == self.sizes[-1] else 1.0
            drawn = rng.standard_normal((post, pre + 1)) * scale / math.sqrt(pre)
            drawn[:, -1] = 0.0
            made.append(drawn)
        return made

    @cached_property
    def inputs(self) -> FloatArray:
        """Input of each block, shape (blocks, n_in); norm about 1 a root neuron, as in images."""
        return np.random.default_rng(2).random((self.blocks, self.sizes[0]))

    @cached_property
    def noise(self) -> FloatArray:
        """Exploration current, shape (steps, n_out): an Ornstein-Uhlenbeck process."""
        fresh = np.random.default_rng(3).standard_normal((self.steps, self.sizes[-1]))
        kept = math.exp(-DT / TAU_OU)
        rows = fresh * STD * math.sqrt(1.0 - kept * kept)
        rows[0] = fresh[0] * STD
        for k in range(1, self.steps):
            rows[k] += kept * rows[k - 1]
        return rows

    @cached_property
    def rewards(self) -> FloatArray:
        """Reward at the start of each block, for the block before; the first one changes nothing."""
        rewards = (np.random.default_rng(4).random(self.blocks) < 0.5).astype(np.float64)
        rewards[0] = R_MEAN
        return rewards

    @cached_property
    def deltas(self) -> FloatArray:
        """Reward minus mean reward at the start of each block: the neuromodulator."""
        mean, found = R_MEAN, []
        for reward in self.rewards:
            found.append(reward - mean)
            mean += found[-1] / N_R
        return np.array(found)


#: The nets of the issue, as long as stock Brian2 can be waited for.
NETS = (
    Workload((64, 100, 10), 50, (0.2, 0.05, 0.003)),
    Workload((784, 500, 10), 6, (0.02, 0.01, 0.0006)),
    Workload((784, 2000, 2000, 10), 1, (0.02, 0.005, 0.0002)),
)
