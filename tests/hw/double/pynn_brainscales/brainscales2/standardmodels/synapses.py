"""Synapse types."""

from __future__ import annotations

from pyNN.standardmodels import build_translations, synapses

from .. import simulator
from ..plasticity_rules import PlasticityRule, PlasticityRuleHandle


class StaticSynapse(synapses.StaticSynapse):
    translations = build_translations(("weight", "weight"), ("delay", "delay"))

    def _get_minimum_delay(self):
        return simulator.state.min_delay


class PlasticSynapse(StaticSynapse, PlasticityRuleHandle):
    def __init__(self, weight=0, delay=0, plasticity_rule=None):
        StaticSynapse.__init__(self, weight=weight, delay=delay)
        self.plasticity_rule = plasticity_rule


class StaticRecordingSynapse(StaticSynapse, PlasticityRuleHandle):
    POSSIBLE_OBSERVABLES = ("weights", "correlation_causal", "correlation_acausal")

    def __init__(self, timer, weight, observables):
        StaticSynapse.__init__(self, weight=weight)
        for name in observables:
            if name not in self.POSSIBLE_OBSERVABLES:
                raise AttributeError(f"[L5] observable {name!r}: {', '.join(self.POSSIBLE_OBSERVABLES)}")
        rule = PlasticityRule(timer)
        rule.observables = {name: PlasticityRule.ObservablePerSynapse() for name in observables}
        rule.generate_kernel = lambda: "void PLASTICITY_RULE_KERNEL(auto&, auto&, Recording&) {}"
        self.plasticity_rule = rule
