"""The apple as a solid, and where its surface lies in the picture.

The solid is a sphere with two dimples and five lobes. One ray for each pixel finds its surface, so that the skin, its
marks and the decay follow the surface however the apple lies. In camera space x points right, y up and z towards the
viewer, and one unit is the apple's radius.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kt.samples.apples.render.canvas import SIDE, Color, Floats, happens, length_of


@dataclass(frozen=True)
class Variety:
    """How the apples of one variety look: colours in sRGB 0 to 255, all other numbers relative (0 none, 1 much).

    ground, blush: the colour of the skin in the shade and in the sun. coverage: the share of the skin with blush.
    stripes: how much the blush is broken into stripes. lenticels: pale dots. russet: a corky net around the stem.
    height: 1 is as tall as wide. taper: above 0 broader near the stem. lobes: five bumps, strongest around the eye.
    gloss: shine.
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
    """The solid of one apple: its proportions, its lobes, and the depth and width of each dimple (top, bottom)."""

    height: float
    taper: float
    lobes: float
    top: tuple[float, float]
    bottom: tuple[float, float]

    def radius(self, up: Floats, across: Floats) -> Floats:
        """The distance of the surface from the middle. up: the cosine to the stem. across: the cosine around it."""
        (top, top_width), (bottom, bottom_width) = self.top, self.bottom
        square = across * across
        five = across * (square * (16 * square - 20) + 5)
        dimples = top * np.exp((up - 1) / top_width) + bottom * np.exp((-up - 1) / bottom_width)
        return np.asarray(1 - dimples + self.lobes * five * (1 - up * up) * (0.6 - 0.4 * up))

    def outside(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """The approximate distance of points in the apple's own space from its surface; below 0 inside the apple."""
        tall = y / self.height
        wide = 1 + self.taper * tall
        x, z = x / wide, z / wide
        ring = np.sqrt(x * x + z * z) + 1e-6
        far = np.sqrt(ring * ring + tall * tall)
        return far - self.radius(tall / far, x / ring)

    def point(self, direction: Floats) -> Floats:
        """The points `[..., 3]` at which rays from the middle leave the apple. direction: of each ray, `[..., 3]`."""
        x, y, z = np.moveaxis(direction / np.linalg.norm(direction, axis=-1, keepdims=True), -1, 0)
        out = self.radius(y, x / (np.hypot(x, z) + 1e-6))
        wide = out * (1 + self.taper * y * out)
        return np.stack([x * wide, y * out * self.height, z * wide], axis=-1).astype(np.float32)


@dataclass(frozen=True)
class Pose:
    """Where the apple is in the picture: middle and radius in pixels, and the rotation from its own space (turn)."""

    middle: tuple[float, float]
    radius: float
    turn: Floats

    def pixels(self, points: Floats) -> Floats:
        """The columns, rows and nearness (z), `[..., 3]`, of points `[..., 3]` in the apple's own space."""
        seen = points @ self.turn.T
        seen[..., 0] = self.middle[0] + self.radius * seen[..., 0]
        seen[..., 1] = self.middle[1] - self.radius * seen[..., 1]
        return seen


@dataclass(frozen=True)
class Surface:
    """The apple in the picture, at N pixels. at: their indices in the flat picture. alpha: their opacity.

    place: the points in the apple's own space, `[N, 3]`. normal, near: the normals `[N, 3]` and the nearness `[N]` (z)
    in camera space.
    """

    shape: _Shape
    pose: Pose
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
        """The values of a picture `[256, 256, ...]` at the N pixels."""
        return picture.reshape(SIDE * SIDE, *picture.shape[2:])[self.at]


def random_shape(rng: np.random.Generator, variety: Variety) -> _Shape:
    """The proportions of one apple of the variety."""
    return _Shape(
        height=variety.height * rng.uniform(0.94, 1.06),
        taper=variety.taper + rng.uniform(-0.04, 0.04),
        lobes=variety.lobes * 0.045 * rng.uniform(0.5, 1.4) + 0.004,
        top=(rng.uniform(0.34, 0.5), rng.uniform(0.07, 0.12)),
        bottom=(rng.uniform(0.2, 0.32), rng.uniform(0.05, 0.1)),
    )


def random_pose(rng: np.random.Generator) -> Pose:
    """A random pose: mostly upright and seen from slightly above, sometimes lying or seen from the eye."""
    radius = rng.uniform(80, 106)
    play = SIDE / 2 - radius * 1.02
    middle = SIDE / 2 + rng.uniform(-1, 1, 2) * (play if play > 0 else 0.0)
    tilt, roll = rng.normal(0.5, 0.25), rng.normal(0, 0.25)
    if happens(rng, 0.2):
        tilt, roll = rng.uniform(-1.2, 1.4), rng.uniform(-2.2, 2.2)
    spin = rng.uniform(0, 2 * math.pi)
    turn = _rotation(2, roll) @ _rotation(0, tilt) @ _rotation(1, spin)
    return Pose((float(middle[0]), float(middle[1])), radius, turn.astype(np.float32))


def _rotation(axis: int, angle: float) -> Floats:
    matrix = np.eye(3, dtype=np.float32)
    a, b = [i for i in range(3) if i != axis]
    matrix[a, a] = matrix[b, b] = math.cos(angle)
    matrix[a, b], matrix[b, a] = -math.sin(angle), math.sin(angle)
    return matrix


def ray_traced(shape: _Shape, pose: Pose, steps: int = 18) -> Surface:
    """Follow one ray for each pixel to the apple's surface; rays that miss it by less than a pixel give a soft edge."""
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
    return Surface(shape, pose, at, alpha, place, _normals(shape, place) @ turn.T, here)


def _normals(shape: _Shape, place: Floats) -> Floats:
    x, y, z = place.T
    small = np.float32(4e-3)
    here = shape.outside(x, y, z)
    slope = [shape.outside(x + small, y, z), shape.outside(x, y + small, z), shape.outside(x, y, z + small)]
    normal = np.stack([beyond - here for beyond in slope], axis=-1)
    return normal / (length_of(normal)[:, None] + 1e-9)
