"""Gathers what the page shows of the pictures, during the run: thumbnails, counts, the worst mistakes on test."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from kt.base import few
from kt.data.splits import Splits
from kt.failures.errors import Confused
from kt.failures.results import Insight, Neighbours
from kt.report.shown import JPEG, Shown, SplitSize, Sprite, Thumbnail

_EXAMPLES = 24
_EACH = 6
_TILE, _ACROSS = 40, 25


def shown_of(
    splits: Splits,
    places: Sequence[int],
    *,
    unlike: Sequence[str] = (),
    confused: Sequence[Confused] = (),
    insight: Insight | None = None,
) -> Shown:
    """What a page shows of these pictures. places: the indices of the worst mistakes on test. unlike: names in test.

    confused: the commonest mistakes. insight: what is near to the worst mistakes, and on the map.
    """
    test, train, seen = splits.test, splits.train, insight or Insight()
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
        nearest=tuple(
            tuple(splits.kind.shown(train.examples[i]) for i in neighbours.places) for neighbours in seen.neighbours
        ),
        confused=tuple(tuple(splits.kind.shown(test.examples[i]) for i in each.places) for each in confused),
        map=_sprite(splits, seen) if seen.maps else None,
    )


def in_words(confused: Sequence[Confused], splits: Splits) -> list[dict[str, Any]]:
    """The entries of `report.json` for the commonest mistakes."""
    return [
        {
            "label": splits.classes[each.label],
            "predicted": splits.classes[each.predicted],
            "count": each.examples,
            "examples": [splits.test.names[i] for i in each.places],
        }
        for each in confused
    ]


def _sprite(splits: Splits, seen: Insight) -> Sprite | None:
    """All pictures on the map as tiles of one picture; None for examples that have no looks."""
    places = [(splits.train, i) for i in seen.mapped_train] + [(splits.test, i) for i in seen.mapped_test]
    if not splits.kind.shown(splits.train.examples[0]):
        return None
    sheet = Image.new("RGB", (_TILE * _ACROSS, _TILE * -(-len(places) // _ACROSS)), (128, 128, 128))
    for number, (part, place) in enumerate(places):
        address = splits.kind.shown(part.examples[place])
        with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as picture:
            small = picture.convert("RGB")
        small.thumbnail((_TILE, _TILE), Image.Resampling.LANCZOS)
        row, column = divmod(number, _ACROSS)
        left, top = (_TILE - small.width) // 2, (_TILE - small.height) // 2
        sheet.paste(small, (column * _TILE + left, row * _TILE + top))
    content = io.BytesIO()
    sheet.save(content, "JPEG", quality=70)
    return Sprite(JPEG + base64.b64encode(content.getvalue()).decode("ascii"), _TILE, _ACROSS)


def described(
    places: Sequence[int], splits: Splits, scores: npt.NDArray[Any], neighbours: Sequence[Neighbours] = ()
) -> list[dict[str, Any]]:
    """The entries of `report.json` for these test pictures: names, labels and scores, and what is nearest in train.

    neighbours: of each; none if they were not looked for.
    """
    test, predicted = splits.test, scores.argmax(axis=1)
    told = neighbours or [Neighbours((), (), 0.0)] * len(places)
    return [
        {
            "name": test.names[i],
            "label": splits.classes[test.labels[i]],
            "predicted": splits.classes[predicted[i]],
            "score": float(scores[i, predicted[i]]),
            "score_of_label": float(scores[i, test.labels[i]]),
            "nearest": [
                {
                    "name": splits.train.names[place],
                    "label": splits.classes[splits.train.labels[place]],
                    "similarity": similarity,
                }
                for place, similarity in zip(near.places, near.similarities, strict=True)
            ],
            "nearer": near.nearer if near.places else None,
        }
        for i, near in zip(places, told, strict=True)
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
