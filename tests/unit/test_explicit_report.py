"""What `rnla check` says of the explicit form: it follows the model and the network, and its figures add up."""

from __future__ import annotations

import pytest

from rnla_neuro.backend import Description
from rnla_neuro.errors import BackendError, ConvergenceError
from rnla_neuro.network import NetworkSpec
from rnla_neuro.resources import models_dir
from rnla_neuro.spec.loader import load_model, parse_model
from rnla_neuro_backends.explicit import timing
from rnla_neuro_backends.explicit.kernel import make_kernel
from rnla_neuro_backends.explicit.numpy_kernel import NumpyEngine
from rnla_neuro_backends.explicit.report import describe, describe_plain
from rnla_neuro_backends.explicit.simulation import ExplicitSimulation


def network(name: str = "rate_nla", sizes=(6, 5, 3), seeds=(1,), precision="float64", **overrides: str) -> NetworkSpec:
    return NetworkSpec(load_model(name, overrides), sizes, seeds, precision)


def said(name: str, **options: str) -> Description:
    return describe(network(name, **options), "fused", no_time="not asked for")


def texts(rows) -> str:
    return "\n".join(f"{name}: {text}" for name, text in rows)


def test_parts_follow_the_model():
    plain = said("rate_nla")
    assert plain.fallbacks == ()
    for text in ("a second product while voltages move", "p: softmax(g*u)", "the largest subtracted",
                 "held for a trial", "while the gate is open", "change at events of reward"):  # fmt: skip
        assert text in texts(plain.recognised), text
    pulse = said("rate_nla_pulse")
    assert "flow while a pulse of reward lasts" in texts(pulse.recognised)
    assert [name for name, _ in pulse.fallbacks] == ["pulse of reward"]
    poster = said("rate_nla_poster")
    assert "group total: sum(" in texts(poster.recognised)
    assert "a current in time" in texts(poster.recognised)
    assert "no gate" in texts(poster.fallbacks)


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        (
            "rate_nla",
            "rbar + phi_prime*(I - u + err)",
            "rbar + tau_m*(rbar - rbar_prev)/dt",
            "without a second product",
        ),
        (
            "rate_nla_ou",
            "dnoise_bar/dt = (noise - noise_bar)/tau_m : 1",
            "noise = noise_bar + tau_m*(noise_bar - noise_bar_prev)/dt : 1",
            "a process in time",
        ),
    ],
)
def test_other_ways_to_write_it_are_told_apart(name, old, new, says):
    path = models_dir() / f"{name}.toml"
    text = path.read_text()
    assert old in text
    for content, expected in ((text, False), (text.replace(old, new), True)):
        spec = NetworkSpec(parse_model(content, path), (6, 5, 3), (1,))
        assert (says in texts(describe(spec, "fused", no_time="no").recognised)) == expected


def test_what_is_not_proven_is_for_the_general_kernel():
    path = models_dir() / "rate_nla.toml"
    text = path.read_text().replace("I - u + err)/tau_m : 1", "I - u + 2*err)/tau_m : 1", 1)
    other = NetworkSpec(parse_model(text, path), (6, 5, 3), (1,))
    found = describe(other, "by the fused kernel", no_time="no")
    assert found.road == "by the general kernel"
    assert "term '2*err'" in texts(found.notes)
    assert "W x formed once for each input" in texts(found.recognised)
    assert "a product in every step" in texts(found.fallbacks)
    with pytest.raises(BackendError, match=r"uses 'E'.*Nor is it of the proven form: .*term '2\*err'"):
        describe(NetworkSpec(parse_model(text.replace("*delta*E", "*delta*E*E"), path), (6, 5, 3), (1,)), "fused")


def test_what_is_not_stable_is_refused():
    with pytest.raises(ConvergenceError, match="would not be stable"):
        describe(network(beta="1"), "fused")


def test_another_road_is_built_measured_and_closed():
    closed = []

    class Closing(ExplicitSimulation):
        def close(self) -> None:
            closed.append(self.decisions)

    spec = network(seeds=(1, 2))
    plain = describe_plain(spec, "step by step", "its reason", lambda: Closing(spec, NumpyEngine(spec)))
    assert plain.fallbacks == (("all of it", "its reason"),)
    assert "shrink to 0.9 in a step" in texts(plain.notes)
    assert plain.memory["variables that change"] > 2 * 8 * (7 * 5 + 6 * 3)
    assert plain.seconds is not None
    assert f"{closed[0]} decisions" in plain.basis


def test_memory_is_that_of_the_kernels_arrays():
    for seeds, precision in (((1,), "float64"), ((1, 2, 3), "float64"), ((1, 2, 3), "float32")):
        spec = network(sizes=(64, 40, 10), seeds=seeds, precision=precision)
        memory = describe(spec, "fused", no_time="no").memory
        kernel = make_kernel(spec)
        assert sum(memory.values()) == sum(a.size * kernel.dtype(a).itemsize for a in kernel.arrays)
        size = 8 if precision == "float64" else 4
        synapses = 65 * 40 + 41 * 10
        assert synapses * len(seeds) * size <= memory["weights"] < 1.25 * synapses * len(seeds) * size
        assert memory["traces"] >= (65 * 40 + 2 * 41 * 10) * len(seeds) * size


def test_work_grows_with_what_it_depends_on():
    def work(**options):
        return timing.work_of(make_kernel(network(**options)))

    one = work(sizes=(64, 40, 10))
    assert work(sizes=(64, 80, 10)).products == pytest.approx(2 * one.products, rel=0.05)
    assert work(sizes=(64, 40, 10), precision="float32").bytes == pytest.approx(one.bytes / 2)
    assert work(sizes=(64, 40, 10), dt="0.5ms").values > 1.7 * one.values
    assert work(name="rate_nla_pulse", sizes=(64, 40, 10)).products > 5 * one.products
    assert work(sizes=(64, 40, 10), seeds=(1, 2)).products == one.products  # of one agent


def test_an_estimate_says_what_it_rests_on():
    spec = network(sizes=(64, 40, 10), seeds=(1, 2))
    guess = describe(spec, "fused")
    assert guess.seconds is not None
    assert 2e-5 < guess.seconds < 0.05
    for text in ("million products", "G products/s", "in Python", "not built yet"):
        assert text in guess.basis
    wide = describe(network(sizes=(784, 1000, 1000, 10)), "fused")
    assert wide.seconds is not None
    assert wide.seconds > 3 * guess.seconds


def test_what_is_ready_is_measured_and_closed():
    closed = []

    class Idle(ExplicitSimulation):
        def close(self) -> None:
            closed.append(self.decisions)

    spec = network()
    found = describe(spec, "fused", ready=lambda: Idle(spec, timing._Nothing(make_kernel(spec))), ready_is="a stub")
    (count,) = closed
    assert count >= 3
    assert found.basis == f"{count} decisions of a stub with random inputs and rewards, just now"
    assert found.seconds is not None


def test_no_estimate_where_there_is_no_device():
    found = describe(network(), "fused", device="gpu", no_time="there is no GPU here")
    assert (found.seconds, found.basis, found.memory_where) == (None, "there is no GPU here", "GPU")
