"""Figures as a person reads them: those of `kt.numbers`, under the name that the report's templates know."""

from kt.numbers import NOTHING, change, count, duration, figure, interval, known, number, percent, scientific, size

__all__ = [
    "NOTHING", "change", "count", "duration", "figure", "interval", "known", "number", "percent", "scientific", "size",
]  # fmt: skip
