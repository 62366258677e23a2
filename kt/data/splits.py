"""`Splits`, which every data source returns: three splits of equally sized examples, and where they came from."""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.data.labels import check_label
from kt.errors import DataError, EnvironmentProblem
from kt.findings import Finding
from kt.kinds.kind import Kind
from kt.kinds.pictures.kind import Pictures

MEMORY_BUDGET = 2 * 2**30
"""The most bytes of decoded pictures to hold in memory; a larger array is memory-mapped in a temporary file."""


def allocate(
    count: int, shape: tuple[int, ...], dtype: str = "uint8", *, in_memory: int | None = None
) -> npt.NDArray[Any]:
    """An empty array for `count` examples, `[N, *shape]`: in memory, or mapped in a temporary file if it is large.

    in_memory: up to this many bytes it is in memory; by default `MEMORY_BUDGET`. Raises EnvironmentProblem if the disk
    has too little room for that file.
    """
    whole, kind = (count, *shape), np.dtype(dtype)
    size = int(np.prod(whole, dtype=np.int64)) * kind.itemsize
    if size <= (MEMORY_BUDGET if in_memory is None else in_memory):
        return np.empty(whole, kind)
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if size > free:  # writing to a mapping on a full disk would kill the process without a message
        each = f" of {shape[0]}x{shape[1]}" if len(shape) == 3 else ""
        raise EnvironmentProblem(
            f"{count} pictures{each} need {size / 2**30:.1f} GiB in {tempfile.gettempdir()}, which has "
            f"{free / 2**30:.1f}. Set TMPDIR to a directory with more room."
        )
    with tempfile.TemporaryFile(prefix="kt-pixels-") as file:  # unlinked at once: freed with the mapping
        return np.memmap(file, dtype=kind, mode="w+", shape=whole)


@dataclass(frozen=True)
class Split:
    """Examples with their labels.

    examples: `[N, ...]` as the kind says, such as uint8 `[N, H, W, 3]` for pictures (RGB, 0 to 255); may be
    memory-mapped. labels: int64 `[N]`, indices into the classes. names: what a person calls each example (a relative
    path). groups: the group of each example, the same for all that show one object (frames of one apple); no group lies
    in two splits. files: the files, if each example has one. group_names: what a person calls the group of each
    example, one name a group; the same as groups unless given. hashes: SHA-256 of the content of each example's
    file, if the source knows it; it is the same in every run that reads the file, whatever the size. sizes: int32
    `[N, 2]`, the height and width that each picture had when it was decoded, before it was resized; None where that is
    unknown.
    """

    examples: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]
    names: tuple[str, ...]
    groups: tuple[str, ...]
    files: tuple[Path, ...] | None = None
    group_names: tuple[str, ...] | None = None
    hashes: tuple[str, ...] | None = None
    sizes: npt.NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def grouped(self) -> bool:
        """Whether any group has several pictures."""
        return len(set(self.groups)) < len(self)

    def things(self, classes: int) -> list[int]:
        """How many groups each class has."""
        pairs = set(zip(self.labels.tolist(), self.groups, strict=True))
        return [int(number) for number in np.bincount([label for label, _ in pairs], minlength=classes)]

    def take(self, chosen: npt.NDArray[np.int64]) -> "Split":
        """A copy with the chosen pictures only, in that order. chosen: their indices."""
        examples = allocate(len(chosen), self.examples.shape[1:], str(self.examples.dtype))
        for row, index in enumerate(chosen):
            examples[row] = self.examples[index]
        return Split(
            examples=examples,
            labels=self.labels[chosen],
            names=tuple(self.names[index] for index in chosen),
            groups=tuple(self.groups[index] for index in chosen),
            files=None if self.files is None else tuple(self.files[index] for index in chosen),
            group_names=None if self.group_names is None else tuple(self.group_names[index] for index in chosen),
            hashes=None if self.hashes is None else tuple(self.hashes[index] for index in chosen),
            sizes=None if self.sizes is None else self.sizes[chosen],
        )


@dataclass(frozen=True)
class Part:
    """Examples of a further stream of training, such as those of another domain; their labels may be unknown.

    examples: `[N, ...]`, of the same kind as in the splits. names: what a person calls each example. labels:
    int64 `[N]`, or None; training never sees them.
    """

    examples: npt.NDArray[Any]
    names: tuple[str, ...]
    labels: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.examples)

    def take(self, chosen: npt.NDArray[np.int64]) -> "Part":
        """The chosen examples only, in that order. chosen: their indices."""
        labels = None if self.labels is None else self.labels[chosen]
        return Part(self.examples[chosen], tuple(self.names[index] for index in chosen), labels)


@dataclass(frozen=True)
class Skipped:
    """A file that could not be read, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Splits:
    """Train, validation and test, the sorted class names, and what is needed to find the same pictures again.

    digest: SHA-256 over every picture's split, class and content. origin: where the data came from, in one line for a
    person. rendered: whether kt drew the pictures. skipped: the files that could not be read. notes: what a person
    should know about the data. facts: how the source was understood, such as which folder is which split. streams:
    further parts by name, which an objective of a phase may train on (`kt.recipe.Objective`). test_of: the stream of
    whose domain the test split is; empty if it is of train's. kind: what an example is; it is saved with the model, and
    is pictures of train's size unless given. findings: what is wrong with the data, or may be. aside: the files of
    pictures that findings name and that are in no split.

    Raises DataError for a class name that can't be a label, such as one with a line break, and for a stream whose
    examples have another shape or whose name is that of a split.
    """

    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    batch_size: int
    origin: str
    digest: str
    rendered: bool = False
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    streams: Mapping[str, Part] = field(default_factory=dict)
    test_of: str = ""
    kind: Kind = None  # type: ignore[assignment]  # pictures, unless given
    findings: tuple[Finding, ...] = ()
    aside: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.kind:
            height, width = self.train.examples.shape[1:3]
            object.__setattr__(self, "kind", Pictures((int(height), int(width))))
        for name in self.classes:
            check_label(name, where=self.origin)
        for name, part in self.streams.items():
            if name in self.parts() or not len(part) or part.examples.shape[1:] != self.kind.shape:
                wanted = ", ".join(map(str, ("N", *self.kind.shape)))
                raise DataError(
                    f"The stream {name!r} holds {list(part.examples.shape)}; expected {self.kind.many}, at least one, "
                    f"[{wanted}], under a name other than train, validation and test."
                )

    def in_words(self) -> str:
        """A summary of the data in one line, for the terminal."""
        counts = ", ".join(f"{len(part)} {name}" for name, part in self.parts().items())
        return f"{self.origin}; {counts}; {len(self.classes)} classes, {self.kind.in_words()}"

    def parts(self) -> dict[str, Split]:
        """The three splits by name, in the order train, validation, test."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def kind_of_pictures(splits: Splits) -> Pictures:
    """The kind of the splits, for callers that work on pictures only. Raises DataError for any other kind."""
    if not isinstance(splits.kind, Pictures):
        raise DataError(f"This works on pictures, and the data are {splits.kind.many}.")
    return splits.kind
