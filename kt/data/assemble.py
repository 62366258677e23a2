"""From a list of pictures to `Splits`: read, skip what can't be read, find duplicates, split."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kt.base.console import say, warn
from kt.data.checks.copies import copies_among
from kt.data.checks.files import unreadable
from kt.data.checks.folders import check_classes
from kt.data.division import Divided, divide, lacking, names_of_groups
from kt.data.duplicates import find_copies
from kt.data.fixes import apply_fixes
from kt.data.items import SPLITS, Item, Shares
from kt.data.labels import check_label
from kt.data.reading import Read, range_line, read_by_train, read_pictures
from kt.data.splits import Skipped, Split, Splits, allocate
from kt.errors import DataError, RecipeError
from kt.findings import Finding
from kt.kinds.pictures import Pixels
from kt.kinds.pictures.decode import NOT_A_PICTURE
from kt.kinds.pictures.kind import Pictures


def check_geometry(image_size: tuple[int, int], batch_size: int) -> None:
    """Raise RecipeError unless the picture size and the batch size are within their limits."""
    if min(image_size) < 8 or max(image_size) > 4096:
        raise RecipeError(f"image_size must be from 8 to 4096 pixels a side, not {image_size[0]}x{image_size[1]}.")
    check_batch(batch_size)


def check_batch(batch_size: int) -> None:
    """Raise RecipeError unless the batch size is within its limits."""
    if not 1 <= batch_size <= 65536:
        raise RecipeError(f"batch_size must be from 1 to 65536, not {batch_size}.")


def assemble(
    items: Sequence[Item],
    *,
    image_size: tuple[int, int],
    batch_size: int,
    shares: Shares,
    origin: str,
    near_duplicates: bool = True,
    fixes: str | Path | None = None,
    facts: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Splits:
    """Read the pictures and complete their splits: a missing validation or test is drawn by class, group and seed.

    near_duplicates: whether near-duplicates count as copies, or only exact copies do. fixes: a file of decisions on
    single pictures (`kt.data.fixes`). facts: how the source was understood. notes: what a person should look at. Raises
    DataError if there are too few classes or pictures to split.
    """
    if fixes is not None:
        fixed = apply_fixes(items, Path(fixes).expanduser())
        items, facts, notes = fixed.items, [*facts, *fixed.facts], [*notes, *fixed.notes]
    for fact in facts:
        say(fact)
    for note in notes:
        warn(note)
    classes = tuple(sorted({item.label for item in items}))
    if len(classes) < 2:
        found = f"only one, {classes[0]!r}" if classes else "none"
        raise DataError(f"At least two classes are needed, and there is {found} in {origin}.")
    for label in classes:
        check_label(label, where=origin)
    pictures = read_pictures(items, image_size)
    lost = sorted(set(classes) - {item.label for item in pictures.items})
    if lost:
        names = {item.name for item in items if item.label in lost}
        first = next(skipped for skipped in pictures.skipped if skipped.name in names)
        raise DataError(
            f"{lacking(lost)} no picture that can be read in {origin}; the first, {first.name}: {first.reason}."
        )
    labels = np.array([classes.index(item.label) for item in pictures.items], np.int64)
    copies = find_copies(pictures.pixels, labels, near_duplicates=near_duplicates)
    unread = _unread(pictures.skipped)
    for note in unread:
        warn(note)
    divided = divide(pictures.items, labels, copies, classes=classes, shares=shares)
    splits, groups, keep = divided.splits, divided.begun.groups, divided.keep
    chosen = {name: np.flatnonzero((splits == name) & keep) for name in SPLITS}
    value_range = read_by_train(pictures, chosen["train"], image_size)
    facts = [*facts, *(ranges := range_line(pictures, value_range))]
    for line in ranges:
        say(line)
    # Train comes last: it moves to the front of the array that all pictures were read into, and so needs no second one.
    room = {"train": pictures.pixels}
    called = names_of_groups(pictures.items, groups, divided.keep)
    parts = {
        name: _part(pictures, labels, groups, chosen[name], called=called, into=room.get(name))
        for name in reversed(SPLITS)
    }
    absent = _absent(parts, classes, origin)
    for note in absent:
        warn(note)
    findings = _findings(pictures, divided)
    return Splits(
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        classes=classes,
        batch_size=batch_size,
        origin=origin,
        digest=_digest(splits[keep], [classes[label] for label in labels[keep]], np.array(pictures.hashes)[keep]),
        skipped=pictures.skipped,
        facts=tuple(facts),
        notes=(*notes, *unread, *divided.notes, *absent),
        kind=Pictures(image_size, value_range),
        findings=tuple(findings),
        aside=_aside(items, pictures, keep, findings),
    )


def _findings(pictures: Read, divided: Divided) -> list[Finding]:
    """What reading and dividing the pictures showed to be wrong with them."""
    names, reasons = [each.name for each in pictures.skipped], [each.reason for each in pictures.skipped]
    return [
        *unreadable(names, reasons, [reason.startswith(NOT_A_PICTURE) for reason in reasons]),
        *copies_among(
            [item.name for item in pictures.items],
            [item.label for item in pictures.items],
            [item.split for item in pictures.items],
            hashes=pictures.hashes,
            sizes=pictures.sizes,
            copies=divided.begun.copies,
        ),
        *check_classes(
            [item.name for item in pictures.items],
            [item.label for item in pictures.items],
            [str(group) for group in divided.begun.groups],
            splits=[item.split for item in pictures.items],
        ),
    ]


def _aside(
    items: Sequence[Item], pictures: Read, keep: npt.NDArray[np.bool_], findings: Sequence[Finding]
) -> dict[str, Path]:
    """The files of pictures that findings name and that are in no split."""
    named = {name for finding in findings for name in (*finding.items, *finding.beside)}
    used = {item.name for item, kept in zip(pictures.items, keep, strict=True) if kept}
    return {item.name: item.source for item in items if item.name in named - used and isinstance(item.source, Path)}


def _part(
    pictures: Read,
    labels: npt.NDArray[np.int64],
    groups: npt.NDArray[np.int64],
    chosen: npt.NDArray[np.int64],
    *,
    called: Mapping[int, str],
    into: Pixels | None,
) -> Split:
    """The chosen pictures, in rising order. into: the array for their pixels, which may be the one they are in."""
    pixels = allocate(len(chosen), pictures.pixels.shape[1:]) if into is None else into[: len(chosen)]
    for row, index in enumerate(chosen):
        pixels[row] = pictures.pixels[index]
    files = [pictures.items[index].source for index in chosen]
    return Split(
        examples=pixels,
        labels=labels[chosen],
        names=tuple(pictures.items[index].name for index in chosen),
        groups=tuple(str(groups[index]) for index in chosen),
        files=tuple(file for file in files if isinstance(file, Path)) if _all_files(files) else None,
        group_names=tuple(called[int(groups[index])] for index in chosen),
        hashes=tuple(pictures.hashes[index] for index in chosen),
        sizes=pictures.sizes[chosen],
    )


def _all_files(sources: Iterable[object]) -> bool:
    return all(isinstance(source, Path) for source in sources)


def _absent(parts: dict[str, Split], classes: Sequence[str], origin: str) -> list[str]:
    """Notes on classes that validation or test lacks. Raises DataError if train lacks one, or if a split is empty."""
    notes = []
    for name in SPLITS:
        part = parts[name]
        if not len(part):
            raise DataError(f"{name} has no pictures in {origin}.")
        absent = [classes[label] for label in sorted(set(range(len(classes))) - set(part.labels.tolist()))]
        if absent and name == "train":
            raise DataError(f"{lacking(absent)} no picture in train of {origin}.")
        if absent:
            notes.append(f"{name} has no picture of {', '.join(absent)}")
    return notes


def _unread(skipped: Sequence[Skipped]) -> list[str]:
    return [f"{len(skipped)} files could not be read and were skipped"] if skipped else []


def _digest(splits: Iterable[str], labels: Iterable[str], hashes: Iterable[str]) -> str:
    lines = sorted(
        f"{split}\0{label}\0{content}\n" for split, label, content in zip(splits, labels, hashes, strict=True)
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()
