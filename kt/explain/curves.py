"""Whether a map tells the truth: what a score does when the places that it points at are removed, or come first.

Deletion blurs a picture place by place, in the order of the map; insertion begins with the blurred picture and puts
the places back. Both are compared with random maps of the same coarseness, on the same pictures. Petsiuk, Das and
Saenko, RISE: Randomized Input Sampling for Explanation of Black-box Models, BMVC 2018.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.base.chance import mean_and_interval
from kt.explain.maps import Ask, Map, Pixels, Plane, blurred, like

SHARES = (0.0, 0.05, 0.15, 0.35, 0.65, 1.0)
"""The shares of the picture that are removed or put back; closer at the beginning, where scores change."""

RANDOM = 1
"""Random maps for each picture; more would only narrow the interval a little, and cost as much as more pictures."""

_CELLS = 7  # of a random map's sides; the last map of most backbones has as many at 224 pixels
_FALL = 0.01  # of a score: less is no fall
_AT_ONCE = 256  # pictures in one question: 40 MB at 224 pixels


@dataclass(frozen=True)
class Curve:
    """How deletion or insertion went on some pictures.

    shares: of the picture, as in `SHARES`. by_map, at_random: the mean score of the explained class at each share, 0 to
    1. gain: by how much the area under the curve is better by the map than at random: smaller for deletion, larger for
    insertion, and positive if the map is right. interval: 95%, by Student's t over groups; None with fewer than two
    groups. pictures, groups: how many.
    """

    shares: tuple[float, ...]
    by_map: tuple[float, ...]
    at_random: tuple[float, ...]
    gain: float
    interval: tuple[float, float] | None
    pictures: int
    groups: int

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Curves:
    """Deletion and insertion on the same pictures."""

    deletion: Curve
    insertion: Curve

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"deletion": self.deletion.as_json(), "insertion": self.insertion.as_json()}


def curves(
    ask: Ask, pixels: Pixels, maps: Sequence[Map], *, groups: Sequence[str] | None = None, seed: int = 0
) -> Curves:
    """Deletion and insertion by these maps, one for each picture of `[N, H, W, 3]`, against random maps.

    ask: gives scores `[N, C]`. groups: of each picture; by default each is its own. It asks for 18 scores a
    picture.
    """
    random = np.random.default_rng(seed)
    size = pixels.shape[1:3]
    wanted = [[each.values, *(_random_map(random, size) for _ in range(RANDOM))] for each in maps]
    changed = [_changed(picture, orders) for picture, orders in zip(pixels, wanted, strict=True)]
    labels = np.repeat([each.label for each in maps], len(changed[0]))
    scores = asked(ask, np.concatenate(changed))[np.arange(len(labels)), labels]
    # [picture, whole or blurred] and [picture, way, map, share]
    of_picture = scores.reshape(len(pixels), -1).astype(np.float64)
    ends, inner = of_picture[:, :2], of_picture[:, 2:].reshape(len(pixels), 2, RANDOM + 1, len(SHARES) - 2)
    names = tuple(groups) if groups is not None else tuple(map(str, range(len(pixels))))
    return Curves(
        _curve(inner[:, 0], begin=ends[:, 0], end=ends[:, 1], better=-1, groups=names),
        _curve(inner[:, 1], begin=ends[:, 1], end=ends[:, 0], better=1, groups=names),
    )


def asked(ask: Ask, pixels: Pixels) -> npt.NDArray[np.float32]:
    """The scores of many pictures, asked for in large blocks, since each question may have a price of its own."""
    return np.concatenate([ask(pixels[start : start + _AT_ONCE]) for start in range(0, len(pixels), _AT_ONCE)])


def _random_map(random: np.random.Generator, size: tuple[int, int]) -> Plane:
    return like(random.normal(size=(_CELLS, _CELLS)), size)


def _changed(picture: Pixels, orders: Sequence[Plane]) -> Pixels:
    """The picture, its blur, and in between what is left of it, for each way, map and inner share."""
    smooth, removed = blurred(picture), []
    for values in orders:
        ranks = np.empty(values.size, np.int64)
        ranks[np.argsort(-values, axis=None, kind="stable")] = np.arange(values.size)
        removed += [(ranks < round(share * values.size)).reshape(values.shape) for share in SHARES[1:-1]]
    deleted = [np.where(mask[..., None], smooth, picture) for mask in removed]
    inserted = [np.where(mask[..., None], picture, smooth) for mask in removed]
    return np.stack([picture, smooth, *deleted, *inserted])


def _curve(
    inner: npt.NDArray[np.float64],
    *,
    begin: npt.NDArray[np.float64],
    end: npt.NDArray[np.float64],
    better: int,
    groups: Sequence[str],
) -> Curve:
    """inner: `[N, maps, shares]`, the picture's own map first. begin, end: `[N]`. better: the sign of a good gain."""
    shape = (*inner.shape[:2], 1)
    scores = np.concatenate(
        [np.broadcast_to(begin[:, None, None], shape), inner, np.broadcast_to(end[:, None, None], shape)], axis=2
    )
    areas = np.trapezoid(scores, SHARES, axis=2)
    gains = better * (areas[:, 0] - areas[:, 1:].mean(axis=1))
    judged = mean_and_interval(gains, groups)
    return Curve(
        shares=SHARES,
        by_map=tuple(scores[:, 0].mean(axis=0).tolist()),
        at_random=tuple(scores[:, 1:].mean(axis=(0, 1)).tolist()),
        gain=float(gains.mean()),
        interval=None if judged is None else (judged[1][0], judged[1][1]),
        pictures=len(inner),
        groups=len(set(groups)),
    )


@dataclass(frozen=True)
class Removed:
    """What blurring the places does that hold half of a map.

    whole: the score of the class for the picture as it is, 0 to 1. score: without these places. elsewhere: the mean
    score without as many places elsewhere: the same shape, shifted by half of the picture around its edges, down or
    across.
    """

    whole: float
    score: float
    elsewhere: float

    @property
    def decides(self) -> bool:
        """Whether the score falls without these places, and by more than without others."""
        return self.whole - self.score > max(_FALL, self.whole - self.elsewhere)

    def in_words(self) -> str:
        """What that says of the map, for a person; it follows the map's own words."""
        if self.whole - self.score <= _FALL:
            rises = self.score - self.whole > _FALL
            return f"but the score {'rises to' if rises else 'stays'} {self.score:.2f} without it"
        both = f"without it the score is {self.score:.2f}, without as much elsewhere {self.elsewhere:.2f}"
        return both if self.decides else f"but {both}: other places decide as much"


def removed(ask: Ask, pixels: Pixels, maps: Sequence[Map]) -> list[Removed | None]:
    """For each picture and its map, what the places are worth; None for a map that points at no place."""
    changed: list[Pixels] = []
    for picture, each in zip(pixels, maps, strict=True):
        if each.points:
            smooth, mask = blurred(picture), _half(each)
            down, across = mask.shape[0] // 2, mask.shape[1] // 2
            shifted = [np.roll(mask, shift, axis=(0, 1)) for shift in ((0, 0), (down, 0), (0, across))]
            changed += [np.where(own[..., None], smooth, picture) for own in shifted]
    if not changed:
        return [None] * len(maps)
    scores = iter(asked(ask, np.stack(changed)).reshape(-1, 3, len(maps[0].scores)))
    results: list[Removed | None] = []
    for each in maps:
        own = next(scores)[:, each.label] if each.points else None
        whole = float(each.scores[each.label])
        results.append(None if own is None else Removed(whole, float(own[0]), float(own[1:].mean())))
    return results


def _half(each: Map) -> npt.NDArray[np.bool_]:
    """The places that hold half of the map: the smallest ones, so they have the share `half` of the picture."""
    ordered = np.argsort(-each.values, axis=None, kind="stable")
    mask = np.zeros(each.values.size, bool)
    mask[ordered[: max(1, round((each.half or 0) * mask.size))]] = True
    return mask.reshape(each.values.shape)
