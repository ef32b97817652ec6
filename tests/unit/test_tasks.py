"""Tasks: Gymnasium's own check, the right rewards, and sequences that a seed alone determines."""

from __future__ import annotations

import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from rnla_neuro import tasks
from rnla_neuro.errors import TaskError
from rnla_neuro.tasks.environments import ParityEnv
from rnla_neuro.tasks.sources import BarsSource, parity, random_patterns, stratified_test_rows

tasks.register()


@pytest.fixture(scope="module")
def table_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("tables") / "xor.csv"
    path.write_text("a,b,label\n0,0,no\n0,1,yes\n1,0,yes\n1,1,no\n")
    return str(path)


@pytest.fixture(params=sorted(tasks.ENVIRONMENTS))
def env_id(request):
    return request.param


@pytest.fixture
def kwargs(env_id, table_file):
    return {"path": table_file} if env_id == "rnla/Table-v0" else {}


def test_gymnasium_finds_nothing_to_say(env_id, kwargs):
    env = gym.make(env_id, **kwargs)  # warnings are errors
    check_env(env.unwrapped)
    env.close()


def test_a_single_environment_and_many_show_the_same_sequence(env_id, kwargs):
    single = gym.make(env_id, **kwargs)
    many = gym.make_vec(env_id, num_envs=3, **kwargs)
    pattern, info = single.reset(seed=7)
    patterns, infos = many.reset(seed=[3, 7, 11])
    shown = []
    for k in range(600):  # more than two blocks drawn ahead
        np.testing.assert_array_equal(patterns[1], pattern)
        assert infos["label"][1] == info["label"]
        shown.append(tuple(pattern.ravel()))
        action = k % single.action_space.n
        patterns, rewards, terminated, truncated, infos = many.step(np.full(3, action))
        final, reward, ended, cut, final_info = single.step(action)
        assert (rewards[1], terminated[1], truncated[1]) == (reward, ended, cut)
        assert (ended, cut) == (True, False)
        np.testing.assert_array_equal(infos["final_obs"][1], final)
        assert infos["final_info"]["label"][1] == final_info["label"]
        pattern, info = single.reset()
    assert len(set(shown)) > 1
    assert (patterns[0] != patterns[1]).any() or (patterns[2] != patterns[1]).any()


def test_a_sequence_does_not_depend_on_who_runs_beside(env_id, kwargs):
    def run(seeds, agent):
        env = gym.make_vec(env_id, num_envs=len(seeds), **kwargs)
        patterns, _ = env.reset(seed=seeds)
        seen = [patterns[agent].copy()]
        seen += [env.step(np.zeros(len(seeds), dtype=np.int64))[0][agent].copy() for _ in range(300)]
        return np.array(seen)

    alone = run([5], 0)
    np.testing.assert_array_equal(alone, run([1, 2, 5, 9], 2))
    assert (alone != run([6], 0)).any()


def test_views_handed_out_never_change():
    env = gym.make_vec("rnla/Bars-v0", num_envs=2)
    kept = [env.reset(seed=[1, 2])[0]]
    copies = [kept[0].copy()]
    for _ in range(300):
        kept.append(env.step(np.zeros(2, dtype=np.int64))[0])
        copies.append(kept[-1].copy())
    np.testing.assert_array_equal(np.array(kept), np.array(copies))


def test_reward_is_for_the_label(env_id, kwargs):
    env = gym.make(env_id, **kwargs)
    hit, miss = (1.0, -1.0) if env_id == "rnla/ThreeDigits-v0" else (1.0, 0.0)
    _, info = env.reset(seed=1)
    assert env.step(info["label"])[1] == hit
    _, info = env.reset()
    assert env.step((info["label"] + 1) % int(env.action_space.n))[1] == miss


def test_seed_as_a_number_counts_on():
    env = gym.make_vec("rnla/Digits-v0", num_envs=2)
    first = env.reset(seed=4)[0].copy()
    np.testing.assert_array_equal(first, env.reset(seed=[4, 5])[0])


@pytest.mark.parametrize("seed", [[1], [1, None], [1, 2, 3]])
def test_seeds_must_be_one_an_agent(seed):
    env = gym.make_vec("rnla/Parity-v0", num_envs=2)
    with pytest.raises(TaskError, match="2 agents"):
        env.reset(seed=seed)


def test_misuse_is_worded():
    env = gym.make("rnla/Parity-v0").unwrapped
    with pytest.raises(TaskError, match="reset"):
        env.step(0)
    env.reset()
    with pytest.raises(TaskError, match="action 2: allowed are 0 to 1"):
        env.step(2)
    many = gym.make_vec("rnla/Parity-v0", num_envs=2).unwrapped
    with pytest.raises(TaskError, match="reset"):
        many.step(np.zeros(2, dtype=np.int64))
    many.reset()
    with pytest.raises(TaskError, match="shape"):
        many.step(np.zeros(3, dtype=np.int64))
    with pytest.raises(TaskError, match="ansi"):
        ParityEnv(render_mode="human")
    with pytest.raises(TaskError, match="reset_mask"):
        many.reset(options={"reset_mask": np.array([True, False])})


def test_a_pattern_is_drawn_as_text():
    env = gym.make("rnla/Digits-v0", render_mode="ansi")
    env.reset(seed=1)
    lines = env.render().split("\n")
    assert [len(line) for line in lines] == [8] * 8
    assert len(set("".join(lines))) > 3


def test_parity_is_parity():
    patterns, labels = parity(3).dataset("test")
    assert patterns.shape == (8, 3)
    assert set(np.unique(patterns)) == {-1.0, 1.0}
    np.testing.assert_array_equal(labels, ((patterns > 0).sum(axis=1)) % 2)


@pytest.mark.parametrize("n_bits", [1, 17, 2.5, True, "4"])
def test_parity_needs_a_number_of_bits(n_bits):
    with pytest.raises(TaskError, match="n_bits"):
        parity(n_bits)


def test_patterns_are_fixed_by_their_own_seed():
    patterns, labels = random_patterns().dataset("train")
    assert patterns.shape == (40, 20)
    np.testing.assert_array_equal(np.bincount(labels), np.full(10, 4))
    np.testing.assert_array_equal(patterns, random_patterns().dataset("train")[0])
    assert (patterns != random_patterns(seed=1).dataset("train")[0]).any()
    # The first pattern, written down: another generator, or another order of draws, is another task.
    assert "".join("+" if x > 0 else "-" for x in patterns[0]) == "-++-+++++++--+-----+"
    with pytest.raises(TaskError, match="n_classes"):
        random_patterns(n_classes=41)


def test_bars_show_what_their_label_says():
    source = BarsSource(noise=0.0)
    images, labels = source.draw(np.random.default_rng(0), 500)
    assert set(labels.tolist()) == {0, 1, 2, 3}
    for image, label in zip(images.reshape(-1, 5, 5), labels.tolist(), strict=True):
        vertical, apart = divmod(label, 2)
        lines = image.T if vertical else image
        full = np.flatnonzero((lines == 1.0).all(axis=1))
        assert len(full) == 2
        assert (image == 1.0).sum() == 10
        distance = min((full[1] - full[0]) % 5, (full[0] - full[1]) % 5)
        assert distance == 1 + apart


def test_no_pixel_and_no_linear_readout_of_the_bars_tells_the_class():
    images, labels = BarsSource().dataset("train")
    means = np.stack([images[labels == label].mean(axis=0) for label in range(4)])
    assert np.abs(means - means.mean(axis=0)).max() < 0.1  # 4 sampling errors of 2,500 images
    inputs = np.c_[images, np.ones(len(images))]
    readout, *_ = np.linalg.lstsq(inputs, np.eye(4)[labels], rcond=None)
    test, test_labels = BarsSource().dataset("test")
    hits = (np.c_[test, np.ones(len(test))] @ readout).argmax(axis=1) == test_labels
    assert hits.mean() < 0.33  # chance is 0.25


def test_bars_stay_in_their_space_and_refuse_odd_noise():
    source = BarsSource(noise=1.0)
    assert np.abs(source.draw(np.random.default_rng(0), 2000)[0]).max() <= source.bound
    for noise in (-1.0, float("nan"), float("inf")):
        with pytest.raises(TaskError, match="noise"):
            BarsSource(noise=noise)


def test_digit_splits_are_fixed_and_disjoint():
    task = tasks.get("digits")
    sizes = {}
    for split in ("train", "test", "fit", "validation"):
        patterns, labels = task.dataset(split)
        sizes[split] = len(labels)
        share = np.bincount(labels, minlength=10) / len(labels)
        assert np.abs(share - 0.1).max() < 0.04
        assert patterns.shape == (len(labels), 64)
    assert sizes == {"train": 1347, "test": 450, "fit": 1077, "validation": 270}
    rows = {split: {row.tobytes() for row in task.dataset(split)[0]} for split in sizes}
    assert not rows["train"] & rows["test"]
    assert not rows["fit"] & rows["validation"]
    assert rows["fit"] | rows["validation"] == rows["train"]
    np.testing.assert_allclose(task.dataset("train")[0].mean(axis=0), 0.0, atol=1e-12)
    assert int((np.arange(450) * task.dataset("test")[1]).sum()) == 454772  # the split itself, for ever


def test_a_split_is_what_the_environment_shows():
    test = {row.tobytes() for row in tasks.get("digits").dataset("test")[0]}
    env = gym.make_vec("rnla/Digits-v0", num_envs=20, split="test")
    assert all(row.tobytes() in test for row in env.reset(seed=0)[0])
    with pytest.raises(TaskError, match=r"unknown split 'tset': did you mean 'test'\?"):
        gym.make("rnla/Digits-v0", split="tset")


def test_three_digits_are_three_images():
    patterns, labels = tasks.get("three-digits").dataset("train")
    assert patterns.shape == (3, 100)
    assert labels.tolist() == [0, 1, 2]
    np.testing.assert_allclose(patterns.max(axis=1), 1.0)
    assert patterns.min() == 0.0


def test_stratified_rows_have_each_class_its_share():
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    chosen = stratified_test_rows(labels, 20, seed=0)
    assert np.bincount(labels[chosen]).tolist() == [10, 6, 4]


def test_registering_twice_changes_nothing():
    spec = gym.spec("rnla/Digits-v0")
    tasks.register()
    assert gym.spec("rnla/Digits-v0") is spec


TRACKING = ("tracking", "tracking-product", "tracking-delay")


def test_catalogue_names_defaults_and_chance():
    known = tasks.available()
    assert list(known) == ["xor", "parity4", "bars", "patterns", "digits", "three-digits", *TRACKING, "pong"]
    assert known["digits"].hidden == (40,)
    assert known["three-digits"].model == "rate_nla_poster"
    assert not known["pong"].is_dataset
    for task in known.values():
        if not task.is_dataset:
            continue
        _, labels = task.dataset("train")
        source = task.source()
        assert task.chance == pytest.approx(1 / source.n_classes)
        expected = (source.hit + (source.n_classes - 1) * source.miss) / source.n_classes
        assert task.chance_reward == pytest.approx(expected)
        assert labels.max() == source.n_classes - 1
        assert pickle.loads(pickle.dumps(task)) == task
        assert tasks.get(task) is task
    with pytest.raises(TypeError):
        known["xor"].kwargs["n_bits"] = 3


def test_catalogue_takes_any_gymnasium_id():
    task = tasks.get("CartPole-v1")
    assert (task.env_id, task.chance, task.is_dataset) == ("CartPole-v1", None, False)
    with pytest.raises(TaskError, match="not a data set"):
        task.dataset("test")
    assert tasks.get("rnla/Digits-v0").name == "digits"
    assert tasks.get("rnla/Parity-v0").kwargs.get("n_bits", 4) == 4


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digit", r"unknown task 'digit': did you mean 'digits'\?"),
        ("CartPole-v9", r"did you mean 'CartPole-v1'\?"),
        ("no_such_module:Env-v0", "no_such_module"),
        ("rnla/Table-v0", "needs a file"),
        ("nowhere.csv", "does not exist"),
    ],
)
def test_unknown_tasks_are_named(name, message):
    with pytest.raises(TaskError, match=message):
        tasks.get(name)
