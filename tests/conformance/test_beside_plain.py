"""Interneurons and further projections on Brian2's own groups: against a loop written by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec.loader import load_model
from rnla_neuro_backends.explicit import reading
from rnla_neuro_backends.explicit.plain import PlainEngine
from rnla_neuro_backends.explicit.simulation import ExplicitSimulation
from tests.conformance.nets import events
from tests.conformance.test_spiking_plain import blocks

MODEL = Path(__file__).parents[1] / "models" / "beside_small.toml"
SIZES = (3, 4, 5, 2)  # interneurons: 5 beside the first hidden layer, 2 beside the second
NAMES = ("down", "lateral", "across", "one_to_one")


def network() -> NetworkSpec:
    return NetworkSpec(load_model(MODEL), SIZES, (7, 8))


def softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum()


class ByHand:
    """The model of tests/models/beside_small.toml, written out: one agent, two hidden layers."""

    def __init__(self, net: NetworkSpec, agent: int) -> None:
        self.p = {name: p.value for name, p in net.model.parameters.items()}
        self.dt, self.agent = net.model.trial.dt, agent
        weights = [w[agent].copy() for w in net.initial_weights()]
        self.w, rest = weights[:3], weights[3:]
        self.beside = [dict(zip(NAMES, rest[k : k + 4], strict=True)) for k in (0, 4)]
        self.e = [np.zeros_like(w) for w in self.w]
        self.f = [np.zeros_like(layer["across"]) for layer in self.beside]
        self.u = [np.zeros(n) for n in SIZES]
        self.m = [np.zeros(5), np.zeros(2)]

    def step(self, block: object, k: int) -> tuple[np.ndarray, np.ndarray]:
        p, dt = self.p, self.dt
        here = (block.event_agent == self.agent) & (block.event_step == k)
        for delta in block.event_value[here]:
            for w, e in zip(self.w, self.e, strict=True):
                w += p["eta"] * delta * e
            for layer, f in zip(self.beside, self.f, strict=True):
                layer["across"] += 0.1 * p["eta"] * delta * f
        if k == block.n_steps:
            return self.u[1], self.u[1]
        x = block.coefficients[k] @ block.basis[self.agent]
        noise = block.noise[self.agent, block.noise_row[k]]
        rate = [x, np.tanh(self.u[1]), np.tanh(self.u[2]), softmax(self.u[3] / p["sigma"])]
        inter = [np.tanh(self.m[0]), softmax(self.m[1] / p["sigma"])]
        current = [w[:, :-1] @ r + w[:, -1] for w, r in zip(self.w, rate[:-1], strict=True)]
        apical, basal, teach = [], [], []
        for layer, w in enumerate(self.beside, 1):
            apical.append(w["down"] @ rate[layer + 1] - w["lateral"] @ inter[layer - 1])
            basal.append(w["across"][:, :-1] @ rate[layer] + w["across"][:, -1])
            teach.append(w["one_to_one"] @ self.u[layer + 1])
        errors = [*apical, p["beta"] * (self.u[3] - current[2])]
        seen = np.concatenate(self.u[1:]), np.concatenate(errors)
        for e, error, r in zip(self.e, errors, rate[:-1], strict=True):
            e += dt / p["tau_elig"] * (-e + block.gate[k] * np.outer(error, np.append(r, 1.0)))
        for layer, w in enumerate(self.beside, 1):
            pre = np.append(rate[layer], 1.0)
            self.f[layer - 1] += dt / p["tau_elig"] * (-self.f[layer - 1] + np.outer(inter[layer - 1], pre))
            w["lateral"] += dt * p["eta_i"] * np.outer(apical[layer - 1], inter[layer - 1])
        pushed = [p["k"] * apical[0], p["k"] * apical[1], noise]
        for layer, (i, push) in enumerate(zip(current, pushed, strict=True), 1):
            self.u[layer] = self.u[layer] + dt / p["tau"] * (i + push - self.u[layer])
        for k_, (b, t) in enumerate(zip(basal, teach, strict=True)):
            self.m[k_] = self.m[k_] + dt / p["tau"] * (b + p["k"] * t - self.m[k_])
        return seen

    def weights(self) -> np.ndarray:
        parts = [*self.w, *(layer[name] for layer in self.beside for name in NAMES)]
        return np.concatenate([w.ravel() for w in parts])

    def traces(self) -> np.ndarray:
        return np.concatenate([e.ravel() for e in (*self.e, *self.f)])


@pytest.mark.backend("brian2:plain")
def test_stock_brian2_does_what_a_loop_by_hand_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "refuse_growing", lambda *_: 0.0)  # seconds, and looked at elsewhere
    net = network()
    engine = PlainEngine(net, "numpy")
    start = np.concatenate([w.reshape(2, -1) for w in net.initial_weights()], axis=1)
    engine.write({"w": start})
    results = [engine.advance(block) for block in blocks(net)]
    end = engine.read()
    for agent in range(2):
        hand = ByHand(net, agent)
        for block, result in zip(blocks(net), results, strict=True):
            seen = [hand.step(block, k) for k in range(block.n_steps)]
            hand.step(block, block.n_steps)
            for name, values in zip(("u", "ebar"), zip(*seen, strict=True), strict=True):
                assert np.abs(result.recording[name][agent] - np.array(values)).max() < 1e-10, name
        assert np.abs(end["w"][agent] - hand.weights()).max() < 1e-10
        assert np.abs(end["z"][agent] - hand.traces()).max() < 1e-10
    assert np.abs(end["w"] - start).max() > 1e-3
    _weights_are_read_and_replaced(net, engine)


def _weights_are_read_and_replaced(net: NetworkSpec, engine: PlainEngine) -> None:
    simulation = ExplicitSimulation(net, engine)
    weights = simulation.weights()
    assert [w.shape[1:] for w in weights] == [link.shape for link in net.projections]
    assert [link.name for link in net.projections] == ["hidden", "hidden", "action", *NAMES, *NAMES]
    assert all(np.array_equal(a, b) for a, b in zip(weights, net.initial_weights(), strict=True))
    assert np.array_equal(weights[-1][0], np.eye(2))  # one to one
    assert [link.bias for link in net.projections[3:7]] == [False, False, True, False]
    doubled = [2 * w for w in weights]
    simulation.set_weights(doubled)
    assert all(np.array_equal(a, b) for a, b in zip(simulation.weights(), doubled, strict=True))
    mine = engine.net.weights()  # as plain Brian2 groups, of the agent that was loaded last
    assert [w.shape for w in mine] == [link.shape for link in net.projections]
    engine.net.set_weights([3 * w for w in mine])
    assert all(np.array_equal(a, 3 * b) for a, b in zip(engine.net.weights(), mine, strict=True))
    simulation.decide(np.ones((2, 3)), events())
    assert simulation.spike_counts() is None


def test_frozen_hidden_layers_freeze_what_stands_beside_them() -> None:
    net = NetworkSpec(load_model(MODEL), SIZES, (7,), freeze_hidden=True)
    assert [link.name for link, learns in zip(net.projections, net.plastic, strict=True) if learns] == ["action"]
