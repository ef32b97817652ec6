"""The workload on stock Brian2, cpp_standalone: as usually written, and as a careful user writes it.

**usual**: the model's equations as they stand in the groups. Rates and errors are subexpressions, so Brian2 writes
``tanh(u_pre)`` into the loops over synapses; the softmax is a sum over pairs of neurons; the bias is a unit of
rate 1 with synapses of its own.

**careful**: what belongs to a neuron is computed once a neuron (``constant over dt``, or ``run_regularly`` where it
waits for a sum), and what is left to a synapse is one multiplication; the bias is a variable of the neuron that it
goes to; the softmax is summed in one pool neuron; one `Synapses` a projection, its feedback a sum over the same
weights.

**one sum**: careful, and W r is formed from W rbar, with a further sum that runs at rewards only. Brian2 has no word
for that; it takes another clock for a summed variable, set behind its back.

**dense**: careful, with `DenseSynapses` in place of `Synapses`, its trace integrated at every step or formed at events.

In all of them the weights change on a clock of their own that ticks once a reward.
"""

from __future__ import annotations

from typing import Any

from benchmarks.speed.brian2_workload import BLOCK, DT, SYMBOLS, Workload

STYLES = ("usual", "careful", "one sum", "dense", "dense, traces at events")

EQUATIONS = {
    "usual": {
        "input": """
rbar = x : 1
r = rbar + tau_m*(rbar - rbar_prev)/dt : 1
x : 1
rbar_prev : 1
rbar_now : 1
""",
        "hidden": """
du/dt = (I - u + err)/tau_m : 1
rbar = tanh(u) : 1
r = rbar + tau_m*(rbar - rbar_prev)/dt : 1
ebar = (1 - tanh(u)**2)*feedback : 1
err = ebar + tau_m*(ebar - ebar_prev)/dt : 1
I = I_w + I_b : 1
drive = drive_w + drive_b : 1
I_w : 1
I_b : 1
drive_w : 1
drive_b : 1
feedback : 1
rbar_prev : 1
rbar_now : 1
ebar_prev : 1
ebar_now : 1
""",
        "action": """
du/dt = (I + current(t, i) - u + err)/tau_m : 1
dnoise_bar/dt = (current(t, i) - noise_bar)/tau_m : 1
p = 1/p_sum : 1
q = 1/q_sum : 1
ebar = beta*(p - q) : 1
err = ebar + tau_m*(ebar - ebar_prev)/dt : 1
I = I_w + I_b : 1
drive = drive_w + drive_b : 1
I_w : 1
I_b : 1
drive_w : 1
drive_b : 1
p_sum : 1
q_sum : 1
ebar_prev : 1
ebar_now : 1
""",
        "hidden synapse": """
dE/dt = (-E + (u_post - drive_post)*rbar_pre)/tau_elig : 1 (clock-driven)
""",
        "action synapse": """
dE/dt = (-E + (u_post - drive_post - noise_bar_post)*rbar_pre)/tau_elig : 1 (clock-driven)
dE_hom/dt = (-E_hom + (u_trg - u_post)*rbar_pre)/tau_elig : 1 (clock-driven)
""",
    },
    "careful": {
        "input": """
r = rbar + tau_m*(rbar - rbar_prev)/dt : 1 (constant over dt)
rbar : 1
rbar_prev : 1
""",
        "hidden": """
du/dt = (I + b - u + err)/tau_m : 1
dE_b/dt = (F - E_b)/tau_elig : 1
rbar = tanh(u) : 1 (constant over dt)
r = rbar + tau_m*(rbar - rbar_prev)/dt : 1 (constant over dt)
b : 1
I : 1
drive : 1
feedback : 1
ebar : 1
err : 1
F : 1
rbar_prev : 1
ebar_prev : 1
""",
        "action": """
du/dt = (I + b + current(t, i) - u + err)/tau_m : 1
dnoise_bar/dt = (current(t, i) - noise_bar)/tau_m : 1
dE_b/dt = (F - E_b)/tau_elig : 1
dE_hom_b/dt = (H - E_hom_b)/tau_elig : 1
sharp = exp(g*u) : 1 (constant over dt)
soft = exp(u/(c*sigma)) : 1 (constant over dt)
p_sum : 1 (linked)
q_sum : 1 (linked)
b : 1
I : 1
drive : 1
ebar : 1
err : 1
F : 1
H : 1
ebar_prev : 1
""",
        "hidden synapse": """
dE/dt = (F_post*rbar_pre - E)/tau_elig : 1 (clock-driven)
""",
        "action synapse": """
dE/dt = (F_post*rbar_pre - E)/tau_elig : 1 (clock-driven)
dE_hom/dt = (H_post*rbar_pre - E_hom)/tau_elig : 1 (clock-driven)
""",
    },
}
ERRORS = {
    "hidden": """
ebar = (1 - rbar**2)*feedback
err = ebar + tau_m*(ebar - ebar_prev)/dt
F = u - drive - b
ebar_prev = ebar
rbar_prev = rbar
""",
    "action": """
ebar = beta*(sharp/p_sum - soft/q_sum)
err = ebar + tau_m*(ebar - ebar_prev)/dt
F = u - drive - b - noise_bar
H = u_trg - u
ebar_prev = ebar
""",
}
#: exp(g*u) overflows in float32: the softmax is a sum over pairs there, as usually written.
FLOAT32 = {
    "sharp = exp(g*u) : 1 (constant over dt)": "sharp = 1.0 : 1",
    "soft = exp(u/(c*sigma)) : 1 (constant over dt)": "soft = 1.0 : 1",
    " (linked)": "",
}
# Places within Brian2's slot "groups": sums, errors and traces from the action layer down, and at 0 the voltages.
DRIVES, REDUCTIONS, FEEDBACK = -1000, -900, -800


class StockNet:
    """The groups and synapses of a workload in one style, for Brian2's active device."""

    def __init__(self, work: Workload, style: str, precision: str = "float64"):
        import brian2 as b2

        self.b2, self.work, self.style = b2, work, style
        self.careful = style != "usual"
        self.traces = {"dense": "every_step", "dense, traces at events": "at_events"}.get(style)
        self.text = dict(EQUATIONS["careful" if self.careful else "usual"])
        self.pairs = not self.careful or precision == "float32"
        if self.careful and self.pairs:
            for old, new in FLOAT32.items():
                self.text["action"] = self.text["action"].replace(old, new)
        self.names: dict[str, Any] = {
            name: value * b2.second if name.startswith("tau") else value
            for name, value in SYMBOLS.items()
            if name != "dt"
        }
        self.trial = BLOCK * DT * b2.second
        self.names |= {
            "stimulus": b2.TimedArray(work.inputs, dt=self.trial),
            "current": b2.TimedArray(work.noise, dt=DT * b2.second),
            "delta": b2.TimedArray(work.deltas, dt=self.trial),
        }
        self.objects: list[Any] = []
        self.last = len(work.sizes) - 1
        self.layers = [self.neurons(l) for l in range(self.last + 1)]
        self.synapses = [self.projection(l) for l in range(1, self.last + 1)]
        self.biases = [] if self.careful else [self.bias(l) for l in range(1, self.last + 1)]
        self.network = b2.Network(*self.objects)

    def add(self, thing: Any) -> Any:
        self.objects.append(thing)
        return thing

    def kind(self, l: int) -> str:
        return "input" if l == 0 else "action" if l == self.last else "hidden"

    def group(self, size: int, text: str, name: str) -> Any:
        return self.add(self.b2.NeuronGroup(size, text, method="euler", namespace=self.names, name=name))

    def connect(self, pre: Any, post: Any, text: str, name: str, order: int = -1) -> Any:
        options = {"method": "euler", "namespace": self.names, "name": name, "order": order}
        if self.traces is not None:
            from rnla_neuro_backends.dense import DenseSynapses

            return self.add(DenseSynapses(pre, post, text, traces=self.traces, **options))
        synapses = self.b2.Synapses(pre, post, text, **options)
        synapses.connect()
        return self.add(synapses)

    def neurons(self, l: int) -> Any:
        kind, text = self.kind(l), self.text[self.kind(l)]
        if self.style == "one sum":
            sums = "I = drive + tau_m*(drive - drive_prev)/dt : 1\ndrive : 1\ndrive_prev : 1\n"
            text = text.replace("I : 1\ndrive : 1\n", sums)
        group = self.group(self.work.sizes[l], text, f"layer{l}")
        if kind == "input":
            group.rbar_prev = self.work.inputs[0]
            shown = "rbar" if self.careful else "x"
            group.run_regularly(f"{shown} = stimulus(t, i)", dt=self.trial, when="before_start", order=-1)
        if kind == "action":
            self.reductions(group)
        if self.careful:
            self.keep_careful(group, kind, FEEDBACK + 10 * (self.last - l))
        else:
            self.keep_usual(group, kind)
        return group

    def keep_careful(self, group: Any, kind: str, place: int) -> None:
        if kind == "input":
            group.run_regularly("rbar_prev = rbar", when="groups", order=0)
            return
        group.run_regularly(ERRORS[kind], when="groups", order=place)
        if self.style == "one sum":
            group.run_regularly("drive_prev = drive", when="groups", order=1)
        change = "b += gain*delta(t)*E_b"
        if kind == "action":
            change += "\nb += gain_hom*abs(delta(t))*E_hom_b"
        group.run_regularly(self.with_gains(change, self.last if kind == "action" else 1), dt=self.trial)

    def keep_usual(self, group: Any, kind: str) -> None:
        past = {"input": ["rbar"], "hidden": ["rbar", "ebar"], "action": ["ebar"]}[kind]
        group.run_regularly("\n".join(f"{x}_now = {x}" for x in past), when="groups", order=-1)
        group.run_regularly("\n".join(f"{x}_prev = {x}_now" for x in past), when="after_groups")

    def reductions(self, action: Any) -> None:
        """Make the sums of both softmaxes."""
        if self.pairs:
            text = """p_sum_post = exp(clip(g*(u_pre - u_post), -80, 80)) : 1 (summed)
                      q_sum_post = exp((u_pre - u_post)/(c*sigma)) : 1 (summed)"""
            pairs = self.connect(action, action, text, "pairs")
        else:
            pool = self.group(1, "p_sum : 1\nq_sum : 1", "pool")
            text = "p_sum_post = sharp_pre : 1 (summed)\nq_sum_post = soft_pre : 1 (summed)"
            pairs = self.connect(action, pool, text, "pairs")
            action.p_sum = self.b2.linked_var(pool, "p_sum")
            action.q_sum = self.b2.linked_var(pool, "q_sum")
        for updater in pairs.summed_updaters.values():
            updater.when, updater.order = "groups", REDUCTIONS

    def with_gains(self, code: str, l: int) -> str:
        gain, homeostasis = self.work.gains(l)
        return code.replace("gain_hom", repr(homeostasis)).replace("gain", repr(gain))

    def change(self, synapses: Any, l: int) -> None:
        """Let a reward change the weights into a layer."""
        code = "w += gain*delta(t)*E"
        if l == self.last:
            code += "\nw += gain_hom*abs(delta(t))*E_hom"
        synapses.run_regularly(self.with_gains(code, l), dt=self.trial, when="start")

    def projection(self, l: int) -> Any:
        text = "w : 1" + self.text[f"{self.kind(l)} synapse"]
        ending = "" if self.careful else "_w"
        text += f"drive{ending}_post = w*rbar_pre : 1 (summed)\n"
        if self.style == "one sum":
            text += "drive_prev_post = w*rbar_prev_pre : 1 (summed)\n"
        else:
            text += f"I{ending}_post = w*r_pre : 1 (summed)\n"
        if l > 1:
            text += "feedback_pre = w*ebar_post : 1 (summed)\n"
        place = FEEDBACK + 10 * (self.last - l) + 5  # after the errors of this layer, before those of the one below
        synapses = self.connect(self.layers[l - 1], self.layers[l], text, f"synapses{l}", place + 1)
        synapses.w = self.work.weights[l - 1][:, :-1].T.ravel()
        self.change(synapses, l)
        for name, updater in synapses.summed_updaters.items():
            updater.when, updater.order = "groups", DRIVES
            if name == "feedback_pre":
                updater.order = place
            if name == "drive_prev_post":
                updater.when, updater.order = "start", 1
                updater._clock = self.b2.Clock(dt=self.trial)
        return synapses

    def bias(self, l: int) -> Any:
        """Make the unit of rate 1 and its synapses."""
        unit = self.group(1, "rbar : 1\nr : 1", f"bias{l}")
        unit.rbar = unit.r = 1.0
        text = "w : 1" + self.text[f"{self.kind(l)} synapse"]
        text += "drive_b_post = w*rbar_pre : 1 (summed)\nI_b_post = w*r_pre : 1 (summed)\n"
        synapses = self.connect(unit, self.layers[l], text, f"bias_synapses{l}")
        for updater in synapses.summed_updaters.values():
            updater.when, updater.order = "groups", DRIVES
        self.change(synapses, l)
        return synapses

    def arrays(self) -> dict[str, Any]:
        """Return the Brian2 variables of what is compared: w, E, b, E_b by projection, u by layer."""
        found = {}
        for l in range(1, self.last + 1):
            synapses, layer = self.synapses[l - 1], self.layers[l]
            found |= {f"w{l}": synapses.variables["w"], f"E{l}": synapses.variables["E"]}
            found |= {f"u{l}": layer.variables["u"]}
            bias = layer if self.careful else self.biases[l - 1]
            names = ("b", "E_b") if self.careful else ("w", "E")
            found |= {f"b{l}": bias.variables[names[0]], f"Eb{l}": bias.variables[names[1]]}
        return found
