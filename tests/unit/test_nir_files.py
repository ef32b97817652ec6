"""NIR: what a graph holds, that another simulator of NIR's equations gives the same spikes, and what is refused."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from rnla_neuro.backend import get_backend
from rnla_neuro.errors import BackendError, ConfigError, MissingExtraError
from rnla_neuro.events import EventBatch
from rnla_neuro.interchange.nir_files import export_run, to_nir
from rnla_neuro.interchange.nir_mapping import map_to_nir
from rnla_neuro.network import NetworkSpec
from rnla_neuro.results import RunConfig, RunFolder
from rnla_neuro.spec.loader import load_model, parse_model
from rnla_neuro.spec.sections import Filter, Membrane

nir = pytest.importorskip("nir")

PATH = Path(__file__).parents[1] / "models" / "nir_small.toml"
MODEL = load_model(PATH)
SIZES = (6, 20, 15, 4)


def changed(old: str, new: str):
    assert old in MODEL.text
    return parse_model(MODEL.text.replace(old, new), PATH)


def simulate(graph, signal: np.ndarray, dt: float) -> dict[str, np.ndarray]:
    """Integrate a chain by the equations of NIR's documentation, Euler steps, each node after the one before it.

    Nothing of it comes from the exporter: it reads node types and fields. `signal` has the shape (steps, n_in).
    """
    order, following = ["input"], dict(graph.edges)
    while order[-1] in following:
        order.append(following[order[-1]])
    v = dict.fromkeys(order, 0.0)
    seen: dict[str, list[np.ndarray]] = {name: [] for name in order}
    for x in signal:
        for name in order:
            node = graph.nodes[name]
            match type(node).__name__:
                case "Affine":
                    x = node.weight @ x + node.bias
                case "LI":
                    v[name] = v[name] + dt / node.tau * (node.v_leak - v[name] + node.r * x)
                    x = v[name]
                case "LIF":
                    v[name] = v[name] + dt / node.tau * (node.v_leak - v[name] + node.r * x)
                    x = (v[name] > node.v_threshold).astype(float)
                    v[name] = np.where(x > 0, node.v_reset, v[name])
                case "IF":
                    v[name] = v[name] + dt * node.r * x
                    x = (v[name] > node.v_threshold).astype(float)
                    v[name] = np.where(x > 0, node.v_reset, v[name])
                case "Delay":  # of one step
                    assert np.allclose(node.delay, dt)
                    v[name], x = x, v[name] * np.ones_like(x)
            seen[name].append(x)
    return {name: np.array(values) for name, values in seen.items()}


@pytest.fixture(scope="module")
def reference():
    """One trial of the model on stock Brian2, without exploration, and its network as a graph from a file."""
    silent = parse_model(MODEL.text.replace('scale = "sigma"', 'scale = "1e-12"'), PATH)
    with get_backend("brian2").build(NetworkSpec(silent, SIZES, (1,)), road="plain", target="numpy") as simulation:
        weights = [3.0 * w for w in simulation.weights()]
        simulation.set_weights(weights)
        x = np.random.default_rng(3).standard_normal((1, SIZES[0]))
        seen = simulation.decide_recorded(x, EventBatch.empty())[1]
    return [w[0] for w in weights], x[0], seen


@pytest.fixture(scope="module")
def graph(reference, tmp_path_factory):
    path = tmp_path_factory.mktemp("nir") / "x.nir"
    nir.write(path, to_nir(MODEL, reference[0]).graph)
    return nir.read(path)


def test_the_graph_has_weights_time_constants_and_thresholds(reference, graph):
    assert graph.metadata["model"] in ("nir_small", b"nir_small")
    assert float(graph.metadata["dt"]) == 0.5e-3
    first, _, last = (graph.nodes[f"weights{k}"] for k in (1, 2, 3))
    w1, _, w3 = reference[0]
    np.testing.assert_allclose(first.weight, 1.1 * 0.5 * w1[:, :-1])  # slope times the input's gain
    np.testing.assert_allclose(first.bias, 1.1 * (w1[:, -1] + 0.1 * w1[:, :-1].sum(axis=1)) + 1.6)
    height = 1 / (150 * 0.008) * 0.008 / 0.5e-3  # jump tau/dt
    np.testing.assert_allclose(last.weight, 2 * height * w3[:, :-1])
    np.testing.assert_allclose(last.bias, w3[:, -1] - w3[:, :-1].sum(axis=1))
    lif, li = graph.nodes["hidden1"], graph.nodes["filter1"]
    for value, expected in (
        (lif.tau, 0.01),
        (lif.v_threshold, 1.0),
        (lif.v_reset, -0.2),
        (lif.v_leak, 0.0),
        (lif.r, 1),
    ):
        np.testing.assert_allclose(value, np.full(20, expected))
    np.testing.assert_allclose(li.tau, np.full(20, 0.008))


def test_the_first_hidden_layer_spikes_at_the_same_steps(reference, graph):
    """Exactly: the same Euler steps of the same equations, in another order of operations."""
    _, x, seen = reference
    found = simulate(graph, np.tile(x, (len(seen.time), 1)), 0.5e-3)
    expected = seen.spikes[0, :, 6:26]
    assert expected.sum() > 100
    np.testing.assert_array_equal(found["hidden1"] > 0, expected)


def test_with_the_delay_of_a_layer_all_spikes_are_the_same(reference):
    weights, x, seen = reference
    found = simulate(to_nir(MODEL, weights, delays=True).graph, np.tile(x, (len(seen.time), 1)), 0.5e-3)
    for name, units in (("hidden1", slice(6, 26)), ("hidden2", slice(26, 41))):
        assert seen.spikes[0, :, units].sum() > 100
        np.testing.assert_array_equal(found[name] > 0, seen.spikes[0, :, units])
    np.testing.assert_allclose(found["action"][:-1], seen.u[0, 1:, -4:], rtol=1e-9, atol=1e-9)


def test_without_it_deeper_layers_are_off_by_less_than_an_interval(reference, graph):
    """A layer sees spikes a step earlier, and its first step is another: later spikes keep the lead or lag.

    Stated tolerance: as many spikes but for one, each at most 6 steps (3 ms) from its own; the same decision.
    """
    _, x, seen = reference
    found = simulate(graph, np.tile(x, (len(seen.time), 1)), 0.5e-3)
    mine, theirs = seen.spikes[0, :, 26:41], found["hidden2"] > 0
    for neuron in range(15):
        a, b = np.flatnonzero(mine[:, neuron]), np.flatnonzero(theirs[:, neuron])
        assert abs(len(a) - len(b)) <= 1
        n = min(len(a), len(b))
        assert np.abs(a[:n] - b[:n]).max(initial=0) <= 6
    assert found["action"][-1].argmax() == seen.u[0, -1, -4:].argmax()


def test_the_comparison_rejects_another_network(reference):
    weights, x, seen = reference
    others = [weights[0] * 1.02, *weights[1:]]
    found = simulate(to_nir(MODEL, others).graph, np.tile(x, (len(seen.time), 1)), 0.5e-3)
    assert (found["hidden1"] > 0).sum() > 0
    assert not np.array_equal(found["hidden1"] > 0, seen.spikes[0, :, 6:26])


def test_spikes_as_input_and_as_output():
    text = MODEL.text.replace('equations = "rbar = 0.5*x + 0.1 : 1"', "\n".join([
        'equations = """', "dq/dt = r_max*(1 + x)/2 : 1", "ds/dt = -s/tau_s : 1", "rbar = s : 1", '"""',
        'threshold = "q >= 1"', 'reset = """', "q -= 1", "s += 1/(r_max*tau_s)", '"""',
    ]))  # fmt: skip
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal((b, a + 1)) for a, b in pairwise(SIZES)]
    export = to_nir(parse_model(text, PATH), weights, readout="spikes")
    assert list(export.graph.nodes)[:2] == ["input", "input_filter"]
    assert export.graph.edges[-1] == ("hidden2", "output")
    assert any("input are its spikes" in text for text in export.left_out)
    dirac = to_nir(MODEL, weights, pulse="dirac").graph.nodes["weights2"].weight
    np.testing.assert_allclose(dirac, to_nir(MODEL, weights).graph.nodes["weights2"].weight * 0.5e-3)


def test_integrate_and_fire_without_leak():
    model = changed("dV/dt = (rest + slope*I - V)/tau_m : 1", "dV/dt = (rest*0 + slope*I)/tau_m : 1")
    assert map_to_nir(model).hidden == Membrane(None, pytest.approx(110.0), 0.0)
    nodes = to_nir(model, [np.ones((3, 3)), np.ones((2, 4))]).graph.nodes
    assert type(nodes["hidden1"]).__name__ == "IF"
    np.testing.assert_allclose(nodes["weights1"].weight, 0.5 * 110.0)


def test_what_maps():
    mapping = map_to_nir(MODEL)
    assert mapping.transmitted == Filter(-1.0, 2.0, pytest.approx(0.008), pytest.approx(1 / 1.2))
    assert (mapping.threshold, mapping.reset) == (1.0, -0.2)
    assert mapping.readout == Membrane(pytest.approx(0.01), pytest.approx(1.0), 0.0)
    direct = map_to_nir(changed('decision = "argmax(u)"', 'decision = "argmax(I)"'))
    assert direct.readout is None


def test_a_model_of_the_package_maps():
    mapping = map_to_nir(load_model("spiking_nir_nla"))
    assert mapping.input == Filter(0.0, 1.0)
    assert mapping.hidden == Membrane(pytest.approx(0.02), pytest.approx(0.9), pytest.approx(1.7))
    assert (mapping.threshold, mapping.reset, mapping.transmitted.offset) == (1.0, 0.0, -1.0)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("(rest + slope*I - V)/tau_m", "(rest + slope*tanh(I) - V)/tau_m", "not linear in V and I"),
        ("(rest + slope*I - V)/tau_m", "(rest + slope*I + 0.1*u - V)/tau_m", "it needs u beside its own input"),
        ("V = V_reset\n", "V -= theta + 0*V_reset\n", "NIR sets the voltage to a constant"),
        ("V = V_reset\n", "V = V_reset + 0.1*u\n", "'V_reset + 0.1*u' is not a constant"),
        ('threshold = "V >= theta"', 'threshold = "V >= theta + chance"', "thresholds are not random"),
        ('threshold = "V >= theta"', 'threshold = "V + u >= theta"', "a voltage above a constant is needed"),
        ('threshold = "V >= theta"', 'threshold = "V >= theta"\nrefractory = "1*ms"', "NIR has no refractory time"),
        ("rbar = 2*s - 1", "rbar = 2*s**2 - 1", "not a low-pass of the neuron's spikes"),
        ("rbar = 2*s - 1", "rbar = s - V", "not a low-pass of the neuron's spikes"),
        ("rbar = 0.5*x + 0.1", "rbar = tanh(x)", "it is not linear in x"),
        ('decision = "argmax(u)"', 'decision = "argmax(lowpass(s, tau_s))"', "ends with the voltage of the action"),
        ("du/dt = (I + noise - u)/tau_u", "du/dt = (I + noise + ebar - u)/tau_u", "beside its own input"),
    ],
)  # fmt: skip
def test_what_does_not_map_is_refused_with_its_reason(old, new, reason):
    with pytest.raises(BackendError, match="'nir_small' cannot be said in NIR") as error:
        map_to_nir(changed(old, new))
    assert reason in str(error.value)


def test_all_reasons_are_told_at_once():
    with pytest.raises(BackendError) as error:
        map_to_nir(load_model(PATH.with_name("spiking_small.toml")))
    for reason in ("refractory", "not random", "reset 'q -= 1'", "dq/dt", "decision"):
        assert reason in str(error.value)
    with pytest.raises(BackendError, match="of kind 'rate'"):
        map_to_nir(load_model("rate_nla"))


def test_a_run_becomes_a_file(tmp_path, reference):
    config = RunConfig("xor", "nir_small", "r-nla", "brian2", (3, 8), 5, model_text=MODEL.text)
    both = {f"projection{k}": np.stack([w, 2 * w]) for k, w in enumerate(reference[0])}
    with RunFolder.create(tmp_path / "run", config) as folder:
        folder.write_weights(both)
        folder.finish({})
    export_run(tmp_path / "run", tmp_path / "x.nir", seed=8)
    np.testing.assert_allclose(nir.read(tmp_path / "x.nir").nodes["weights1"].weight, 1.1 * reference[0][0][:, :-1])
    with pytest.raises(ConfigError, match=r"seed 4: .* has the seeds 3, 8"):
        export_run(tmp_path / "run", tmp_path / "x.nir", seed=4)
    with pytest.raises(ConfigError, match=r"ends in \.nir"):
        export_run(tmp_path / "run", tmp_path / "x.h5")


def test_mistakes_are_named(reference, monkeypatch):
    with pytest.raises(ConfigError, match="did you mean 'dirac'"):
        to_nir(MODEL, reference[0], pulse="dirak")
    with pytest.raises(ConfigError, match="each layer needs one more"):
        to_nir(MODEL, [reference[0][0], reference[0][2]])
    monkeypatch.setitem(sys.modules, "nir", None)
    with pytest.raises(MissingExtraError, match=r"rnla_neuro\[nir\]"):
        to_nir(MODEL, reference[0])
