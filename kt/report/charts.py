"""The report's charts, as SVG inside the page with the page's colours, light or dark."""

import html
import io
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kt.base.names import printable
from kt.kinds.kind import Nouns

# Colours that no chart would use; in the finished SVG each is replaced by a variable of the page's style sheet.
_INK, _LINE, _FIRST, _SECOND = "#010203", "#010204", "#010205", "#010206"
_VARIABLES = {_INK: "var(--ink)", _LINE: "var(--line)", _FIRST: "var(--first)", _SECOND: "var(--second)"}

_STYLE = {
    "svg.fonttype": "none",
    "font.size": 9.5,
    "text.color": _INK,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.5,
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 9,
}


History = Mapping[str, Sequence[float | None]]
"""A list for each metric with a value for each epoch; None where an epoch has none."""


def curves_chart(phases: Sequence[tuple[str, History]], metric: str, *, kept: tuple[str, int] | None = None) -> Markup:
    """One metric in training and validation, with all phases one after the other on one axis of epochs.

    phases: each with its name. metric: `loss` or `accuracy`. kept: a phase and its epoch, from 1, which gets a mark.
    Empty if no phase has the metric.
    """
    ends = [0]
    for _, history in phases:
        ends.append(ends[-1] + max((len(values) for values in history.values()), default=0))
    histories = [history for _, history in phases]
    train, validation = _joined(histories, metric, ends), _joined(histories, f"val_{metric}", ends)
    if ends[-1] == 1:  # a linear probe alone: a point is no curve
        return Markup()
    if not np.isfinite(train).any() and not np.isfinite(validation).any():
        return Markup()
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": metric}):
        figure, axes = _empty()
        epochs = np.arange(1, ends[-1] + 1)
        axes.plot(epochs, train, color=_SECOND, linestyle=(0, (4, 2)), linewidth=1.6, marker=".", label="training")
        axes.plot(epochs, validation, color=_FIRST, linewidth=2, marker="o", markersize=3.5, label="validation")
        for end in ends[1:-1]:
            axes.axvline(end + 0.5, color=_INK, linewidth=0.8, linestyle=":")
        names = [printable(name) for name, _ in phases]
        for name, start, end in zip(names, ends, ends[1:], strict=False):
            if end > start:
                axes.text((start + end + 1) / 2, 1.02, name, transform=axes.get_xaxis_transform(),
                          ha="center", va="bottom", parse_math=False)  # fmt: skip
        if kept and printable(kept[0]) in names:
            _mark(axes, ends[names.index(printable(kept[0]))] + kept[1], values=validation)
        axes.set_xlim(0.5, ends[-1] + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, min_n_ticks=1))
        axes.set_xlabel("epoch")
        axes.set_title(metric, pad=20)
        axes.legend(loc="best")
        over = ", then ".join(names)
        return _svg(figure, f"{metric} for each epoch, in training and validation, over the phases {over}", metric)


def _joined(histories: Iterable[History], key: str, ends: Sequence[int]) -> np.ndarray[Any, Any]:
    """A metric of all phases as one row of epochs; NaN, which is drawn as a gap, for an epoch without a value."""
    row = np.full(ends[-1], np.nan)
    for history, start in zip(histories, ends, strict=False):
        values = [np.nan if value is None else value for value in history.get(key, ())]
        row[start : start + len(values)] = values
    return row


def _mark(axes: Any, epoch: int, *, values: np.ndarray[Any, Any]) -> None:
    """A ring around the epoch, from 1, whose weights were kept."""
    if 1 <= epoch <= len(values) and np.isfinite(values[epoch - 1]):
        axes.plot(epoch, values[epoch - 1], "o", markersize=10, markerfacecolor="none", markeredgecolor=_FIRST,
                  markeredgewidth=1.6, linestyle="none", label="kept")  # fmt: skip


@dataclass(frozen=True)
class CurvePoint:
    """The balanced accuracy of a probe that learned from `images_per_class` pictures, with its interval, as shares."""

    images_per_class: float
    balanced_accuracy: float
    low: float
    high: float


def learning_curve_chart(points: Sequence[CurvePoint], nouns: Nouns) -> Markup:
    """A probe's balanced accuracy over the number of training pictures of a class, with its interval as a band.

    points: by rising number of pictures. Empty with fewer than two points.
    """
    if len(points) < 2:
        return Markup()
    pictures, accuracy = [p.images_per_class for p in points], [p.balanced_accuracy for p in points]
    low, high = [p.low for p in points], [p.high for p in points]
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": "learning"}):
        figure, axes = _empty()
        axes.fill_between(pictures, low, high, color=_FIRST, alpha=0.18, linewidth=0, label="95% interval")
        axes.plot(pictures, accuracy, color=_FIRST, linewidth=2, marker="o", markersize=4, label="linear probe")
        axes.set_xscale("log", base=2)
        axes.set_xticks(pictures, [f"{n:g}" for n in pictures])
        axes.minorticks_off()
        axes.set_ylim(max(0.0, min(low) - 0.05), min(1.02, max(high) + 0.05))
        axes.set_xlabel(f"training {nouns.many} of a class")
        axes.set_title("balanced accuracy")
        axes.legend(loc="lower right")
        words = "; ".join(f"{n:g} {nouns.many} {a:.3f}" for n, a in zip(pictures, accuracy, strict=True))
        label = f"Balanced accuracy of a linear probe by training {nouns.many} of a class: {words}"
        return _svg(figure, label, "learning")


@dataclass(frozen=True)
class Bin:
    """Test pictures by their top score, from `lower`, excluded, to `upper`.

    confidence: their mean top score. accuracy: the share that was classified correctly. Both are NaN in an empty bin.
    """

    lower: float
    upper: float
    count: int
    confidence: float
    accuracy: float


def calibration(bins: Sequence[Bin], nouns: Nouns, *, before: Sequence[Bin] = ()) -> Markup:
    """The accuracy over the model's confidence, with the number of pictures in each bin below.

    before: the same of scores that a temperature has changed since; a second line if there are any.
    """
    filled = [row for row in bins if row.count]
    if not filled:
        return Markup()
    sure, right = [row.confidence for row in filled], [row.accuracy for row in filled]
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": "calibration"}):
        figure = Figure(figsize=(4.6, 4.0), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
        upper.plot([0, 1], [0, 1], color=_INK, linewidth=0.8, linestyle=":", label="perfectly calibrated")
        upper.vlines(sure, sure, right, color=_SECOND, linewidth=2, alpha=0.7, label="gap")
        earlier = [row for row in before if row.count]
        if earlier:
            upper.plot([row.confidence for row in earlier], [row.accuracy for row in earlier], color=_INK,
                       linestyle=(0, (4, 2)), linewidth=1, marker=".", label="before the temperature")  # fmt: skip
        upper.plot(sure, right, color=_FIRST, marker="o", markersize=5, linewidth=1.2, label="this model")
        upper.set_ylim(-0.02, 1.04)
        upper.set_ylabel("share that was right")
        upper.legend(loc="upper left")
        widths = [row.upper - row.lower for row in bins]
        lower.bar([row.lower for row in bins], [row.count for row in bins], width=[0.9 * w for w in widths],
                  align="edge", color=_FIRST, alpha=0.55)  # fmt: skip
        lower.set_xlim(0, 1)
        lower.set_ylabel(nouns.many)
        lower.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=2))
        lower.set_xlabel("how sure the model was (top score)")
        words = "; ".join(f"sure {s:.2f}, right {r:.2f}, {row.count} {nouns.many}"
                          for s, r, row in zip(sure, right, filled, strict=True))  # fmt: skip
        words += "".join(f"; before the temperature sure {row.confidence:.2f}, right {row.accuracy:.2f}"
                         for row in earlier)  # fmt: skip
        return _svg(figure, f"Calibration: {words}", "calibration")


@dataclass(frozen=True)
class RiskPoint:
    """The share of pictures that is answered, the share of errors among them, and the lowest top score of these."""

    coverage: float
    risk: float
    score: float


def risk_coverage(points: Sequence[RiskPoint], nouns: Nouns) -> Markup:
    """The share of errors among the answered pictures, over the share that is answered, the surest first."""
    if not points:
        return Markup()
    shares, risks = [point.coverage for point in points], [point.risk for point in points]
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": "risk"}):
        figure = Figure(figsize=(4.6, 3.2), layout="constrained")
        axes = figure.subplots()
        axes.axhline(risks[-1], color=_INK, linewidth=0.8, linestyle=":", label="in random order")
        axes.step(shares, risks, where="post", color=_FIRST, linewidth=2, label="the surest first")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, max(*risks, 0.01) * 1.1)
        axes.set_xlabel(f"share of {nouns.many} that is answered")
        axes.set_ylabel("wrong among the answered")
        axes.legend(loc="best")
        told = [min(points, key=lambda point: abs(point.coverage - share)) for share in (0.5, 0.7, 0.8, 0.9, 1.0)]
        words = "; ".join(f"{point.coverage:.2f} answered, {point.risk:.3f} wrong" for point in dict.fromkeys(told))
        return _svg(figure, f"Errors among the answered {nouns.many}: {words}", "risk")


def against_rate(found: Mapping[str, Any], nouns: Nouns) -> Markup:
    """A range test: the loss at each rate, with the suggested rate and the recipe's rate marked."""
    rates, first = found["rates"], found["first_loss"]
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": "rates"}):
        figure = Figure(figsize=(7.2, 3.9), layout="constrained")
        axes = figure.subplots()
        axes.plot(rates, found["batch_losses"], color=_SECOND, linewidth=0.8, alpha=0.55, label="each step's batch")
        axes.plot(rates, found["losses"], color=_FIRST, linestyle="none", marker="o", markersize=2.5, alpha=0.5)
        smoothed = found["smoothed"]
        axes.plot(rates[: len(smoothed)], smoothed, color=_FIRST, linewidth=2, label=f"same {nouns.many}, smoothed")
        axes.axhline(first, color=_INK, linewidth=0.8, linestyle=":", label="before the first step")
        axes.axvline(
            found["lr"], color=_INK, linewidth=1, linestyle=(0, (4, 2)), label=f"lr in the recipe, {found['lr']:g}"
        )
        if found["suggested"]:
            axes.axvline(found["suggested"], color=_SECOND, linewidth=2, label=f"suggested, {found['suggested']:g}")
        axes.set_xscale("log")
        axes.set_xlim(rates[0], rates[-1])
        axes.set_ylim(0, 2 * first)  # above twice the first loss a rate is bad in any case
        axes.set_xlabel("learning rate")
        axes.set_ylabel("loss")
        figure.legend(loc="outside lower center", ncols=3)
        label = f"Loss against the learning rate, from {rates[0]:g} to {rates[-1]:g}; {found['why']}"
        return _svg(figure, label, "rates")


def heatmap(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> Markup:
    """The confusion matrix of many classes: cells shaded by their share of the row, without numbers."""
    counts = np.asarray(matrix, dtype=float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": "confusion", "axes.grid": False}):
        side = 5.5 if len(classes) <= 40 else 7.5
        figure = Figure(figsize=(side, side), layout="constrained")
        axes = figure.subplots()
        # Transparent where the count is 0, so that the page's background shows through, light or dark.
        shade = LinearSegmentedColormap.from_list("share", [(0.1, 0.53, 0.8, 0.0), (0.1, 0.53, 0.8, 1.0)])
        # A square root, so that few mistakes are visible beside many correct predictions.
        axes.imshow(np.sqrt(shares), cmap=shade, vmin=0, vmax=1, interpolation="nearest")
        step = int(np.ceil(len(classes) / 40))
        places = np.arange(0, len(classes), step)
        names = [_short(printable(classes[int(i)]), 18) for i in places]
        size = 7 if len(classes) > 25 else 8
        axes.set_xticks(places, names, rotation=90, fontsize=size, parse_math=False)
        axes.set_yticks(places, names, fontsize=size, parse_math=False)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        return _svg(figure, f"Confusion matrix of {len(classes)} classes, rows are the true ones", "confusion")


def strategies_chart(rows: Sequence[Mapping[str, Any]], *, baseline: str = "") -> Markup:
    """Each strategy's figure with its interval, a mark for each seed, and a line at the baseline's figure.

    rows: with `name`, `title`, `balanced_accuracy`, `interval`, and `runs`; those without a figure are left out.
    """
    drawn = [row for row in rows if row["balanced_accuracy"] is not None]
    if not drawn:
        return Markup()
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": "strategies"}):
        figure = Figure(figsize=(4.6, 0.9 + 0.42 * len(drawn)), layout="constrained")
        axes = figure.subplots()
        for place, row in enumerate(drawn):
            value, (low, high) = row["balanced_accuracy"], row["interval"]
            colour = _SECOND if row["name"] == baseline else _FIRST
            seeds = [run["balanced_accuracy"] for run in row["runs"]]
            axes.plot([low, high], [place, place], color=colour, linewidth=2)
            axes.plot(value, place, "o", color=colour, markersize=6)
            axes.plot(seeds, [place + 0.25] * len(seeds), "|", color=colour, markersize=6)
            if row["name"] == baseline:
                axes.axvline(value, color=_SECOND, linewidth=0.8, linestyle=":")
        axes.set_yticks(range(len(drawn)), [str(row["title"]) for row in drawn], parse_math=False)
        axes.set_ylim(len(drawn) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("balanced accuracy on test")
        words = "; ".join(
            f"{row['title']} {row['balanced_accuracy']:.3f}, {row['interval'][0]:.3f} to {row['interval'][1]:.3f}"
            for row in drawn
        )
        return _svg(figure, f"Balanced accuracy of each strategy with its interval: {words}", "strategies")


def learning_curves(
    points: Sequence[Mapping[str, Any]], titles: Mapping[str, str], nouns: Nouns, *, baseline: str = ""
) -> Markup:
    """Balanced accuracy over the number of training pictures, on a logarithmic axis: a line with a band per strategy.

    points: with `strategy`, `pictures`, `balanced_accuracy` and `interval`, rising in each strategy.
    """
    if not points:
        return Markup()
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": "learning"}):
        figure, axes = _empty()
        for name in dict.fromkeys(point["strategy"] for point in points):
            own = [point for point in points if point["strategy"] == name]
            sizes = [point["pictures"] for point in own]
            colour = _SECOND if name == baseline else _FIRST
            low, high = zip(*(point["interval"] for point in own), strict=True)
            axes.fill_between(sizes, low, high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(sizes, [point["balanced_accuracy"] for point in own], color=colour, marker="o", markersize=4,
                      linewidth=2, linestyle=(0, (4, 2)) if name == baseline else "-", label=titles[name])  # fmt: skip
        axes.set_xscale("log")
        sizes = sorted({point["pictures"] for point in points})
        axes.set_xticks(sizes, [f"{size}" for size in sizes])
        axes.minorticks_off()
        axes.set_xlabel(f"training {nouns.many}")
        axes.set_ylabel("balanced accuracy on test")
        axes.legend(loc="best")
        words = "; ".join(f"{titles[p['strategy']]} with {p['pictures']}: {p['balanced_accuracy']:.3f}" for p in points)
        return _svg(figure, f"Learning curves: {words}", "learning")


def recalls_chart(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """The recall of each class in two runs, A and B, beside each other. rows: with `label`, `first` and `second`."""
    if not rows:
        return Markup()
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": "recalls"}):
        figure = Figure(figsize=(4.6, 0.9 + 0.27 * len(rows)), layout="constrained")
        axes = figure.subplots()
        places = range(len(rows))
        first, second = [row["first"] for row in rows], [row["second"] for row in rows]
        axes.hlines(places, first, second, color=_LINE, linewidth=2)
        axes.plot(first, places, "o", color=_FIRST, markersize=6, label="A")
        axes.plot(second, places, "D", color=_SECOND, markersize=5, label="B")
        axes.set_yticks(places, [_short(printable(row["label"]), 18) for row in rows], parse_math=False)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("recall on the common test")
        figure.legend(loc="outside upper right", ncols=2)
        words = "; ".join(f"{row['label']} {row['first']:.3f} in A, {row['second']:.3f} in B" for row in rows)
        return _svg(figure, f"Recall of each class: {words}", "recalls")


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _empty() -> tuple[Figure, Any]:
    """A figure of the report's usual size, and its axes."""
    figure = Figure(figsize=(4.6, 3.1), layout="constrained")
    return figure, figure.subplots()


def _svg(figure: Figure, label: str, prefix: str) -> Markup:
    """The figure as an `<svg>` element for a page: with unique ids, no declarations, colours from the style sheet."""
    FigureCanvasSVG(figure)
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # matplotlib only measures letters, and warns if its own font lacks one; the browser draws them.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</defs>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;]*; ", "", svg)
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r"url\(#", f"url(#{prefix}-", svg)
    svg = re.sub(r'(?:xlink:)?href="#', f'href="#{prefix}-', svg)
    svg = re.sub(r'\sxmlns(?::xlink)?="[^"]*"', "", svg).replace("xlink:href", "href")
    for sentinel, variable in _VARIABLES.items():
        svg = svg.replace(sentinel, variable)
    svg = re.sub(r'\s(?:width|height)="[\d.]+pt"', "", svg, count=2)
    svg = svg.replace("<svg", f'<svg class="chart" role="img" aria-label="{html.escape(printable(label))}"', 1)
    return Markup(svg)  # noqa: S704 - matplotlib escapes what it writes, and the label is escaped here
