"""Neurons that are not alike: constants of single neurons on stock Brian2 and on the general kernel."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rnla_neuro.errors import BackendError, ConfigError
from rnla_neuro.network import NetworkSpec
from rnla_neuro.resources import models_dir
from rnla_neuro.spec.loader import parse_model
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro_backends.brian2_model.units import check_units
from rnla_neuro_backends.brian2_program.cuda_kernel import cuda_kernel
from rnla_neuro_backends.explicit.block import Planner, make_block
from rnla_neuro_backends.explicit.plain import PlainEngine
from rnla_neuro_backends.explicit.roads import fused_kernel
from rnla_neuro_backends.general.kernel import GeneralKernel, make_general_kernel
from rnla_neuro_backends.general.settings import general_settings
from tests.conformance.cuda.emulation import CpuEngine, Replay
from tests.conformance.general_nets import CompiledEngine, blocks, life, start
from tests.conformance.nets import events, relative

pytestmark = pytest.mark.usefixtures("numpy_target")

SIZES, SEEDS = (5, 7, 6, 4), (3, 8)
#: What takes the place of a name in hidden and action neurons: a constant of each neuron with it.
FACTORS = {"tau_m": "tau_m*k_m", "tau_mem": "tau_mem*k_mem", "tau_s": "tau_s*k_s", "t_ref": "t_ref*k_ref"}
SHIFTS = {"V_th": "V_th + 0.2*(k_th - 1)", "V_reset": "V_reset + 0.2*(k_re - 1)"}


def mismatched(name: str, changes: dict[str, str], overrides: dict[str, str] | None = None) -> ModelSpec:
    """Read a packaged model, hidden and action neurons of which have constants of their own."""
    head, *sections = re.split(r"(?m)^(?=\[)", (models_dir() / f"{name}.toml").read_text(encoding="utf-8"))
    found = []
    for section in sections:
        if section.startswith(("[neuron.hidden]", "[neuron.action]")):
            used = {old: new for old, new in changes.items() if re.search(rf"\b{old}\b", section)}
            for old, new in used.items():
                section = re.sub(rf"\b{old}\b", f"({new})", section)
            constants = [re.search(r"k_\w+", new)[0] for new in used.values()]  # type: ignore[index]
            lines = "".join(f"{constant} : 1 (constant)  # its own\n" for constant in constants)
            section = section.replace('equations = """\n', f'equations = """\n{lines}', 1).rstrip()
            section = section.replace('refractory = "(t_ref*k_ref)"', 'refractory = "t_ref*k_ref"')
            section += "\n" + "".join(f'initial.{constant} = "1"\n' for constant in constants) + "\n"
        found.append(section)
    model = parse_model("".join([head, *found]), Path(f"{name}_mismatched.toml"), overrides)
    check_units(model)
    return model


def network_of(model: ModelSpec, sizes: tuple[int, ...] = SIZES, spread: float = 0.2, seed: int = 5) -> NetworkSpec:
    """A network whose constants are drawn around 1, for each agent others."""
    network = NetworkSpec(model, sizes, SEEDS)
    rng = np.random.default_rng(seed)
    constants = {
        place.name: {name: 1 + rng.uniform(-spread, spread, (2, place.size)) for name in place.spec.constants}
        for place in network.populations
    }
    return replace(network, constants=constants)


def lif(overrides: dict[str, str] | None = None) -> ModelSpec:
    wanted = {"T": "20*ms", "gate": "10*ms", "eta": "2", "r_max": "400*Hz"}
    return mismatched("spiking_lif_nla", FACTORS | SHIFTS, wanted | (overrides or {}))


def rate(name: str = "rate_nla") -> ModelSpec:
    return mismatched(name, {"tau_m": "tau_m*k_m"}, {"T": "12*ms", "eta": "2", "eta_hom": "0.02"})


def same(network: NetworkSpec) -> dict[str, list[np.ndarray]]:
    plain = life(network, PlainEngine(network))
    fast = life(network, CompiledEngine(make_general_kernel(network)))
    for name, values in plain.items():
        if name in ("spikes", "counts"):
            assert all(np.array_equal(a, b) for a, b in zip(fast[name], values, strict=True)), name
        elif max(np.abs(v).max() for v in values) > 0:
            assert relative(fast[name], values) < 1e-10, name
    assert max(np.abs(v).max() for v in plain["dw"]) > 0.02, "the weights hardly change: nothing is compared"
    return plain


@pytest.mark.backend("brian2:general")
@pytest.mark.parametrize("make", [lif, rate])
def test_neurons_of_their_own_equal_stock_brian2(make) -> None:
    network = network_of(make())
    with_constants = same(network)
    alike = life(replace(network, constants={}), CompiledEngine(make_general_kernel(replace(network, constants={}))))
    assert relative(alike["u"], with_constants["u"]) > 0.01
    assert relative(alike["silent"], with_constants["silent"]) > 1e-4


@pytest.mark.slow
@pytest.mark.backend("brian2:general")
@pytest.mark.parametrize("name", ["rate_leaky", "rate_nla_ou"])
def test_other_rates_of_their_own_equal_stock_brian2(name: str) -> None:
    same(network_of(rate(name)))


@pytest.mark.backend("brian2:general")
def test_refractory_times_of_their_own_are_counted_as_brian2_counts_them() -> None:
    plain = same(network_of(lif({"width": "0.01", "hazard": "1e6*Hz"}), spread=0.9))
    assert plain["counts"][-1][:, 1:].min() > 0


@pytest.mark.backend("brian2:general")
def test_constants_in_sums_and_traces_equal_stock_brian2() -> None:
    """A gain of each sending neuron, an input that spikes with it, and a learning rate of each receiving one."""
    text = (Path(__file__).parent.parent / "models" / "spiking_small.toml").read_text(encoding="utf-8")
    for section in ("input", "hidden", "action"):
        head, rest = text.split(f"[neuron.{section}]\n", 1)
        own, after = re.split(r"(?m)^(?=\[)", rest, maxsplit=1)
        own = own.replace('equations = """\n', 'equations = """\nk : 1 (constant)\n', 1).rstrip()
        text = f'{head}[neuron.{section}]\n{own}\ninitial.k = "0.5 + 0.5"\n\n{after}'
    for old, new in (("w*rbar_pre", "w*k_pre*rbar_pre"), ("ebar_post*rbar_pre", "k_post*ebar_post*k_pre*rbar_pre")):
        assert old in text
        text = text.replace(old, new)
    same(network_of(parse_model(text, Path("gains.toml"))))


@pytest.mark.backend("brian2:general")
def test_constants_that_are_all_one_change_nothing() -> None:
    model = lif()
    ordinary = parse_model(
        (models_dir() / "spiking_lif_nla.toml").read_text(encoding="utf-8"), Path("a.toml"), model.overrides
    )
    networks = [NetworkSpec(m, SIZES, SEEDS) for m in (model, ordinary)]
    found, expected = (life(network, CompiledEngine(make_general_kernel(network))) for network in networks)
    for name in ("u", "ebar", "z", "dw", "counts", "silent"):
        assert relative(found[name], expected[name]) < 1e-10, name


@pytest.mark.backend("brian2:general")
def test_values_are_data_and_no_part_of_the_text() -> None:
    kernels = [make_general_kernel(network_of(lif(), seed=seed)) for seed in (1, 2)]
    assert kernels[0].key == kernels[1].key
    assert not np.array_equal(kernels[0].initial_arrays()["own"], kernels[1].initial_arrays()["own"])
    assert kernels[0].key != make_general_kernel(NetworkSpec(lif({"t_ref": "3*ms"}), (4, 3, 2), SEEDS)).key


@pytest.mark.backend("brian2_cuda:emulated")
def test_the_cuda_text_equals_the_cpu_text(tmp_path: Path) -> None:
    network = network_of(lif())
    engine = CpuEngine(GeneralKernel(general_settings(network, record=True)), tmp_path)
    start(network, engine)
    made = blocks(network, 4)
    now, last = Planner(network.model.trial).idle(0), made[-1].basis[:, 1]
    settles = make_block(
        now,
        network.model.trial.dt,
        t0=made[-1].t0 + made[-1].n_steps * network.model.trial.dt,
        trial=4,
        basis=np.stack([last, last], axis=1),
        noise=(made[-1].noise[:, :1], np.zeros(0, np.int64)),
        events=events((0, 0.0, 1.0), (1, 0.0, -1.0)),
    )
    before = [engine.advance(block) for block in made] and engine.read()["w"]
    engine.advance(settles)  # as `Simulation.settle` does
    assert np.abs(engine.read()["w"] - before).max() > 1e-3
    replay = Replay(cuda_kernel(general_settings(network, record=True), 64), tmp_path)
    outcome = replay.run(engine.calls, "reverse")
    assert outcome.returncode == 0, outcome.stderr[-3000:]
    found = replay.results()
    for name in engine.calls[0].after:
        exact = [call.after[name] for call in engine.calls]
        if name in ("spikes", "rec_spikes"):
            assert all(np.array_equal(a[name], b) for a, b in zip(found, exact, strict=True)), name
        elif max(np.abs(one).max() for one in exact) > 0:
            assert relative([after[name] for after in found], exact) < 1e-11, name


@pytest.mark.slow
@pytest.mark.backend("brian2_cpp")
@pytest.mark.parametrize("road", ["fused", "plain"])
def test_the_compiled_programs_equal_stock_brian2(road: str) -> None:
    from rnla_neuro_backends.brian2_program.plain import PlainProgramEngine
    from rnla_neuro_backends.brian2_program.plain_kernel import PlainKernel
    from rnla_neuro_backends.brian2_program.standalone import StandaloneEngine

    network = network_of(lif(), (4, 6, 3))
    plain = life(network, PlainEngine(network))
    for seed in (5, 6):  # the second one finds the program built
        network = network_of(lif(), (4, 6, 3), seed=seed)
        fused = road == "fused"
        engine = StandaloneEngine(make_general_kernel(network)) if fused else PlainProgramEngine(PlainKernel(network))
        found = life(network, engine)
        engine.close()
        for name in ("u", "ebar", "z", "dw", "silent"):
            assert (relative(found[name], plain[name]) < 1e-10) == (seed == 5), name


def test_what_does_not_fit_is_refused_by_name() -> None:
    model = rate()
    network = NetworkSpec(model, SIZES, SEEDS)
    with pytest.raises(BackendError, match=r"\[neuron.hidden\] k_m : 1 \(constant\): the form is that of neurons"):
        network.form  # noqa: B018
    assert isinstance(fused_kernel(network), GeneralKernel)
    for constants, words in (
        ({"hidden3": {}}, "unknown population in the constants 'hidden3'.*did you mean 'hidden"),
        ({"hidden1": {"k_n": np.ones((2, 7))}}, r"unknown constant of \[neuron.hidden\] 'k_n'.*did you mean 'k_m'"),
        ({"hidden1": {"k_m": np.ones(7)}}, r"'k_m' of hidden1 has shape \(7,\), expected \(agents, neurons\) \(2, 7\)"),
        ({"action": {"k_m": np.full((2, 4), np.nan)}}, "'k_m' of action holds NaN"),
    ):
        with pytest.raises(ConfigError, match=words):
            replace(network, constants=constants)
