"""Timer, rules and handles of the plasticity processor. The double checks their use and runs no kernel."""

from __future__ import annotations

import re
from dataclasses import dataclass

from . import simulator


class Timer:
    def __init__(self, **parameters):
        missing = {"start", "period", "num_periods"} - set(parameters)
        if missing:
            raise KeyError(f"[L1] Timer needs start, period and num_periods; missing: {sorted(missing)}")
        self.start, self.period = parameters["start"], parameters["period"]
        self.num_periods = parameters["num_periods"]


@dataclass
class ObservablePerSynapse:
    type: str = "int8"
    layout_per_row: str = "packed_active_columns"


@dataclass
class ObservablePerNeuron:
    type: str = "int8"
    layout: str = "packed_active_columns"


@dataclass
class ObservableArray:
    type: str = "int8"
    size: int = 0


class PlasticityRule:
    ObservablePerSynapse = ObservablePerSynapse
    ObservablePerNeuron = ObservablePerNeuron
    ObservableArray = ObservableArray

    def __init__(self, timer, observables=None, same_id=0):
        self.timer, self.observables, self.same_id = timer, dict(observables or {}), same_id
        self.projections = []
        self.checked = 0
        simulator.state.plasticity_rules.append(self)

    def generate_kernel(self):
        return "void PLASTICITY_RULE_KERNEL(auto& synapses, auto& neurons) {}"

    def check(self):
        """Refuse what the chip's compiler would refuse, as far as a text can be judged."""
        if not isinstance(self.timer, Timer):
            raise TypeError("[L1] timer: a Timer")
        if not self.timer.period > 0:
            raise ZeroDivisionError(f"[L1] Timer period {self.timer.period}: a positive number of ms")
        text = self.generate_kernel()
        if not isinstance(text, str) or not re.search(r"\bPLASTICITY_RULE_KERNEL\s*\(", text):
            raise RuntimeError("[L2] generate_kernel() must return C++ that defines PLASTICITY_RULE_KERNEL(…)")
        bare = re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.S)
        if found := re.search(r"\b(float|double)\b", bare):
            raise RuntimeError(f"[L3] {found[0]} in a kernel: the processor has no floating-point unit")
        if self.observables and "Recording" not in bare:
            raise RuntimeError("[L2] a rule with observables takes a third argument, Recording&")
        self.checked += 1

    def get_observable_array(self, observable):
        if observable not in self.observables:
            raise RuntimeError("[L4] Plasticity rule doesn't have requested observable.")
        if not isinstance(self.observables[observable], ObservableArray):
            raise TypeError(f"[L4] Observable {observable} is not an ObservableArray.")
        return []


class PlasticityRuleHandle:
    """Mixed into synapse types that can hold a rule."""

    plasticity_rule = None
