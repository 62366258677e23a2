"""The skin of a good apple: ground colour, blush, stripes, lenticels (pale dots), russet (corky skin)."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import ImageDraw

from kt.samples.apples.render.canvas import Floats, blended, painted, resized_to, smooth_noise, smooth_step, to_linear
from kt.samples.apples.render.fruit import Surface, Variety


@dataclass(frozen=True)
class Skin:
    """The skin at the N pixels: color `[N, 3]` as linear light, shine `[N]`, height `[N]` above the solid."""

    color: Floats
    shine: Floats
    height: Floats

    def covered(self, mask: Floats, color: Floats, *, shine: float = 1.0, height: float = 0.0) -> "Skin":
        """This skin with `color` laid over it where `mask` is 1; shine is multiplied, height is added."""
        return Skin(
            color=blended(self.color, color, mask),
            shine=self.shine * (1 + (shine - 1) * mask),
            height=self.height + height * mask,
        )


def random_skin(rng: np.random.Generator, variety: Variety, surface: Surface) -> Skin:
    """The skin of one good apple of the variety."""
    x, y, z = surface.place.T
    far = np.sqrt(x * x + y * y + z * z) + 1e-6
    up = y / far
    ripe = np.float32(rng.normal(0, 0.1))
    ground = to_linear(variety.ground) * rng.uniform(0.8, 1.15, 3).astype(np.float32)
    blush = to_linear(variety.blush) * rng.uniform(0.75, 1.2, 3).astype(np.float32)
    patchy = surface.under(smooth_noise(rng, 4, 4))
    ground = ground * (1 + 0.08 * patchy[:, None] + 0.12 * up[:, None])

    sun = rng.standard_normal(3).astype(np.float32)
    sunny = surface.place @ (sun / np.linalg.norm(sun)) / far
    streaks = _streaks(rng, surface.place, up)
    amount = 1.6 * (variety.coverage + ripe - 0.5) + 0.5 * sunny + 0.16 * patchy + 0.36 * variety.stripes * streaks
    blushed = smooth_step(amount, -0.75, 0.6)
    color = blended(ground, blush * (1 + 0.1 * patchy[:, None]), blushed)
    color = color * (1 - 0.35 * variety.stripes * (smooth_step(streaks, -0.2, 1.6) * blushed)[:, None])

    dots = pale_dots(rng, surface, round(420 * variety.lenticels * rng.uniform(0.5, 1.2)))
    color = blended(color, to_linear((226, 204, 150)), surface.under(dots) * rng.uniform(0.25, 0.6))
    hollow = np.exp((up - 1) / (surface.shape.top[1] * 0.8))
    color = blended(color, ground * 0.75, smooth_step(hollow, 0.2, 0.9) * 0.7)
    skin = Skin(color, np.full_like(up, variety.gloss * rng.uniform(0.7, 1.2)), 0.002 * patchy)
    skin = _russeted(rng, surface, up, skin, variety.russet * rng.uniform(0.2, 1.3))
    return _with_eye(rng, surface, up, skin)


def _streaks(rng: np.random.Generator, place: Floats, up: Floats) -> Floats:
    """Noise that is stretched from the stem to the eye, `[N]`."""
    around = np.arctan2(place[:, 2], place[:, 0]) / (2 * math.pi) + 0.5
    chart = np.zeros((64, 1024), np.float32)
    for columns in (22, 64, 180):
        grid = rng.standard_normal((5, columns), np.float32)
        chart += 0.6 * resized_to(np.concatenate([grid, grid[:, :1]], axis=1), 64, 1024)
    return chart[((up + 1) * 31.4).astype(np.intp), (around * 1023).astype(np.intp)]


def pale_dots(rng: np.random.Generator, surface: Surface, count: int) -> Floats:
    """Lenticels: `count` dots all over the apple, as a mask `[256, 256]`."""
    points = surface.pose.pixels(surface.shape.point(rng.standard_normal((count, 3)).astype(np.float32)))
    sizes = rng.uniform(0.5, 1.5, count) * surface.pose.radius / 70

    def paint(draw: ImageDraw.ImageDraw) -> None:
        for (column, row, near), size in zip(points.tolist(), sizes.tolist(), strict=True):
            if near > 0.1:
                wide = size * (0.4 + 0.6 * near)
                draw.ellipse((2 * column - wide, 2 * row - size, 2 * column + wide, 2 * row + size), fill=255)

    return painted(paint)


def _russeted(rng: np.random.Generator, surface: Surface, up: Floats, skin: Skin, amount: float) -> Skin:
    """The skin with a corky brown net around the stem; with a large `amount` also with patches all over."""
    rough = surface.under(smooth_noise(rng, 40, 3))
    patches = surface.under(smooth_noise(rng, 5, 3))
    mask = smooth_step(2.2 * up + 0.7 * patches + 0.45 * rough, 3.2 - 2.6 * amount, 4.4 - 2.6 * amount) * min(
        1.0, 2 * amount
    )
    brown = to_linear((166, 124, 70)) * (1 + 0.16 * rough[:, None])
    return skin.covered(mask * 0.85, brown, shine=0.25).covered(mask * rough, brown, height=0.004) if amount else skin


def _with_eye(rng: np.random.Generator, surface: Surface, up: Floats, skin: Skin) -> Skin:
    """The skin with the eye: the dried flower in the lower dimple, a dark brown star."""
    around = np.arctan2(surface.place[:, 2], surface.place[:, 0])
    star = 0.0085 * (1 + 0.8 * np.cos(5 * around + rng.uniform(0, 6))) + 0.002 * surface.under(smooth_noise(rng, 32, 2))
    mask = smooth_step((1 + up) / np.maximum(star, 2e-3), 1.5, 0.6)
    return skin.covered(mask, to_linear((58, 42, 26)) * np.float32(rng.uniform(0.7, 1.5)), shine=0.1, height=0.01)
