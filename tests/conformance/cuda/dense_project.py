"""Writes the CUDA project of a dense projection, and what some steps of it give on Brian2's numpy target.

Run as a program: ``python dense_project.py FOLDER float64 every_step``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
import brian2 as b2
from brian2 import Network, NeuronGroup, ms

STEPS, BUFFER = 5, 3  # the buffer of traces is full once, and not empty at the end
AGENTS, PRE, POST = 2, 13, 40  # more postsynaptic neurons than a warp has threads
MODEL = """
w : 1
n : integer
I_post = 0.3*w*tanh(u_pre) : 1 (summed)
J_post = w**2*v_post : 1 (summed)
fb_pre = w*sin(v_post)*gain_agent : 1 (summed)
dE/dt = (-E + (v_post - 0.1)*u_pre{more})/tau : 1 (clock-driven)
"""


def values() -> dict[str, np.ndarray]:
    """Initial values by the names of arrays."""
    rng = np.random.default_rng(4)
    sizes = {"pre_u": AGENTS * PRE, "post_v": AGENTS * POST, "syn_w": AGENTS * PRE * POST, "syn_E": AGENTS * PRE * POST}
    return {name: rng.normal(size=size) for name, size in sizes.items()} | {
        "agents_reward": np.array([0.0, 0.7]),
        "agents_gain": np.array([1.5, -2.0]),
    }


def network(traces: str, more: str) -> tuple[Network, Any]:
    """Steps with sums on both sides, an ODE, code of its own, an event of one agent, and a softmax."""
    from rnla_neuro import DenseSynapses, GroupReduction

    b2.defaultclock.dt = 1 * ms
    names = {"tau": 10 * ms, "eta": 0.5}
    source = NeuronGroup(AGENTS * PRE, "u : 1\nfb : 1", name="pre")
    target = NeuronGroup(AGENTS * POST, "v : 1\nI : 1\nJ : 1\np : 1", name="post")
    agents = NeuronGroup(AGENTS, "reward : 1\ngain : 1", name="agents")
    GroupReduction(target, "p", "5*v", n_agents=AGENTS)
    options: dict[str, Any] = {"traces": traces, "buffer_steps": BUFFER}
    options |= {"order": -1, "n_agents": AGENTS, "agents": agents, "namespace": names, "method": "euler", "name": "syn"}
    synapses = DenseSynapses(
        source, target, MODEL.format(more=more), {"reward_agent > 0.5": "w += eta*reward_agent*E"}, **options
    )
    synapses.run_regularly("n += 1 + int(w > u_pre)", when="after_groups")
    groups = {"pre": source, "post": target, "agents": agents, "syn": synapses}
    for name, value in values().items():
        owner, variable = name.split("_")
        setattr(groups[owner], variable, value)
    synapses.w["i > 3 and E > 0.1"] = "0.5*w - 0.1"
    return Network(source, target, agents, synapses), groups


def wanted(more: str) -> dict[str, np.ndarray]:
    """What the steps give on the numpy target, with traces integrated in every step."""
    net, groups = network("every_step", more)
    net.run(STEPS * ms)
    names = ("pre_fb", "post_I", "post_J", "post_p", "syn_w", "syn_E", "syn_n")
    return {name: np.array(getattr(groups[name.split("_")[0]], name.split("_")[1])[:]) for name in names}


def project(folder: Path, traces: str, more: str) -> dict[str, Any]:
    """Write the project; return its arrays, and its code objects: before, in each step, and after the run."""
    import brian2cuda  # noqa: F401 - registers the device

    cuda = b2.prefs.devices.cuda_standalone.cuda_backend
    cuda.detect_gpus, cuda.gpu_id, cuda.compute_capability = False, 0, 9.0
    cuda.detect_cuda, cuda.cuda_runtime_version, cuda.cuda_path = False, 13.0, "/usr/local/cuda"
    cuda.extra_compile_args_nvcc = ["-w", "-std=c++17"]
    b2.prefs.codegen.cpp.extra_compile_args_gcc = ["-w", "-O3", "-march=native", "-std=c++17"]
    b2.set_device("cuda_standalone", directory=str(folder), build_on_run=False)
    net, groups = network(traces, more)
    net.run(STEPS * ms)
    queue = b2.device.main_queue
    before, after = (
        [args[0].name for kind, args in queue if kind == f"{when}_code_object"] for when in ("run", "after_run")
    )
    step = [code.name for obj in net.sorted_objects for code in obj.code_objects]
    b2.device.build(directory=str(folder), compile=False, run=False, with_output=False)
    arrays = {name: (np.dtype(variable.dtype).name, int(variable.size)) for variable, name in b2.device.arrays.items()}
    findings = [list(finding) for finding in groups["syn"].recognised]
    return {"arrays": arrays, "before": before, "step": step, "after": after, "recognised": findings}


if __name__ == "__main__":
    out, precision, traces = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    more = " + w" if traces == "every_step" else ""  # with w in it, a trace cannot be formed at events
    b2.prefs.core.default_float_dtype = np.dtype(precision).type
    b2.prefs.codegen.target = "numpy"
    np.savez(out / "wanted.npz", **wanted(more))
    (out / "project.json").write_text(json.dumps(project(out / "project", traces, more)))
