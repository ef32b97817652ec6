"""A recording as a moving picture: input, hidden activity, action layer, neuromodulator, as GIF or MP4."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from rnla_neuro.analysis.canvas import COLOURS, STYLE
from rnla_neuro.errors import ConfigError, MissingExtraError, RunFolderError, unknown
from rnla_neuro.recording import Recording
from rnla_neuro.records import whole_or_nothing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]
Draw = Callable[[int], "list[Any]"]  # changes artists to those of a step, and returns them

ENDINGS: Final = (".gif", ".mp4")
_MOST_FRAMES: Final = 240
_SPIKE_COLOUR, _GATE_COLOUR = COLOURS[6], COLOURS[4]


def animate(
    recording: Recording, path: str | Path, *, seed: int | None = None, fps: int = 15, frames: int | None = None
) -> Path:
    """Draw the trials of a recording, one after the other, step by step.

    Shown are the input (as an image where it is one), the rates of the hidden neurons (and their spikes), the action
    layer with what was chosen and what was right, and below, over time, voltages of the action layer, the spikes of the
    network, and the neuromodulators.

    Args:
        recording: What to draw.
        path: Ends in ``.gif``, or in ``.mp4`` where ffmpeg is installed; an existing file is replaced.
        seed: Which of its seeds; None: the first.
        fps: Frames a second.
        frames: Frames in all; None: one a step, and at most 240.

    Raises:
        ConfigError: Another ending, no such seed, or no frames.
        MissingExtraError: ``.mp4`` without ffmpeg.
        RunFolderError: The file cannot be written.
    """
    target = check_ending(path)
    chosen = recording.seeds[0] if seed is None else seed
    if chosen not in recording.seeds:
        known = ", ".join(map(str, recording.seeds))
        raise ConfigError(f"seed {chosen}: the recording has the seeds {known}")
    if fps < 1 or (frames is not None and frames < 1):
        raise ConfigError(f"{fps} frames a second, {frames} frames in all: at least 1 is needed")
    film = _Film(recording, recording.seeds.index(chosen))
    shown = _MOST_FRAMES if frames is None else frames
    steps = np.unique(np.linspace(0, film.length - 1, min(film.length, shown)).round().astype(int))
    pictures = film.pictures(steps.tolist())
    with whole_or_nothing(target) as temporary:
        if target.suffix == ".gif":
            _write_gif(pictures, temporary, fps)
        else:
            _write_mp4(pictures, temporary, fps)
    return target


def _write_gif(pictures: Iterator[Pixels], path: Path, fps: int) -> None:
    from PIL import Image

    first, *others = (Image.fromarray(pixels).quantize(128, dither=Image.Dither.NONE) for pixels in pictures)
    first.save(path, "GIF", save_all=True, append_images=others, duration=round(1000 / fps), loop=0)


def _write_mp4(pictures: Iterator[Pixels], path: Path, fps: int) -> None:
    first = next(pictures)
    height, width = first.shape[:2]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-"]
    made = ["-an", "-pix_fmt", "yuv420p", "-f", "mp4", str(path)]
    command = [str(shutil.which("ffmpeg")), "-loglevel", "error", "-y", *raw, *made]
    frames = b"".join(pixels.tobytes() for pixels in chain([first], pictures))
    result = subprocess.run(command, input=frames, capture_output=True, check=False)
    if result.returncode:
        raise RunFolderError(f"ffmpeg could not write {path}: {result.stderr.decode(errors='replace').strip()}")


def check_ending(path: str | Path) -> Path:
    """Return the path of a film if its ending is known and can be written here.

    Raises:
        ConfigError: It is not known.
        MissingExtraError: MP4, and there is no ffmpeg.
    """
    target = Path(path)
    if target.suffix not in ENDINGS:
        raise ConfigError(f"{target}: {unknown('ending of a film', target.suffix, ENDINGS)}")
    if target.suffix == ".mp4" and shutil.which("ffmpeg") is None:
        raise MissingExtraError(
            f"{target}: MP4 films need the program ffmpeg, and there is none on the PATH; install it with the "
            "system's package manager, or write a .gif"
        )
    return target


class _Film:
    """One seed's trials in a row."""

    def __init__(self, recording: Recording, place: int) -> None:
        self.recording, self.place = recording, place
        lengths = [len(trial.time) for trial in recording.trials]
        self.length = sum(lengths)
        self._trial = np.repeat(np.arange(len(lengths)), lengths)
        self._step = np.concatenate([np.arange(n) for n in lengths])
        # recorded trials may be far apart: the film runs on
        dt = recording.dt * 1e3
        self._time = dt * np.arange(self.length)
        self._starts = dt * (np.cumsum(lengths) - lengths)
        self._shapes = [_tiles(where.stop - where.start) for where in recording.layers.values()]

    def _joined(self, name: str) -> FloatArray:
        """Return a signal of all trials, time first."""
        return np.concatenate([trial.signals[name][self.place] for trial in self.recording.trials])

    def pictures(self, steps: list[int]) -> Iterator[Pixels]:
        """Give the picture of each step, shape (height, width, 3)."""
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        with matplotlib.rc_context(STYLE | {"axes.grid": False, "font.size": 10}):
            figure = Figure(figsize=(8.4, 5.6), dpi=100)
            canvas: Any = FigureCanvasAgg(figure)  # matplotlib has no types for its buffers
            draws = self._lay_out(figure)
            moving = [artist for draw in draws for artist in draw(steps[0])]
            for artist in moving:
                artist.set_animated(True)
            canvas.draw()  # what stands still, once
            still = canvas.copy_from_bbox(figure.bbox)
            for step in steps:
                canvas.restore_region(still)
                for draw in draws:
                    for artist in draw(step):
                        figure.draw_artist(artist)
                yield np.array(canvas.buffer_rgba())[..., :3].copy()

    def _lay_out(self, figure: Figure) -> list[Draw]:
        """Draw what stands still, and return what draws a step."""
        hidden = list(self.recording.layers)[:-1]
        spiking = any(trial.spikes is not None for trial in self.recording.trials)
        columns, rows = 2 + len(hidden), 3 if spiking else 2
        sides = {"left": 0.085, "right": 0.985}
        upper = figure.add_gridspec(1, columns, top=0.87, bottom=0.56, wspace=0.25, **sides)
        lower = figure.add_gridspec(rows, 1, top=0.45, bottom=0.09, hspace=0.22, **sides)
        above = [figure.add_subplot(upper[0, k]) for k in range(columns)]
        below = [figure.add_subplot(lower[k, 0]) for k in range(rows)]
        draws = [self._input(above[0]), *(self._hidden(a, name) for a, name in zip(above[1:], hidden, strict=False))]
        draws.append(self._actions(above[-1]))
        self._voltages(below[0])
        self._modulators(below[-1])
        if spiking:
            self._raster(below[1])
        end = self._time[-1] + self.recording.dt * 1e3
        for axes in below:
            axes.set_xlim(0, end)
            axes.tick_params(labelsize=8, labelbottom=axes is below[-1])
        below[-1].set_xlabel("time (ms)", fontsize=9)
        figure.align_ylabels(below)
        cursors = [axes.axvline(0.0, color="#444444", linewidth=1.0) for axes in below]
        head = figure.text(0.015, 0.95, "", fontsize=11)

        def draw(step: int) -> list[Any]:
            for cursor in cursors:
                cursor.set_xdata([self._time[step]] * 2)
            head.set_text(self._title(step))
            return [*cursors, head]

        return [*draws, draw]

    def _title(self, step: int) -> str:
        recording, trial = self.recording, self.recording.trials[self._trial[step]]
        return f"{recording.task}, {recording.model}, seed {recording.seeds[self.place]}: trial {trial.number:,}"

    # ---- above: what is there now -----------------------------------------------------------------------
    def _input(self, axes: Axes) -> Draw:
        inputs = [trial.input[self.place] for trial in self.recording.trials]
        most = max(float(np.abs(x).max()) for x in inputs) or 1.0
        shape = self.recording.image or _tiles(len(inputs[0]))
        picture = _picture(axes, shape, -most, most, "gray")
        axes.set_title("input", fontsize=10)

        def draw(step: int) -> list[Any]:
            trial = self.recording.trials[self._trial[step]]
            before = trial.time[self._step[step]] < trial.onset - 0.5 * self.recording.dt  # still the last one's
            shown = max(0, self._trial[step] - 1) if before else self._trial[step]
            picture.set_data(_fill(inputs[shown], shape))
            return [picture]

        return draw

    def _hidden(self, axes: Axes, name: str) -> Draw:
        where = self.recording.layers[name]
        rates = self._joined("rate")[:, where]
        shape = _tiles(rates.shape[1])
        most = float(np.abs(rates).max()) or 1.0
        picture = _picture(axes, shape, -most, most, "RdBu_r")
        axes.set_title(f"{name}: {rates.shape[1]} rates", fontsize=10)

        def draw(step: int) -> list[Any]:
            picture.set_data(_fill(rates[step], shape))
            return [picture]

        return draw

    def _actions(self, axes: Axes) -> Draw:
        rates = self._joined("rate")[:, self.recording.layers["action"]]
        places = np.arange(rates.shape[1])
        bars = axes.bar(places, np.zeros(len(places)), color=COLOURS[5])
        axes.set_ylim(min(0.0, float(rates.min())), 1.1 * max(1e-9, float(rates.max())))
        axes.set_title("action layer: rates", fontsize=10)
        axes.set_xticks(places if len(places) <= 12 else places[:: -(-len(places) // 8)])
        axes.tick_params(labelsize=8)
        words = axes.text(0.5, -0.2, "", transform=axes.transAxes, ha="center", fontsize=9)

        def draw(step: int) -> list[Any]:
            trial = self.recording.trials[self._trial[step]]
            label = None if trial.label is None else int(trial.label[self.place])
            chosen = int(trial.action[self.place])
            decided = self._step[step] == len(trial.time) - 1
            for k, bar in enumerate(bars):
                bar.set_height(rates[step, k])
                bar.set_color(COLOURS[2] if k == label else COLOURS[1] if decided and k == chosen else COLOURS[5])
            right = "" if label is None else f"right: {label} (green)"
            words.set_text(f"{right}{', ' if right and decided else ''}{f'chosen: {chosen}' if decided else ''}")
            return [*bars, words]

        return draw

    # ---- below: what happens in time --------------------------------------------------------------------
    def _over_time(self, axes: Axes, title: str) -> None:
        axes.set_ylabel(title, fontsize=9)
        for start in self._starts[1:]:
            axes.axvline(start, color="#bbbbbb", linewidth=0.7, linestyle=":")

    def _voltages(self, axes: Axes) -> None:
        voltage = self._joined("voltage")[:, self.recording.layers["action"]]
        lines = axes.plot(self._time, voltage, linewidth=0.9, alpha=0.8)
        for k, line in enumerate(lines):
            line.set_color(COLOURS[k % len(COLOURS)])
        if all("gate" in trial.signals for trial in self.recording.trials):
            gate = np.concatenate([trial.signals["gate"] for trial in self.recording.trials])
            low, high = axes.get_ylim()
            shade: dict[str, Any] = {"color": _GATE_COLOUR, "alpha": 0.25, "linewidth": 0, "step": "post"}
            axes.fill_between(self._time, low, high, where=(gate > 0).tolist(), **shade)
            axes.set_ylim(low, high)
            axes.set_title("voltages of the action layer; shaded: the eligibility gate is open", fontsize=9, loc="left")
        self._over_time(axes, "voltage")

    def _raster(self, axes: Axes) -> None:
        n_in = self.recording.sizes[0]
        spikes = [t.spikes for t in self.recording.trials if t.spikes is not None]
        fired = np.concatenate([one[self.place][:, n_in:] for one in spikes])
        at, unit = np.nonzero(fired)
        axes.scatter(self._time[at], unit, s=2.0, marker="|", linewidths=0.8, color=_SPIKE_COLOUR)
        axes.axhline(self.recording.layers["action"].start - 0.5, color="#bbbbbb", linewidth=0.7)
        axes.set_ylim(-0.5, fired.shape[1] - 0.5)
        self._over_time(axes, "spikes")

    def _modulators(self, axes: Axes) -> None:
        recording = self.recording
        for k, name in enumerate(recording.trials[0].modulators):
            values = np.concatenate([trial.modulators[name][self.place] for trial in recording.trials])
            axes.step(self._time, values, where="post", linewidth=1.2, color=COLOURS[k % len(COLOURS)], label=name)
        for trial, start in zip(recording.trials, self._starts, strict=True):
            mine = trial.events[trial.events[:, 0] == self.place]
            at = start + (np.clip(mine[:, 1], trial.time[0], None) - trial.time[0]) * 1e3
            axes.plot(at, mine[:, 3], "v", color=COLOURS[1], markersize=6, clip_on=False)
        if recording.trials[0].modulators:
            axes.legend(loc="center right", fontsize=8, framealpha=0.7, edgecolor="none", ncols=2)
        self._over_time(axes, "neuro-\nmodulator")


def _tiles(n: int) -> tuple[int, int]:
    """Return height and width of the tiles that n neurons are laid out in."""
    height = max(1, int(np.sqrt(n)))
    return height, -(-n // height)


def _fill(values: FloatArray, shape: tuple[int, int]) -> FloatArray:
    tiles = np.full(shape[0] * shape[1], np.nan)
    tiles[: len(values)] = values
    return tiles.reshape(shape)


def _picture(axes: Axes, shape: tuple[int, int], low: float, high: float, colours: str) -> Any:
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(False)
    return axes.imshow(np.zeros(shape), vmin=low, vmax=high, cmap=colours, interpolation="nearest")
