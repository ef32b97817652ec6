"""Proves that a model file has the form which the `equilibrium` backend solves, and fills that form in.

The proof is symbolic and uses nothing but the strings of the file: every equation is compared with what
the moving equilibrium (Senn et al. 2024, eLife 89674, eq. 14) requires, and what is free (rate function,
nudging, plasticity, modulators) is read from the strings. Anything else is refused, naming the term.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from rnla_neuro.spec.derive_plasticity import derive_modulators, derive_traces
from rnla_neuro.spec.equations import Equation, split_equations
from rnla_neuro.spec.expressions import split_call, split_decision
from rnla_neuro.spec.form import DecisionRule, EquilibriumForm, GroupReduction, Prospective
from rnla_neuro.spec.model import ModelSpec, NeuronSpec
from rnla_neuro.spec.proof import Scope, derivative, equal, number, refuse, symbol
from rnla_neuro.spec.symbols import OPTIONAL_ROLES, ROLES

#: Names of the form; a parameter or group reduction of the same name would be confused with them.
CANONICAL = frozenset(
    {"x", "u", "drive", "ebar", "noise_bar", "mismatch", "rbar", "n", "t", "trial", "credit", "R", "target"}
)


@dataclass(frozen=True)
class _Names:
    """The file's names for the variables that have a role."""

    u: str
    r: str
    rbar: str
    ebar: str
    err: str
    current: str
    drive: str
    feedback: str
    noise: str
    weight: str


class _Deriver:
    """Holds the model while its parts are proven one after the other."""

    def __init__(self, model: ModelSpec):
        roles = model.roles
        self.model = model
        self.file = model.path.name
        self.refuse_other_kinds()
        self.names = _Names(
            u=roles["voltage"],
            r=roles["prospective_rate"],
            rbar=roles["rate"],
            ebar=roles["error"],
            err=roles["prospective_error"],
            current=roles["current"],
            drive=roles["drive"],
            feedback=roles["feedback"],
            noise=roles.get("noise", "noise_bar"),
            weight=roles["weight"],
        )
        self.parameters = {name: parameter.value for name, parameter in model.parameters.items()}
        self.parameters |= {"T": model.trial.duration, "dt": model.trial.dt}
        names = self.names
        self.canonical = {
            symbol(names.u): symbol("u"),
            symbol(names.rbar): symbol("rbar"),
            symbol(names.ebar): symbol("ebar"),
            symbol(names.drive): symbol("drive"),
            symbol(names.noise): symbol("noise_bar"),
        }
        for name in [*model.parameters, *model.action.group]:
            if name in CANONICAL:
                where = "[parameters]" if name in model.parameters else "[neuron.action] group"
                raise refuse(
                    self.file, f"{where} {name}", f"the name {name!r} has a fixed meaning; use another"
                )

    def refuse_other_kinds(self) -> None:
        """Refuse what has no moving equilibrium of this form: spikes, further populations, roles that are left out."""
        model = self.model
        if model.kind != "rate":
            raise refuse(self.file, "[model] kind", f"a model of kind {model.kind!r} has no moving equilibrium")
        if model.interneuron is not None or model.projections:
            extra = f"projection.{next(iter(model.projections))}" if model.projections else "neuron.interneuron"
            raise refuse(self.file, f"[{extra}]", "the form is that of layers one after the other, and nothing beside")
        for kind, spec in model.neurons.items():
            for name in spec.constants:
                where = f"[neuron.{kind}] {name} : 1 (constant)"
                raise refuse(self.file, where, "the form is that of neurons that are all alike")
        for role in sorted(OPTIONAL_ROLES - set(model.roles)):
            raise refuse(self.file, "[roles]", f"{role!r} is missing: {ROLES[role]}")

    def scope(self, part: str, spec: NeuronSpec) -> Scope:
        equations = split_equations(spec.equations, f"{self.file}: [neuron.{part}] equations")
        keep = {self.names.u, self.names.rbar, self.names.ebar, self.names.err, self.names.noise}
        return Scope(self.file, f"neuron.{part}", equations, keep)

    # ---- what all layers share -------------------------------------------------------------------

    def rate_function(self, scope: Scope, spec: NeuronSpec) -> tuple[sp.Expr, sp.Expr]:
        """Return phi and phi_prime as written out functions of the file's voltage."""
        if spec.phi is None:
            return sp.Integer(0), sp.Integer(0)
        u = self.names.u
        phi = scope.parse(spec.phi, "phi")
        scope.only(
            "phi", phi, [u, *self.parameters], f"phi is a function of the voltage {u!r} and parameters"
        )
        return phi, derivative(phi, symbol(u))

    def time_constant(self, scope: Scope) -> sp.Expr:
        """Return tau of the voltage, from the coefficient of the input current."""
        names = self.names
        key = f"equations, d{names.u}/dt"
        gain = sp.diff(scope.right(names.u), symbol(names.current))
        form = f"d{names.u}/dt = ({names.current} - {names.u} + {names.err} [+ noise])/tau"
        if gain == 0:
            raise scope.refuse(key, f"term '{names.current}' is missing; expected {form}")
        scope.only(key, gain, self.parameters, f"expected {form}")
        if scope.number(key, gain, self.parameters) <= 0:
            raise scope.refuse(key, f"the time constant is negative; expected {form}")
        return 1 / gain

    def check_voltage(self, scope: Scope, tau: sp.Expr, noise: sp.Expr) -> None:
        names = self.names
        expected = symbol(names.current) - symbol(names.u) + symbol(names.err) + noise
        form = f"d{names.u}/dt = {sp.expand(expected)}, divided by {tau}"
        actual = scope.right(names.u) * tau
        if not self.equal_with_error(actual, expected, tau):
            scope.require(f"equations, d{names.u}/dt", actual, expected, form)

    def equal_with_error(self, actual: sp.Expr, expected: sp.Expr, tau: sp.Expr) -> bool:
        """Compare where the file may have written out the prospective error, which is proven already."""
        names = self.names
        error = {symbol(names.err): self.backward_difference(names.ebar, tau, symbol(names.ebar))}
        return equal(actual.xreplace(error), expected.xreplace(error))

    def backward_difference(self, name: str, tau: sp.Expr, value: sp.Expr) -> sp.Expr:
        """Value + tau * (its change over the last step)."""
        return value + tau * (value - symbol(name + "_prev")) / symbol("dt")

    def check_prospective_error(self, scope: Scope, tau: sp.Expr) -> None:
        names = self.names
        expected = self.backward_difference(names.ebar, tau, symbol(names.ebar))
        form = f"{names.err} = {names.ebar} + {tau}*({names.ebar} - {names.ebar}_prev)/dt"
        scope.require(f"equations, {names.err}", scope.right(names.err), expected, form)

    def check_prospective_rate(
        self, scope: Scope, tau: sp.Expr, rate: sp.Expr, slope: sp.Expr | None
    ) -> Prospective:
        """Prove r = rbar + tau d rbar/dt, and return how the file writes the derivative."""
        names = self.names
        key = f"equations, {names.r}"
        actual = scope.right(names.r).xreplace({symbol(names.rbar): rate})
        difference = self.backward_difference(names.rbar, tau, rate)
        if equal(actual, difference):
            return "difference"
        if slope is None:
            form = f"{names.r} = {names.rbar} + {tau}*({names.rbar} - {names.rbar}_prev)/dt"
            scope.require(key, actual, difference, form)
            return "difference"
        change = symbol(names.current) - symbol(names.u) + symbol(names.err)
        form = f"{names.r} = {names.rbar} + phi_prime*({change}), with phi_prime = d{names.rbar}/d{names.u}"
        if not self.equal_with_error(actual, rate + slope * change, tau):
            scope.require(key, actual, rate + slope * change, form)
        return "slope"

    def no_other_odes(self, scope: Scope, allowed: set[str]) -> None:
        for name, equation in scope.equations.items():
            if equation.is_ode and name not in allowed:
                reason = (
                    f"term '{equation.text}': the form has no further ODE; expected only d{self.names.u}/dt"
                )
                raise scope.refuse(f"equations, {equation.left}", reason)

    # ---- the three neuron types ------------------------------------------------------------------

    def input(self, tau: sp.Expr) -> sp.Expr:
        scope = self.scope("input", self.model.input)
        self.no_other_odes(scope, set())
        rate = scope.right(self.names.rbar)
        key = f"equations, {self.names.rbar}"
        scope.only(key, rate, ["x", *self.parameters], "the input rate is a function of x and parameters")
        self.check_prospective_rate(scope, tau, rate, None)
        return rate

    def hidden(self) -> tuple[sp.Expr, sp.Expr, sp.Expr, Prospective]:
        """Prove the hidden neuron; return phi, phi_prime, tau, and how its rate is prospective."""
        names, scope = self.names, self.scope("hidden", self.model.hidden)
        self.no_other_odes(scope, {names.u})
        phi, phi_prime = self.rate_function(scope, self.model.hidden)
        scope.given |= {"phi": phi, "phi_prime": phi_prime}
        tau = self.time_constant(scope)
        self.check_prospective_error(scope, tau)
        self.check_voltage(scope, tau, sp.Integer(0))
        rate = scope.right(names.rbar)
        key = f"equations, {names.rbar}"
        scope.only(
            key, rate, [names.u, *self.parameters], f"the rate is a function of {names.u!r} and parameters"
        )
        slope = derivative(rate, symbol(names.u))
        if slope == 0:
            raise scope.refuse(key, f"term '{rate}' does not depend on {names.u!r}; expected a rate function")
        prospective = self.check_prospective_rate(scope, tau, rate, slope)
        error = scope.right(names.ebar).xreplace({symbol(names.rbar): rate})
        form = f"{names.ebar} = phi_prime*{names.feedback}"
        scope.require(f"equations, {names.ebar}", error, slope * symbol(names.feedback), form)
        return rate, slope, tau, prospective

    def action_noise(self, scope: Scope, tau: sp.Expr) -> tuple[sp.Expr, bool]:
        """Noise term of the voltage, and whether the file low-passes it itself."""
        names = self.names
        equation: Equation | None = scope.equations.get(names.noise)
        if self.model.exploration.law == "none" and equation is None:
            return sp.Integer(0), False
        if equation is None:
            return self.backward_difference(names.noise, tau, symbol(names.noise)), False
        key = f"equations, {equation.left}"
        form = f"d{names.noise}/dt = (noise - {names.noise})/{tau}, or {names.noise} left to the engine"
        if not equation.is_ode:
            raise scope.refuse(key, f"term '{equation.text}' does not belong to the form; expected {form}")
        scope.require(key, scope.right(names.noise) * tau, symbol("noise") - symbol(names.noise), form)
        return symbol("noise"), True

    def groups(self, scope: Scope, rate: sp.Expr) -> tuple[GroupReduction, ...]:
        """Group reductions in an order in which each needs only those before it."""
        names, specs = self.names, self.model.action.group
        allowed = {names.u, names.drive, names.noise, "n", *specs, *self.parameters}
        parsed: dict[str, GroupReduction] = {}
        for name, text in specs.items():
            call = split_call(text, f"{self.file}: [neuron.action] group.{name}")
            assert call is not None  # the loader has checked it
            key = f"group.{name}"
            argument = scope.parse(call[1][0], key).xreplace({symbol(names.rbar): rate})
            scope.only(
                key,
                argument,
                allowed,
                "a reduction is of the voltage, drive, noise, rate and other reductions",
            )
            parsed[name] = GroupReduction(name, call[0], argument.xreplace(self.canonical))
        ordered: list[GroupReduction] = []
        while parsed:
            ready = [g for g in parsed.values() if not any(str(s) in parsed for s in g.argument.free_symbols)]
            if not ready:
                raise scope.refuse("group", f"{', '.join(parsed)} refer to each other in a circle")
            ordered += ready
            parsed = {name: group for name, group in parsed.items() if group not in ready}
        return tuple(ordered)

    def action(self, tau_hidden: sp.Expr) -> tuple[sp.Expr, sp.Expr, tuple[GroupReduction, ...], Scope, bool]:
        """Prove the action neuron; return its rate, the nudging, group reductions, scope, low-pass."""
        names, scope = self.names, self.scope("action", self.model.action)
        self.no_other_odes(scope, {names.u, names.noise})
        phi, phi_prime = self.rate_function(scope, self.model.action)
        scope.given |= {"phi": phi, "phi_prime": phi_prime}
        tau = self.time_constant(scope)
        key = f"equations, d{names.u}/dt"
        values = [scope.number(key, value, self.parameters) for value in (tau_hidden, tau)]
        if values[0] != values[1]:
            reason = f"tau is {tau} = {values[1]} s, but {tau_hidden} = {values[0]} s in [neuron.hidden]"
            raise scope.refuse(f"equations, d{names.u}/dt", reason)
        noise, lowpass = self.action_noise(scope, tau)
        self.check_prospective_error(scope, tau)
        self.check_voltage(scope, tau, noise)
        key = f"equations, {names.rbar}"
        rate = scope.right(names.rbar)
        fixed = ["n", *self.parameters, *self.model.action.group]
        scope.only(
            key, rate, [names.u, *fixed], "the rate is a function of the voltage, reductions and parameters"
        )
        if names.r in scope.equations:
            alone = not {str(s) for s in rate.free_symbols} & set(self.model.action.group)
            slope = derivative(rate, symbol(names.u)) if alone and noise == 0 else None
            self.check_prospective_rate(scope, tau, rate, slope)
        key = f"equations, {names.ebar}"
        nudging = scope.right(names.ebar)
        free = [names.u, names.drive, names.noise, names.rbar, "target", *fixed]
        scope.only(
            key,
            nudging,
            free,
            "the nudging is a function of voltage, drive, noise, target, rate, reductions, parameters",
        )
        groups = self.groups(scope, rate)
        return rate.xreplace(self.canonical), nudging.xreplace(self.canonical), groups, scope, lowpass

    # ---- sums, exploration, decision -------------------------------------------------------------

    def sums(self) -> None:
        names = self.names
        scope = Scope(self.file, "synapse.sums", {}, ())
        expected = {
            f"{names.current}_post": f"{names.r}_pre",
            f"{names.drive}_post": f"{names.rbar}_pre",
            f"{names.feedback}_pre": f"{names.ebar}_post",
        }
        for key, factor in expected.items():
            product = symbol(names.weight) * symbol(factor)
            scope.require(
                key, scope.parse(self.model.sums[key], key), product, f"{key} = {names.weight}*{factor}"
            )

    def constant(self, text: str, key: str) -> float:
        scope = Scope(self.file, "exploration", {}, ())
        expr = scope.parse(text, key)
        scope.only(key, expr, self.parameters, "expected a constant")
        value = scope.number(key, expr, self.parameters)
        if value < 0:
            raise scope.refuse(key, f"'{text}' = {value} is negative")
        return value

    def decision(self, scope: Scope) -> DecisionRule:
        text = self.model.exploration.decision
        argument, filtered = split_decision(text, f"{self.file}: [exploration] decision")
        tau = None if filtered is None else self.constant(filtered, "decision")
        exploration = Scope(self.file, "exploration", scope.equations, scope.keep, scope.given)
        names = self.names
        expr = exploration.parse(argument, "decision")
        allowed = [
            names.u,
            names.drive,
            names.noise,
            names.rbar,
            "n",
            *self.model.action.group,
            *self.parameters,
        ]
        exploration.only(
            "decision", expr, allowed, "a decision reads voltage, drive, noise, rate or reductions"
        )
        return DecisionRule(expr.xreplace(self.canonical), tau)

    def policy(self, decision: DecisionRule, lowpass: bool) -> GroupReduction:
        spec = self.model.exploration
        scope = Scope(self.file, "exploration", {}, ())
        call = split_call(spec.policy, f"{self.file}: [exploration] policy")
        assert call is not None  # the loader has checked it
        argument = scope.parse(call[1][0], "policy").xreplace(self.canonical)
        if spec.law == "gumbel" and decision == DecisionRule(symbol("u"), None) and not lowpass:
            # The maximum of drive + Gumbel noise is distributed as the softmax of drive/scale, exactly.
            scale = scope.parse(spec.scale, "scale")
            form = f"softmax(drive/({spec.scale})), the policy of argmax under Gumbel noise of this scale"
            scope.require("policy", argument, symbol("drive") / scale, form)
        return GroupReduction("policy", call[0], argument)

    def form(self) -> EquilibriumForm:
        model = self.model
        phi, phi_prime, tau, prospective = self.hidden()
        input_rate = self.input(tau)
        action_rate, nudging, groups, scope, lowpass = self.action(tau)
        self.sums()
        decision = self.decision(scope)
        phi, phi_prime = phi.xreplace(self.canonical), phi_prime.xreplace(self.canonical)
        noise_tau = None if model.exploration.tau is None else self.constant(model.exploration.tau, "tau")
        return EquilibriumForm(
            parameters=self.parameters,
            tau_m=number(tau, self.parameters),
            input_rate=input_rate,
            phi=phi,
            phi_prime=phi_prime,
            prospective=prospective,
            groups=groups,
            action_rate=action_rate,
            nudging=nudging,
            noise=model.exploration.law,
            hidden=derive_traces(model, "hidden", phi, self.parameters),
            action=derive_traces(model, "action", action_rate, self.parameters),
            modulators=derive_modulators(model, self.parameters),
            decision=decision,
            policy=self.policy(decision, lowpass),
            noise_scale=self.constant(model.exploration.scale, "scale"),
            noise_tau=noise_tau,
            noise_lowpass=lowpass,
        )


def derive_form(model: ModelSpec) -> EquilibriumForm:
    """Prove that a model has the form of the moving equilibrium, and return that form.

    Raises:
        BackendError: It has not; the message names file, section, equation and term.
    """
    return _Deriver(model).form()
