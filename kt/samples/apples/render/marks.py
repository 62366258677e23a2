"""Marks on the skin: harmless ones, on good and bad apples alike, and the decay that makes an apple a bad one."""

import math
from dataclasses import replace

import numpy as np

from kt.samples.apples.render.canvas import (
    Floats,
    blended,
    happens,
    length_of,
    random_shade,
    smooth_noise,
    smooth_step,
    to_linear,
)
from kt.samples.apples.render.fruit import Surface
from kt.samples.apples.render.skin import Skin, pale_dots

# --- harmless marks, on good and bad apples alike ------------------------------------------------------------------


def _spot(rng: np.random.Generator, surface: Surface, spread: float = 0.6) -> Floats:
    """A random place `[3]` on the side that the camera sees, at most `spread` (0 to 1) of the way to the edge."""
    angle, out = rng.uniform(0, 2 * math.pi), spread * math.sqrt(rng.random())
    towards = np.array([out * math.cos(angle), out * math.sin(angle), math.sqrt(1 - out * out)], np.float32)
    return surface.shape.point(towards @ surface.pose.turn)


def _away(surface: Surface, spot: Floats) -> Floats:
    """The distance of every skin pixel from a place on the apple, `[N]`."""
    return length_of(surface.place - spot)


def with_harmless_marks(rng: np.random.Generator, surface: Surface, skin: Skin) -> Skin:
    """The skin, on some apples with water, bloom, a sticker, dirt, rubbed places or sunspots."""
    marks = ((0.1, _drops), (0.12, _bloom), (0.1, _sticker), (0.12, _dirt), (0.12, _rubbed), (0.12, _sunspot))
    for probability, mark in marks:
        if happens(rng, probability):
            skin = mark(rng, surface, skin)
    return skin


def _drops(rng: np.random.Generator, surface: Surface, skin: Skin) -> Skin:
    """Drops of water: small domes, each lit as its own curved surface."""
    for _ in range(rng.integers(5, 22)):
        size = rng.uniform(0.02, 0.065)
        dome = np.clip(1 - (_away(surface, _spot(rng, surface, 0.9)) / size) ** 2, 0, 1)
        wet = smooth_step(dome, 0, 0.2)
        skin = skin.covered(wet * 0.2, skin.color * 0.55)
        skin = replace(skin, shine=skin.shine + 0.8 * wet, height=skin.height + 0.6 * size * np.sqrt(dome))
    return skin


def _bloom(rng: np.random.Generator, surface: Surface, skin: Skin) -> Skin:
    """Bloom, the apple's natural wax: a pale haze, wiped off in places."""
    haze = smooth_step(surface.under(smooth_noise(rng, 4, 4)), -1.5, 2.0) * rng.uniform(0.05, 0.3)
    return skin.covered(haze, to_linear((190, 194, 206)), shine=0.4)


def _sticker(rng: np.random.Generator, surface: Surface, skin: Skin) -> Skin:
    spot, size = _spot(rng, surface), rng.uniform(0.13, 0.2)
    away = _away(surface, spot)
    paper, print_ = (rng.uniform(20, 250, 3).astype(np.float32) / 255 for _ in range(2))
    skin = skin.covered(
        smooth_step(away, size + 0.012, size - 0.012), (0.4 + 0.6 * paper) ** 2.2, shine=0.8, height=0.01
    )
    ring = smooth_step(np.abs(away - 0.72 * size), 0.035, 0.02) + smooth_step(away, 0.3 * size, 0.2 * size)
    return skin.covered(np.clip(ring, 0, 1), print_**2.2)


def _dirt(rng: np.random.Generator, surface: Surface, skin: Skin) -> Skin:
    """Specks of dust and soil, and a smear of soil."""
    specks = pale_dots(rng, surface, int(rng.integers(5, 60)))
    smear = smooth_step(_away(surface, _spot(rng, surface)) + 0.12 * surface.under(smooth_noise(rng, 9, 3)), 0.3, 0.05)
    grains = smooth_step(surface.under(smooth_noise(rng, 80, 2)), 0.2, 1.4)
    mask = np.clip(surface.under(specks) * 0.8 + smear * grains * rng.uniform(0, 0.7), 0, 1)
    return skin.covered(mask, to_linear((88, 66, 44)) * np.float32(rng.uniform(0.5, 1.4)), shine=0.5)


def _rubbed(rng: np.random.Generator, surface: Surface, skin: Skin) -> Skin:
    """A dry tan scar where a twig rubbed: long, thin, healed."""
    spot, other = _spot(rng, surface), _spot(rng, surface)
    along = (other - spot) / (np.linalg.norm(other - spot) + 1e-6)
    offset = surface.place - spot
    run = offset @ along
    aside = length_of(offset - run[:, None] * along) + 0.02 * surface.under(smooth_noise(rng, 24, 2))
    length, width = rng.uniform(0.1, 0.4), rng.uniform(0.015, 0.05)
    mask = smooth_step(aside, 1.4 * width, 0.5 * width) * smooth_step(np.abs(run), length, 0.7 * length)
    return skin.covered(mask * rng.uniform(0.4, 0.9), to_linear((186, 150, 98)), shine=0.3)


def _sunspot(rng: np.random.Generator, surface: Surface, skin: Skin) -> Skin:
    """A soft patch of riper or paler colour, such as where a leaf covered the apple."""
    tint = np.array([rng.uniform(0.95, 1.5), rng.uniform(0.75, 1.3), rng.uniform(0.7, 1.2)], np.float32)
    away = _away(surface, _spot(rng, surface)) + 0.06 * surface.under(smooth_noise(rng, 6, 3))
    size = rng.uniform(0.15, 0.45)
    return skin.covered(
        smooth_step(away, size, size * rng.uniform(0.3, 0.85)) * rng.uniform(0.4, 0.9), skin.color * tint
    )


# --- decay ---------------------------------------------------------------------------------------------------------


def _rot(rng: np.random.Generator, surface: Surface, skin: Skin) -> Skin:
    """A soft, sunken brown patch, often with rings."""
    size = rng.uniform(0.28, 0.62)
    away = _away(surface, _spot(rng, surface)) + 0.16 * size * surface.under(smooth_noise(rng, 7, 3))
    mask = smooth_step(away, size, size * rng.uniform(0.65, 0.92))
    rings = np.sin(away / size * rng.uniform(10, 26)) * rng.uniform(0, 0.25)
    brown = np.array([rng.uniform(84, 148), rng.uniform(52, 82), rng.uniform(20, 42)], np.float32) / 255
    color = (
        brown**2.2
        * (1 + rings + 0.12 * surface.under(smooth_noise(rng, 24, 2)) - 0.3 * smooth_step(away, size, 0))[:, None]
    )
    deep = rng.uniform(0.03, 0.1)
    skin = skin.covered(mask * rng.uniform(0.82, 0.98), color, shine=rng.uniform(0.3, 0.8), height=-deep * size * 2)
    return replace(skin, height=skin.height + 0.004 * rings * mask)


def _bruise(rng: np.random.Generator, surface: Surface, skin: Skin) -> Skin:
    """One to three places where the flesh was crushed: sunken, darker and browner, with an uneven edge."""
    uneven = surface.under(smooth_noise(rng, 6, 3))
    for _ in range(rng.integers(1, 4)):
        size = rng.uniform(0.22, 0.54)
        away = _away(surface, _spot(rng, surface)) + 0.2 * size * uneven
        mask = smooth_step(away, size, size * rng.uniform(0.5, 0.85))
        darker = np.array([rng.uniform(0.26, 0.52), rng.uniform(0.2, 0.4), rng.uniform(0.18, 0.4)], np.float32)
        color = blended(skin.color * darker, to_linear((96, 62, 34)), np.full_like(mask, rng.uniform(0.1, 0.5)))
        skin = skin.covered(mask * rng.uniform(0.7, 1), color, shine=0.5, height=-rng.uniform(0.04, 0.13) * size)
    return skin


def _scab(rng: np.random.Generator, surface: Surface, skin: Skin) -> Skin:
    """Five to 21 rough olive-black spots, some grown together, some with a corky middle."""
    middle, rough = _spot(rng, surface), surface.under(smooth_noise(rng, 26, 3))
    nearest = np.full_like(rough, 9)
    for _ in range(rng.integers(5, 22)):
        spot = middle + rng.normal(0, 0.28, 3).astype(np.float32)
        spot = surface.shape.point(spot / (1, surface.shape.height, 1))
        nearest = np.minimum(nearest, _away(surface, spot) / rng.uniform(0.05, 0.13))
    mask = smooth_step(nearest + 0.16 * rough, 1.05, 0.75)
    olive = np.array([rng.uniform(46, 84), rng.uniform(42, 66), rng.uniform(24, 40)], np.float32) / 255
    cork = smooth_step(nearest + 0.2 * rough, 0.6, 0.3) * rng.uniform(0, 0.7)
    color = blended(olive**2.2 * (1 + 0.25 * rough[:, None]), to_linear((140, 104, 66)), cork)
    skin = skin.covered(mask * rng.uniform(0.7, 0.97), color, shine=0.1, height=0.008)
    return replace(skin, height=skin.height + 0.006 * mask * rough)


def _wormhole(rng: np.random.Generator, surface: Surface, skin: Skin) -> Skin:
    """One to four dark holes with crumbs at the rim and stained skin around them."""
    crumbs, uneven = surface.under(smooth_noise(rng, 90, 2)), surface.under(smooth_noise(rng, 16, 3))
    for _ in range(rng.integers(1, 5)):
        size = rng.uniform(0.055, 0.11)
        away = _away(surface, _spot(rng, surface)) / size + 0.16 * uneven
        stain, rim = (
            smooth_step(away, rng.uniform(2, 4), 1),
            smooth_step(away, 2.2, 1.1) * smooth_step(crumbs, -0.3, 0.9),
        )
        brown = to_linear((128, 82, 44)) * np.float32(rng.uniform(0.6, 1.2))
        skin = skin.covered(stain * rng.uniform(0.2, 0.7), skin.color * np.float32(0.5), shine=0.7)
        skin = skin.covered(rim * rng.uniform(0.3, 1), brown * (1 + 0.3 * crumbs[:, None]), shine=0.1, height=0.01)
        skin = skin.covered(smooth_step(away, 1.15, 0.85), to_linear((30, 18, 10)), shine=0.05, height=-0.05)
    return skin


def _mould(rng: np.random.Generator, surface: Surface, skin: Skin) -> Skin:
    """Pale fuzz, white to grey-green, on a brown patch that may be faint."""
    size = rng.uniform(0.26, 0.55)
    away = _away(surface, _spot(rng, surface)) + 0.22 * size * surface.under(smooth_noise(rng, 8, 3))
    brown = to_linear((124, 84, 44)) * np.float32(rng.uniform(0.6, 1.3))
    skin = skin.covered(smooth_step(away, 1.25 * size, size) * rng.uniform(0.2, 0.9), brown, shine=0.4, height=-0.02)
    fuzz, tufts = surface.under(smooth_noise(rng, 110, 2)), surface.under(smooth_noise(rng, 14, 3))
    mask = smooth_step(away / size + 0.1 * fuzz + 0.16 * tufts, 0.95, rng.uniform(0.3, 0.75)) * rng.uniform(0.6, 0.95)
    edge, middle = (
        to_linear((222, 224, 214)),
        random_shade(rng, (118, 146, 112), (186, 184, 164)) ** 2.2,
    )
    color = blended(edge, middle, smooth_step(away, 0.8 * size, 0.2 * size)) * (1 + 0.14 * fuzz[:, None])
    skin = skin.covered(mask, color, shine=0.05, height=0.02)
    return replace(skin, height=skin.height + 0.006 * mask * fuzz)


DECAY = {"bruise": _bruise, "mould": _mould, "rot": _rot, "scab": _scab, "wormhole": _wormhole}
DEFECTS = tuple(sorted(DECAY))
