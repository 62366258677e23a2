"""`Domains`: labelled examples of one domain, and examples of another, where the model is to work."""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.base.console import progress_bar, say, warn
from kt.data.archive import is_zip, unpacked
from kt.data.labels import class_of
from kt.data.layout import read_layout
from kt.data.sources import places_of
from kt.data.splits import Part, Split, Splits, allocate
from kt.errors import DataError, RecipeError
from kt.kinds.kind import Kind
from kt.recipe import check_types

TARGET = "target"
"""The name of the stream with the other domain's examples."""


@dataclass(frozen=True)
class Unlabelled:
    """Examples without labels: pictures anywhere below a folder or in a zip, or the rows of a table.

    root: the folder, zip or table. Names of sub-folders mean nothing. The examples are read as those of the source
    domain are, so their size and scale are the same.
    """

    root: str | Path

    reads_from = "root"

    def read(self, kind: Kind) -> Part:
        """Read the examples as ones of this kind. Raises DataError if none can be read."""
        root = Path(self.root).expanduser()
        if not root.exists():
            raise DataError(f"There is no {root}; expected {kind.many} without labels.")
        sources = list(kind.found([unpacked(root) if is_zip(root) else root]))

        def read_one(place: int) -> Any:
            try:
                return sources[place].error or kind.read(sources[place].given)
            except DataError as error:
                return str(error)

        examples = allocate(len(sources), kind.shape, kind.dtype)
        names: list[str] = []
        skipped: list[str] = []
        with progress_bar(f"reading {kind.many}", len(sources)) as bar, ThreadPoolExecutor(max_workers=4) as pool:
            for source, result in zip(sources, pool.map(read_one, range(len(sources))), strict=True):
                bar.advance()
                if isinstance(result, str):
                    skipped.append(result)
                    warn(f"skipped {source.name}: {result}")
                else:
                    examples[len(names)] = result
                    names.append(str(source.name))
        if not names:
            why = f" The first: {skipped[0]}" if skipped else ""
            raise DataError(f"There are no {kind.many} that can be read in {root}.{why}")
        if skipped:
            warn(f"{len(skipped):,} of {len(sources):,} {kind.many} in {root} could not be read and were skipped")
        return Part(examples[: len(names)], tuple(names))


@dataclass(frozen=True)
class PerhapsLabelled:
    """Examples of a target domain whose labels are read if they are the source's classes, and otherwise are not.

    labelled: a data source that reads a place with labels, such as `Folder("field/")`.
    """

    labelled: Any

    reads_from = ("labelled",)

    def decided(self, classes: Sequence[str]) -> Any:
        """The data source itself, if all labels there are among the classes; else the same place without labels."""
        place = next(iter(places_of(self.labelled).values()))
        labels = self._labels(place)
        if unknown := [label for label in labels if class_of(label, classes) is None]:
            say(f"target: labels of {place} are not read, because {unknown[0]!r} is no class of the source")
        return self.labelled if labels and not unknown else Unlabelled(str(place))

    def _labels(self, place: Path) -> list[str]:
        """The labels in a place, sorted; none if it has no classes."""
        try:
            if hasattr(self.labelled, "root"):
                return sorted({picture.label for picture in read_layout(place).pictures})
            return list(self.labelled().classes)
        except DataError:
            return []


@dataclass(frozen=True)
class Domains:
    """Labelled examples of a source domain to learn from, and examples of a target domain, where the model will work.

    source: a data source; train and validation are its own. target: a data source of the same kind and size, or
    `Unlabelled(...)`, or the path of a folder, zip or table with examples without labels.

    The target's train and validation are the stream "target", without their labels: neither training nor the choice of
    a method sees them. If the target has labels, its test split is the test split, for the figures at the end alone.
    If it has none, the source's test split is, and its figures say nothing about the target.
    """

    source: Callable[[], Splits]
    target: Any

    reads_from = ("source", "target")

    def __post_init__(self) -> None:
        check_types(self)
        if not isinstance(self.target, str | Path | Unlabelled | PerhapsLabelled) and not callable(self.target):
            raise RecipeError(
                "Domains: target must be a data source, Unlabelled(...), or the path of examples without labels, not "
                f"{self.target!r}."
            )

    @property
    def image_size(self) -> tuple[int, int]:
        """That of the source, if it has one."""
        size: tuple[int, int] = self.source.image_size  # type: ignore[attr-defined]
        return size

    def __call__(self) -> Splits:
        """Read both domains. Raises DataError if they don't go together: other kinds, sizes or classes."""
        source = self.source()
        target = Unlabelled(self.target) if isinstance(self.target, str | Path) else self.target
        if isinstance(target, PerhapsLabelled):
            target = target.decided(source.classes)
        if isinstance(target, Unlabelled):
            return _without_labels(source, target)
        return _with_labels(source, target())


def _without_labels(source: Splits, target: Unlabelled) -> Splits:
    part = target.read(source.kind)
    facts = [
        f"target: {len(part):,} {source.kind.many} of {target.root}, without labels",
        "the test split is the source's, so its figures say nothing about the target",
    ]
    folders = {Path(name).parent for name in part.names} - {Path(target.root).expanduser().parent}
    if any(class_of(folder.name, source.classes) for folder in folders):
        facts.append("folders of the target have names of classes, which are not read as labels")
    for fact in facts:
        say(fact)
    return _joined(source, part, f"{source.origin} (source), {target.root} (target)", facts)


def _with_labels(source: Splits, target: Splits) -> Splits:
    if target.kind != source.kind:
        raise DataError(
            f"The domains do not go together: the source has {source.kind.many}, {source.kind.in_words()}, and the "
            f"target {target.kind.many}, {target.kind.in_words()}. Give both the same size and, above 8 bits, the same "
            "range of values."
        )
    named = {label: class_of(label, source.classes) for label in target.classes}
    if unknown := [label for label, name in named.items() if name is None]:
        raise DataError(
            f"The target has the class {unknown[0]!r}, which the source lacks; the source has: "
            f"{', '.join(source.classes)}."
        )
    places = np.array([source.classes.index(str(named[label])) for label in target.classes], np.int64)
    own = target.test
    test = dataclasses.replace(  # names and groups of the two domains may be the same, and mean different things
        own,
        labels=places[own.labels],
        names=_of_target(own.names),
        groups=_of_target(own.groups),
        group_names=own.group_names and _of_target(own.group_names),
    )
    seen = [target.train, target.validation]
    part = Part(_all(seen, source.kind), _of_target([name for split in seen for name in split.names]))  # without labels
    source = _without_copies(dataclasses.replace(source, test=test, test_of=TARGET), [part.examples, test.examples])
    facts = [
        f"target: {len(part):,} {source.kind.many} of {target.origin}, without labels",
        f"the test split is the target's, {len(test):,} {source.kind.many} with labels",
    ]
    if lacking := sorted(set(source.classes) - {str(name) for name in named.values()}):
        facts.append(f"the target has no {source.kind.one} of {', '.join(lacking)}")
    for fact in facts:
        say(fact)
    return _joined(source, part, f"{source.origin} (source), {target.origin} (target)", facts)


def _of_target(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{TARGET}/{name}" for name in names)


def _joined(source: Splits, part: Part, origin: str, facts: Sequence[str]) -> Splits:
    test = [*source.test.names, *map(str, source.test.labels)]
    whole = "\n".join([source.digest, *sorted(_hashes(part.examples)), *test])
    return dataclasses.replace(
        source,
        streams={**source.streams, TARGET: part},
        origin=origin,
        facts=(*source.facts, *facts),
        digest=hashlib.sha256(whole.encode()).hexdigest(),
    )


def _all(splits: Sequence[Split], kind: Kind) -> npt.NDArray[Any]:
    """The examples of several splits, one behind the other."""
    examples = allocate(sum(map(len, splits)), kind.shape, kind.dtype)
    place = 0
    for split in splits:
        examples[place : place + len(split)] = split.examples
        place += len(split)
    return examples


def _without_copies(splits: Splits, others: Sequence[npt.NDArray[Any]]) -> Splits:
    """The splits without examples to learn from that are in the target too, for these would be test answers."""
    there = {digest for examples in others for digest in _hashes(examples)}

    def left(part: Split) -> npt.NDArray[np.int64]:
        return np.flatnonzero([digest not in there for digest in _hashes(part.examples)])

    train, validation = left(splits.train), left(splits.validation)
    gone = len(splits.train) + len(splits.validation) - len(train) - len(validation)
    if not gone:
        return splits
    if not len(train) or not len(validation):
        raise DataError(f"The two domains hold the same {splits.kind.many}: nothing is left to learn from.")
    note = f"{gone:,} {splits.kind.many} of the source are in the target too, and are left out of the source"
    warn(note)
    return dataclasses.replace(
        splits, train=splits.train.take(train), validation=splits.validation.take(validation),
        notes=(*splits.notes, note),
    )  # fmt: skip


def _hashes(examples: npt.NDArray[Any]) -> list[str]:
    return [hashlib.sha256(example.tobytes()).hexdigest() for example in examples]
