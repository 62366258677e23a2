"""Whether two pictures that are nearly the same are one photograph, or two shots of one thing.

What an alteration leaves once geometry and light are fitted is noise, and edges that are sharper in one of the two.
Between two shots something has moved, if only by a fraction of a pixel: the camera, the thing, or what is behind it.
So small pieces of one are laid over the other once more, each by itself, by one step of Lucas and Kanade's method
(1981). If pieces move, and what moves them explains much of the difference, these are two shots.
"""

import numpy as np
import numpy.typing as npt

from kt.data.duplicates.align import Aligned
from kt.data.duplicates.light import brightness
from kt.data.duplicates.views import SIDE, Floats

STILL = 0.17
"""One photograph has less than this: the share of the squared difference that moves explain, times the root of the mean
move in pixels of 64.

Copies of clothes and bean leaves lie below 0.13, of apples of 100 pixels below 0.17; frames of apples that turn by a
few degrees, and photos whose camera or subject was moved by 1% of the side, above 0.17, most above 0.3.
"""

CUT_OFF, AT_MOST = 0.4, 0.1
"""Where one of a pair is cut off at white, `STILL` rises by this times the share that is cut off, which counts up to
the second number: highlights that grow look like a move."""

_PIECE, _STEP = 8, 4


def are_one_photograph(aligned: Aligned) -> npt.NDArray[np.bool_]:
    """Whether each pair is one photograph, bool `[P]`."""
    share = np.minimum(aligned.cut.mean(axis=(1, 2)), AT_MOST)
    return np.asarray(moves(aligned) < STILL + CUT_OFF * share)


def moves(aligned: Aligned) -> Floats:
    """How much pieces of each pair have moved, float32 `[P]`, as `STILL` measures it."""
    size = SIDE // aligned.known.shape[1]
    known = aligned.known[..., 0].repeat(size, axis=1).repeat(size, axis=2) & ~aligned.cut
    clear = _eroded(known)[..., None].astype(np.float32)
    middle = (aligned.fine_seen + aligned.fine_part) / 2
    down, across = np.gradient(middle, axis=1) * clear, np.gradient(middle, axis=2) * clear
    left = (aligned.fine_part - aligned.fine_seen) * clear
    # A level of noise in each pixel, so that plain pieces stay where they are.
    noise = float(_PIECE * _PIECE * 3)
    one, other, both = _pieces(down * down) + noise, _pieces(across * across) + noise, _pieces(down * across)
    along, beside = _pieces(down * left), _pieces(across * left)
    area = one * other - both * both
    by_rows, by_columns = (other * along - both * beside) / area, (one * beside - both * along) / area
    squares = _pieces(left * left).sum(axis=(1, 2)) + 1e-3
    explained = (by_rows * along + by_columns * beside).sum(axis=(1, 2)) / squares
    weight = one + other
    mean = ((by_rows**2 + by_columns**2) * weight).sum(axis=(1, 2)) / weight.sum(axis=(1, 2))
    return np.asarray((explained + 0.01) * np.sqrt(np.sqrt(mean) + 0.01), np.float32)


def _eroded(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Where all of the 3 x 3 around are set."""
    padded = np.pad(flags, ((0, 0), (1, 1), (1, 1)), constant_values=True)
    height, width = flags.shape[1:]
    around = [padded[:, row : row + height, column : column + width] for row in range(3) for column in range(3)]
    return np.asarray(np.logical_and.reduce(around))


def _pieces(values: Floats) -> npt.NDArray[np.float64]:
    """Sums over overlapping pieces and all colours of `[P, SIDE, SIDE, 3]`."""
    sums = np.pad(brightness(values).astype(np.float64) * 3, ((0, 0), (1, 0), (1, 0))).cumsum(axis=1).cumsum(axis=2)
    at = np.arange(0, SIDE - _PIECE + 1, _STEP)
    rows = sums[:, at + _PIECE] - sums[:, at]
    return np.asarray(rows[:, :, at + _PIECE] - rows[:, :, at])
