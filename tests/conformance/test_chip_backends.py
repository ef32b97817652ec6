"""An emulated chip is the same chip on every backend, and goes on where it was saved."""

from __future__ import annotations

import numpy as np
import pytest

from rnla_neuro import Agent
from rnla_neuro.session import RunRequest, Session

CHIP = {"hardware": "brainscales2", "chip_seed": (3, 4), "seeds": (1, 2), "hidden": (6,)}


def run(n=10, **options):
    request = RunRequest(task="xor", model="spiking_lif_nla", **CHIP, **options)
    with Session(request) as session:
        session.train(n)
        session.finish()
        return session.simulation.weights(), session.simulation.effective(), session.simulation.state()["engine.own"]


@pytest.fixture(scope="module")
def plain():
    """The model's strings on Brian2's own groups."""
    return run(backend="brian2", road="plain", core="numpy")


def agree(one, other):
    for a, b in zip(one[0], other[0], strict=True):  # whole numbers of steps: equal, or wrong by a step
        assert np.abs(a - b).max() < 1e-9
    for a, b in zip(one[1], other[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.slow
@pytest.mark.backend("brian2:cython")
def test_the_general_kernel_has_the_same_chip(plain):
    agree(run(backend="brian2"), plain)


@pytest.mark.slow
@pytest.mark.backend("brian2_cpp")
def test_the_compiled_program_has_the_same_chip(plain):
    agree(run(backend="brian2_cpp"), plain)


@pytest.mark.slow
@pytest.mark.backend("brian2:cython")
def test_a_spiking_agent_on_a_chip_goes_on_to_the_bit(tmp_path):
    made = CHIP | {"chip_seed": 3, "backend": "brian2"}
    with Agent("spiking_lif_nla", "xor", **made) as straight, Agent("spiking_lif_nla", "xor", **made) as first:
        straight.learn(15).finish().learn(15).finish()
        first.learn(15).save(tmp_path / "a")
    with Agent.load(tmp_path / "a") as again:
        again.predict(np.array([1.0, -1.0]))  # looking changes nothing
        again.learn(15).finish()
        for a, b in zip(straight.session.simulation.weights(), again.session.simulation.weights(), strict=True):
            assert np.array_equal(a, b)
