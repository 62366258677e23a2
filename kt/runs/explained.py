"""Where a run's model looks in some of its test pictures, kept for the report."""

import base64
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.base.run_folder import EXPLAINED
from kt.base.stages import Stage, key_of
from kt.data.splits import Split, Splits
from kt.errors import KtError, one_line
from kt.kinds.pictures.kind import JPEG, Pictures

MOST = 24
"""Test pictures in the gallery; with more than twelve classes it has those that are recognised worst."""

EACH = 3
"""The most pictures of a class that are classified correctly, and the most that are not."""

TRIED = 12
"""Test pictures, drawn at random, on which removing what the maps point at is compared with removing other places."""

_SIDE = 160  # pixels on the page
_FORMAT = 1  # increased when a kept result can't be used any more

Ask = Callable[[npt.NDArray[Any]], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Looks:
    """What the report says and shows of it.

    told: the value of `explained` in `report.json`; None for examples that are no pictures. addresses: of each of its
    pictures, as it is and with its map.
    """

    told: dict[str, Any] | None = None
    addresses: tuple[tuple[str, str], ...] = ()


def explain_run(
    out: Path, model: Any, splits: Splits, scores: npt.NDArray[np.float32], *, ask: Ask, key: str, seed: int
) -> Looks:
    """Explain a gallery of test pictures, and judge the maps on others, or take what an earlier process kept.

    model: the Keras model. scores: `[N_test, C]`. ask: gives scores `[N, C]` of pictures, by the fastest way. key: of
    the model and the pictures. It never fails: if the model can't be explained, `told` says why.
    """
    if not isinstance(splits.kind, Pictures):
        return Looks()
    stage = Stage(out / EXPLAINED, key_of(key, seed, _FORMAT, MOST, EACH, TRIED))
    kept = stage.kept()
    if kept is not None:
        return Looks(kept.told["explained"], tuple((picture, drawn) for picture, drawn in kept.told["addresses"]))
    try:
        looks = _explained(model, splits, ask=ask, scores=scores, seed=seed)
    except KtError as error:
        return Looks(_told(why=str(error)))
    except Exception as error:  # noqa: BLE001 - a model may refuse in any way, and the run goes on without the maps
        return Looks(_told(why=f"It failed: {one_line(error)[:200]}"))
    stage.keep({"explained": looks.told, "addresses": looks.addresses})
    return looks


def _told(*, why: str = "", **more: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {"method": "grad_cam", "pictures": [], "depths": [], "faithful": None, "seconds": None}
    return {**empty, "why": why, **more}


def _explained(model: Any, splits: Splits, *, ask: Ask, scores: npt.NDArray[np.float32], seed: int) -> Looks:
    from kt.explain.curves import curves, removed
    from kt.explain.drawing import jpeg, overlay
    from kt.explain.maps import grad_cam
    from kt.explain.network import Explainable
    from kt.explain.told import in_words

    started, test = time.perf_counter(), splits.test
    shown = gallery(scores, test, classes=len(splits.classes))
    tried = drawn_at_random(test, seed=seed)
    places = list(dict.fromkeys([*shown, *tried]))
    pixels = np.stack([test.examples[place] for place in places])
    maps = grad_cam(Explainable(model), pixels, scores[places].argmax(axis=1).tolist())
    of = dict(zip(places, zip(pixels, maps, strict=True), strict=True))
    own_pixels, own_maps = np.stack([of[place][0] for place in shown]), [of[place][1] for place in shown]
    without = removed(ask, own_pixels, own_maps)
    pictures, addresses = [], []
    for place, picture, drawn, worth in zip(shown, own_pixels, own_maps, without, strict=True):
        pictures.append(
            {
                "name": test.names[place],
                "label": splits.classes[test.labels[place]],
                "predicted": splits.classes[drawn.label],
                "score": float(scores[place, drawn.label]),
                "half": drawn.half,
                "place": drawn.place,
                "without": None if worth is None else worth.score,
                "without_elsewhere": None if worth is None else worth.elsewhere,
                "in_words": in_words(drawn, worth),
            }
        )
        addresses.append((_address(jpeg(picture, side=_SIDE)), _address(jpeg(overlay(picture, drawn), side=_SIDE))))
    judged = curves(
        ask,
        np.stack([of[place][0] for place in tried]),
        [of[place][1] for place in tried],
        groups=[test.groups[place] for place in tried],
        seed=seed,
    )
    told = _told(
        pictures=pictures,
        depths=_depths([drawn.depths for drawn in own_maps]),
        faithful=judged.as_json(),
        seconds=round(time.perf_counter() - started, 2),
    )
    return Looks(told, tuple(addresses))


def _address(content: bytes) -> str:
    return JPEG + base64.b64encode(content).decode("ascii")


def _depths(shares: Sequence[tuple[tuple[str, float], ...]]) -> list[dict[str, Any]]:
    """The mean share of each depth, in order; empty where the head reads only one."""
    names = [name for name, _ in shares[0]] if shares else []
    means = [float(np.mean([own[index][1] for own in shares])) for index in range(len(names))]
    return [{"features": name, "share": mean} for name, mean in zip(names, means, strict=True)]


def gallery(scores: npt.NDArray[np.float32], test: Split, *, classes: int) -> list[int]:
    """The test pictures to show: class by class, first some that are right, then the wrongest.

    The right ones are spread over their scores, from the surest to the least sure. The wrong ones are those whose true
    class got the lowest score. Of pictures of one thing the first is taken. If there are too many classes, it takes
    those with the lowest recall.
    """
    right = scores.argmax(axis=1) == test.labels
    of_truth = scores[np.arange(len(test)), test.labels]
    sure = np.argsort(-of_truth, kind="stable")
    own = [sure[test.labels[sure] == label] for label in range(classes)]
    recalls = [float(right[places].mean()) if len(places) else 2.0 for places in own]
    worst = sorted(range(classes), key=lambda label: recalls[label])[: MOST // 2]
    each = max(1, min(EACH, MOST // (2 * min(classes, MOST // 2))))
    chosen: list[int] = []
    for label in sorted(worst):
        hits = _one_a_group((place for place in own[label] if right[place]), test.groups)
        misses = _one_a_group((place for place in own[label][::-1] if not right[place]), test.groups)
        steps = np.linspace(0, len(hits) - 1, num=min(each, len(hits))).round().astype(int)
        chosen += [*(hits[step] for step in steps), *misses[:each]]
    return chosen


def drawn_at_random(test: Split, *, seed: int) -> list[int]:
    """Up to `TRIED` test pictures at random, one of each thing that is shown."""
    order = np.random.default_rng(seed).permutation(len(test))
    return _one_a_group(order, test.groups)[:TRIED]


def _one_a_group(places: Iterable[Any], groups: Sequence[str]) -> list[int]:
    """The first place of each group, in order."""
    first: dict[str, int] = {}
    for place in places:
        first.setdefault(groups[int(place)], int(place))
    return list(first.values())
