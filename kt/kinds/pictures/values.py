"""Pictures with more than 8 bits: which of their values become black, and which white.

A file with 16 bits rarely uses all of them: a camera with 12 bits uses the lowest sixteenth of the levels, so the high
byte alone would give a black picture. Therefore the values are scaled to 0 to 255 by a range: the one that the file
states, or else the one of the data set that the model was trained on, which is kept with the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.errors import DataError

_OUTSIDE = 0.001
"""The share of a picture's values at each end that is ignored: it may be dust, dead pixels or a burnt-in date."""

_ODD_PICTURES = 0.01
"""The share of the pictures at each end that is ignored: their values may be unlike all others of the data set."""


@dataclass(frozen=True)
class ValueRange:
    """The values that become 0 (`low`) and 255 (`high`); values beyond are clipped. whole: values are integers."""

    low: float
    high: float
    whole: bool = True

    def levels(self, values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """The values as levels 0 to 255, uint8 of the same shape. NaN becomes 0.

        For integers every level stands for equally many values, so the range 0 to 65535 gives the high byte.
        """
        levels = np.empty(values.shape, np.uint8)
        for top in range(0, len(values), 256):  # in bands: all of a large picture in 64 bits would take gigabytes
            band = values[top : top + 256].astype(np.float64)
            if self.whole:
                spread = np.floor((band - self.low) * 256 / (self.high - self.low + 1))
            else:
                spread = np.floor((band - self.low) * 255 / (self.high - self.low) + 0.5)
            levels[top : top + 256] = np.clip(np.nan_to_num(spread, nan=0.0, posinf=255, neginf=0), 0, 255)
        return levels

    def to_json(self) -> list[int] | list[float]:
        """Low and high, as integers if `whole` and else as floats, which `from_json` reads."""
        return [int(self.low), int(self.high)] if self.whole else [float(self.low), float(self.high)]

    @classmethod
    def from_json(cls, told: object) -> "ValueRange | None":
        """The range from two rising numbers; None for anything else, such as the content of a damaged file."""
        if not isinstance(told, list | tuple) or len(told) != 2:
            return None
        if not all(type(number) in (int, float) and abs(number) < 1e300 for number in told) or told[0] >= told[1]:
            return None
        return cls(told[0], told[1], whole=all(type(number) is int for number in told))

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}" if not self.whole else f"{int(self.low)} to {int(self.high)}"


FULL = ValueRange(0, 65535)
"""All values that 16 bits can hold."""


@dataclass(frozen=True)
class Span:
    """The two values between which nearly all values of a picture lie. whole: values are integers."""

    low: float
    high: float
    whole: bool


def span_of(values: npt.NDArray[Any]) -> Span | None:
    """The span of a picture's values, without a thousandth at each end; None if no value is a finite number."""
    whole = values.dtype.kind in "iu"
    numbers = values.ravel() if whole else values[np.isfinite(values)]
    if not numbers.size:
        return None
    low, high = int(_OUTSIDE * (numbers.size - 1)), int(np.ceil((1 - _OUTSIDE) * (numbers.size - 1)))
    ordered = np.partition(numbers, (low, high))
    return Span(float(ordered[low]), float(ordered[high]), whole)


def range_of(spans: Sequence[Span]) -> ValueRange | None:
    """The range for pictures with these spans; None if it is the full range of 16 bits, or if there are no spans.

    Integers that begin near 0 get the range of as many bits as they need, such as 0 to 4095 for 12 bits. Fractions that
    begin near 0 get the range from 0 to their highest value, or to 1 if that value lies between 0.1 and 1. Any others
    get the range from their lowest to their highest value.
    """
    if not spans:
        return None
    low = float(np.quantile([span.low for span in spans], _ODD_PICTURES, method="lower"))
    high = float(np.quantile([span.high for span in spans], 1 - _ODD_PICTURES, method="higher"))
    near_zero = 0 <= low <= 0.1 * high
    if all(span.whole for span in spans):
        if near_zero:
            whole = ValueRange(0, 2 ** max(8, int(high).bit_length()) - 1)
            return None if whole == FULL else whole
        return ValueRange(int(low), max(int(high), int(low) + 1))
    if near_zero:
        return ValueRange(0.0, 1.0 if 0.1 < high <= 1 else high or 1.0, whole=False)
    return ValueRange(low, high if high > low else low + 1.0, whole=False)


def levels(values: npt.NDArray[Any], value_range: ValueRange | None) -> npt.NDArray[np.uint8]:
    """The values scaled to levels 0 to 255 by a range; without a range, the high byte of 16-bit integers.

    Raises DataError for other values without a range.
    """
    if value_range is not None:
        return value_range.levels(values)
    if values.dtype.kind == "f":
        raise DataError(
            "has floating-point values, whose range is unknown, since the model was trained on none such; save it with "
            "8 or 16 bits a channel"
        )
    if values.size and (values.min() < 0 or values.max() > FULL.high):
        raise DataError("has more than 16 bits a channel, and the model was trained on none such; save it with 8 or 16")
    return (values // 256).astype(np.uint8)
