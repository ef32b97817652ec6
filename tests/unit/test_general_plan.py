"""What the general kernel makes of a model's strings, without compiling anything."""

from __future__ import annotations

import pytest

from rnla_neuro.errors import BackendError
from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec.loader import load_model, parse_model
from rnla_neuro_backends.explicit.roads import fused_kernel
from rnla_neuro_backends.general.kernel import GeneralKernel, make_general_kernel
from rnla_neuro_backends.general.plan import GATED

SIZES = (8, 6, 5, 4)


def kernel(name: str, changes: dict[str, str] | None = None, **options: str) -> GeneralKernel:
    shipped = load_model(name)
    text = shipped.text
    for old, new in (changes or {}).items():
        assert old in text
        text = text.replace(old, new)
    made = fused_kernel(NetworkSpec(parse_model(text, shipped.path, options), SIZES, (1,)))
    assert isinstance(made, GeneralKernel)
    return made


@pytest.mark.parametrize(
    "name", ["spiking_nla", "spiking_nla_late", "spiking_leaky_nla", "spiking_lif_nla", "spiking_poisson_nla"]
)
def test_spikes_are_delivered_by_event_and_errors_formed_while_something_reads_them(name: str) -> None:
    made = kernel(name)
    assert [sent.mode for sent in made.plan.sent] == ["held", "spikes", "spikes"]
    assert [p.mode for p in made.places.projections] == ["held", "spikes", "spikes"]
    assert made.plan.needs[1, "feedback"] == made.plan.needs[2, "feedback"] == GATED
    assert not made.plan.late


@pytest.mark.parametrize("name", ["rate_leaky", "rate_predictive_coding", "rate_microcircuit"])
def test_rates_are_sent_densely_after_the_held_input(name: str) -> None:
    modes = [sent.mode for sent in kernel(name).plan.sent]
    assert modes[0] == "held"
    assert set(modes[1:]) == {"dense"}


def test_the_text_depends_on_the_structure_alone() -> None:
    assert kernel("spiking_nla").key == kernel("spiking_nla", eta="0.5", tau_s="7*ms").key
    other = NetworkSpec(load_model("spiking_nla"), SIZES, (9,))
    assert make_general_kernel(other).key == kernel("spiking_nla").key
    assert kernel("spiking_nla").key != kernel("spiking_lif_nla").key


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"*delta*E\"": "*delta*E*E\""}, r"on_event.reward.*uses 'E'"),
        ({"gate*ebar_post*rbar_pre)": "gate*tanh(ebar_post*rbar_pre))"}, r"dE/dt: term .*no product of a pre-"),
        ({"(-E + gate": "(-E*E + gate"}, r"dE/dt: .*a trace decays at a constant rate"),
    ],
)  # fmt: skip
def test_what_the_kernel_cannot_run_is_refused_by_name(changes: dict[str, str], message: str) -> None:
    with pytest.raises(BackendError, match=message):
        kernel("spiking_nla", changes)


def test_a_proven_model_is_for_the_other_kernel() -> None:
    with pytest.raises(BackendError, match="voltages follow a jump at once"):
        make_general_kernel(NetworkSpec(load_model("rate_nla"), (4, 3, 2), (1,)))
