"""Whether a source of data keeps the rules that kt's own sources keep."""

from collections.abc import Callable
from itertools import combinations

import numpy as np

from kt.data.splits import Splits
from kt.kinds.kind import check_examples
from kt.testing.rules import hold


def check_source(source: Callable[[], Splits]) -> Splits:
    """Call a source twice and look at its splits; AssertionError says which rule it breaks.

    Both calls have to give the same examples, in the same splits. Gives the splits, for further questions.
    """
    splits, again = source(), source()
    hold(isinstance(splits, Splits), f"it gives {type(splits).__name__}; expected kt.data.Splits")
    hold(splits.digest == again.digest, "two calls give two digests: the split is drawn anew, or the content changes")
    hold(list(splits.classes) == sorted(set(splits.classes)), "classes are to be sorted, each once")
    hold(len(splits.classes) >= 2, "there are to be two classes at least")
    for name, part in splits.parts().items():
        other = again.parts()[name]
        hold(len(part) > 0, f"{name} is empty")
        lengths = {len(part.examples), len(part.labels), len(part.names), len(part.groups)}
        hold(len(lengths) == 1, f"{name} has so many examples, labels, names and groups: {sorted(lengths)}")
        check_examples(splits.kind, part.examples[:1])
        inside = part.labels.min() >= 0 and part.labels.max() < len(splits.classes)
        hold(inside, f"{name} has labels from {part.labels.min()} to {part.labels.max()}")
        hold(len(set(part.names)) == len(part), f"{name} has a name twice")
        same = np.array_equal(part.examples, other.examples) and np.array_equal(part.labels, other.labels)
        hold(same and part.names == other.names, f"two calls give other examples in {name}")
    absent = set(range(len(splits.classes))) - set(splits.train.labels.tolist())
    hold(not absent, f"train has no example of class {splits.classes[min(absent, default=0)]!r}")
    for (one, first), (other_name, second) in combinations(splits.parts().items(), 2):
        shared = set(first.groups) & set(second.groups)
        hold(not shared, f"group {min(shared, default='')!r} lies in {one} and in {other_name}")
    return splits
