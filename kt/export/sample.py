"""Pictures that a run keeps, so that its exports can be judged again when the original pictures are gone."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.base.run_folder import SAMPLE
from kt.base.stages import Stage, key_of, whole
from kt.data.splits import Split, Splits
from kt.drift import MOST as MOST_HELD_OUT
from kt.drift import drawn_from, numbered
from kt.export.formats.format import HeldOut
from kt.kinds import from_json
from kt.kinds.kind import Kind

TEST, TRAIN = 200, 100
"""The most pictures that are kept: of the test split, spread over it, and of train, classes in turn."""

MOST = 32 * 2**20
"""The most bytes of all of them, decoded, so fewer large pictures are kept. Photos take two thirds of that as PNG."""


@dataclass(frozen=True)
class Sample:
    """A kept sample. splits: with an empty validation split. things: groups of each class in the whole test split."""

    splits: Splits
    things: tuple[int, ...]


def keep_sample(run: Path, splits: Splits) -> None:
    """Keep some test examples and some of train, with their labels, in the folder of a run."""
    test, train = test_places(splits), in_turn(splits.train)[: _most(TRAIN, splits)]
    description = {
        "classes": list(splits.classes),
        "digest": splits.digest,
        "origin": splits.origin,
        "rendered": splits.rendered,
        "kind": splits.kind.to_json(),
        "things": splits.test.things(len(splits.classes)),
    }
    stage = Stage(run / SAMPLE, key_of(splits.digest, splits.kind.to_json(), TEST, TRAIN, MOST))
    packed_test, packed_train = _packed(splits.test, test, splits.kind), _packed(splits.train, train, splits.kind)
    stage.keep(description, test=packed_test, train=packed_train)


def test_places(splits: Splits) -> npt.NDArray[np.int64]:
    """The places in the test split of those that a run keeps."""
    return np.linspace(0, len(splits.test) - 1, num=min(len(splits.test), _most(TEST, splits)), dtype=np.int64)


def _most(count: int, splits: Splits) -> int:
    """So many, or as many as take their share of `MOST` bytes; at least one."""
    each = splits.train.examples[:1].nbytes
    return max(1, int(count * min(1.0, MOST / (each * (TEST + TRAIN)))))


def kept_sample(run: Path, *, into: Path) -> Sample | None:
    """The sample that `keep_sample` kept; None if there is none, or none whole. into: a folder for encoded examples."""
    kept = whole(run / SAMPLE)
    if kept is None:
        return None
    told = kept.told
    kind = from_json(told["kind"])
    test, train = (_unpacked(kept.arrays[name], kind, into / name) for name in ("test", "train"))
    splits = Splits(
        train=train,
        validation=replace(test.take(np.arange(0)), files=None),
        test=test,
        classes=tuple(told["classes"]),
        batch_size=1,
        origin=told["origin"],
        digest=told["digest"],
        rendered=told["rendered"],
        kind=kind,
    )
    return Sample(splits, tuple(told["things"]))


def in_turn(part: Split) -> npt.NDArray[np.int64]:
    """The indices of all pictures, shuffled so that the classes take turns; the same order each time."""
    random = np.random.default_rng(0)
    turns = np.empty(len(part), np.int64)
    for label in np.unique(part.labels):
        members = np.flatnonzero(part.labels == label)
        turns[members] = random.permutation(len(members))
    return np.lexsort((part.labels, turns))


def held_out_of(splits: Splits) -> HeldOut:
    """Random examples of validation and test together, which training did not learn from, as many as a model carries.

    One of each group is taken first.
    """
    parts = (splits.validation, splits.test)
    groups = [f"{number} {group}" for number, part in enumerate(parts) for group in part.groups]
    chosen = drawn_from(numbered(groups), MOST_HELD_OUT)
    ends = np.split(chosen, [np.searchsorted(chosen, len(splits.validation))])
    places = (ends[0], ends[1] - len(splits.validation))
    return HeldOut(
        np.concatenate([part.examples[place] for part, place in zip(parts, places, strict=True)]),
        np.concatenate([part.labels[place] for part, place in zip(parts, places, strict=True)]),
        tuple(groups[place] for place in chosen),
    )


def _packed(part: Split, chosen: npt.NDArray[np.int64], kind: Kind) -> dict[str, npt.NDArray[Any]]:
    return {**kind.pack(part.examples[chosen]), "labels": part.labels[chosen]}


def _unpacked(arrays: Mapping[str, npt.NDArray[Any]], kind: Kind, folder: Path) -> Split:
    examples = kind.unpack(arrays)
    names = tuple(f"{number:03d}" for number in range(len(examples)))
    files = None
    if kind.encoded is not None:
        folder.mkdir(parents=True)
        files = tuple(folder / name for name in names)
        for file, example in zip(files, examples, strict=True):
            file.write_bytes(kind.encoded.of_example(example))
    return Split(examples, arrays["labels"], names, names, files=files)
