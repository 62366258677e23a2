"""Draws one apple, sound or spoilt, from a seed: numpy and Pillow only, some 30 ms a picture.

The apple is a solid: a sphere with two dimples and five lobes, met by one ray a pixel. So the skin, its marks and the
decay follow the surface, whichever way the fruit lies. Camera space: x right, y up, z towards the viewer, and one unit
is the apple's radius. Colours are computed as linear light and leave as sRGB.
"""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

SIDE = 256
DEFECTS = ("bruise", "mould", "rot", "scab", "wormhole")

Floats = npt.NDArray[np.floating[Any]]  # float32 in fact, and float64 for a handful of points
Color = tuple[int, int, int]


@dataclass(frozen=True)
class Variety:
    """How the apples of one name look: colours in sRGB 0 to 255, all other numbers relative (0 none, 1 much).

    ground and blush: the skin in the shade and in the sun. coverage: how much of it the blush takes. stripes: how much
    the blush is broken into stripes. lenticels: pale dots. russet: corky net about the stem. height: 1 is as tall as
    wide. taper: above 0 broader at the shoulders. lobes: five bumps, strongest about the eye. gloss: shine.
    """

    name: str
    ground: Color
    blush: Color
    coverage: float
    stripes: float
    lenticels: float
    russet: float
    height: float
    taper: float
    lobes: float
    gloss: float


@dataclass(frozen=True)
class _Shape:
    """The solid of one apple: proportions, the depth and width of both dimples, the lobes."""

    height: float
    taper: float
    lobes: float
    top: tuple[float, float]
    bottom: tuple[float, float]

    def radius(self, up: Floats, across: Floats) -> Floats:
        """Distance of the surface from the middle, given the cosine to the stem and the cosine about it."""
        (top, top_width), (bottom, bottom_width) = self.top, self.bottom
        square = across * across
        five = across * (square * (16 * square - 20) + 5)
        dimples = top * np.exp((up - 1) / top_width) + bottom * np.exp((-up - 1) / bottom_width)
        return np.asarray(1 - dimples + self.lobes * five * (1 - up * up) * (0.6 - 0.4 * up))

    def outside(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """About how far points of the apple's own space lie outside of it (below 0: inside)."""
        tall = y / self.height
        wide = 1 + self.taper * tall
        x, z = x / wide, z / wide
        ring = np.sqrt(x * x + z * z) + 1e-6
        far = np.sqrt(ring * ring + tall * tall)
        return far - self.radius(tall / far, x / ring)

    def point(self, direction: Floats) -> Floats:
        """Where the rays `[..., 3]` from the middle leave the apple."""
        x, y, z = np.moveaxis(direction / np.linalg.norm(direction, axis=-1, keepdims=True), -1, 0)
        out = self.radius(y, x / (np.hypot(x, z) + 1e-6))
        wide = out * (1 + self.taper * y * out)
        return np.stack([x * wide, y * out * self.height, z * wide], axis=-1).astype(np.float32)


@dataclass(frozen=True)
class _Pose:
    """Where the apple is in the picture: middle and radius in pixels, and the turn from its own space."""

    middle: tuple[float, float]
    radius: float
    turn: Floats

    def pixels(self, points: Floats) -> Floats:
        """Columns, rows and nearness `[..., 3]` of points `[..., 3]` in the apple's own space."""
        seen = points @ self.turn.T
        seen[..., 0] = self.middle[0] + self.radius * seen[..., 0]
        seen[..., 1] = self.middle[1] - self.radius * seen[..., 1]
        return seen


@dataclass(frozen=True)
class _Surface:
    """The apple in the picture: N pixels with opacity, place in its own space, normal and nearness (camera space)."""

    shape: _Shape
    pose: _Pose
    at: npt.NDArray[np.intp]
    alpha: Floats
    place: Floats
    normal: Floats
    near: Floats

    def spread(self, values: Floats) -> Floats:
        """The N values as a picture, 0 elsewhere."""
        picture = np.zeros((SIDE * SIDE, *values.shape[1:]), np.float32)
        picture[self.at] = values
        return picture.reshape(SIDE, SIDE, *values.shape[1:])

    def under(self, picture: Floats) -> Floats:
        """What a picture `[256, 256, ...]` shows at the N pixels."""
        return picture.reshape(SIDE * SIDE, *picture.shape[2:])[self.at]


@dataclass(frozen=True)
class _Skin:
    """What the N pixels are made of: color `[N, 3]` linear light, shine `[N]`, height `[N]` above the solid."""

    color: Floats
    shine: Floats
    height: Floats

    def covered(self, mask: Floats, color: Floats, *, shine: float = 1.0, height: float = 0.0) -> "_Skin":
        """This skin with `color` laid over it where `mask` is 1; shine is multiplied, height is added."""
        return _Skin(
            color=_blend(self.color, color, mask),
            shine=self.shine * (1 + (shine - 1) * mask),
            height=self.height + height * mask,
        )


def render(seed: int, variety: Variety, defect: str | None) -> npt.NDArray[np.uint8]:
    """One picture of one apple for whoever needs apples without photos: uint8 `[256, 256, 3]`, RGB.

    The same seed gives the same scene with and without `defect` (one of `DEFECTS`; None: a sound apple), so that the
    two differ by the decay alone.
    """
    scene, decay, camera = (np.random.default_rng([seed, part]) for part in range(3))
    surface = _trace(_shape(scene, variety), _pose(scene))
    skin = _skin(scene, variety, surface)
    skin = _harmless_marks(scene, surface, skin)
    if defect is not None:
        skin = _DECAY[defect](decay, surface, skin)
    backdrop = _backdrop(scene)
    light = _light(scene)
    picture = _composed(scene, backdrop, surface, _lit(scene, skin, surface, light, backdrop), light)
    picture = _stem_and_leaf(scene, picture, surface, light)
    return _photographed(camera, _dappled(scene, picture))


# --- small tools ---------------------------------------------------------------------------------------------------


_LINEAR = (np.arange(256, dtype=np.float32) / 255) ** 2.2
"""Linear light, 0 to 1, of each 8-bit sRGB value."""

_STEPS = 1 << 14


def _tones() -> npt.NDArray[np.uint8]:
    """The 8-bit sRGB values of linear light 0 to 4, in even steps of its square root; bright light rolls off."""
    light = np.linspace(0, 2, 2 * _STEPS) ** 2
    soft = np.where(light > 0.7, 0.7 + 0.3 * np.tanh((light - 0.7) / 0.3), light)
    return (soft ** (1 / 2.2) * 255 + 0.5).astype(np.uint8)


_TONES = _tones()


def _linear(color: Color) -> Floats:
    """Linear light `[3]` of an sRGB colour."""
    return _LINEAR[np.array(color, np.intp)]


def _length(vectors: Floats) -> Floats:
    """Of each vector in `[..., 3]`."""
    return np.asarray(np.sqrt(np.einsum("...i,...i->...", vectors, vectors)))


def _blend(under: Floats, over: Floats, mask: Floats) -> Floats:
    return under + (over - under) * mask[..., None]


def _step(values: Floats, start: float, end: float) -> Floats:
    """0 before start, 1 after end (or the other way round), smooth between."""
    t = np.clip((values - start) / (end - start), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def _resized(values: Floats, rows: int, columns: int) -> Floats:
    picture = Image.fromarray(values.astype(np.float32))
    return np.asarray(
        picture.resize(
            (columns, rows), Image.Resampling.BILINEAR if rows < 3 * len(values) else Image.Resampling.BICUBIC
        ),
        np.float32,
    )


def _noise(rng: np.random.Generator, cells: int, octaves: int = 1, *, stretch: float = 1.0) -> Floats:
    """Smooth noise `[256, 256]` about 0, deviation about 1; `stretch` above 1 draws it out along the rows."""
    total = np.zeros((SIDE, SIDE), np.float32)
    for octave in range(octaves):
        rows = min(cells << octave, SIDE)
        grid = rng.standard_normal((rows, max(2, round(rows / stretch))), np.float32)
        total += _resized(grid, SIDE, SIDE) * (1.35 * 0.55**octave)
    return total


def _softened(mask: Floats, radius: float) -> Floats:
    """A picture `[256, 256]`, 0 to 1, blurred by `radius` pixels: at a quarter of the size, where that is enough."""
    small = max(1, min(8, int(radius / 2)))
    picture = Image.fromarray((np.clip(mask, 0, 1) * 255).astype(np.uint8))
    picture = picture.resize((SIDE // small, SIDE // small), Image.Resampling.BOX)
    picture = picture.filter(ImageFilter.GaussianBlur(radius / small))
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32) / 255


def _moved(mask: Floats, down: float, right: float) -> Floats:
    """A picture `[256, 256]` moved by whole pixels, 0 where nothing comes in."""
    row, column = SIDE - int(down), SIDE - int(right)
    return np.pad(mask, SIDE)[row : row + SIDE, column : column + SIDE]


def _drawn(paint: Callable[[ImageDraw.ImageDraw], None]) -> Floats:
    """What `paint` draws with 255 on a canvas of twice the size, as a mask `[256, 256]` with smooth edges."""
    canvas = Image.new("L", (2 * SIDE, 2 * SIDE))
    paint(ImageDraw.Draw(canvas))
    return np.asarray(canvas.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32) / 255


def _chance(rng: np.random.Generator, probability: float) -> bool:
    return bool(rng.random() < probability)


# --- the solid -----------------------------------------------------------------------------------------------------


def _shape(rng: np.random.Generator, variety: Variety) -> _Shape:
    return _Shape(
        height=variety.height * rng.uniform(0.94, 1.06),
        taper=variety.taper + rng.uniform(-0.04, 0.04),
        lobes=variety.lobes * 0.045 * rng.uniform(0.5, 1.4) + 0.004,
        top=(rng.uniform(0.34, 0.5), rng.uniform(0.07, 0.12)),
        bottom=(rng.uniform(0.2, 0.32), rng.uniform(0.05, 0.1)),
    )


def _pose(rng: np.random.Generator) -> _Pose:
    """Mostly upright and seen from a little above; now and then lying, or seen from the eye."""
    radius = rng.uniform(80, 106)
    play = SIDE / 2 - radius * 1.02
    middle = SIDE / 2 + rng.uniform(-1, 1, 2) * (play if play > 0 else 0.0)
    tilt, roll = rng.normal(0.5, 0.25), rng.normal(0, 0.25)
    if _chance(rng, 0.2):
        tilt, roll = rng.uniform(-1.2, 1.4), rng.uniform(-2.2, 2.2)
    spin = rng.uniform(0, 2 * math.pi)
    turn = _rotation(2, roll) @ _rotation(0, tilt) @ _rotation(1, spin)
    return _Pose((float(middle[0]), float(middle[1])), radius, turn.astype(np.float32))


def _rotation(axis: int, angle: float) -> Floats:
    matrix = np.eye(3, dtype=np.float32)
    a, b = [i for i in range(3) if i != axis]
    matrix[a, a] = matrix[b, b] = math.cos(angle)
    matrix[a, b], matrix[b, a] = -math.sin(angle), math.sin(angle)
    return matrix


def _trace(shape: _Shape, pose: _Pose, steps: int = 18) -> _Surface:
    """Walk down one ray a pixel until it meets the apple; rays that pass within a pixel make the soft edge."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32).reshape(2, -1)
    x, y = (columns - pose.middle[0]) / pose.radius, (pose.middle[1] - rows) / pose.radius
    bound = 1.22**2 - x * x - y * y
    at = np.flatnonzero(bound > 0)
    x, y, z = x[at], y[at], np.sqrt(bound[at])
    turn = pose.turn
    base = [x * turn[0, i] + y * turn[1, i] for i in range(3)]

    def outside(depth: Floats) -> Floats:
        return shape.outside(*(base[i] + depth * turn[2, i] for i in range(3)))

    closest, here = np.full_like(z, 9), z
    for _ in range(steps):
        gap = outside(z)
        nearer = gap < closest
        closest, here = np.where(nearer, gap, closest), np.where(nearer, z, here)
        z = np.maximum(z - 0.75 * gap, -1.3)
    alpha = np.clip(1.4 - closest * pose.radius, 0, 1)
    keep = alpha > 0
    at, here, alpha = at[keep], here[keep], alpha[keep]
    place = np.stack([base[i][keep] + here * turn[2, i] for i in range(3)], axis=-1)
    return _Surface(shape, pose, at, alpha, place, _normals(shape, place) @ turn.T, here)


def _normals(shape: _Shape, place: Floats) -> Floats:
    x, y, z = place.T
    small = np.float32(4e-3)
    here = shape.outside(x, y, z)
    slope = [shape.outside(x + small, y, z), shape.outside(x, y + small, z), shape.outside(x, y, z + small)]
    normal = np.stack([there - here for there in slope], axis=-1)
    return normal / (_length(normal)[:, None] + 1e-9)


# --- the skin ------------------------------------------------------------------------------------------------------


def _skin(rng: np.random.Generator, variety: Variety, surface: _Surface) -> _Skin:
    x, y, z = surface.place.T
    far = np.sqrt(x * x + y * y + z * z) + 1e-6
    up = y / far
    ripe = np.float32(rng.normal(0, 0.1))
    ground = _linear(variety.ground) * rng.uniform(0.8, 1.15, 3).astype(np.float32)
    blush = _linear(variety.blush) * rng.uniform(0.75, 1.2, 3).astype(np.float32)
    patchy = surface.under(_noise(rng, 4, 4))
    ground = ground * (1 + 0.08 * patchy[:, None] + 0.12 * up[:, None])

    sun = rng.standard_normal(3).astype(np.float32)
    sunny = surface.place @ (sun / np.linalg.norm(sun)) / far
    streaks = _streaks(rng, surface.place, up)
    amount = 1.6 * (variety.coverage + ripe - 0.5) + 0.5 * sunny + 0.16 * patchy + 0.36 * variety.stripes * streaks
    blushed = _step(amount, -0.75, 0.6)
    color = _blend(ground, blush * (1 + 0.1 * patchy[:, None]), blushed)
    color = color * (1 - 0.35 * variety.stripes * (_step(streaks, -0.2, 1.6) * blushed)[:, None])

    dots = _lenticels(rng, surface, round(420 * variety.lenticels * rng.uniform(0.5, 1.2)))
    color = _blend(color, _linear((226, 204, 150)), surface.under(dots) * rng.uniform(0.25, 0.6))
    hollow = np.exp((up - 1) / (surface.shape.top[1] * 0.8))
    color = _blend(color, ground * 0.75, _step(hollow, 0.2, 0.9) * 0.7)
    skin = _Skin(color, np.full_like(up, variety.gloss * rng.uniform(0.7, 1.2)), 0.002 * patchy)
    skin = _russeted(rng, surface, up, skin, variety.russet * rng.uniform(0.2, 1.3))
    return _with_eye(rng, surface, up, skin)


def _streaks(rng: np.random.Generator, place: Floats, up: Floats) -> Floats:
    """Noise drawn out from stem to eye."""
    around = np.arctan2(place[:, 2], place[:, 0]) / (2 * math.pi) + 0.5
    chart = np.zeros((64, 1024), np.float32)
    for columns in (22, 64, 180):
        grid = rng.standard_normal((5, columns), np.float32)
        chart += 0.6 * _resized(np.concatenate([grid, grid[:, :1]], axis=1), 64, 1024)
    return chart[((up + 1) * 31.4).astype(np.intp), (around * 1023).astype(np.intp)]


def _lenticels(rng: np.random.Generator, surface: _Surface, count: int) -> Floats:
    points = surface.pose.pixels(surface.shape.point(rng.standard_normal((count, 3)).astype(np.float32)))
    sizes = rng.uniform(0.5, 1.5, count) * surface.pose.radius / 70

    def paint(draw: ImageDraw.ImageDraw) -> None:
        for (column, row, near), size in zip(points.tolist(), sizes.tolist(), strict=True):
            if near > 0.1:
                wide = size * (0.4 + 0.6 * near)
                draw.ellipse((2 * column - wide, 2 * row - size, 2 * column + wide, 2 * row + size), fill=255)

    return _drawn(paint)


def _russeted(rng: np.random.Generator, surface: _Surface, up: Floats, skin: _Skin, amount: float) -> _Skin:
    """A corky brown net about the stem, and where there is much of it in patches all over."""
    rough = surface.under(_noise(rng, 40, 3))
    patches = surface.under(_noise(rng, 5, 3))
    mask = _step(2.2 * up + 0.7 * patches + 0.45 * rough, 3.2 - 2.6 * amount, 4.4 - 2.6 * amount) * min(1.0, 2 * amount)
    brown = _linear((166, 124, 70)) * (1 + 0.16 * rough[:, None])
    return skin.covered(mask * 0.85, brown, shine=0.25).covered(mask * rough, brown, height=0.004) if amount else skin


def _with_eye(rng: np.random.Generator, surface: _Surface, up: Floats, skin: _Skin) -> _Skin:
    """The dried flower in the lower dimple: a dark brown star."""
    around = np.arctan2(surface.place[:, 2], surface.place[:, 0])
    star = 0.0085 * (1 + 0.8 * np.cos(5 * around + rng.uniform(0, 6))) + 0.002 * surface.under(_noise(rng, 32, 2))
    mask = _step((1 + up) / np.maximum(star, 2e-3), 1.5, 0.6)
    return skin.covered(mask, _linear((58, 42, 26)) * np.float32(rng.uniform(0.7, 1.5)), shine=0.1, height=0.01)


# --- marks that do no harm, on good and bad apples alike -----------------------------------------------------------


def _spot(rng: np.random.Generator, surface: _Surface, spread: float = 0.6) -> Floats:
    """A place `[3]` on the side that the camera sees, at most `spread` (0 to 1) of the way to the edge."""
    angle, out = rng.uniform(0, 2 * math.pi), spread * math.sqrt(rng.random())
    towards = np.array([out * math.cos(angle), out * math.sin(angle), math.sqrt(1 - out * out)], np.float32)
    return surface.shape.point(towards @ surface.pose.turn)


def _away(surface: _Surface, spot: Floats) -> Floats:
    """Distance of every skin pixel from a place on the apple."""
    return _length(surface.place - spot)


def _harmless_marks(rng: np.random.Generator, surface: _Surface, skin: _Skin) -> _Skin:
    marks = ((0.1, _drops), (0.12, _bloom), (0.1, _sticker), (0.12, _dirt), (0.12, _rubbed), (0.12, _sunspot))
    for probability, mark in marks:
        if _chance(rng, probability):
            skin = mark(rng, surface, skin)
    return skin


def _drops(rng: np.random.Generator, surface: _Surface, skin: _Skin) -> _Skin:
    """Water: little domes that bend the light by themselves."""
    for _ in range(rng.integers(5, 22)):
        size = rng.uniform(0.02, 0.065)
        dome = np.clip(1 - (_away(surface, _spot(rng, surface, 0.9)) / size) ** 2, 0, 1)
        wet = _step(dome, 0, 0.2)
        skin = skin.covered(wet * 0.2, skin.color * 0.55)
        skin = replace(skin, shine=skin.shine + 0.8 * wet, height=skin.height + 0.6 * size * np.sqrt(dome))
    return skin


def _bloom(rng: np.random.Generator, surface: _Surface, skin: _Skin) -> _Skin:
    """The natural wax: a pale haze, wiped off in places."""
    haze = _step(surface.under(_noise(rng, 4, 4)), -1.5, 2.0) * rng.uniform(0.05, 0.3)
    return skin.covered(haze, _linear((190, 194, 206)), shine=0.4)


def _sticker(rng: np.random.Generator, surface: _Surface, skin: _Skin) -> _Skin:
    spot, size = _spot(rng, surface), rng.uniform(0.13, 0.2)
    away = _away(surface, spot)
    paper, print_ = (rng.uniform(20, 250, 3).astype(np.float32) / 255 for _ in range(2))
    skin = skin.covered(_step(away, size + 0.012, size - 0.012), (0.4 + 0.6 * paper) ** 2.2, shine=0.8, height=0.01)
    ring = _step(np.abs(away - 0.72 * size), 0.035, 0.02) + _step(away, 0.3 * size, 0.2 * size)
    return skin.covered(np.clip(ring, 0, 1), print_**2.2)


def _dirt(rng: np.random.Generator, surface: _Surface, skin: _Skin) -> _Skin:
    """Specks of dust and soil, and a smear of it."""
    specks = _lenticels(rng, surface, int(rng.integers(5, 60)))
    smear = _step(_away(surface, _spot(rng, surface)) + 0.12 * surface.under(_noise(rng, 9, 3)), 0.3, 0.05)
    grains = _step(surface.under(_noise(rng, 80, 2)), 0.2, 1.4)
    mask = np.clip(surface.under(specks) * 0.8 + smear * grains * rng.uniform(0, 0.7), 0, 1)
    return skin.covered(mask, _linear((88, 66, 44)) * np.float32(rng.uniform(0.5, 1.4)), shine=0.5)


def _rubbed(rng: np.random.Generator, surface: _Surface, skin: _Skin) -> _Skin:
    """A dry tan scar where a twig rubbed: long, thin, healed."""
    spot, other = _spot(rng, surface), _spot(rng, surface)
    along = (other - spot) / (np.linalg.norm(other - spot) + 1e-6)
    offset = surface.place - spot
    run = offset @ along
    aside = _length(offset - run[:, None] * along) + 0.02 * surface.under(_noise(rng, 24, 2))
    length, width = rng.uniform(0.1, 0.4), rng.uniform(0.015, 0.05)
    mask = _step(aside, 1.4 * width, 0.5 * width) * _step(np.abs(run), length, 0.7 * length)
    return skin.covered(mask * rng.uniform(0.4, 0.9), _linear((186, 150, 98)), shine=0.3)


def _sunspot(rng: np.random.Generator, surface: _Surface, skin: _Skin) -> _Skin:
    """A soft patch of riper or paler colour, such as a leaf's print leaves."""
    tint = np.array([rng.uniform(0.95, 1.5), rng.uniform(0.75, 1.3), rng.uniform(0.7, 1.2)], np.float32)
    away = _away(surface, _spot(rng, surface)) + 0.06 * surface.under(_noise(rng, 6, 3))
    size = rng.uniform(0.15, 0.45)
    return skin.covered(_step(away, size, size * rng.uniform(0.3, 0.85)) * rng.uniform(0.4, 0.9), skin.color * tint)


# --- decay ---------------------------------------------------------------------------------------------------------


def _rot(rng: np.random.Generator, surface: _Surface, skin: _Skin) -> _Skin:
    """A soft brown patch, sunken, often in rings."""
    size = rng.uniform(0.28, 0.62)
    away = _away(surface, _spot(rng, surface)) + 0.16 * size * surface.under(_noise(rng, 7, 3))
    mask = _step(away, size, size * rng.uniform(0.65, 0.92))
    rings = np.sin(away / size * rng.uniform(10, 26)) * rng.uniform(0, 0.25)
    brown = np.array([rng.uniform(84, 148), rng.uniform(52, 82), rng.uniform(20, 42)], np.float32) / 255
    color = brown**2.2 * (1 + rings + 0.12 * surface.under(_noise(rng, 24, 2)) - 0.3 * _step(away, size, 0))[:, None]
    deep = rng.uniform(0.03, 0.1)
    skin = skin.covered(mask * rng.uniform(0.82, 0.98), color, shine=rng.uniform(0.3, 0.8), height=-deep * size * 2)
    return replace(skin, height=skin.height + 0.004 * rings * mask)


def _bruise(rng: np.random.Generator, surface: _Surface, skin: _Skin) -> _Skin:
    """One to three places where the flesh was crushed: flat, darker and browner, the edge uneven."""
    uneven = surface.under(_noise(rng, 6, 3))
    for _ in range(rng.integers(1, 4)):
        size = rng.uniform(0.22, 0.54)
        away = _away(surface, _spot(rng, surface)) + 0.2 * size * uneven
        mask = _step(away, size, size * rng.uniform(0.5, 0.85))
        darker = np.array([rng.uniform(0.26, 0.52), rng.uniform(0.2, 0.4), rng.uniform(0.18, 0.4)], np.float32)
        color = _blend(skin.color * darker, _linear((96, 62, 34)), np.full_like(mask, rng.uniform(0.1, 0.5)))
        skin = skin.covered(mask * rng.uniform(0.7, 1), color, shine=0.5, height=-rng.uniform(0.04, 0.13) * size)
    return skin


def _scab(rng: np.random.Generator, surface: _Surface, skin: _Skin) -> _Skin:
    """Rough olive-black spots, one to many, some grown together, some with a corky middle."""
    middle, rough = _spot(rng, surface), surface.under(_noise(rng, 26, 3))
    nearest = np.full_like(rough, 9)
    for _ in range(rng.integers(5, 22)):
        spot = middle + rng.normal(0, 0.28, 3).astype(np.float32)
        spot = surface.shape.point(spot / (1, surface.shape.height, 1))
        nearest = np.minimum(nearest, _away(surface, spot) / rng.uniform(0.05, 0.13))
    mask = _step(nearest + 0.16 * rough, 1.05, 0.75)
    olive = np.array([rng.uniform(46, 84), rng.uniform(42, 66), rng.uniform(24, 40)], np.float32) / 255
    cork = _step(nearest + 0.2 * rough, 0.6, 0.3) * rng.uniform(0, 0.7)
    color = _blend(olive**2.2 * (1 + 0.25 * rough[:, None]), _linear((140, 104, 66)), cork)
    skin = skin.covered(mask * rng.uniform(0.7, 0.97), color, shine=0.1, height=0.008)
    return replace(skin, height=skin.height + 0.006 * mask * rough)


def _wormhole(rng: np.random.Generator, surface: _Surface, skin: _Skin) -> _Skin:
    """One to three dark holes with crumbs at the rim, the skin about them stained."""
    crumbs, uneven = surface.under(_noise(rng, 90, 2)), surface.under(_noise(rng, 16, 3))
    for _ in range(rng.integers(1, 5)):
        size = rng.uniform(0.055, 0.11)
        away = _away(surface, _spot(rng, surface)) / size + 0.16 * uneven
        stain, rim = _step(away, rng.uniform(2, 4), 1), _step(away, 2.2, 1.1) * _step(crumbs, -0.3, 0.9)
        brown = _linear((128, 82, 44)) * np.float32(rng.uniform(0.6, 1.2))
        skin = skin.covered(stain * rng.uniform(0.2, 0.7), skin.color * np.float32(0.5), shine=0.7)
        skin = skin.covered(rim * rng.uniform(0.3, 1), brown * (1 + 0.3 * crumbs[:, None]), shine=0.1, height=0.01)
        skin = skin.covered(_step(away, 1.15, 0.85), _linear((30, 18, 10)), shine=0.05, height=-0.05)
    return skin


def _mould(rng: np.random.Generator, surface: _Surface, skin: _Skin) -> _Skin:
    """Pale fuzz, white to grey-green, most often upon a brown patch."""
    size = rng.uniform(0.26, 0.55)
    away = _away(surface, _spot(rng, surface)) + 0.22 * size * surface.under(_noise(rng, 8, 3))
    brown = _linear((124, 84, 44)) * np.float32(rng.uniform(0.6, 1.3))
    skin = skin.covered(_step(away, 1.25 * size, size) * rng.uniform(0.2, 0.9), brown, shine=0.4, height=-0.02)
    fuzz, tufts = surface.under(_noise(rng, 110, 2)), surface.under(_noise(rng, 14, 3))
    mask = _step(away / size + 0.1 * fuzz + 0.16 * tufts, 0.95, rng.uniform(0.3, 0.75)) * rng.uniform(0.6, 0.95)
    edge, middle = (
        _linear((222, 224, 214)),
        _shade(rng, (118, 146, 112), (186, 184, 164)) ** 2.2,
    )
    color = _blend(edge, middle, _step(away, 0.8 * size, 0.2 * size)) * (1 + 0.14 * fuzz[:, None])
    skin = skin.covered(mask, color, shine=0.05, height=0.02)
    return replace(skin, height=skin.height + 0.006 * mask * fuzz)


_DECAY = {"bruise": _bruise, "mould": _mould, "rot": _rot, "scab": _scab, "wormhole": _wormhole}


# --- light ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Light:
    """The main light: where it stands `[3]` (unit, camera space), its colour `[3]`, how much comes from all sides."""

    towards: Floats
    color: Floats
    ambient: float
    hardness: float


def _light(rng: np.random.Generator) -> _Light:
    towards = np.array([rng.normal(0, 0.6), rng.uniform(0.1, 1), rng.uniform(0.35, 1)], np.float32)
    warmth = rng.normal(0, 0.07)
    return _Light(
        towards=np.asarray(towards / np.linalg.norm(towards), np.float32),
        color=np.array([1 + warmth, 1, 1 - warmth], np.float32) * np.float32(rng.uniform(0.85, 1.25)),
        ambient=rng.uniform(0.22, 0.5),
        hardness=rng.uniform(0.1, 0.8),
    )


def _lit(rng: np.random.Generator, skin: _Skin, surface: _Surface, light: _Light, backdrop: Floats) -> Floats:
    """Linear light `[N, 3]` that the skin sends to the camera."""
    normal = _bumped(surface, skin.height)
    facing = normal @ light.towards
    wrap = 0.5 - 0.4 * light.hardness
    direct = np.clip((facing + wrap) / (1 + wrap), 0, 1)[:, None] * light.color
    sky = (0.65 + 0.35 * normal[:, 1])[:, None] * light.ambient
    bounce = np.clip(-normal[:, 1], 0, 1)[:, None] * backdrop.mean(axis=(0, 1)) * 0.5
    hollow = _hollow(surface)
    body = skin.color * (direct + sky + bounce) * hollow[:, None]
    half = light.towards + np.array([0, 0, 1], np.float32)
    mirror = np.clip(normal @ (half / np.linalg.norm(half)), 0, 1)
    tight = rng.uniform(18, 90)
    gleam = skin.shine * (0.5 * light.hardness + 0.15) * mirror**tight + skin.shine * 0.08 * mirror**6
    if _chance(rng, 0.35):
        gleam = gleam + 0.35 * skin.shine * _window(rng, normal)
    rim = 0.08 * skin.shine * (1 - np.clip(normal[:, 2], 0, 1)) ** 3
    return np.asarray(body + (gleam * hollow)[:, None] * light.color + rim[:, None])


def _bumped(surface: _Surface, height: Floats) -> Floats:
    """The normals, tilted by the slope of `height` (in apple radii) as the camera sees it."""
    relief = surface.spread(height) * 60
    down, right = (np.asarray(slope) for slope in np.gradient(relief))
    solid = np.clip(surface.normal[:, 2], 0, 1) * surface.alpha
    normal = surface.normal.copy()
    normal[:, 0] -= surface.under(right) * solid
    normal[:, 1] += surface.under(down) * solid
    return normal / _length(normal)[:, None]


def _hollow(surface: _Surface) -> Floats:
    """How open each place is to the light: less in the dimples, where the surface comes near the middle."""
    far = _length(surface.place)
    return 0.25 + 0.75 * _step(far, 0.45, 0.86)


def _window(rng: np.random.Generator, normal: Floats) -> Floats:
    """The reflection of a window or a lamp's box."""
    x, y, wide, tall = rng.uniform(-0.5, 0.5), rng.uniform(0.15, 0.55), rng.uniform(0.06, 0.16), rng.uniform(0.08, 0.2)
    across = _step(np.abs(normal[:, 0] - x), wide, wide * 0.8)
    return across * _step(np.abs(normal[:, 1] - y), tall, tall * 0.8) * _step(np.abs(normal[:, 0] - x), 0.0, 0.012)


# --- what lies about the apple -------------------------------------------------------------------------------------


def _shade(rng: np.random.Generator, low: Color, high: Color) -> Floats:
    """A colour `[3]` somewhere between two, sRGB 0 to 1."""
    between = rng.random() + rng.normal(0, 0.06, 3)
    return np.asarray(np.clip(low + np.subtract(high, low) * between, 0, 255) / 255, np.float32)


def _wood(rng: np.random.Generator) -> Floats:
    tone = _shade(rng, (96, 62, 34), (206, 168, 124))
    across = np.linspace(0, rng.uniform(2, 7), SIDE, dtype=np.float32)[:, None] + rng.random()
    boards = rng.normal(1, 0.12, 16).astype(np.float32)[np.floor(across).astype(np.intp)]
    seam = _step(np.abs(across - np.round(across)), 0.0, 0.025)
    grain = 0.1 * _noise(rng, 96, 2, stretch=20) + 0.08 * _noise(rng, 8, 3, stretch=4)
    picture = tone * (boards * (0.35 + 0.65 * seam) * (1 + grain))[..., None]
    return np.swapaxes(picture, 0, 1) if _chance(rng, 0.5) else picture


def _cloth(rng: np.random.Generator) -> Floats:
    dyes = ((236, 230, 218), (150, 52, 48), (52, 78, 120), (70, 96, 74), (44, 44, 48), (196, 176, 140), (120, 84, 60))
    tones = [_shade(rng, dyes[i], (224, 220, 210)) for i in rng.integers(len(dyes), size=2)]
    row, column = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    pitch, angle = rng.uniform(10, 60), rng.uniform(0, math.pi)
    bands = [
        np.sin((row * math.sin(a) + column * math.cos(a)) / pitch * 2 * math.pi) > 0.3 for a in (angle, angle + 1.57)
    ]
    pattern = (bands[0].astype(np.float32) + bands[1]) / 2 * float(rng.integers(2)) * rng.uniform(0.3, 1)
    weave = 0.04 * (np.sin(row * 1.7) + np.sin(column * 1.7)) + 0.04 * _noise(rng, 128)
    folds = 0.14 * _noise(rng, 3, 2)
    return np.asarray(_blend(tones[0], tones[1], pattern) * (1 + weave + folds)[..., None])


def _studio(rng: np.random.Generator) -> Floats:
    top, bottom = _shade(rng, (60, 66, 74), (248, 246, 240)), _shade(rng, (96, 86, 76), (244, 242, 236))
    down = np.linspace(0, 1, SIDE, dtype=np.float32)[:, None]
    horizon = rng.uniform(0.2, 0.7)
    mask = _step(down, horizon - 0.05, horizon + rng.uniform(0.02, 0.4)) + np.zeros((1, SIDE), np.float32)
    return _blend(top, bottom, mask) * (1 + 0.05 * _noise(rng, 3, 2))[..., None]


def _foliage(rng: np.random.Generator) -> Floats:
    """Leaves, branches and sky, far out of focus."""
    canvas = Image.new("RGB", (128, 128), (52, 74, 34))
    draw = ImageDraw.Draw(canvas)
    for _ in range(70):
        x, y, wide, tall = *rng.uniform(-10, 138, 2), *rng.uniform(4, 18, 2)
        leaf = (
            _shade(rng, (34, 58, 20), (150, 184, 84))
            if _chance(rng, 0.75)
            else _shade(rng, (74, 54, 36), (228, 230, 220))
        )
        draw.ellipse((x - wide, y - tall, x + wide, y + tall), fill=tuple(int(255 * c) for c in leaf))
    canvas = canvas.filter(ImageFilter.GaussianBlur(rng.uniform(1.5, 6))).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(canvas, np.float32) / 255


def _crate(rng: np.random.Generator) -> Floats:
    """Slats with dark gaps, and other apples behind them out of focus."""
    slats = _wood(rng) * rng.uniform(0.5, 1)
    canvas = Image.fromarray((np.clip(slats, 0, 1) * 255).astype(np.uint8))
    draw = ImageDraw.Draw(canvas)
    for _ in range(rng.integers(2, 7)):
        (x, y), size = rng.uniform(0, SIDE, 2), rng.uniform(35, 75)
        tone = 255 * _shade(rng, (140, 26, 26), (214, 196, 84)) * rng.uniform(0.4, 1)
        for ring in range(6):
            part = size * (1 - ring / 7)
            fill = tuple(int(c) for c in tone * (0.6 + 0.09 * ring))
            x, y = x + rng.uniform(-2, 2), y - 0.05 * size
            draw.ellipse((x - part, y - part, x + part, y + part), fill=fill)
    return np.asarray(canvas.filter(ImageFilter.GaussianBlur(rng.uniform(2, 6))), np.float32) / 255


def _earth(rng: np.random.Generator) -> Floats:
    """Soil, straw, gravel or stone: two tones in rough patches."""
    dark, pale = _shade(rng, (50, 38, 26), (128, 122, 112)), _shade(rng, (124, 100, 68), (206, 198, 182))
    coarse, fine = _noise(rng, int(rng.integers(4, 30)), 3, stretch=rng.uniform(1, 4)), _noise(rng, 90, 2)
    return _blend(dark, pale, _step(coarse + fine, -2.8, 2.8))


_BACKDROPS = (_wood, _cloth, _studio, _foliage, _crate, _earth)


def _backdrop(rng: np.random.Generator) -> Floats:
    """One of the backgrounds, somewhat out of focus: linear light `[256, 256, 3]`."""
    drawn = _BACKDROPS[rng.integers(len(_BACKDROPS))](rng)
    picture = Image.fromarray((np.clip(drawn, 0, 1) * 255).astype(np.uint8))
    picture = picture.filter(ImageFilter.BoxBlur(max(0.0, rng.uniform(-1, 2))))
    return np.asarray(_LINEAR[np.asarray(picture)])


def _composed(rng: np.random.Generator, backdrop: Floats, surface: _Surface, lit: Floats, light: _Light) -> Floats:
    """The apple before its background, which takes its shadow: linear light `[256, 256, 3]`."""
    alpha = surface.spread(surface.alpha)
    lean = -light.towards[:2] * surface.pose.radius * rng.uniform(0.25, 0.6)
    cast = _moved(alpha, 0.1 * surface.pose.radius - 0.4 * lean[1], lean[0])
    near = _moved(alpha, 0.06 * surface.pose.radius, 0)
    dark = 0.6 * light.hardness * _softened(cast, surface.pose.radius * 0.12) + 0.4 * _softened(
        near, surface.pose.radius * 0.08
    )
    picture = backdrop * (1 - np.clip(dark, 0, 0.9))[..., None] * (0.6 + 0.4 * light.color)
    return _blend(picture, surface.spread(lit), alpha)


def _stem_and_leaf(rng: np.random.Generator, picture: Floats, surface: _Surface, light: _Light) -> Floats:
    """The stem, where the apple does not hide it, and now and then a leaf on it."""
    shape, pose = surface.shape, surface.pose
    if _chance(rng, 0.12):
        return picture
    foot = shape.point(np.array([0, 1, 0], np.float32)) - np.array([0, 0.05, 0], np.float32)
    bend, length = rng.normal(0, 0.16, 2), rng.uniform(0.25, 0.7)
    t = np.linspace(0, 1, 28, dtype=np.float32)[:, None]
    path = foot + t * np.array([0, length, 0], np.float32) + t**2 * np.array([bend[0], 0, bend[1]], np.float32)
    points = pose.pixels(path.astype(np.float32))
    depth = surface.spread(surface.near + 9)
    thick = rng.uniform(0.02, 0.038) * pose.radius

    def visible(column: float, row: float, near: float) -> bool:
        r, c = min(max(int(row), 0), SIDE - 1), min(max(int(column), 0), SIDE - 1)
        return bool(near + 9 > depth[r, c] - 0.03)

    def stem(draw: ImageDraw.ImageDraw, scale: float, shift: float) -> None:
        for i, (column, row, near) in enumerate(points.tolist()):
            if visible(column, row, near):
                wide = 2 * thick * scale * (1.25 - 0.5 * min(i, 18) / 18 + (0.5 if i > 25 else 0))
                x, y = 2 * column + shift * thick, 2 * row
                draw.ellipse((x - wide, y - wide, x + wide, y + wide), fill=255)

    brown = _shade(rng, (58, 40, 20), (120, 96, 50)) ** 2.2
    side = float(np.sign(light.towards[0])) * 0.7
    picture = _blend(picture, brown * 0.45, _drawn(lambda draw: stem(draw, 1, 0)))
    picture = _blend(picture, brown * 1.3, _drawn(lambda draw: stem(draw, 0.5, side)) * 0.8)
    return _with_leaf(rng, picture, points[14], pose, light) if _chance(rng, 0.25) else picture


def _with_leaf(rng: np.random.Generator, picture: Floats, root: Floats, pose: _Pose, light: _Light) -> Floats:
    """A green leaf that hangs on the stem, and its shadow."""
    angle, long, wide = rng.uniform(0, 2 * math.pi), pose.radius * rng.uniform(0.6, 1.0), rng.uniform(0.15, 0.3)
    t = np.linspace(0, 1, 24)
    bow = rng.uniform(-0.25, 0.25) * np.sin(math.pi * t)
    half = wide * np.sin(math.pi * t**0.8) ** 0.9
    ahead, aside = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])

    def outline(offset: Floats) -> Floats:
        return np.asarray(2 * (root[:2] + long * (t[:, None] * ahead + offset[:, None] * aside)))

    edge = np.concatenate([outline(bow + half), outline(bow - half)[::-1]])
    mask = _drawn(lambda draw: draw.polygon([tuple(p) for p in edge.tolist()], fill=255))
    vein = _drawn(lambda draw: draw.line([tuple(p) for p in outline(bow).tolist()], fill=255, width=3))
    lower = _drawn(
        lambda draw: draw.polygon([tuple(p) for p in np.concatenate([outline(bow), edge[24:]]).tolist()], fill=255)
    )
    green = _shade(rng, (52, 84, 28), (120, 150, 60)) ** 2.2 * (1 + 0.12 * _noise(rng, 14, 3))[..., None]
    shadow = (
        _softened(_moved(mask, 0.1 * pose.radius, -0.12 * pose.radius * light.towards[0]), 4) * 0.5 * light.hardness
    )
    picture = picture * (1 - shadow)[..., None]
    picture = _blend(picture, green * light.color, mask)
    picture = _blend(picture, green * 0.55, lower * 0.8)
    return _blend(picture, green * 1.7, vein * 0.6)


def _dappled(rng: np.random.Generator, picture: Floats) -> Floats:
    """Now and then the shade of leaves over the whole scene, soft, and on apple and ground alike."""
    if not _chance(rng, 0.14):
        return picture
    shade = _step(_noise(rng, int(rng.integers(3, 7)), 2), 0.0, rng.uniform(0.8, 2.0))
    return picture * (1 - rng.uniform(0.25, 0.5) * shade)[..., None]


# --- the camera ----------------------------------------------------------------------------------------------------


def _bytes(picture: Floats) -> Image.Image:
    """A linear picture as sRGB, highlights rolled off rather than cut."""
    step = (np.sqrt(np.clip(picture, 0, 3.9)) * _STEPS).astype(np.intp)
    return Image.fromarray(_TONES[step])


def _photographed(rng: np.random.Generator, picture: Floats) -> npt.NDArray[np.uint8]:
    """Exposure, white balance, focus, noise, and sometimes the traces of JPEG: uint8 `[256, 256, 3]`."""
    balance = np.exp(rng.normal(0, 0.07, 3) + rng.normal(0, 0.16)).astype(np.float32)
    photo = _bytes(picture * balance)
    photo = photo.filter(ImageFilter.GaussianBlur(float(rng.choice([0.4, 0.7, 1.1, 1.7], p=[0.45, 0.3, 0.17, 0.08]))))
    grain = rng.standard_normal((SIDE, SIDE, 3), np.float32) * np.float32(rng.uniform(0.5, 5))
    pixels = np.clip(np.asarray(photo, np.float32) + grain + 0.5, 0, 255).astype(np.uint8)
    if _chance(rng, 0.4):
        stored = io.BytesIO()
        Image.fromarray(pixels).save(stored, format="JPEG", quality=int(rng.integers(60, 95)))
        return np.asarray(Image.open(stored), np.uint8)
    return pixels
