"""The CUDA text of the general kernel against its CPU text, executed without a GPU, and compiled where nvcc is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rnla_neuro.network import NetworkSpec
from rnla_neuro_backends.brian2_program.cuda_kernel import cuda_kernel
from rnla_neuro_backends.general.kernel import GeneralKernel
from rnla_neuro_backends.general.settings import general_settings
from tests.conformance.cuda.emulation import Call, CpuEngine, Replay
from tests.conformance.general_nets import ANALOG_INPUT, TWO_STAGES, altered, blocks, start
from tests.conformance.nets import relative

SIZES, SEEDS = (5, 7, 40, 4), (3, 8)


def lived(network: NetworkSpec, folder: Path) -> list[Call]:
    """Return what the kernel on the CPU was given in a life, and what it made of it; spikes are the same ones."""
    engine = CpuEngine(GeneralKernel(general_settings(network, record=True)), folder)
    first = start(network, engine)
    for block in blocks(network, 4):
        engine.advance(block)
    assert np.abs(engine.read()["w"] - first).max() > 0.02, "the weights hardly change: nothing is compared"
    return engine.calls


def agree(network: NetworkSpec, folder: Path, order: str) -> None:
    calls = lived(network, folder)
    replay = Replay(cuda_kernel(general_settings(network, record=True), 64), folder)
    outcome = replay.run(calls, order)
    assert outcome.returncode == 0, outcome.stderr[-3000:]
    found = replay.results()
    for name in calls[0].after:
        exact = [call.after[name] for call in calls]
        if name in ("spikes", "rec_spikes"):
            assert all(np.array_equal(a[name], b) for a, b in zip(found, exact, strict=True)), name
        elif max(np.abs(one).max() for one in exact) > 0:
            assert relative([after[name] for after in found], exact) < 1e-11, name


@pytest.mark.backend("brian2_cuda:emulated")
def test_the_cuda_text_of_a_spiking_model_equals_the_cpu_text(tmp_path: Path) -> None:
    agree(NetworkSpec(altered("spiking_small", TWO_STAGES, {"eta": "3"}), SIZES, SEEDS), tmp_path, "reverse")


@pytest.mark.slow
@pytest.mark.backend("brian2_cuda:emulated")
@pytest.mark.parametrize("name", ["held", "beside_small"])
def test_the_cuda_text_of_other_models_equals_the_cpu_text(name: str, tmp_path: Path) -> None:
    model = altered("spiking_small", ANALOG_INPUT, {"eta": "3"}) if name == "held" else altered(name)
    agree(NetworkSpec(model, SIZES, SEEDS), tmp_path, "forward")
