"""The report's charts, as SVG that lives inside the page and takes the page's colours, light or dark."""

import html
import io
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Colours that no chart would use; in the finished SVG each gives way to a variable of the page's style sheet.
_INK, _LINE, _FIRST, _SECOND = "#010203", "#010204", "#010205", "#010206"
_VARIABLES = {_INK: "var(--ink)", _LINE: "var(--line)", _FIRST: "var(--first)", _SECOND: "var(--second)"}

_STYLE = {
    "svg.fonttype": "none",
    "font.size": 9,
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


def curves(phases: Sequence[Mapping[str, Any]], metric: str, *, best: Mapping[str, Any] | None = None) -> Markup:
    """One metric of all phases, one after the other on one axis of epochs, in training and in validation.

    phases: the report's `phases`, with `history` and `name`. metric: `loss` or `accuracy`. best: the report's `best`,
    whose epoch gets a mark. Empty where no phase has the metric.
    """
    borders = [0]
    for phase in phases:
        borders.append(borders[-1] + max((len(v) for v in phase.get("history", {}).values()), default=0))
    train, validation = _joined(phases, metric, borders), _joined(phases, f"val_{metric}", borders)
    if borders[-1] == 1:  # a linear probe alone: a point is no curve
        return Markup()
    if not np.isfinite(train).any() and not np.isfinite(validation).any():
        return Markup()
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": metric}):
        figure, axes = _empty()
        epochs = np.arange(1, borders[-1] + 1)
        axes.plot(epochs, train, color=_SECOND, linestyle=(0, (4, 2)), linewidth=1.6, marker=".", label="training")
        axes.plot(epochs, validation, color=_FIRST, linewidth=2, marker="o", markersize=3.5, label="validation")
        for border in borders[1:-1]:
            axes.axvline(border + 0.5, color=_INK, linewidth=0.8, linestyle=":")
        for phase, start, end in zip(phases, borders, borders[1:], strict=False):
            if end > start:
                axes.text((start + end + 1) / 2, 1.02, str(phase.get("name", "")), transform=axes.get_xaxis_transform(),
                          ha="center", va="bottom", parse_math=False)  # fmt: skip
        _mark_best(axes, phases, best, borders=borders, values=validation)
        axes.set_xlim(0.5, borders[-1] + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, min_n_ticks=1))
        axes.set_xlabel("epoch")
        axes.set_title(metric, pad=20)
        axes.legend(loc="best")
        names = ", then ".join(str(phase.get("name", "")) for phase in phases)
        return _svg(figure, f"{metric} for each epoch, in training and validation, over the phases {names}", metric)


def _joined(phases: Iterable[Mapping[str, Any]], key: str, borders: Sequence[int]) -> np.ndarray[Any, Any]:
    """A metric of all phases as one row of epochs; NaN, which draws as a gap, where an epoch has none."""
    row = np.full(borders[-1], np.nan)
    for phase, start in zip(phases, borders, strict=False):
        values = [np.nan if value is None else value for value in phase.get("history", {}).get(key, [])]
        row[start : start + len(values)] = values
    return row


def _mark_best(
    axes: Any,
    phases: Sequence[Mapping[str, Any]],
    best: Mapping[str, Any] | None,
    *,
    borders: Sequence[int],
    values: np.ndarray[Any, Any],
) -> None:
    """A ring around the epoch whose weights were kept."""
    names = [phase.get("name") for phase in phases]
    if not best or best.get("phase") not in names or not isinstance(best.get("epoch"), int):
        return
    epoch = borders[names.index(best["phase"])] + best["epoch"]
    if 1 <= epoch <= len(values) and np.isfinite(values[epoch - 1]):
        axes.plot(epoch, values[epoch - 1], "o", markersize=10, markerfacecolor="none", markeredgecolor=_FIRST,
                  markeredgewidth=1.6, linestyle="none", label="kept")  # fmt: skip


def learning_curve(points: Sequence[Mapping[str, Any]]) -> Markup:
    """A probe's balanced accuracy against the training pictures of a class that it learned from, with its band.

    points: the report's `learning_curve`. Empty with fewer than two points, which are no curve.
    """
    if len(points) < 2:
        return Markup()
    pictures, accuracy = [p["images_per_class"] for p in points], [p["balanced_accuracy"] for p in points]
    low, high = [p["low"] for p in points], [p["high"] for p in points]
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": "learning"}):
        figure, axes = _empty()
        axes.fill_between(pictures, low, high, color=_FIRST, alpha=0.18, linewidth=0, label="95% interval")
        axes.plot(pictures, accuracy, color=_FIRST, linewidth=2, marker="o", markersize=4, label="linear probe")
        axes.set_xscale("log", base=2)
        axes.set_xticks(pictures, [f"{n:g}" for n in pictures])
        axes.minorticks_off()
        axes.set_ylim(max(0.0, min(low) - 0.05), min(1.02, max(high) + 0.05))
        axes.set_xlabel("training pictures of a class")
        axes.set_title("balanced accuracy")
        axes.legend(loc="lower right")
        words = "; ".join(f"{n:g} pictures {a:.3f}" for n, a in zip(pictures, accuracy, strict=True))
        return _svg(figure, f"Balanced accuracy of a linear probe by training pictures of a class: {words}", "learning")


def calibration(bins: Sequence[Mapping[str, Any]]) -> Markup:
    """How often the model was right against how sure it was, with the number of pictures in each bin below."""
    filled = [row for row in bins if row["count"]]
    if not filled:
        return Markup()
    sure, right = [row["confidence"] for row in filled], [row["accuracy"] for row in filled]
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": "calibration"}):
        figure = Figure(figsize=(4.6, 4.0), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
        upper.plot([0, 1], [0, 1], color=_INK, linewidth=0.8, linestyle=":", label="perfectly calibrated")
        upper.vlines(sure, sure, right, color=_SECOND, linewidth=2, alpha=0.7, label="gap")
        upper.plot(sure, right, color=_FIRST, marker="o", markersize=5, linewidth=1.2, label="this model")
        upper.set_ylim(-0.02, 1.04)
        upper.set_ylabel("share that was right")
        upper.legend(loc="upper left")
        widths = [row["upper"] - row["lower"] for row in bins]
        lower.bar([row["lower"] for row in bins], [row["count"] for row in bins], width=[0.9 * w for w in widths],
                  align="edge", color=_FIRST, alpha=0.55)  # fmt: skip
        lower.set_xlim(0, 1)
        lower.set_ylabel("pictures")
        lower.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=2))
        lower.set_xlabel("how sure the model was (top score)")
        words = "; ".join(f"sure {s:.2f}, right {r:.2f}, {row['count']} pictures"
                          for s, r, row in zip(sure, right, filled, strict=True))  # fmt: skip
        return _svg(figure, f"Calibration: {words}", "calibration")


def against_rate(found: Mapping[str, Any]) -> Markup:
    """A range test: the loss at each rate, with the suggested rate and the recipe's own marked."""
    rates, first = found["rates"], found["first_loss"]
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": "rates"}):
        figure = Figure(figsize=(7.2, 3.9), layout="constrained")
        axes = figure.subplots()
        axes.plot(rates, found["batch_losses"], color=_SECOND, linewidth=0.8, alpha=0.55, label="each step's batch")
        axes.plot(rates, found["losses"], color=_FIRST, linestyle="none", marker="o", markersize=2.5, alpha=0.5)
        smoothed = found["smoothed"]
        axes.plot(rates[: len(smoothed)], smoothed, color=_FIRST, linewidth=2, label="same pictures, smoothed")
        axes.axhline(first, color=_INK, linewidth=0.8, linestyle=":", label="before the first step")
        axes.axvline(
            found["lr"], color=_INK, linewidth=1, linestyle=(0, (4, 2)), label=f"lr in the recipe, {found['lr']:g}"
        )
        if found["suggested"]:
            axes.axvline(found["suggested"], color=_SECOND, linewidth=2, label=f"suggested, {found['suggested']:g}")
        axes.set_xscale("log")
        axes.set_xlim(rates[0], rates[-1])
        axes.set_ylim(0, 2 * first)  # past twice the first loss it makes no difference how bad a rate is
        axes.set_xlabel("learning rate")
        axes.set_ylabel("loss")
        figure.legend(loc="outside lower center", ncols=3)
        label = f"Loss against the learning rate, from {rates[0]:g} to {rates[-1]:g}; {found['why']}"
        return _svg(figure, label, "rates")


def heatmap(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> Markup:
    """The confusion matrix of many classes: each row shaded by its shares, without numbers."""
    counts = np.asarray(matrix, dtype=float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": "confusion", "axes.grid": False}):
        side = 5.5 if len(classes) <= 40 else 7.5
        figure = Figure(figsize=(side, side), layout="constrained")
        axes = figure.subplots()
        # Transparent where there is nothing: the page's own ground shows through, light or dark.
        shade = LinearSegmentedColormap.from_list("share", [(0.1, 0.53, 0.8, 0.0), (0.1, 0.53, 0.8, 1.0)])
        # A square root, so that the few mistakes are seen beside the many right answers.
        axes.imshow(np.sqrt(shares), cmap=shade, vmin=0, vmax=1, interpolation="nearest")
        step = int(np.ceil(len(classes) / 40))
        places = np.arange(0, len(classes), step)
        names = [_short(str(classes[int(i)]), 18) for i in places]
        size = 7 if len(classes) > 25 else 8
        axes.set_xticks(places, names, rotation=90, fontsize=size, parse_math=False)
        axes.set_yticks(places, names, fontsize=size, parse_math=False)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        return _svg(figure, f"Confusion matrix of {len(classes)} classes, rows are the true ones", "confusion")


def strategies(rows: Sequence[Mapping[str, Any]], *, baseline: str = "") -> Markup:
    """Each strategy's figure with its interval, and a dot for each seed; a line at the baseline's figure.

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


def learning_curves(points: Sequence[Mapping[str, Any]], titles: Mapping[str, str], *, baseline: str = "") -> Markup:
    """Balanced accuracy over the number of training pictures, on a logarithmic axis, a line with a band a strategy.

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
        axes.set_xlabel("training pictures")
        axes.set_ylabel("balanced accuracy on test")
        axes.legend(loc="best")
        words = "; ".join(f"{titles[p['strategy']]} with {p['pictures']}: {p['balanced_accuracy']:.3f}" for p in points)
        return _svg(figure, f"Learning curves: {words}", "learning")


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _empty() -> tuple[Figure, Any]:
    """A figure of the report's usual size, and its axes."""
    figure = Figure(figsize=(4.6, 3.1), layout="constrained")
    return figure, figure.subplots()


def _svg(figure: Figure, label: str, prefix: str) -> Markup:
    """The figure as an `<svg>` element for a page: no ids that clash, no declarations, colours from the style sheet."""
    FigureCanvasSVG(figure)
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # matplotlib only measures the letters, and warns where its own font lacks one; the browser draws them.
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
    svg = svg.replace("<svg", f'<svg class="chart" role="img" aria-label="{html.escape(label)}"', 1)
    return Markup(svg)  # noqa: S704 - matplotlib escapes what it writes, and the label is escaped here
