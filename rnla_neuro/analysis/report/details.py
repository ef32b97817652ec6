"""The figures of a comparison, part by part; a part without data says why."""

from __future__ import annotations

from collections.abc import Iterable

from rnla_neuro.analysis.comparison import Cell, Comparison, Measured, MeasureSpec, Trial
from rnla_neuro.analysis.report import drawing
from rnla_neuro.analysis.report.blocks import Absent, Block, Choice, Figure, Grid, Option, Plot, Text
from rnla_neuro.analysis.report.formatting import interval, number
from rnla_neuro.analysis.report.trials import trial_plot, voltage_range
from rnla_neuro.analysis.report.words import delay_words, label_of, several, unit_of

_ACCURACIES = ("test_accuracy", "accuracy", "test_hit_rate", "reward")  # the first that is there


def colours(comparison: Comparison) -> dict[str, int]:
    """Return the number of each model's colour."""
    return {model.name: number for number, model in enumerate(comparison.models)}


def learning_curves(comparison: Comparison) -> tuple[Block, ...]:
    """Draw the learning curves, a figure a delay, on the same scale."""
    colour = colours(comparison)
    figures = []
    known = [cell for cell in comparison.cells if any(mean is not None for mean in cell.curve.mean)]
    if not known:
        return (Absent("no run has recorded decisions."),)
    ends = [v for cell in known for v in (*cell.curve.mean, *cell.curve.low, *cell.curve.high) if v is not None]
    edge = 0.04 * (max(ends) - min(ends)) or 0.05
    for delay in comparison.delays:
        mine = [cell for cell in known if cell.delay == delay]
        if not mine:
            continue
        traces = [
            trace
            for cell in mine
            for trace in drawing.band(
                cell.model, colour.get(cell.model, 0), cell.curve.iteration, cell.curve.mean, cell.curve.low,
                cell.curve.high, {"model": cell.model},
            )
        ]  # fmt: skip
        measure = mine[0].curve.measure
        chance = comparison.chance if measure == "hit rate" else None
        plot = drawing.curves(
            traces, "Decisions", f"Running {measure}", y_range=(min(ends) - edge, max(ends) + edge), rule=chance,
            rule_name="chance",
        )  # fmt: skip
        caption = f"Running {measure}, {delay_words(delay)}: mean over seeds, and its 95 % band (Student's t)."
        figures.append(Figure(plot, caption, f"Learning curves, {delay_words(delay)}", tags={"delay": delay}))
    return (Grid(tuple(figures)) if len(figures) > 1 else figures[0],)


def measure_dots(comparison: Comparison) -> tuple[Block, ...]:
    """Draw each measure as dots with intervals; the reader chooses the measure."""
    options = []
    for spec in comparison.measures:
        plot = _dot_plot(comparison, spec)
        if plot is not None:
            caption = f"{label_of(spec)}: mean, 95 % interval and single seeds (small dots). {spec.help.rstrip('.')}."
            options.append(
                Option(label_of(spec), (Figure(plot, caption, f"{label_of(spec)} of each model and delay"),))
            )
    return (Choice("Measure", tuple(options)),) if options else (Absent("no cell has a measure."),)


def accuracy_against_spikes(comparison: Comparison) -> tuple[Block, ...]:
    """Draw what a decision costs against how good it is."""
    specs = {spec.key: spec for spec in comparison.measures}
    good = next((specs[key] for key in _ACCURACIES if key in specs), None)
    if good is None:
        return (Absent("neither accuracy nor reward was measured."),)
    options = []
    for key in ("spikes_per_decision", "synaptic_operations_per_decision"):
        plot = _against(comparison, specs[key], good) if key in specs else None
        if plot is not None:
            label = f"{label_of(good)} against {specs[key].label}"
            caption = (
                f"{label}: means over seeds with 95 % intervals. The shape of a point says the reward delay. "
                f"{specs[key].help.rstrip('.')}."
            )
            options.append(Option(label_of(specs[key]), (Figure(plot, caption, label),)))
    if not options:
        return (Absent("no model has spikes or counted synaptic operations."),)
    return (Choice("Cost", tuple(options)),)


def recorded_trials(comparison: Comparison) -> tuple[Block, ...]:
    """Draw one recorded trial of each cell before and after learning."""
    options = []
    for cell in comparison.cells:
        if cell.raster is None:
            continue
        shared = voltage_range(cell.raster.before, cell.raster.after)
        if shared is None and not (cell.raster.before.spikes or cell.raster.after.spikes):
            continue
        figures = tuple(
            Figure(
                trial_plot(trial, colours(comparison).get(cell.model, 0), shared),
                f"{when} learning: {_trial_words(trial)}",
                f"One trial of {cell.model}, {when.lower()} learning",
                height=520 if trial.spikes else 380,
            )
            for when, trial in (("Before", cell.raster.before), ("After", cell.raster.after))
        )
        options.append(_option(cell, (Grid(figures),)))
    if not options:
        return (Absent("no run could record a trial."),)
    return Text("The same input, shown to the first seed before and after learning."), Choice("Model", tuple(options))


def alignment_curves(comparison: Comparison) -> tuple[Block, ...]:
    """Draw the alignment with the policy gradient over training."""
    colour = colours(comparison)
    figures = []
    for delay in comparison.delays:
        traces = [
            trace
            for cell in comparison.cells
            if cell.delay == delay and cell.alignment is not None
            for trace in drawing.band(
                cell.model, colour.get(cell.model, 0), cell.alignment.iteration, cell.alignment.mean,
                cell.alignment.low, cell.alignment.high, {"model": cell.model},
            )
        ]  # fmt: skip
        if traces:
            plot = drawing.curves(traces, "Decisions", "Cosine", y_range=(-0.1, 1.05), rule=0.0)
            caption = f"Cosine between the direction of learning and the exact policy gradient, {delay_words(delay)}."
            figures.append(Figure(plot, caption, f"Alignment, {delay_words(delay)}", tags={"delay": delay}))
    if not figures:
        return (Absent("no run has it: it needs self-nudging, a data set, and weights kept during learning."),)
    return (Grid(tuple(figures)) if len(figures) > 1 else figures[0],)


def confusion_matrices(comparison: Comparison) -> tuple[Block, ...]:
    """Draw the confusion matrix of each cell."""
    options = []
    for cell in comparison.cells:
        if not cell.confusion:
            continue
        shares = [[count / max(1, sum(row)) for count in row] for row in cell.confusion]
        plot = drawing.matrix(
            shares, x="action decided", y="right action", diverging=False, counts=cell.confusion, name=cell.model
        )
        caption = (
            "Test decisions of all seeds: numbers in the fields, colours as shares of a row. "
            f"{several(sum(map(sum, cell.confusion)), 'decision')}."
        )
        options.append(_option(cell, (Figure(plot, caption, f"Confusion matrix of {cell.model}", height=460),)))
    return (Choice("Model", tuple(options)),) if options else (Absent("the task has no test set."),)


def weight_matrices(comparison: Comparison) -> tuple[Block, ...]:
    """Draw the trained weights of the first seed."""
    options = []
    for cell in comparison.cells:
        if cell.weights is None or not cell.weights.layers:
            continue
        figures = []
        for n, layer in enumerate(cell.weights.layers, start=1):
            plot = drawing.matrix(layer, x="presynaptic", y="postsynaptic", diverging=True)
            caption = f"Projection {n} ({len(layer)} × {max(map(len, layer), default=0)}); the last column is the bias."
            if drawing.is_thinned(layer):
                caption += " Rows or columns are left out, evenly, so that 128 are drawn."
            figures.append(Figure(plot, caption, f"Weights of projection {n} of {cell.model}", height=360))
        options.append(_option(cell, (Grid(tuple(figures)),)))
    if not options:
        return (Absent("no run kept its weights, or they are too many to look at."),)
    return Text("After learning, of the first seed."), Choice("Model", tuple(options))


def _option(cell: Cell, content: tuple[Block, ...]) -> Option:
    """Return the choice of one cell."""
    return Option(f"{cell.model}, {delay_words(cell.delay)}", content, {"model": cell.model, "delay": cell.delay})


def _trial_words(trial: Trial) -> str:
    """Say what a recorded trial shows."""
    voltages = "voltages of some hidden neurons and of the action neurons; the one highest at the end is coloured."
    if not trial.spikes:
        return voltages
    inputs = any(neuron < trial.layers[0] for _, neuron in trial.spikes)
    return f"spikes of {'all layers' if inputs else 'all layers but the inputs, which are analog'}, {voltages}"


def _known(cell: Cell, key: str) -> tuple[Measured, float] | None:
    """Return a measure of a cell and its mean, if it has one."""
    measured = cell.measures.get(key)
    return None if measured is None or measured.mean is None else (measured, measured.mean)


def legend(comparison: Comparison, names: Iterable[str]) -> list[drawing.Trace]:
    """Return the entries of the models that are drawn."""
    drawn = set(names)
    return [
        drawing.legend_entry(name, number, {"model": name})
        for name, number in colours(comparison).items()
        if name in drawn
    ]


def _dot_plot(comparison: Comparison, spec: MeasureSpec) -> Plot | None:
    """Return one measure of all cells, models side by side at each delay."""
    colour = colours(comparison)
    n = len(comparison.models)
    traces: list[drawing.Trace] = []
    names = []
    for place, delay in enumerate(comparison.delays):
        for cell in comparison.cells:
            known = _known(cell, spec.key) if cell.delay == delay else None
            if known is None:
                continue
            measured, mean = known
            number_ = colour.get(cell.model, 0)
            x = place + (number_ - (n - 1) / 2) * min(0.22, 0.8 / n)
            tags = {"model": cell.model, "delay": delay}
            values = [value for value in measured.values if value is not None]
            text, ends = interval(mean, measured.low, measured.high, unit_of(spec))
            hover = f"{drawing.plain(cell.model)}, {delay_words(delay)}<br><b>{text}</b>{f' ({ends})' if ends else ''}"
            if len(values) > 1:
                traces.append(
                    drawing.seeds(cell.model, number_, [x + 0.045] * len(values), values, unit_of(spec), tags)
                )
            traces.append(
                drawing.dots(
                    cell.model, number_, (x, mean), y_interval=(measured.low, measured.high), hover=hover, tags=tags
                )
            )
            names.append(cell.model)
    if not traces:
        return None
    title = label_of(spec) + (f" ({unit_of(spec)})" if unit_of(spec) else "")
    labels = [broken(delay_words(delay)) for delay in comparison.delays]
    layout = {
        "xaxis": {
            "tickvals": list(range(len(labels))), "ticktext": labels, "range": [-0.5, len(labels) - 0.5],
            "showgrid": False, "zeroline": False, "ticks": "",
        },
        "yaxis": {"title": {"text": title}, "exponentformat": "SI"},
    }  # fmt: skip
    return Plot((*legend(comparison, names), *traces), layout)


def _against(comparison: Comparison, cost: MeasureSpec, good: MeasureSpec) -> Plot | None:
    """Return one measure of all cells against another."""
    colour = colours(comparison)
    traces: list[drawing.Trace] = []
    names, delays, means = [], [], []
    for cell in comparison.cells:
        x, y = _known(cell, cost.key), _known(cell, good.key)
        if x is None or y is None or x[1] <= 0:
            continue
        place = comparison.delays.index(cell.delay) if cell.delay in comparison.delays else 0
        hover = (
            f"{drawing.plain(cell.model)}, {delay_words(cell.delay)}<br>"
            f"{label_of(good)} <b>{interval(y[1], y[0].low, y[0].high)[0]}</b><br>"
            f"{label_of(cost)} <b>{number(x[1])}</b>"
        )
        traces.append(
            drawing.dots(
                cell.model, colour.get(cell.model, 0), (x[1], y[1]), x_interval=(x[0].low, x[0].high),
                y_interval=(y[0].low, y[0].high), hover=hover, tags={"model": cell.model, "delay": cell.delay},
                symbol=drawing.SYMBOLS[place % len(drawing.SYMBOLS)],
            )
        )  # fmt: skip
        names.append(cell.model)
        delays.append(cell.delay)
        means.append(x[1])
    if not traces:
        return None
    keys = [
        {
            "type": "scatter", "x": [None], "y": [None], "mode": "markers", "name": delay_words(delay),
            "marker": {"color": "@muted", "size": 9, "symbol": drawing.SYMBOLS[place % len(drawing.SYMBOLS)]},
            "meta": {"delay": delay}, "hoverinfo": "skip",
        }
        for place, delay in enumerate(comparison.delays)
        if delay in delays and len(comparison.delays) > 1
    ]  # fmt: skip
    layout = {
        "xaxis": drawing.log_axis(means, label_of(cost))
        if max(means) > 20 * min(means)
        else {"title": {"text": label_of(cost)}},
        "yaxis": {"title": {"text": label_of(good)}},
    }
    return Plot((*legend(comparison, names), *keys, *traces), layout)


def broken(text: str) -> str:
    """Break a long label in two lines, at its middle space or bracket."""
    if len(text) <= 16 or " " not in text:
        return text
    places = [n for n, letter in enumerate(text) if letter == " "]
    middle = min(places, key=lambda n: abs(n - len(text) / 2))
    return f"{text[:middle]}<br>{text[middle + 1 :]}"
