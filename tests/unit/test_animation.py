"""Moving pictures: each frame shows the state of its step."""

from __future__ import annotations

import dataclasses
import shutil
import stat

import numpy as np
import pytest
from PIL import Image

from rnla_neuro.analysis.animation import _Film, animate
from rnla_neuro.cli.app import execute
from rnla_neuro.errors import ConfigError, MissingExtraError, RunFolderError
from rnla_neuro.recording import Recording, Signal, Trial

SIZES, STEPS, DT = (25, 6, 3), 10, 1e-3


def one_trial(number: int, level: float, spikes: np.ndarray | None) -> Trial:
    onset = number * STEPS * DT
    shape = (2, STEPS, sum(SIZES[1:]))
    rate = np.zeros(shape)
    rate[:, :, :6] = level
    rate[:, 5:, 7] = 1.0  # the second action, in the second half
    return Trial(
        number=number,
        decision_time=onset + STEPS * DT,
        onset=onset,
        time=onset + DT * np.arange(STEPS),
        input=np.linspace(-level, level, 2 * SIZES[0]).reshape(2, SIZES[0]),
        action=np.array([1, 1]),
        reward=np.array([1.0, 0.0]),
        label=np.array([1, 2]),
        signals={"voltage": rate, "rate": rate, "gate": np.repeat([0.0, 1.0], [8, 2])},
        spikes=spikes,
        modulators={"reward.R_mean": np.full((2, STEPS), 0.5)},
        events=np.array([[0.0, onset, 0.0, 1.0]]),
    )


def made(spikes: np.ndarray | None = None) -> Recording:
    names = ("voltage", "rate", "gate", "modulator.reward.R_mean", "input")
    signals = {n: Signal(n, n, "1", ("seed", "time", "neuron"), n) for n in names}
    trials = (one_trial(0, -1.0, spikes), one_trial(1, 1.0, spikes))
    return Recording("task", "model", "brian2", "0", (4, 9), SIZES, DT, (5, 5), ("reward",), signals, trials)


def test_a_gif_has_a_frame_a_step(tmp_path):
    path = animate(made(), tmp_path / "x.gif", frames=4, fps=10)
    with Image.open(path) as film:
        assert film.n_frames == 4
        assert film.info["duration"] == 100
        assert film.size == (840, 560)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.gif"]


def test_frames_show_what_the_neurons_do():
    film = _Film(made(), 0)
    before, blue, half, red = film.pictures([0, 4, 6, 14])
    assert np.array_equal(before[:300, 300:560], blue[:300, 300:560])  # nothing changes in the first half
    hidden = [picture[100:230, 360:540] for picture in (blue, red)]
    assert hidden[0][..., 2].mean() > hidden[0][..., 0].mean() + 30  # rates of -1 are blue
    assert hidden[1][..., 0].mean() > hidden[1][..., 2].mean() + 30  # and those of 1 are red
    green = [(np.abs(p[60:260, 600:].astype(int) - (0, 158, 115)).sum(axis=2) < 30).sum() for p in (blue, half)]
    assert green[0] == 0 < green[1]  # the right action's bar rises


def test_a_wrong_choice_is_coloured_at_the_decision():
    film = _Film(made(), 1)
    orange = [
        (np.abs(p[60:260, 600:].astype(int) - (213, 94, 0)).sum(axis=2) < 30).sum() for p in film.pictures([8, 9])
    ]
    assert orange[0] == 0 < orange[1]


def test_spikes_have_a_panel_of_their_own():
    spikes = np.zeros((2, STEPS, sum(SIZES)), dtype=bool)
    (none,) = _Film(made(spikes), 0).pictures([3])
    fired = spikes.copy()
    fired[0, 4, 27:30] = True
    (some,) = _Film(made(fired), 0).pictures([3])
    rows = np.flatnonzero((none != some).any(axis=(1, 2)))
    assert len(rows)
    assert 375 < rows.min() < rows.max() < 445


def test_what_cannot_be_drawn_is_named(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"ending of a film '\.avi'"):
        animate(made(), tmp_path / "x.avi")
    with pytest.raises(ConfigError, match="seed 5: the recording has the seeds 4, 9"):
        animate(made(), tmp_path / "x.gif", seed=5)
    with pytest.raises(ConfigError, match="at least 1"):
        animate(made(), tmp_path / "x.gif", frames=0)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"ffmpeg.*or write a \.gif"):
        animate(made(), tmp_path / "x.mp4")
    assert not list(tmp_path.iterdir())


def test_mp4_frames_go_to_ffmpeg(tmp_path, monkeypatch):
    tool = tmp_path / "bin" / "ffmpeg"  # stands for the real one: keeps the size that it is told, and counts the bytes
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\nfor last; do :; done\n{ echo "$@"; wc -c; } > "$last"\n')
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")
    told, count = animate(made(), tmp_path / "x.mp4", frames=3).read_text().splitlines()
    assert "-s 840x560" in told
    assert int(count) == 3 * 840 * 560 * 3
    tool.write_text("#!/bin/sh\necho no codec >&2\nexit 1\n")
    with pytest.raises(RunFolderError, match="no codec"):
        animate(made(), tmp_path / "y.mp4", frames=2)
    assert not (tmp_path / "y.mp4").exists()


def test_the_command_draws_a_recording(tmp_path, capsys):
    kept = dataclasses.replace(made(), source="x").save(tmp_path / "x.npz")
    assert execute(["animate", str(kept), "--frames", "2", "--seed", "9"]) == 0
    assert capsys.readouterr().out == f"animation  {tmp_path / 'x.gif'}\n"
    with Image.open(tmp_path / "x.gif") as film:
        assert film.n_frames == 2
