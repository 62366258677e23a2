"""The reasons for an advice in words: size, similarity, backbones and strategy."""

from collections.abc import Sequence

import numpy as np

from kt.base.few import FEW
from kt.recipe import ALL, TOP
from kt.strategy.advise.gain import LEAST, BackboneGain
from kt.strategy.advise.matrix import LARGE, way
from kt.strategy.advise.probes import ProbedBackbone, ProbedFeatures


def of_size(per_class: dict[str, int], groups: int, *, large: bool) -> str:
    """How many pictures and groups there are, and whether that is large or small."""
    counts = sorted(per_class.values())
    total, middle = sum(counts), float(np.median(counts))
    spread = (
        f"{counts[0]} each" if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}, {middle:g} in the middle"
    )
    text = (
        f"Size: {total:,} pictures to learn from in {len(counts)} classes ({spread}): "
        f"{'large' if large else 'small'}, since the line is at {LARGE} a class."
    )
    if groups < total:
        text += f" They show {groups:,} different things; pictures of one thing count for little more than one."
    if counts[0] < FEW:
        text += f" Below {FEW} a class every figure here is shaky: more pictures help more than any strategy."
    return text


def of_similarity(first: ProbedBackbone, *, classes: int, similar: bool, anything: bool) -> list[str]:
    """The last features' accuracy against the best depth's and the pixels', and whether the source is similar."""
    top, best, pixels = first.top, first.best, first.pixels
    guess = 1 / classes
    if not anything:
        return [
            f"Similarity: nothing does better than guessing ({guess:.2f}). The best depth of frozen {first.backbone} "
            f"reaches {_figure(best)}, pixels alone {_figure(pixels)}; that is luck. No strategy will do better than "
            "chance on these labels: check that they are right, and that a person sees the difference at this size."
        ]
    share = way(top.balanced_accuracy, classes=classes)
    lines = [
        f"Similarity: a linear probe on the last features of frozen {first.backbone} reaches {_figure(top)} balanced "
        f"accuracy on pictures it has not seen, {share:.0%} of the way from guessing ({guess:.2f}) to perfect; pixels "
        f"alone (colours and a thumbnail) reach {_figure(pixels)}."
    ]
    if best.depth == "top":
        lines.append("No depth below does better, as where the pictures are like the source's.")
    else:
        where = "all depths together" if best.depth == ALL else best.depth
        lines.append(f"The best features are those of {where}: {_figure(best)}.")
    lines.append(
        f"So the pictures are {'similar to' if similar else 'different from'} what {first.backbone} was trained on."
    )
    return lines


def of_backbones(order: Sequence[ProbedBackbone]) -> list[str]:
    """How much better each of several backbones is than the one they are compared with, and which is taken."""
    gains = [(each, each.gain) for each in order if each.gain is not None]
    if not gains:
        return []
    first, over = order[0], gains[0][1].over
    listed = [f"{each.backbone} {_gain(gain)}, {_verdict(gain, taken=each is first)}" for each, gain in gains]
    end = f"{over} stays" if first.gain is None else f"{first.backbone} is taken"
    return [f"Backbones, against {over} on the same pictures, cross-validated: {'; '.join(listed)}. So {end}."]


def _gain(gain: BackboneGain) -> str:
    points, low, high = (100 * value for value in (gain.balanced_accuracy, *gain.interval))
    least, most = gain.log_loss_interval
    return (
        f"{points:+.1f} points of balanced accuracy ({low:+.1f} to {high:+.1f}) and {-gain.log_loss:+.3f} of log loss "
        f"({-most:+.3f} to {-least:+.3f})"
    )


def _verdict(gain: BackboneGain, *, taken: bool) -> str:
    if taken:
        sure = gain.interval[0] > 0 or gain.log_loss_interval[0] > 0
        return "which is enough" if sure else "which is likely, not sure"
    if gain.enough:
        return "which is good, but not the best"
    if gain.better:
        return f"which means little below {LEAST} pictures"
    chance = gain.interval[0] <= 0 <= gain.interval[1] and gain.log_loss_interval[0] <= 0 <= gain.log_loss_interval[1]
    return "which is within chance" if chance else "which is no gain"


def of_strategy(strategy: str, features: str, *, anything: bool) -> str:
    """The advised strategy, and why no more and no less is advised."""
    if not anything:
        return "Strategy: the cheapest, a linear probe, to be judged again when the labels are sure."
    where = {ALL: "all depths", TOP: "the top"}.get(features, features)
    first = f"Strategy: a linear probe on frozen features of {where}"
    texts = {
        "probe": f"{first} and no more: too few pictures to move the network without harm.",
        "probe_then_top": f"{first}, then fine-tune the last blocks from there; the earlier ones serve as they are.",
        "probe_then_all": f"{first}, then fine-tune the whole network from there, early blocks least: there are "
        "pictures enough to change what does not fit.",
    }
    return texts[strategy]


def _figure(probe: ProbedFeatures) -> str:
    return f"{probe.balanced_accuracy:.2f} ({probe.interval[0]:.2f} to {probe.interval[1]:.2f})"
