"""DenseSynapses against Brian2's Synapses and against loops by hand, on every target, with all edges of blocks.

The edges: events off the grid of blocks, two within a block, one for one agent only, one in the last step; an input
that changes without an event; a run that ends within a block; a monitor that reads the traces within a block.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import brian2 as b2
import numpy as np
import pytest

from tests.conformance import dense_scenario as scenario
from tests.conformance.dense_scenario import Net, Records

# Brian2 2.10 calls pyparsing by an old argument name.
pytestmark = pytest.mark.filterwarnings("ignore:'parseAll' argument:DeprecationWarning")

# ... and compares float32 with 1e50 after a run.
KNOWN_WARNINGS = (
    "-W",
    "ignore:'parseAll' argument is deprecated:DeprecationWarning",
    "-W",
    "ignore:overflow encountered in cast:RuntimeWarning",
)
AT_EVENTS = {"traces": "at_events", "buffer_steps": scenario.BUFFER}
VARIANTS = {
    "one pass": {},
    "one by one": {"fuse": False},
    "integration after the neurons": {"order": 1},
    "at events": AT_EVENTS,
    "at events, longer than the run": {"traces": "at_events", "buffer_steps": scenario.STEPS + 1},
}


@pytest.fixture(autouse=True)
def preferences() -> Iterator[None]:
    before = b2.prefs.codegen.target
    b2.prefs.codegen.target = "numpy"
    yield
    b2.prefs.codegen.target = before


@lru_cache
def golden(order: int = -1) -> Records:
    """Brian2's own Synapses, numpy, float64."""
    before = b2.prefs.codegen.target
    b2.prefs.codegen.target = "numpy"
    records = scenario.run(Net("brian2", scenario.namespace(), order=order))
    b2.prefs.codegen.target = before
    return records


def differences(found: Records, wanted: Records) -> dict[str, float]:
    """Largest difference of each quantity, relative to its largest value; traces and weights each by themselves."""
    assert {"E", "F", "w"} <= found.keys() <= wanted.keys()
    pairs = {name: (found[name], wanted[name]) for name in found}
    pairs["dw"] = (found["w"] - scenario.weights(), wanted["w"] - scenario.weights())
    assert all(a.shape == b.shape and np.isfinite(a).all() for a, b in pairs.values())
    return {name: np.abs(a - b).max() / np.abs(b).max() for name, (a, b) in pairs.items()}


def assert_same(found: Records, wanted: Records, tolerance: float) -> None:
    apart = {name: value for name, value in differences(found, wanted).items() if value > tolerance}
    assert not apart


def test_the_scenario_would_show_a_difference() -> None:
    """Weights change as much as they are, and the comparison finds one wrong trace of one synapse."""
    records = golden()
    change = np.abs(records["w"] - scenario.weights())
    assert change.mean() > np.abs(scenario.weights()).mean()
    assert len(scenario.EVENTS) >= 3
    assert scenario.STEPS >= 2000
    wrong = dict(records)
    wrong["E"] = records["E"].copy()
    wrong["E"][17] *= 1 + 1e-9
    with pytest.raises(AssertionError):
        assert_same(wrong, records, 1e-12)


def test_synapses_are_what_the_loops_by_hand_say() -> None:
    assert_same(scenario.by_hand(), golden(), 1e-12)


@pytest.mark.backend("dense:numpy")
@pytest.mark.parametrize("name", VARIANTS)
def test_numpy_equals_synapses(name: str) -> None:
    options = VARIANTS[name]
    found = scenario.run(Net("dense", scenario.namespace(), **options))
    assert_same(found, golden(options.get("order", -1)), 1e-12)


def test_the_order_of_the_integration_makes_a_difference() -> None:
    """So that the test above means something."""
    assert differences(golden(1), golden(-1))["E"] > 1e-3


@pytest.mark.backend("dense:numpy")
def test_what_was_fused_and_recognised_is_said() -> None:
    net = Net("dense", scenario.namespace(), **AT_EVENTS)
    assert net.S.recognised == []
    net.network.run(2 * b2.ms)
    said = dict(net.S.recognised)
    assert said["one pass: I_post, fb_pre"] == "the first of the step"
    assert said["E at events"].endswith("(tanh(u_pre))")
    assert said["F at events"].count(")*(") == 2  # one product for each side
    net = Net("dense", scenario.namespace())
    net.network.run(2 * b2.ms)
    assert dict(net.S.recognised) == {"one pass: E, F, I_post, fb_pre": "the first of the step"}
    assert [len(runner.code_objects) for runner in net.S.summed_updaters.values()] == [0, 0]
    net = Net("dense", scenario.namespace(), order=1)
    net.network.run(2 * b2.ms)
    said = dict(net.S.recognised)
    assert said["one pass: E, F"].endswith("_stateupdater' stands before it")


@pytest.mark.backend("dense:cython")
def test_cython_equals_synapses() -> None:
    """Only the projection is compiled, so that the test is short."""
    numpy = b2.codegen.runtime.numpy_rt.NumpyCodeObject
    net = Net("dense", scenario.namespace(), **AT_EVENTS)
    for obj in (net.source, net.target, net.agents, *net.monitors):
        for part in (obj, *obj.contained_objects):
            part.codeobj_class = numpy
    b2.prefs.codegen.target = "cython"
    assert_same(scenario.run(net), golden(), 1e-12)
    assert type(net.S.trace_updater.codeobj).__name__ == "CythonCodeObject"


@pytest.mark.backend("dense:cpp")
def test_one_program_of_all_variants_equals_synapses(tmp_path: Path) -> None:
    """Traces at events and in every step in float64, and one in float32 beside them."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-W", "error", *KNOWN_WARNINGS, scenario.__file__, str(tmp_path)]
    outcome = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout[-3000:] + outcome.stderr[-3000:]
    loaded = {name: dict(np.load(tmp_path / f"{name}.npz")) for name in ("at events", "every step")}
    assert loaded["at events"].keys() == golden().keys()
    for records in loaded.values():
        assert_same(records, golden(), 1e-12)
    single = dict(np.load(tmp_path / "single.npz"))
    assert single["w"].dtype == single["E"].dtype == np.float32
    found = {name: value for name, value in differences(single, golden()).items() if value > 5 * plain_single()[name]}
    assert not found
    body = "".join(path.read_text().split("POINTERS")[1] for path in single_code(tmp_path / "program"))
    assert "(E + (0.1" in body
    assert not re.findall(r"(?<![\w.])\d+\.\d*(?![\w.])", body), "a double literal makes all arithmetic double"
    doubles = set(re.findall(r"\bconst double (\w+) =", body)) - {"_reward_agent_neurongroup_8_t"}
    assert not [name for name in doubles if re.search(rf"[*+/-] {name}\b", body)]


def test_the_example_learns(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples" / "dense_synapses.py"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-W", "error", *KNOWN_WARNINGS, str(example)]
    outcome = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr[-3000:]
    assert "E at events" in outcome.stdout
    assert "of the last 300" in outcome.stdout


def single_code(program: Path) -> list[Path]:
    """The passes over the synapses of the projection in float32: the third one that was made."""
    found = [p for p in (program / "code_objects").glob("synapses_2_*.cpp") if "#pragma omp simd" in p.read_text()]
    assert found
    return found


@lru_cache
def plain_single() -> dict[str, float]:
    """What float32 costs Brian2's own Synapses."""
    with scenario.single_precision(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "overflow encountered in cast", RuntimeWarning)
        return differences(scenario.run(Net("brian2", scenario.namespace())), golden())
