"""SpiNNaker on its virtual machine: mapping, splitting, weights as they are held; what it refuses."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from rnla_neuro import Agent
from rnla_neuro.errors import BackendError, MissingExtraError
from rnla_neuro.experiment import run
from rnla_neuro.session import RunRequest
from rnla_neuro_backends.pynn_adapter import spinnaker_process
from rnla_neuro_backends.pynn_adapter.plan import Cells, Link, Plan, Source, Spikes, Trial
from rnla_neuro_backends.pynn_adapter.simulators import spinnaker
from rnla_neuro_backends.pynn_adapter.simulators.spinnaker import SpinnakerSimulator, grid, held, rounded
from rnla_neuro_backends.pynn_adapter.spinnaker_process import find_machine

needs_spynnaker = pytest.mark.skipif(find_spec("spynnaker") is None, reason="extra 'spinnaker' is not installed")


def plan(n_in=64, n_hidden=40, n_out=10, *, n_agents=1, delay=1.0):
    def cells(name, size):
        return Cells(name, size, tau_m=10.0, tau_syn=10.0, t_ref=2.0)

    inhibition = -(1.0 - np.eye(n_out))
    return Plan(
        cells=(cells("hidden1", n_hidden), cells("action", n_out)),
        sources=(Source("input", n_in),),
        links=(
            Link("first", "input", "hidden1", 0.1),
            Link("second", "hidden1", "action", 0.1),
            Link("inhibition", "action", "action", 0.1, fixed=inhibition),
        ),
        n_agents=n_agents,
        timestep=0.1,
        delay=delay,
        duration=100.0,
    )


@pytest.fixture
def empty_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """No configuration of sPyNNaker anywhere."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "system"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


@pytest.fixture
def simulator(empty_home):
    made = SpinnakerSimulator()
    yield made
    made.close()


def write(simulator, rng):
    for link in ("first", "second"):
        one = next(x for x in simulator.plan.links if x.name == link)
        for agent in range(simulator.plan.n_agents):
            simulator.write(link, agent, rng.normal(size=(simulator.plan.size(one.post), simulator.plan.size(one.pre))))


@needs_spynnaker
@pytest.mark.backend("pynn:spinnaker")
def test_a_network_is_mapped_and_its_weights_are_rounded_as_we_round(simulator, empty_home):
    simulator.open(plan())
    write(simulator, np.random.default_rng(1))
    mapping = simulator.map()
    assert {(part.population, part.atoms) for part in mapping.parts} == {("input", 64), ("hidden1", 40), ("action", 10)}
    assert len({(part.chip, part.core) for part in mapping.parts}) == 3
    assert mapping.is_virtual
    assert sum(one.synapses for one in mapping.weights) == 64 * 40 + 40 * 10 + 90
    for one in mapping.weights:
        assert one.surprises == 0
        assert one.error <= one.step / 2
        assert 0 < one.step < 0.01
    assert "largest rounding" in mapping.summary()
    # other weights are another set-up, in the same process: nothing is left of the first; a silent row is no synapse
    simulator.write("first", 0, np.zeros((40, 64)))
    again = {(one.link, one.kind): one.synapses for one in simulator.map().weights}
    assert ("first", "excitatory") not in again
    assert again["inhibition", "inhibitory"] == 90
    # nothing is left where the user works
    assert list((empty_home / "work").iterdir()) == []
    assert not (empty_home / ".spynnaker.cfg").exists()
    folder = simulator.process._folder
    assert folder.is_dir()
    simulator.close()
    assert not folder.exists()


@pytest.mark.slow
@needs_spynnaker
@pytest.mark.backend("pynn:spinnaker")
def test_the_network_for_digits_is_mapped_and_refuses_to_learn(empty_home):
    agent = Agent("spiking_lif_nla", "digits", "pynn", core="spinnaker", input="poisson")
    simulation = agent.session.simulation
    try:
        simulation.write()
        mapping = simulation.simulator.map()
        sizes = {part.population: part.atoms for part in mapping.parts}
        assert (sizes["input"], sizes["hidden1"], sizes["action"]) == (64, 40, 10)
        assert sum(one.surprises for one in mapping.weights) == 0
        with pytest.raises(BackendError, match="no spikes come back"):
            agent.learn(1)
    finally:
        simulation.close()


@pytest.mark.slow
@needs_spynnaker
@pytest.mark.backend("pynn:spinnaker")
@pytest.mark.parametrize(("n_in", "n_hidden", "n_agents"), [(64, 300, 1), (300, 40, 2)])
def test_what_is_more_than_a_core_takes_is_split(simulator, n_in, n_hidden, n_agents):
    simulator.open(plan(n_in, n_hidden, n_agents=n_agents))
    write(simulator, np.random.default_rng(2))
    mapping = simulator.map()
    for name, size in (("input", n_in * n_agents), ("hidden1", n_hidden * n_agents), ("action", 10 * n_agents)):
        atoms = [part.atoms for part in mapping.parts if part.population == name]
        assert sum(atoms) == size
        assert len(atoms) == -(-size // spinnaker.PER_CORE)
    synapses = sum(one.synapses for one in mapping.weights)
    assert synapses == n_agents * (n_in * n_hidden + n_hidden * 10 + 90)


def test_no_decision_is_made_without_a_machine(simulator, monkeypatch):
    monkeypatch.setattr(SpinnakerSimulator, "missing", lambda self: "")
    simulator.open(plan())
    with pytest.raises(BackendError, match=r"no spikes come back \(there is no \.spynnaker\.cfg.*--core nest"):
        simulator.run(Trial())


def test_nothing_is_kept_of_a_run_that_is_refused(empty_home, monkeypatch):
    monkeypatch.setattr(SpinnakerSimulator, "missing", lambda self: "")
    request = RunRequest("xor", model="spiking_lif_nla", input="poisson", backend="pynn", core="spinnaker")
    with pytest.raises(BackendError, match="no spikes come back"):
        run(request, empty_home / "run")
    assert not (empty_home / "run").exists()


def test_a_delay_that_the_machine_does_not_have(simulator, monkeypatch):
    monkeypatch.setattr(SpinnakerSimulator, "missing", lambda self: "")
    with pytest.raises(BackendError, match=r"a delay of 0\.5 ms.*dt = \"1\*ms\""):
        simulator.open(plan(delay=0.5))


def test_a_missing_package_is_named_with_its_extra(simulator, monkeypatch):
    monkeypatch.setattr(spinnaker.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"rnla_neuro\[spinnaker\]"):
        simulator.open(plan())


@pytest.mark.parametrize(
    ("place", "text", "is_virtual"),
    [
        (".spynnaker.cfg", "[Machine]\nmachine_name = 192.168.240.253\nversion = 5\n", False),
        ("config/.spynnaker.cfg", "[Machine]\nspalloc_server = board.example\n", False),
        ("work/spynnaker.cfg", "[Machine]\nversion = 5\nvirtual_board = True\n", True),
    ],
)
def test_the_users_own_machine_is_found(empty_home, place, text, is_virtual):
    assert find_machine().is_virtual
    path = empty_home / place
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    machine = find_machine()
    assert machine.files == [path]
    assert machine.is_virtual is is_virtual


def test_a_broken_configuration_is_named(empty_home):
    (empty_home / ".spynnaker.cfg").write_text("machine = 3\n")
    with pytest.raises(BackendError, match=r"\.spynnaker\.cfg cannot be read"):
        find_machine()


def test_what_the_machine_says_comes_with_the_error(simulator, monkeypatch, tmp_path):
    worker = tmp_path / "worker.py"
    worker.write_text("open('log.txt', 'w').write('no such board\\n')\n")
    monkeypatch.setattr(spinnaker_process.spinnaker_worker, "__file__", str(worker))
    monkeypatch.setattr(SpinnakerSimulator, "missing", lambda self: "")
    simulator.open(plan())
    with pytest.raises(BackendError, match=r"(?s)ended before it answered.*no such board"):
        simulator.map()


def test_spikes_and_currents_of_a_trial_are_handed_on(simulator, monkeypatch):
    """With a machine that answers as the worker does."""
    monkeypatch.setattr(SpinnakerSimulator, "missing", lambda self: "")
    simulator.open(plan(3, 2, 2, n_agents=2))
    asked = {}

    class Machine:
        machine = spinnaker_process.Machine([], is_virtual=False)

        def ask(self, request):
            asked.update(request)
            return {"spikes": {"hidden1": [np.array([3.0]), np.empty(0), np.array([1.0, 2.0]), np.empty(0)]}}

        def close(self):
            pass

    simulator._process = Machine()
    weights = np.array([[1.0, 0.0, -2.0], [0.0, 3.0, 0.0]])
    simulator.write("first", 1, weights)
    trial = Trial({"input": Spikes(np.array([4, 0, 4]), np.array([7.0, 5.0, 6.0]))}, {"hidden1": np.arange(4.0)})
    spikes = simulator.run(trial)["hidden1"]
    assert asked["sources"]["input"] == [[5.0], [], [], [], [6.0, 7.0], []]
    np.testing.assert_array_equal(asked["cells"]["hidden1"][2], np.arange(4.0))
    np.testing.assert_array_equal(asked["cells"]["action"][2], np.zeros(4))
    rows = {tuple(row) for row in np.round(asked["links"]["first"][2], 9)}
    assert rows == {(3.0, 2.0, 0.1), (5.0, 2.0, -0.2), (4.0, 3.0, 0.3)}
    np.testing.assert_array_equal(spikes.index, [0, 2, 2])
    np.testing.assert_array_equal(spikes.time, [3.0, 1.0, 2.0])


def test_rounding_and_its_grid():
    weights = np.array([0.30, 0.126, 0.124])
    np.testing.assert_array_equal(rounded(weights, 0.25), [0.25, 0.25, 0.0])
    assert grid(np.array([0.75, 1.5, 0.0])) == 0.25
    assert grid(np.zeros(2)) == 0.0
    asked = np.array([[0, 0, 0.3], [1, 0, 0.6], [0, 1, -0.3]])
    back = np.array([[1, 0, 0.75], [0, 0, 0.25]])
    quantised = held("first", "excitatory", asked, back)
    assert quantised.surprises == 1  # 0.6 is 0.5 on this grid
    assert quantised.error == pytest.approx(0.15)
    with pytest.raises(BackendError, match="2 inhibitory synapses, 1 were asked for"):
        held("first", "inhibitory", asked, back)
