"""What a change of light does to levels: curves that bring one picture under the light of another.

A program that makes a picture lighter, or gives it more contrast, cuts off what would be above white. So the curve
leads from the picture that is cut off less to the one that is cut off more, where it becomes flat; the other way there
is none.
"""

import math

import numpy as np
import numpy.typing as npt

from kt.data.duplicates.views import Floats

_WHITE, _BLACK = 250.0, 4.0
"""Levels beyond these may have been cut off."""

_HIGH = 215.0
"""Where a mean is below this level, hardly a pixel was cut off."""

_BENDS = (0.15, 0.35, 0.65, 0.85)
"""Where a curve may bend, as shares of white: more often near white, where it gets flat, and near black, where
a gamma bends most."""

_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)

_STIFF = 1e-3
"""A bend has to explain this share of the squares at least; a picture with few levels gets a straight line."""


def cut_off(pictures: Floats) -> Floats:
    """Where colours `[..., 3]` may have been cut off at white or black: 1, else 0."""
    red, green, blue = pictures[..., 0], pictures[..., 1], pictures[..., 2]
    most, least = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    return np.asarray((most >= _WHITE) | (least <= _BLACK), np.float32)


def brightness(pictures: Floats) -> Floats:
    """The mean of the colours of `[..., 3]`."""
    return np.asarray((pictures[..., 0] + pictures[..., 1] + pictures[..., 2]) / np.float32(3), np.float32)


def flat(pictures: Floats) -> Floats:
    """Each of the pictures `[P, ...]` as a row; also if there are none."""
    return pictures.reshape(len(pictures), math.prod(pictures.shape[1:]))


def curved(levels: Floats, target: Floats) -> Floats:
    """Levels `[P, K]` by the curve that brings them nearest to the target `[P, K]`, one for each of P."""
    design = _design(levels / np.float32(255))
    return _applied(design, _fitted(design, target))


def recoloured(colours: Floats, target: Floats, weight: Floats, *, apply: Floats) -> Floats:
    """`apply` `[P, H, W, 3]` by curves that bring `colours` `[P, h, w, 3]` nearest to the target, one for each colour.

    A curve takes luminance into account too, which a change of saturation mixes in. weight: `[P, h, w]`.
    """
    out = np.empty_like(apply)
    weights = np.sqrt(flat(weight)) + np.float32(1e-3)
    for colour in range(3):
        design = _design_of_colour(colours, colour)
        curve = _fitted(design, flat(target[..., colour]), weights)
        every = _design_of_colour(apply, colour)
        out[..., colour] = _applied(every, curve).reshape(apply.shape[:-1])
    return out


def _design_of_colour(colours: Floats, colour: int) -> Floats:
    own, luminance = flat(colours[..., colour]) / np.float32(255), flat(colours @ _LUMINANCE) / np.float32(255)
    return np.concatenate([_design(own), (luminance - own)[..., None]], axis=-1)


def _design(shares: Floats) -> Floats:
    """Columns `[P, K, D]`: a constant, a line, and a bend at each of `_BENDS`."""
    bends = [np.maximum(shares - np.float32(bend), 0) for bend in _BENDS]
    return np.stack([np.ones_like(shares), shares - np.float32(0.5), *bends], axis=-1)


def _fitted(design: Floats, target: Floats, weights: Floats | None = None) -> Floats:
    """Curves `[P, D, 1]`, by least squares."""
    goal = target[..., None] / np.float32(255)
    if weights is not None:
        design, goal = design * weights[..., None], goal * weights[..., None]
    turned = design.transpose(0, 2, 1)
    normal = (turned @ design).astype(np.float64)
    total = np.einsum("nii->n", normal)[:, None]
    stiff = np.concatenate([np.full(2, 1e-6), np.full(normal.shape[1] - 2, _STIFF)])
    normal += np.eye(normal.shape[1]) * (total * stiff + 1e-9)[:, None, :]
    return np.asarray(np.linalg.solve(normal, (turned @ goal).astype(np.float64)), np.float32)


def _applied(design: Floats, curve: Floats) -> Floats:
    return np.asarray(np.clip((design @ curve)[..., 0] * np.float32(255), 0, 255), np.float32)


def slope(seen: Floats, target: Floats, cut: Floats) -> Floats:
    """How much lighter the target is, float32 `[P]`, by the levels `[P, K]` that are not cut off. cut: `[P, K]`."""
    clear = (cut == 0) & (np.maximum(seen, target) < _HIGH)
    weight = np.where(clear, np.float32(1), np.float32(1e-3))
    weight /= weight.sum(axis=1, keepdims=True)
    at, to = (weight * seen).sum(axis=1), (weight * target).sum(axis=1)
    one, other = seen - at[:, None], target - to[:, None]
    factor = (weight * one * other).sum(axis=1) / np.maximum((weight * one * one).sum(axis=1), 1e-3)
    return np.asarray(np.clip(factor, 0.3, 3), np.float32)


def lighter(seen: Floats, target: Floats, *, seen_cut: Floats, target_cut: Floats) -> npt.NDArray[np.bool_]:
    """Whether each target `[P, K]` is cut off more than what is seen; if neither is, whether it is lighter."""
    more = flat(target_cut).mean(axis=1) - flat(seen_cut).mean(axis=1)
    higher = flat(target).mean(axis=1) > flat(seen).mean(axis=1)
    return np.asarray(np.where(np.abs(more) > _SHARE, more > 0, higher))


_SHARE = 0.005
"""If the shares that are cut off differ by less than this, it is noise."""
