"""A spiking network with late errors on stock Brian2, cpp_standalone, as a user of Brian2 writes it.

The model is `spiking_nla`: held input, integrate-and-fire neurons, errors fed back to the hidden layers, traces at
every synapse, a reward each trial. **sums**: what arrives is a sum over all synapses at every step, as the file's
strings say. **events**: spikes are delivered by ``on_pre`` into a current that decays; the baseline of the centred
transmission, which would be a second sum, is left out in its favour.
"""

from __future__ import annotations

from typing import Any

import numpy as np

STYLES = ("sums", "events")
STEPS = 100  # of a trial

NEURON = """
du/dt = (I - u)/tau_m : 1
dq/dt = r_max*(1 + tanh(I))/2 : 1
ds/dt = -s/tau_s : 1
rbar = 2*s - 1 : 1
ebar = (1 - tanh(u)**2)*feedback : 1
feedback : 1
"""
ACTION = """
du/dt = (I + noise - u)/tau_m : 1
dq/dt = r_max*p : 1
ds/dt = -s/tau_s : 1
p = 1/p_sum : 1
soft = 1/soft_sum : 1
ebar = s - soft : 1
noise : 1
p_sum : 1
soft_sum : 1
"""
ARRIVES = {"sums": "I = I_w + b : 1\nI_w : 1\nb : 1", "events": "I = cur + b : 1\ndcur/dt = -cur/tau_s : 1\nb : 1"}
TRACE = "dE/dt = (-E + gate(t)*ebar_post*rbar_pre)/tau_elig : 1 (clock-driven)\n"
HOMEOSTASIS = "dE_hom/dt = (-E_hom + gate(t)*(u_trg - u_post)*rbar_pre)/tau_elig : 1 (clock-driven)\n"


class StockSpikes:
    """Groups and synapses of a spiking network, for Brian2's active device.

    Args:
        sizes: Neurons per layer, inputs first.
        style: One of `STYLES`.
        names: Parameters in SI units; those that are times or rates as Brian2 quantities.
        trials: How many trials the input table has.
    """

    def __init__(self, sizes: tuple[int, ...], style: str, names: dict[str, Any], trials: int) -> None:
        import brian2 as b2

        self.b2, self.sizes, self.style, self.last = b2, sizes, style, len(sizes) - 1
        rng = np.random.default_rng(0)
        step, self.trial = 1e-3 * b2.second, STEPS * 1e-3 * b2.second
        table = rng.uniform(0, 1, (trials, sizes[0]))
        opened = (np.arange(STEPS * trials) % STEPS >= STEPS - round(names.pop("open"))).astype(float)
        self.names = names | {
            "stimulus": b2.TimedArray(table, dt=self.trial),
            "gate": b2.TimedArray(opened, dt=step),
            "delta": b2.TimedArray(rng.standard_normal(trials), dt=self.trial),
        }
        self.objects: list[Any] = []
        self.layers = [self._layer(l) for l in range(self.last + 1)]
        for l in range(1, self.last + 1):
            self._projection(l, rng)
        self.spikes = [b2.SpikeMonitor(layer, record=False) for layer in self.layers[1:]]
        self.network = b2.Network(*self.objects, *self.spikes)

    def _add(self, thing: Any) -> Any:
        self.objects.append(thing)
        return thing

    def _group(self, size: int, text: str, name: str, **spikes: str) -> Any:
        group = self.b2.NeuronGroup(size, text, method="euler", namespace=self.names, name=name, **spikes)
        return self._add(group)

    def _layer(self, l: int) -> Any:
        if l == 0:
            group = self._group(self.sizes[0], "rbar : 1", "layer0")
            group.run_regularly("rbar = stimulus(t, i)", dt=self.trial, when="before_start", order=-1)
            return group
        arrives = ARRIVES["sums" if l == 1 else self.style]
        spikes = {"threshold": "q >= 1", "reset": "q -= 1\ns += 1/(r_max*tau_s)"}
        group = self._group(self.sizes[l], (ACTION if l == self.last else NEURON) + arrives, f"layer{l}", **spikes)
        if l == self.last:
            group.run_regularly("noise = sigma*randn()", dt=self.trial)
            pairs = self.b2.Synapses(
                group,
                group,
                """p_sum_post = exp(g*(I_pre + noise_pre - I_post - noise_post)) : 1 (summed)
                   soft_sum_post = exp((u_pre - u_post)/(c*sigma)) : 1 (summed)""",
                namespace=self.names,
                name="pairs",
            )
            pairs.connect()
            self._add(pairs)
        return group

    def _projection(self, l: int, rng: np.random.Generator) -> None:
        events = self.style == "events" and l > 1
        text = "w : 1\n" + TRACE + (HOMEOSTASIS if l == self.last else "")
        text += "" if events else "I_w_post = w*rbar_pre : 1 (summed)\n"
        text += "feedback_pre = w*ebar_post : 1 (summed)\n" if l > 1 else ""
        synapses = self.b2.Synapses(
            self.layers[l - 1],
            self.layers[l],
            text,
            on_pre="cur_post += 2*w/(r_max*tau_s)" if events else None,
            method="euler",
            namespace=self.names,
            name=f"synapses{l}",
        )
        synapses.connect()
        n_pre, n_post = self.sizes[l - 1 : l + 1]
        synapses.w = rng.standard_normal(n_pre * n_post) / np.sqrt(n_pre) * (0.1 if l == self.last else 1.0)
        change = "w += eta*delta(t)*E" + ("\nw += eta_hom*abs(delta(t))*E_hom" if l == self.last else "")
        synapses.run_regularly(change, dt=self.trial, when="start")
        self._add(synapses)
