"""Gathers what the page shows of the pictures, during the run: thumbnails, counts, the worst mistakes on test."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.base import few
from kt.data.splits import Split, Splits
from kt.report.shown import Shown, SplitSize, Thumbnail

_EXAMPLES = 24
_EACH = 6
_WRONGEST = 12


def shown_of(splits: Splits, places: Sequence[int], *, unlike: Sequence[str] = ()) -> Shown:
    """What a page shows of these pictures. places: the indices of the worst mistakes on test. unlike: names in test."""
    test = splits.test
    return Shown(
        classes=splits.classes,
        sizes=tuple(SplitSize(name, len(part), len(set(part.groups))) for name, part in splits.parts().items()),
        counts=_counts(splits),
        caution=few.caution_on_test(
            test.things(len(splits.classes)), splits.classes, grouped=test.grouped, many=splits.kind.many
        ),
        examples=_examples(splits),
        wrongest=tuple(splits.kind.shown(test.examples[i]) for i in places),
        unlike=tuple(splits.kind.shown(test.examples[test.names.index(name)]) for name in unlike),
    )


def wrongest_places(test: Split, scores: npt.NDArray[Any]) -> list[int]:
    """The indices of misclassified test pictures by the score of their true class, lowest first; at most 12."""
    wrong = scores.argmax(axis=1) != test.labels
    of_truth = scores[np.arange(len(test)), test.labels]
    return [int(i) for i in np.argsort(of_truth, kind="stable") if wrong[i]][:_WRONGEST]


def described(places: Sequence[int], splits: Splits, scores: npt.NDArray[Any]) -> list[dict[str, Any]]:
    """The entries of `report.json` for these test pictures: name, true label, predicted label and scores."""
    test, predicted = splits.test, scores.argmax(axis=1)
    return [
        {
            "name": test.names[i],
            "label": splits.classes[test.labels[i]],
            "predicted": splits.classes[predicted[i]],
            "score": float(scores[i, predicted[i]]),
            "score_of_label": float(scores[i, test.labels[i]]),
        }
        for i in places
    ]


def _examples(splits: Splits) -> tuple[tuple[str, tuple[Thumbnail, ...]], ...]:
    """A few training pictures of each class; with very many classes one picture each, of some of the classes."""
    train, classes = splits.train, splits.classes
    if not splits.kind.shown(train.examples[0]):  # what has no looks
        return ()
    each = max(1, min(_EACH, _EXAMPLES // len(classes)))
    by_group = np.argsort(np.asarray(train.groups, dtype=str), kind="stable")
    rows = []
    for label in _even(len(classes), _EXAMPLES):
        # Ordered by group and at even steps, so that six pictures are not six frames of one apple.
        places = by_group[train.labels[by_group] == label]
        chosen = [int(places[i]) for i in _even(len(places), each)]
        rows.append(
            (classes[label], tuple(Thumbnail(train.names[i], splits.kind.shown(train.examples[i])) for i in chosen))
        )
    return tuple(rows)


def _even(length: int, wanted: int) -> list[int]:
    """At most `wanted` indices, evenly spread over `length`."""
    number = min(length, wanted)
    return [(2 * i + 1) * length // (2 * number) for i in range(number)]


def _counts(splits: Splits) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Each class with its number of pictures in each split."""
    parts = [np.bincount(part.labels, minlength=len(splits.classes)) for part in splits.parts().values()]
    return tuple((label, tuple(int(part[i]) for part in parts)) for i, label in enumerate(splits.classes))
