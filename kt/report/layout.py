"""How many classes fit on a page, for all sections."""

from collections.abc import Sized

BESIDE = 10
"""The most classes whose confusion matrix leaves room for another column beside it."""

NUMBERED = 15
"""The most classes that fit beside each other with numbers; with more, tables scroll and a matrix is a heatmap."""


def is_many(classes: Sized) -> bool:
    """Whether there are too many classes for a table without scrolling."""
    return len(classes) > NUMBERED
