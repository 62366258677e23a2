"""How many pictures there are of each class: what is few is told, with what that means."""

from collections.abc import Sequence

from scipy import stats

from kt.data.splits import Split, Splits
from kt.evaluate import CONFIDENCE

FEW = 20
"""Fewer independent pictures of a class are few: docs/few-images.md has what was measured."""

FEW_TO_CHOOSE_BY = 100
"""With fewer independent validation pictures in all, or `FEW` of a class, a probe is cross-validated as well."""


def few_pictures(splits: Splits) -> tuple[str, ...]:
    """A line where train has few pictures of a class, and one where test has, each with what that means."""
    found = []
    if few := _fewest(splits.train, splits.classes):
        found.append(
            f"{few} to learn from; below about {FEW} the result hangs on which pictures they are: read the intervals, "
            "and add pictures where the learning curve rises (docs/few-images.md)"
        )
    if few := _fewest(splits.test, splits.classes):
        number = min(number for number in splits.test.things(len(splits.classes)) if number)
        low = stats.beta.ppf((1 - CONFIDENCE) / 2, number + 0.5, 0.5)
        found.append(f"{few} to be tested on; even if all are answered rightly, the true share may be {low:.2f}")
    return tuple(found)


def _fewest(part: Split, classes: Sequence[str]) -> str:
    """The class with the fewest pictures, in words, where they are few; else nothing."""
    numbers = part.things(len(classes))
    few = [number for number in numbers if 0 < number < FEW]
    if not few:
        return ""
    label = classes[numbers.index(min(few))]
    pictures = int((part.labels == classes.index(label)).sum())
    what = f"picture{'s' if pictures != 1 else ''}" if pictures == min(few) else f"things (on {pictures} pictures)"
    others = len(few) - 1
    more = f" (and {others} more class{'es have' if others != 1 else ' has'} fewer than {FEW})" if others else ""
    return f"class {label!r} has {min(few)} {what}{more}"


def is_scarce(validation: Split, classes: int) -> bool:
    """Whether so few validation pictures say little: fewer than 100 independent ones, or than 20 of a class."""
    things = validation.things(classes)
    return sum(things) < FEW_TO_CHOOSE_BY or min(things) < FEW
