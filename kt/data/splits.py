"""What every data source gives: three splits of equally sized pictures, and where they came from."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kt.data.labels import check_label
from kt.data.values import ValueRange
from kt.errors import EnvironmentProblem

Pixels = npt.NDArray[np.uint8]

MEMORY_BUDGET = 2 * 2**30
"""Bytes of decoded pictures that are held in memory; more are memory-mapped in a temporary file."""


def allocate(count: int, image_size: tuple[int, int]) -> Pixels:
    """Room for so many pictures, uint8 `[N, *image_size, 3]`: in memory, or mapped in a temporary file."""
    shape = (count, *image_size, 3)
    if np.prod(shape, dtype=np.int64) <= MEMORY_BUDGET:
        return np.empty(shape, np.uint8)
    size, free = int(np.prod(shape, dtype=np.int64)), shutil.disk_usage(tempfile.gettempdir()).free
    if size > free:  # writing into a mapping for which there is no room would kill the process without a word
        raise EnvironmentProblem(
            f"{count} pictures of {image_size[0]}x{image_size[1]} need {size / 2**30:.1f} GiB in "
            f"{tempfile.gettempdir()}, which has {free / 2**30:.1f}. Set TMPDIR to a directory with more room."
        )
    with tempfile.TemporaryFile(prefix="kt-pixels-") as file:  # unlinked at once: it goes when the mapping goes
        return np.memmap(file, dtype=np.uint8, mode="w+", shape=shape)


@dataclass(frozen=True)
class Split:
    """Pictures with their labels.

    pixels: uint8 `[N, H, W, 3]`, RGB, 0 to 255; may be memory-mapped. labels: int64 `[N]`, indices into the classes.
    names: what a person calls each picture (a relative path). groups: pictures of one thing share a group (frames of
    one apple), and a group never straddles two splits. files: the picture files, where the source has any.
    """

    pixels: Pixels
    labels: npt.NDArray[np.int64]
    names: tuple[str, ...]
    groups: tuple[str, ...]
    files: tuple[Path, ...] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def things(self, classes: int) -> list[int]:
        """How many different things the pictures of each class show."""
        pairs = set(zip(self.labels.tolist(), self.groups, strict=True))
        return [int(number) for number in np.bincount([label for label, _ in pairs], minlength=classes)]

    def take(self, chosen: npt.NDArray[np.int64]) -> "Split":
        """The chosen pictures alone, in that order, copied into room of their own. chosen: their indices."""
        height, width = self.pixels.shape[1:3]
        pixels = allocate(len(chosen), (height, width))
        for row, index in enumerate(chosen):
            pixels[row] = self.pixels[index]
        return Split(
            pixels=pixels,
            labels=self.labels[chosen],
            names=tuple(self.names[index] for index in chosen),
            groups=tuple(self.groups[index] for index in chosen),
            files=None if self.files is None else tuple(self.files[index] for index in chosen),
        )


@dataclass(frozen=True)
class Skipped:
    """A file that could not be read, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Splits:
    """Train, validation and test, the sorted class names, and what is needed to find the same pictures again.

    digest: SHA-256 over every picture's split, class and content. origin: one line for a person. rendered: whether kt
    drew the pictures. skipped: the files that could not be read. notes: what a person should know about the data.
    facts: how the source was understood, such as which folder is which split.
    Raises DataError for a class name that is no label, such as one with a line break.
    value_range: by which pictures of more than 8 bits were read that tell no range themselves; it goes with the model.
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
    value_range: ValueRange | None = None
    facts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.classes:
            check_label(name, where=self.origin)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width, in pixels, that every picture was resized to."""
        height, width = self.train.pixels.shape[1:3]
        return int(height), int(width)

    def parts(self) -> dict[str, Split]:
        """The three splits by name, in the order train, validation, test."""
        return {"train": self.train, "validation": self.validation, "test": self.test}
