"""Maps of one picture: how much each place of it speaks for a class, by LayerCAM or Grad-CAM, or by occlusion.

All maps are of the model's input size, and none is stretched to fill its scale: what is spread evenly stays even.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from kt.explain.network import BATCH, Explainable

Pixels = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]
Ask = Callable[[Pixels], npt.NDArray[np.float32]]
"""The scores `[N, C]` of pictures uint8 `[N, H, W, 3]`."""

Method = Literal["grad_cam", "layer_cam", "occlusion"]

EVEN = 0.4
"""A map whose `half` is at least this share points at no place; a map that is the same everywhere has 0.5."""

_NOTHING = 1e-6  # nats in the whole picture: float32's rounding
_WINDOWS = 4  # an occluding window has this part of the picture's sides
_FLOOR = 1e-4  # of a score, in occlusion: files of 8 bits round to 1/256


@dataclass(frozen=True, eq=False)
class Map:
    """Where a picture speaks for a class.

    values: float32 `[H, W]`, not negative. By gradients, they are nats of the class's centred logit and a pixel; by
    occlusion, the mean fall of the log score, in nats, when a window over the pixel is blurred. label: the class's
    index. scores: float32 `[C]`, of the whole picture. depths: the share of each depth in the sum of the values, 0 to
    1, where the head reads several.
    """

    values: Plane
    label: int
    scores: npt.NDArray[np.float32]
    depths: tuple[tuple[str, float], ...] = ()

    @property
    def half(self) -> float | None:
        """The smallest share of the picture, above 0 to 0.5, that has half of the sum; None if nothing speaks for it.

        A small share means that the map points at a place; 0.5 means that all places are alike.
        """
        total = float(self.values.sum(dtype=np.float64))
        if total <= _NOTHING:
            return None
        ordered = np.sort(self.values, axis=None)[::-1].cumsum(dtype=np.float64)
        return min(0.5, (int(np.searchsorted(ordered, total / 2)) + 1) / ordered.size)

    @property
    def points(self) -> bool:
        """Whether it points at a place."""
        return self.half is not None and self.half < EVEN

    @property
    def place(self) -> str:
        """The ninth of the picture that has most of the sum, such as "top left"; "" if it points at no place."""
        if not self.points:
            return ""
        thirds = [np.array_split(row, 3, axis=1) for row in np.array_split(self.values, 3, axis=0)]
        row, column = divmod(int(np.argmax([part.sum() for parts in thirds for part in parts])), 3)
        across, down = ("left", "", "right")[column], ("top", "", "bottom")[row]
        return " ".join(filter(None, [down, across])) or "centre"

    def in_words(self) -> str:
        """What the map shows, for a person."""
        if self.half is None:
            return "no place speaks for it"
        if not self.points:
            return "spread over the whole picture: it points at no place"
        share = f"{self.half:.0%}" if self.half >= 0.005 else "less than 1%"
        return f"half of what speaks for it lies on {share} of the picture, {self.place}"


def layer_cam(model: Explainable, pixels: Pixels, labels: Sequence[int] | None = None) -> list[Map]:
    """LayerCAM of each picture: at each place of a map, its channels weighted by their own positive gradients there.

    pixels: uint8 `[N, H, W, 3]`. labels: the class of each picture; by default the one with the highest score.

    With several depths, each depth's map is in nats of the same logit, so that the maps are scaled to the picture and
    added as they are: a depth is drawn as strongly as it speaks for the class. Jiang et al., LayerCAM: Exploring
    Hierarchical Class Activation Maps for Localization, IEEE Transactions on Image Processing 2021.
    """
    return _by_gradients(
        model, pixels, labels, lambda maps, slopes: np.maximum((maps * np.maximum(slopes, 0)).sum(axis=-1), 0)
    )


def grad_cam(model: Explainable, pixels: Pixels, labels: Sequence[int] | None = None) -> list[Map]:
    """Grad-CAM of each picture: a map's channels weighted by their mean gradients. Arguments as for `layer_cam`.

    With several depths, the maps are added before negative sums are set to 0. For a linear head on average-pooled maps
    this is the exact share that each place has in the logit: before the zeros, the sum over all depths and places is
    the centred logit without its constant. Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via
    Gradient-based Localization, ICCV 2017; with one map, it is CAM: Zhou et al., Learning Deep Features for
    Discriminative Localization, CVPR 2016.
    """
    return _by_gradients(
        model, pixels, labels, lambda maps, slopes: (maps * slopes.mean(axis=(1, 2), keepdims=True)).sum(axis=-1)
    )


def _by_gradients(
    model: Explainable, pixels: Pixels, labels: Sequence[int] | None, weigh: Callable[[Plane, Plane], Plane]
) -> list[Map]:
    drawn: list[Map] = []
    for start in range(0, len(pixels), BATCH):
        part = pixels[start : start + BATCH]
        maps, scores = model.look(part)
        chosen = scores.argmax(axis=1) if labels is None else np.asarray(labels[start : start + BATCH])
        slopes = model.slopes(maps, chosen)
        # [depth][picture]: what each place of the map adds to the logit
        planes = [weigh(own, slope) for own, slope in zip(maps, slopes, strict=True)]
        for index in range(len(part)):
            laid = [_laid(plane[index], part.shape[1:3]) for plane in planes]
            drawn.append(_added(laid, model.depths, label=int(chosen[index]), scores=scores[index]))
    return drawn


def _laid(plane: Plane, size: tuple[int, int]) -> Plane:
    """A map `[h, w]` over the picture `[H, W]`, bilinear, with about the same sum."""
    height, width = size
    picture = Image.fromarray(np.ascontiguousarray(plane, np.float32)).resize(
        (width, height), Image.Resampling.BILINEAR
    )
    return np.asarray(picture, np.float32) * np.float32(plane.size / (height * width))


def _added(laid: Sequence[Plane], depths: Sequence[str], *, label: int, scores: npt.NDArray[np.float32]) -> Map:
    together = np.sum(laid, axis=0, dtype=np.float32)
    values = np.maximum(together, 0)
    strengths = [float(np.maximum(plane, 0).sum(dtype=np.float64)) for plane in laid]
    total = sum(strengths)
    shares = zip(depths, (each / total if total > 0 else 0.0 for each in strengths), strict=True)
    return Map(values, label, scores, tuple(shares) if len(laid) > 1 else ())


def occlusion(ask: Ask, pixels: Pixels, labels: Sequence[int] | None = None) -> list[Map]:
    """How much the log score of a class falls when a window is blurred; from scores alone, without gradients.

    ask: gives the scores of any artefact. Other arguments as for `layer_cam`. The window has a quarter of the picture's
    sides and moves by half of itself; a place has the mean over the windows that cover it. Zeiler and Fergus,
    Visualizing and Understanding Convolutional Networks, ECCV 2014; they put grey in place of the blur, which is a
    thing of its own that a model may react to.
    """
    maps = []
    for index, picture in enumerate(pixels):
        windows = list(_windows(picture.shape[0], picture.shape[1]))
        smooth = blurred(picture)
        changed = np.repeat(picture[None], len(windows) + 1, axis=0)
        for place, (rows, columns) in enumerate(windows, start=1):
            changed[place, rows, columns] = smooth[rows, columns]
        scores = ask(changed)
        label = int(scores[0].argmax()) if labels is None else int(labels[index])
        logs = np.log(np.maximum(scores[:, label].astype(np.float64), _FLOOR))
        sums, counts = np.zeros(picture.shape[:2]), np.zeros(picture.shape[:2])
        for fall, (rows, columns) in zip(logs[0] - logs[1:], windows, strict=True):
            sums[rows, columns] += fall
            counts[rows, columns] += 1
        maps.append(Map(np.maximum(sums / counts, 0).astype(np.float32), label, scores[0]))
    return maps


def _windows(height: int, width: int) -> list[tuple[slice, slice]]:
    return [(rows, columns) for rows in _slices(height) for columns in _slices(width)]


def _slices(side: int) -> list[slice]:
    """Windows of a quarter of a side that overlap by half, from one end to the other."""
    length = max(1, round(side / _WINDOWS))
    starts = np.unique(np.linspace(0, side - length, 2 * _WINDOWS - 1).round().astype(int))
    return [slice(int(start), int(start) + length) for start in starts]


def blurred(picture: Pixels) -> Pixels:
    """The picture `[H, W, 3]` without detail: a Gaussian blur whose standard deviation is a quarter of its longer side.

    It is so strong because a weaker one leaves the colour of a thing where it was.
    """
    radius = max(picture.shape[:2]) / 4
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).filter(ImageFilter.GaussianBlur(radius)))


def explained(model: Explainable, pixels: Pixels, labels: Sequence[int] | None = None, *, method: Method) -> list[Map]:
    """The maps by a method, of a model that has gradients."""
    if method == "occlusion":
        return occlusion(model.scores, pixels, labels)
    return (layer_cam if method == "layer_cam" else grad_cam)(model, pixels, labels)


def like(plane: npt.NDArray[Any], size: tuple[int, int]) -> Plane:
    """A map scaled to another picture's size, for drawing; its sum is not kept."""
    picture = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BILINEAR), np.float32)
