"""Numpy functions of a model's form."""

from __future__ import annotations

import numpy as np

from rnla_neuro import Agent, load_model
from rnla_neuro.spec.derive import derive_form
from rnla_neuro.spec.loader import parse_model
from rnla_neuro.spec.numeric import input_rate


def test_a_constant_input_rate_has_the_shape_of_the_input(tmp_path):
    model = load_model("rate_nla")
    text = model.text.replace("rbar = x : 1", "rbar = 0*x + 0.5 : 1")
    rate = input_rate(derive_form(parse_model(text, model.path)))(np.zeros((3, 2)))
    assert np.array_equal(rate, np.full((3, 2), 0.5))
    path = tmp_path / "constant.toml"
    path.write_text(text)
    with Agent(str(path), "xor", seed=1) as agent:  # every input looks the same: the answers do, too
        agent.learn(50)
        assert len(set(np.ravel(agent.predict(np.array([[0.0, 1.0], [1.0, 1.0]]))))) == 1
