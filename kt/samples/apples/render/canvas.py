"""The tools of the renderer: float pictures `[256, 256]`, colours as linear light, smooth noise, soft masks."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

SIDE = 256
"""Height and width of a picture, in pixels."""

Floats = npt.NDArray[np.floating[Any]]  # float32 for pictures, float64 for a few points
Color = tuple[int, int, int]

LINEAR = (np.arange(256, dtype=np.float32) / 255) ** 2.2
"""Linear light, 0 to 1, of each 8-bit sRGB value."""

TONE_STEPS = 1 << 14


def _tones() -> npt.NDArray[np.uint8]:
    """The 8-bit sRGB values of linear light 0 to 4, in equal steps of its square root; highlights are compressed."""
    light = np.linspace(0, 2, 2 * TONE_STEPS) ** 2
    soft = np.where(light > 0.7, 0.7 + 0.3 * np.tanh((light - 0.7) / 0.3), light)
    return (soft ** (1 / 2.2) * 255 + 0.5).astype(np.uint8)


TONES = _tones()


def to_linear(color: Color) -> Floats:
    """Linear light `[3]` of an sRGB colour."""
    return LINEAR[np.array(color, np.intp)]


def length_of(vectors: Floats) -> Floats:
    """The length of each vector in `[..., 3]`."""
    return np.asarray(np.sqrt(np.einsum("...i,...i->...", vectors, vectors)))


def blended(under: Floats, over: Floats, mask: Floats) -> Floats:
    """`under` where the mask is 0, `over` where it is 1."""
    return under + (over - under) * mask[..., None]


def smooth_step(values: Floats, start: float, end: float) -> Floats:
    """0 before `start`, 1 after `end`, smooth in between; `start` may be larger than `end`."""
    t = np.clip((values - start) / (end - start), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def resized_to(values: Floats, rows: int, columns: int) -> Floats:
    """A float picture, resized to `[rows, columns]`."""
    picture = Image.fromarray(values.astype(np.float32))
    return np.asarray(
        picture.resize(
            (columns, rows), Image.Resampling.BILINEAR if rows < 3 * len(values) else Image.Resampling.BICUBIC
        ),
        np.float32,
    )


def smooth_noise(rng: np.random.Generator, cells: int, octaves: int = 1, *, stretch: float = 1.0) -> Floats:
    """Smooth noise `[256, 256]` with mean about 0 and deviation about 1; `stretch` above 1 stretches it along rows."""
    total = np.zeros((SIDE, SIDE), np.float32)
    for octave in range(octaves):
        rows = min(cells << octave, SIDE)
        grid = rng.standard_normal((rows, max(2, round(rows / stretch))), np.float32)
        total += resized_to(grid, SIDE, SIDE) * (1.35 * 0.55**octave)
    return total


def softened(mask: Floats, radius: float) -> Floats:
    """A picture `[256, 256]`, 0 to 1, blurred by `radius` pixels; a large blur is computed at a smaller size."""
    small = max(1, min(8, int(radius / 2)))
    picture = Image.fromarray((np.clip(mask, 0, 1) * 255).astype(np.uint8))
    picture = picture.resize((SIDE // small, SIDE // small), Image.Resampling.BOX)
    picture = picture.filter(ImageFilter.GaussianBlur(radius / small))
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32) / 255


def moved(mask: Floats, down: float, right: float) -> Floats:
    """A picture `[256, 256]` moved by whole pixels; pixels that become free are 0."""
    row, column = SIDE - int(down), SIDE - int(right)
    return np.pad(mask, SIDE)[row : row + SIDE, column : column + SIDE]


def painted(paint: Callable[[ImageDraw.ImageDraw], None]) -> Floats:
    """The mask `[256, 256]`, with smooth edges, of what `paint` draws with 255 on a canvas of twice the size."""
    canvas = Image.new("L", (2 * SIDE, 2 * SIDE))
    paint(ImageDraw.Draw(canvas))
    return np.asarray(canvas.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32) / 255


def happens(rng: np.random.Generator, probability: float) -> bool:
    """True with this probability, 0 to 1."""
    return bool(rng.random() < probability)


def random_shade(rng: np.random.Generator, low: Color, high: Color) -> Floats:
    """A random colour `[3]`, sRGB 0 to 1, about between two 8-bit colours."""
    between = rng.random() + rng.normal(0, 0.06, 3)
    return np.asarray(np.clip(low + np.subtract(high, low) * between, 0, 255) / 255, np.float32)
