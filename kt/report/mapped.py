"""A map of features as SVG: a mark for each example, with its class by colour and shape, and its picture on hover."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from kt.report.shown import Sprite
from kt.report.templates import filled

WIDTH, HEIGHT, EDGE = 440.0, 340.0, 10.0
PEEK = 104.0
"""The side of the picture beside the map, in the map's own units."""

_SIDE = 4.6
_COLOURS = 7


def _polygon(corners: int, *, turn: float = 0.0, inner: float | None = None, size: float = _SIDE) -> str:
    """A regular polygon around 0, or a star if there is an inner radius, as the data of an SVG path."""
    steps = corners * (2 if inner else 1)
    points = []
    for step in range(steps):
        radius = inner if inner and step % 2 else size
        angle = 2 * math.pi * step / steps - math.pi / 2 + turn
        points.append(f"{radius * math.cos(angle):.1f} {radius * math.sin(angle):.1f}")
    return f"M{'L'.join(points)}Z"


SHAPES = (
    _polygon(24, size=3.9),
    _polygon(4, turn=math.pi / 4),
    _polygon(3, size=5.2),
    _polygon(4, size=5.2),
    _polygon(5, inner=2.1, size=5.6),
    _polygon(3, turn=math.pi, size=5.2),
    _polygon(6),
)
"""Marks as SVG paths around 0: circle, square, triangle, diamond, star, triangle downwards, hexagon."""

CROSS = "M-4-2.6L-2.6-4 0-1.4 2.6-4 4-2.6 1.4 0 4 2.6 2.6 4 0 1.4-2.6 4-4 2.6-1.4 0Z"


@dataclass(frozen=True)
class Look:
    """How the examples of a class are drawn: the number of the colour, and the shape as an SVG path."""

    colour: int
    path: str


def look(label: int | None) -> Look:
    """The look of a class by its index; colours and shapes repeat together only after 49. None: without a class."""
    if label is None:
        return Look(_COLOURS, CROSS)
    return Look(label % _COLOURS, SHAPES[(label + label // _COLOURS) % len(SHAPES)])


@dataclass(frozen=True)
class Spot:
    """An example on a map. x, y: from -1 to 1. label: the index of its class; None if it has none.

    words: what it is. caption: the same in lines as short as the picture beside the map is wide. faint: drawn in the
    background. wrong: drawn with a ring. tile: the number of its picture on the sprite; None if it has none.
    """

    x: float
    y: float
    label: int | None
    words: str
    caption: tuple[str, ...] = ()
    faint: bool = False
    wrong: bool = False
    tile: int | None = None


@dataclass(frozen=True)
class _Drawn:
    """A spot in the map's own units. box: of its picture on the sprite, as an SVG viewBox, or ""."""

    x: str
    y: str
    look: Look
    spot: Spot
    box: str


@dataclass(frozen=True)
class _Map:
    """What the template draws. reached: the spots that the keyboard reaches; silent: all others, those below first."""

    label: str
    silent: tuple[_Drawn, ...]
    reached: tuple[_Drawn, ...]
    width: float
    height: float
    peek: float
    pictures: bool


def features_map(
    spots: Sequence[Spot], *, label: str, sprite: Sprite | None = None, keyboard: int = 0
) -> Markup:  # fmt: skip
    """The map as SVG. label: what it shows, for those who don't see it.

    sprite: of the pictures, which `sprite_of` puts on the page once. keyboard: how many of the wrong spots can be
    reached by the keyboard.
    """
    drawn = [_drawn(spot, sprite) for spot in sorted(spots, key=lambda spot: (not spot.faint, spot.wrong))]
    wrong = [each for each in drawn if each.spot.wrong][:keyboard]
    silent = tuple(each for each in drawn if each not in wrong)
    width = WIDTH + (PEEK + EDGE if sprite else 0)
    return filled("mapped", _Map(label, silent, tuple(wrong), width, HEIGHT, PEEK, sprite is not None))


def sprite_of(sprite: Sprite) -> Markup:
    """The sprite as an SVG symbol, which takes no room on the page."""
    return filled("sprite", sprite)


def _drawn(spot: Spot, sprite: Sprite | None) -> _Drawn:
    x = EDGE + (spot.x + 1) / 2 * (WIDTH - 2 * EDGE)
    y = HEIGHT - EDGE - (spot.y + 1) / 2 * (HEIGHT - 2 * EDGE)
    box = ""
    if sprite is not None and spot.tile is not None:
        row, column = divmod(spot.tile, sprite.across)
        box = f"{column * sprite.tile} {row * sprite.tile} {sprite.tile} {sprite.tile}"
    return _Drawn(f"{x:.1f}", f"{y:.1f}", look(spot.label), spot, box)
