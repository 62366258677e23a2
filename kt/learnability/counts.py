"""How many pictures each class has: warnings if they are few, with what that means."""

from collections.abc import Sequence

from scipy import stats

from kt.base.few import FEW, FEW_TO_CHOOSE_BY
from kt.base.metrics import CONFIDENCE
from kt.data.splits import Split, Splits
from kt.kinds.kind import Nouns


def few_pictures(splits: Splits) -> tuple[str, ...]:
    """A warning if train has few pictures of a class, and one if test has, each with what that means."""
    warnings, nouns = [], splits.kind
    if few := _fewest(splits.train, splits.classes, nouns):
        warnings.append(
            f"{few} to learn from; below about {FEW} the result hangs on which {nouns.many} they are: read the "
            f"intervals, and add {nouns.many} where the learning curve rises (docs/few-images.md)"
        )
    if few := _fewest(splits.test, splits.classes, nouns):
        number = min(number for number in splits.test.things(len(splits.classes)) if number)
        low = stats.beta.ppf((1 - CONFIDENCE) / 2, number + 0.5, 0.5)
        warnings.append(f"{few} to be tested on; even if all are answered rightly, the true share may be {low:.2f}")
    return tuple(warnings)


def _fewest(part: Split, classes: Sequence[str], nouns: Nouns) -> str:
    """The class with the fewest independent pictures, in words; empty if every class has enough."""
    numbers = part.things(len(classes))
    few = [number for number in numbers if 0 < number < FEW]
    if not few:
        return ""
    label = classes[numbers.index(min(few))]
    pictures = int((part.labels == classes.index(label)).sum())
    counted = nouns.many if pictures != 1 else nouns.one
    what = counted if pictures == min(few) else f"things (on {pictures} {nouns.many})"
    others = len(few) - 1
    more = f" (and {others} more class{'es have' if others != 1 else ' has'} fewer than {FEW})" if others else ""
    return f"class {label!r} has {min(few)} {what}{more}"


def is_scarce(validation: Split, classes: int) -> bool:
    """Whether validation is small: fewer than 100 independent pictures, or fewer than 20 of a class."""
    things = validation.things(classes)
    return sum(things) < FEW_TO_CHOOSE_BY or min(things) < FEW
