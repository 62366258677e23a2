"""From a list of pictures to `Splits`: read, skip what can't be read, find duplicates, split.

Shared by every source. Pictures of one thing (a group) and near-duplicates never straddle two splits.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from kt.console import progress_bar, say, warn
from kt.data.duplicates import Copies, find_copies
from kt.data.images import contents, read_rgb, resize, values_span
from kt.data.labels import check_label
from kt.data.splits import Pixels, Skipped, Split, Splits, allocate
from kt.data.values import Span, ValueRange, range_of
from kt.errors import DataError, RecipeError

SPLITS = ("train", "validation", "test")

LOST = 0.1
"""At most this share of the pictures is left out for near-duplicates of a drawn split; else the measure is not used."""

FEW, BY_CHANCE = 5, 0.5
"""Nor is it used where so many pairs have different labels, and that is so large a share of what chance would give."""


@dataclass(frozen=True)
class Item:
    """One picture before it is read: a file, or a function that gives its pixels; `split` where the source has one.

    group: pictures with the same one show the same thing, whatever their labels.
    """

    source: Path | Callable[[], Pixels]
    label: str
    name: str
    group: str
    split: str | None = None


@dataclass(frozen=True)
class Shares:
    """How to split what has no splits: the shares of validation and test, and the seed."""

    validation: float
    test: float
    seed: int

    def __post_init__(self) -> None:
        for name, share in (("validation", self.validation), ("test", self.test)):
            if not 0 < share < 1:
                raise RecipeError(f"{name} is a share of the pictures between 0 and 1, such as 0.2, not {share}.")
        if self.validation + self.test >= 1:
            raise RecipeError(f"validation {self.validation} and test {self.test} leave nothing to train on.")


@dataclass(frozen=True)
class Pictures:
    """What was read: pixels uint8 `[N, H, W, 3]` in the order of `items`, the SHA-256 of each, and what was skipped.

    spans: of the pictures with more than 8 bits that tell no range themselves, by their places; `value_range` is the
    one that these were read by.
    """

    pixels: Pixels
    items: tuple[Item, ...]
    hashes: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    spans: dict[int, Span] = field(default_factory=dict)
    value_range: ValueRange | None = None


def check_geometry(image_size: tuple[int, int], batch_size: int) -> None:
    """Raise RecipeError unless the picture size and the batch size can be worked with."""
    if min(image_size) < 8 or max(image_size) > 4096:
        raise RecipeError(f"image_size must be from 8 to 4096 pixels a side, not {image_size[0]}x{image_size[1]}.")
    if not 1 <= batch_size <= 65536:
        raise RecipeError(f"batch_size must be from 1 to 65536, not {batch_size}.")


def read(items: Sequence[Item], image_size: tuple[int, int]) -> Pictures:
    """Decode and resize every picture, in parallel; one that can't be read is skipped, named and counted.

    Pictures of more than 8 bits are read when the values of all are known. Raises DataError if none is left.
    """
    pixels = allocate(len(items), image_size)
    kept: list[Item] = []
    hashes: list[str] = []
    skipped: list[Skipped] = []
    spans: dict[int, Span] = {}

    def one(item: Item) -> tuple[Pixels | Span, str] | Skipped:
        try:
            data = _encoded(item)
            if data is None:
                assert callable(item.source)
                image = item.source()
                data = image.tobytes()
            elif span := values_span(data):
                return span, hashlib.sha256(data).hexdigest()
            else:
                image = read_rgb(data)
            return resize(image, image_size), hashlib.sha256(data).hexdigest()
        except DataError as error:
            return Skipped(item.name, str(error))

    with progress_bar("reading pictures", len(items)) as bar, ThreadPoolExecutor(max_workers=4) as pool:
        for item, result in zip(items, pool.map(one, items), strict=True):
            bar.advance()
            if isinstance(result, Skipped):
                skipped.append(result)
                continue
            if isinstance(result[0], Span):
                spans[len(kept)] = result[0]
            else:
                pixels[len(kept)] = result[0]
            kept.append(item)
            hashes.append(result[1])
    value_range = range_of([*spans.values()])
    bad = _read_deep(pixels, kept, spans, image_size=image_size, value_range=value_range)
    skipped += bad.values()
    _tell_skipped(skipped)
    good = [place for place in range(len(kept)) if place not in bad]
    if not good:
        raise DataError(
            f"None of {len(items)} pictures can be read; the first, {skipped[0].name}: {skipped[0].reason}."
        )
    if bad:
        for row, place in enumerate(good):
            pixels[row] = pixels[place]
    return Pictures(
        pixels[: len(good)],
        tuple(kept[place] for place in good),
        tuple(hashes[place] for place in good),
        tuple(skipped),
        {row: spans[place] for row, place in enumerate(good) if place in spans},
        value_range,
    )


def _encoded(item: Item) -> bytes | None:
    """The bytes of a picture's file, or of a source that holds such; None where a function draws it."""
    if isinstance(item.source, Path):
        return contents(item.source)
    data = getattr(item.source, "data", None)
    return data if isinstance(data, bytes) else None


def _read_deep(
    pixels: Pixels,
    items: Sequence[Item],
    places: Iterable[int],
    *,
    image_size: tuple[int, int],
    value_range: ValueRange | None,
) -> dict[int, Skipped]:
    """Read the pictures at these places by a range, into their rows; those that can't be, with the reason."""

    def one(place: int) -> Pixels | Skipped:
        try:
            return resize(read_rgb(_encoded(items[place]) or b"", value_range=value_range), image_size)
        except DataError as error:
            return Skipped(items[place].name, str(error))

    bad = {}
    with ThreadPoolExecutor(max_workers=4) as pool:
        for place, result in zip(places, pool.map(one, places), strict=True):
            if isinstance(result, Skipped):
                bad[place] = result
            else:
                pixels[place] = result
    return bad


def _by_train(pictures: Pictures, train: npt.NDArray[np.int64], image_size: tuple[int, int]) -> ValueRange | None:
    """The range of train's pictures alone; where it differs from that of all, all are read by it."""
    learned = [pictures.spans[place] for place in train.tolist() if place in pictures.spans]
    value_range = range_of(learned) if learned else pictures.value_range
    if value_range != pictures.value_range:
        bad = _read_deep(
            pictures.pixels, pictures.items, pictures.spans, image_size=image_size, value_range=value_range
        )
        for one in bad.values():
            raise DataError(f"{one.name} {one.reason}.")
    return value_range


def _range_line(pictures: Pictures, value_range: ValueRange | None) -> list[str]:
    """What a person is told of the range."""
    if value_range is None:
        return []
    whole = value_range.whole
    what = "16-bit pictures" if whole and value_range.high <= 65535 else "32-bit pictures" if whole else "pictures"
    kind = "values" if whole else "floating-point values"
    return [f"{len(pictures.spans):,} {what} hold {kind} {value_range}: scaled by this range, kept with the model"]


def _tell_skipped(skipped: Sequence[Skipped]) -> None:
    for one in skipped[:5]:
        warn(f"skipped {one.name}: {one.reason}")
    if len(skipped) > 5:
        warn(f"and {len(skipped) - 5} more; the report names each")


def assemble(
    items: Sequence[Item],
    *,
    image_size: tuple[int, int],
    batch_size: int,
    shares: Shares,
    origin: str,
    near_duplicates: bool = True,
    facts: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Splits:
    """Read the pictures and complete their splits: what lacks validation or test is split by class, group and seed.

    near_duplicates: whether near-duplicates are copies, or exact ones alone. facts: how the source was understood.
    notes: what a person should look at. Raises DataError where there are too few classes or pictures to split.
    """
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
    pictures = read(items, image_size)
    lost = sorted(set(classes) - {item.label for item in pictures.items})
    if lost:
        first = next(one for one in pictures.skipped if one.name in {item.name for item in items if item.label in lost})
        raise DataError(
            f"{_classes(lost)} no picture that can be read in {origin}; the first, {first.name}: {first.reason}."
        )
    labels = np.array([classes.index(item.label) for item in pictures.items], np.int64)
    copies = find_copies(pictures.pixels, labels, near_duplicates=near_duplicates)
    unread = _unread(pictures.skipped)
    for note in unread:
        warn(note)
    divided = _divide(pictures.items, labels, copies, classes=classes, shares=shares)
    splits, groups, keep = divided.splits, divided.begun.groups, divided.keep
    chosen = {name: np.flatnonzero((splits == name) & keep) for name in SPLITS}
    value_range = _by_train(pictures, chosen["train"], image_size)
    facts = [*facts, *(ranges := _range_line(pictures, value_range))]
    for line in ranges:
        say(line)
    # Train comes last, for it takes the front of the room that all were read into: no second room.
    room = {"train": pictures.pixels}
    parts = {name: _part(pictures, labels, groups, chosen[name], into=room.get(name)) for name in reversed(SPLITS)}
    absent = _absent(parts, classes, origin)
    for note in absent:
        warn(note)
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
        value_range=value_range,
    )


@dataclass(frozen=True)
class _Begun:
    """What is known before a split is drawn: the group of each picture, its split so far, which stay, and the notes."""

    copies: Copies
    groups: npt.NDArray[np.int64]
    given: npt.NDArray[np.str_]
    keep: npt.NDArray[np.bool_]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Divided:
    """The split of each picture, which of them stay, and what to tell of it."""

    begun: _Begun
    splits: npt.NDArray[np.str_]
    keep: npt.NDArray[np.bool_]
    notes: tuple[str, ...]


def _divide(
    items: Sequence[Item], labels: npt.NDArray[np.int64], copies: Copies, *, classes: Sequence[str], shares: Shares
) -> _Divided:
    """Split, so that no picture has a copy in another split.

    Where near-duplicates can't mean the same photograph again in this set, exact copies alone are copies, and that is
    told.
    """
    begun = _begin(items, labels, copies)
    doubt = _doubt(items, labels, copies)
    if not doubt and len(copies.pairs):
        alone = _begin(items, labels, copies.exact_alone())
        short = _short(begun, labels, classes)
        if short and not _short(alone, labels, classes):
            doubt = f"nearly alike pictures, taken as copies, would leave too few of class {short[0]!r} to split"
        elif not short:
            late = _leaks(_complete(begun, labels, classes=classes, shares=shares), begun.keep, copies)
            if late.sum() > LOST * begun.keep.sum():
                doubt = f"{late.sum()} pictures would be left out for being nearly alike to one of another split"
    if doubt:
        begun = _begin(items, labels, copies.exact_alone())
        doubt += (
            ", so exact copies alone are taken as copies; if one camera took them all from one place, that is as it "
            "should be (near_duplicates=False says so); if they are photographs that were saved again or taken in "
            "series, name those that belong together (column group, or group_by)"
        )
    notes = [*([doubt] if doubt else []), *begun.notes]
    for note in notes:
        warn(note)
    splits = _complete(begun, labels, classes=classes, shares=shares)
    late = _leaks(splits, begun.keep, begun.copies)
    if late.any():
        leaks = _left_out(splits[late])
        notes += leaks
        for note in leaks:
            warn(note)
    return _Divided(begun, splits, begun.keep & ~late, tuple(notes))


def _begin(items: Sequence[Item], labels: npt.NDArray[np.int64], copies: Copies) -> _Begun:
    groups = _groups(items, copies.near)
    given, mixed = _unmixed(np.array([item.split or "train" for item in items], dtype="<U10"), groups)
    keep = _without_leaks(given, groups, copies)
    notes = (
        *_again(items, copies),
        *mixed,
        *_left_out(given[~keep]),
        *_two_labels(labels, copies.near, items),
    )
    return _Begun(copies, groups, given, keep, notes)


def _doubt(items: Sequence[Item], labels: npt.NDArray[np.int64], copies: Copies) -> str:
    """Why near-duplicates mean nothing in this set, if that shows: too many, or of different labels as by chance."""
    if copies.crowded:
        return "most pictures are nearly alike to many others"
    differ = labels[copies.pairs[:, 0]] != labels[copies.pairs[:, 1]]
    shares = np.bincount(labels) / len(labels)
    if differ.sum() < FEW or differ.mean() < BY_CHANCE * (1 - (shares**2).sum()):
        return ""
    one, other = (items[index].name for index in copies.pairs[differ][0])
    return (
        f"{differ.sum()} of {len(differ)} pairs of nearly alike pictures have different labels, such as {one} and "
        f"{other}"
    )


def _again(items: Sequence[Item], copies: Copies) -> list[str]:
    """A note on near-duplicates, with an example and the option that changes it."""
    if not len(copies.pairs):
        return []
    one, other = (items[index].name for index in copies.pairs[0])
    return [
        f"{len(np.unique(copies.pairs))} pictures are nearly the same as another (saved anew, scaled, brightened, or "
        f"taken a moment later), such as {one} and {other}; those stay in one split (near_duplicates=False takes exact "
        "copies alone)"
    ]


def _short(begun: _Begun, labels: npt.NDArray[np.int64], classes: Sequence[str]) -> list[str]:
    """The classes of which train holds too few groups to draw the missing splits from."""
    pool = begun.keep & (begun.given == "train")
    needed = 1 + len(_missing(begun.given))
    return [
        name for label, name in enumerate(classes) if len(np.unique(begun.groups[pool & (labels == label)])) < needed
    ]


def _groups(items: Sequence[Item], alike: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """A number for each picture, shared by all of its group and their near-duplicates."""
    first: dict[str, int] = {}
    owner = [first.setdefault(item.group, index) for index, item in enumerate(items)]
    double = np.unique(alike, return_index=True)[1][alike]
    everyone = np.arange(len(items))
    return _joined(len(items), np.concatenate([everyone, everyone]), np.concatenate([np.array(owner), double]))


def _joined(count: int, one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The connected component of each of `count` nodes, given the edges."""
    graph = coo_array((np.ones(len(one), bool), (one, other)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _unmixed(given: npt.NDArray[np.str_], groups: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.str_], list[str]]:
    """Validation goes back into train, to be drawn anew, where most of train shows what validation shows.

    So it is with frames of a film, or of things that were turned, when they were dealt out one by one. To leave them
    out of train, as is done with a few, would leave next to nothing to learn from.
    """
    train, validation = given == "train", given == "validation"
    there_too = int(np.isin(groups[train], groups[validation]).sum())
    if 2 * there_too <= train.sum():
        return given, []
    return np.where(validation, "train", given), [
        f"{there_too} of {train.sum()} pictures of train show what validation shows too (copies, or pictures of the "
        "same group); validation was drawn anew, in whole groups"
    ]


def _without_leaks(
    splits: npt.NDArray[np.str_], groups: npt.NDArray[np.int64], copies: Copies
) -> npt.NDArray[np.bool_]:
    """Which pictures stay: of a group, or of near-duplicates, in several splits those in the last of them."""
    rank = _rank(splits)
    last = np.zeros(len(rank), np.int64)
    np.maximum.at(last, groups, rank)
    keep = rank == last[groups]
    return np.asarray(keep & ~_leaks(splits, keep, copies))


def _leaks(splits: npt.NDArray[np.str_], there: npt.NDArray[np.bool_], copies: Copies) -> npt.NDArray[np.bool_]:
    """Which of the pictures that are there have a near-duplicate in a later split."""
    rank = _rank(splits)
    last, later = np.full((2, len(rank)), -1)
    np.maximum.at(last, copies.exact[there], rank[there])
    for one, other in ((0, 1), (1, 0)):
        np.maximum.at(later, copies.exact[copies.pairs[:, one]], last[copies.exact[copies.pairs[:, other]]])
    return np.asarray(there & (rank < later[copies.exact]))


def _rank(splits: npt.NDArray[np.str_]) -> npt.NDArray[np.int64]:
    return np.array([SPLITS.index(split) for split in splits])


def _left_out(splits: npt.NDArray[np.str_]) -> list[str]:
    """Notes on the pictures that a later split has too, given the split of each."""
    return [
        f"left out of {split}: {count} that a later split has too (copies, or pictures of the same group)"
        for split, count in sorted(Counter(splits).items())
    ]


def _missing(given: npt.NDArray[np.str_]) -> list[str]:
    return [name for name in ("test", "validation") if not (given == name).any()]


def _complete(
    begun: _Begun, labels: npt.NDArray[np.int64], *, classes: Sequence[str], shares: Shares
) -> npt.NDArray[np.str_]:
    """The split of each picture: a missing validation or test is drawn from train, class by class, in whole groups."""
    given, groups, keep = begun.given, begun.groups, begun.keep
    splits = given.copy()
    missing = _missing(given)
    wanted = {"test": shares.test, "validation": shares.validation}
    pool = keep & (given == "train")
    few = [
        (name, len(members), len(np.unique(groups[members])))
        for label, name in enumerate(classes)
        if len(members := np.flatnonzero((labels == label) & pool))
    ]
    few = [(name, pictures, things) for name, pictures, things in few if things < 1 + len(missing)]
    if few:
        raise DataError(_too_few(few, missing=missing))
    random = np.random.default_rng(shares.seed)
    for label in range(len(classes)):
        members = np.flatnonzero((labels == label) & pool)
        numbers = random.permutation(np.unique(groups[members]))
        sizes = Counter(groups[members].tolist())
        for split in missing:
            goal = wanted[split] * len(members)
            # A group larger than the whole share comes last: it would empty train.
            free = sorted(numbers[~np.isin(numbers, groups[splits != "train"])], key=lambda n: sizes[n] > goal)
            # A class whose groups hold other classes too may have some already; train, and what comes next, need one.
            taken = int((splits[members] == split).sum())
            reserve = 1 + (split == "test" and "validation" in missing)
            # As near to the share as whole groups allow, and at least one.
            while len(free) > reserve and (taken == 0 or sizes[free[0]] < 2 * (goal - taken)):
                chosen = free.pop(0)
                taken += sizes[chosen]
                splits[pool & (groups == chosen)] = split
    return splits


def _too_few(few: Sequence[tuple[str, int, int]], *, missing: Sequence[str]) -> str:
    """Why classes can't be split, and what to do. few: name, pictures, and different things of each that has too few.

    Pictures that look the same are told apart from ones too few.
    """
    splits = ["train", *sorted(missing)]
    needed = f"{len(splits)} are needed for {', '.join(splits)}"
    remedy = "add pictures, or give the splits as train/, validation/ and test/ folders"
    copies = "copies, and pictures of one group, count as one"
    if len(few) == 1:
        name, pictures, things = few[0]
        found = f"{things} independent picture{'s' if things != 1 else ''}"
        among = f" among {pictures} ({copies})" if things < pictures else ""
        return f"Class {name!r} has {found}{among}, and {needed}; {remedy}."
    each = [f"{name!r} {things}" + (f" of {pictures}" if things < pictures else "") for name, pictures, things in few]
    told = f" ({copies})" if any(things < pictures for _, pictures, things in few) else ""
    return f"{len(few)} classes have too few independent pictures{told}: {_some(each)}; {needed} of each; {remedy}."


def _classes(names: Sequence[str]) -> str:
    """The beginning of a sentence about classes that lack something."""
    named = _some([repr(name) for name in names])
    return f"Class {named} has" if len(names) == 1 else f"{len(names)} classes, {named}, have"


def _some(parts: Sequence[str]) -> str:
    more = len(parts) - 20
    return ", ".join(parts[:20]) + (f" and {more} more" if more > 0 else "")


def _unread(skipped: Sequence[Skipped]) -> list[str]:
    return [f"{len(skipped)} files could not be read and were skipped"] if skipped else []


def _two_labels(labels: npt.NDArray[np.int64], alike: npt.NDArray[np.int64], items: Sequence[Item]) -> list[str]:
    first = np.unique(alike, return_index=True)[1][alike]
    clash = np.flatnonzero(labels != labels[first])
    if not len(clash):
        return []
    one, other = items[first[clash[0]]].name, items[clash[0]].name
    look = "1 picture looks" if len(clash) == 1 else f"{len(clash)} pictures look"
    return [
        f"{look} the same as one with another label, such as {other} and {one}; no model can tell those apart: "
        "keep each under one label"
    ]


def _part(
    pictures: Pictures,
    labels: npt.NDArray[np.int64],
    groups: npt.NDArray[np.int64],
    chosen: npt.NDArray[np.int64],
    *,
    into: Pixels | None,
) -> Split:
    """The chosen pictures, in rising order; `into`: where their pixels go, which may be where they are."""
    height, width = pictures.pixels.shape[1:3]
    pixels = allocate(len(chosen), (height, width)) if into is None else into[: len(chosen)]
    for row, index in enumerate(chosen):
        pixels[row] = pictures.pixels[index]
    files = [pictures.items[index].source for index in chosen]
    return Split(
        pixels=pixels,
        labels=labels[chosen],
        names=tuple(pictures.items[index].name for index in chosen),
        groups=tuple(str(groups[index]) for index in chosen),
        files=tuple(file for file in files if isinstance(file, Path)) if _all_files(files) else None,
    )


def _all_files(sources: Iterable[object]) -> bool:
    return all(isinstance(source, Path) for source in sources)


def _absent(parts: dict[str, Split], classes: Sequence[str], origin: str) -> list[str]:
    """Notes on classes that validation or test lacks; DataError where train lacks one, or a split is empty."""
    notes = []
    for name in SPLITS:
        part = parts[name]
        if not len(part):
            raise DataError(f"{name} has no pictures in {origin}.")
        absent = [classes[label] for label in sorted(set(range(len(classes))) - set(part.labels.tolist()))]
        if absent and name == "train":
            raise DataError(f"{_classes(absent)} no picture in train of {origin}.")
        if absent:
            notes.append(f"{name} has no picture of {', '.join(absent)}")
    return notes


def _digest(splits: Iterable[str], labels: Iterable[str], hashes: Iterable[str]) -> str:
    lines = sorted(
        f"{split}\0{label}\0{content}\n" for split, label, content in zip(splits, labels, hashes, strict=True)
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()
