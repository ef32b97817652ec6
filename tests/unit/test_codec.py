"""Codecs: every space that is supported, and the refusal of the others."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import batch_space

from rnla_neuro.codec import Codec
from rnla_neuro.errors import TaskError

SUPPORTED = [
    spaces.Box(-1.0, 1.0, (3,), np.float32),
    spaces.Box(-np.inf, np.inf, (2, 2), np.float64),
    spaces.Box(0, 255, (2, 3), np.uint8),
    spaces.Discrete(4),
    spaces.Discrete(3, start=-1),
    spaces.MultiBinary(5),
    spaces.MultiBinary((2, 3)),
    spaces.MultiDiscrete([2, 4]),
    spaces.MultiDiscrete([[2, 3], [4, 5]]),
    spaces.MultiDiscrete([2, 3], start=[1, -5]),
]


@pytest.mark.parametrize("space", SUPPORTED, ids=str)
def test_a_batch_becomes_finite_inputs_one_row_an_agent(space):
    codec = Codec.for_space(space)
    batch_of = batch_space(space, 6)
    batch_of.seed(1)
    batch = batch_of.sample()
    inputs = codec.encode(batch)
    assert inputs.shape == (6, codec.n_in)
    assert inputs.dtype == np.float64
    assert np.isfinite(inputs).all()
    for agent in range(6):  # an agent's inputs are those of its own observation
        np.testing.assert_array_equal(inputs[agent], codec.encode(batch[agent : agent + 1])[0])
    distinct = {np.asarray(one).tobytes() for one in batch}
    assert len({row.tobytes() for row in inputs}) == len(distinct)


def test_box_values():
    box = spaces.Box(np.array([0.0, -np.inf]), np.array([10.0, np.inf]), dtype=np.float64)
    batch = np.array([[10.0, 7.0], [5.0, -3.0]])
    np.testing.assert_array_equal(Codec.for_space(box).encode(batch), batch)
    np.testing.assert_array_equal(Codec.for_space(box, scale=True).encode(batch), [[1.0, 7.0], [0.0, -3.0]])


def test_an_image_of_bytes_is_scaled():
    image = spaces.Box(0, 255, (1, 2), np.uint8)
    batch = np.array([[[0, 255]]], dtype=np.uint8)
    np.testing.assert_allclose(Codec.for_space(image).encode(batch), [[-1.0, 1.0]])
    np.testing.assert_array_equal(Codec.for_space(image, scale=False).encode(batch), [[0.0, 255.0]])


def test_discrete_values():
    codec = Codec.for_space(spaces.Discrete(3, start=-1))
    np.testing.assert_array_equal(codec.encode(np.array([-1, 1])), [[1, 0, 0], [0, 0, 1]])
    codec = Codec.for_space(spaces.MultiDiscrete([2, 3]))
    np.testing.assert_array_equal(codec.encode(np.array([[1, 2]])), [[0, 1, 0, 0, 1]])
    codec = Codec.for_space(spaces.MultiBinary(3))
    np.testing.assert_array_equal(codec.encode(np.array([[0, 1, 0]], dtype=np.int8)), [[-1, 1, -1]])


def test_a_value_outside_its_range_is_refused():
    with pytest.raises(TaskError, match="observation 5 of agent 1"):
        Codec.for_space(spaces.Discrete(3)).encode(np.array([0, 5]))
    with pytest.raises(TaskError, match=r"component 0\): allowed are 0 to 1"):
        Codec.for_space(spaces.MultiDiscrete([2, 3])).encode(np.array([[-1, 0]]))


REFUSED = [
    spaces.Dict({"a": spaces.Discrete(2)}),
    spaces.Tuple([spaces.Discrete(2)]),
    spaces.Text(4),
    spaces.Graph(spaces.Box(0, 1), None),
    spaces.Sequence(spaces.Discrete(2)),
]


@pytest.mark.parametrize("space", REFUSED, ids=lambda space: type(space).__name__)
def test_other_spaces_are_refused_by_name(space):
    with pytest.raises(TaskError, match="Codec") as caught:
        Codec.for_space(space)
    assert type(space).__name__ in str(caught.value)


def test_an_empty_box_is_refused():
    with pytest.raises(TaskError, match="without any number"):
        Codec.for_space(spaces.Box(0.0, 1.0, (0,)))
