"""How a folder of pictures is laid out: which of its folders are splits, which are classes, and what lies beside them.

    photos/CLASS/...                     one folder a class, with sub-folders or without
    photos/SPLIT/CLASS/...               a folder is a split if its name contains a split word (`kt.data.split_words`)
    photos/CLASS/SPLIT/...               the same the other way round
    photos/dataset/...                   a wrapper: the folder inside it is read

Imports nothing heavy, so that `kt new` reads a folder exactly as `kt run` will.
"""

import mimetypes
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kt.data.archive import OTHERS, is_zip, unpacked
from kt.data.folder_names import is_batch, sorts_within, words
from kt.data.groups import Place
from kt.data.labels import check_label, class_of, key_of, one_class
from kt.data.split_words import split_of, splits_of
from kt.errors import DataError
from kt.kinds.pictures.find import RAW_SUFFIXES, LeftOut, Walk

EXPECTED = "expected one sub-folder a class, with pictures in each"


@dataclass(frozen=True)
class Placed:
    """A picture and what its path says: its class, its split if it has one, and its folders below the class folder."""

    file: Path
    label: str
    split: str | None
    folders: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """The pictures of a folder, sorted by path within each split.

    root: the folder that all of them lie in. splits: the folders of each split, such as `{"train": ("train/",)}`; empty
    if the folder has no splits. facts: how the folder was understood. notes: what a person should look at.
    """

    root: Path
    pictures: tuple[Placed, ...]
    splits: dict[str, tuple[str, ...]]
    facts: tuple[str, ...]
    notes: tuple[str, ...]

    def told_splits(self) -> list[str]:
        """One line on which folder is which split; an empty list if the folder has no splits."""
        return _told(self.splits)

    def places(self) -> list[Place]:
        """Where each picture lies, for `kt.data.groups`."""
        return [
            Place(
                picture.file.relative_to(self.root),
                within=(picture.split or "", picture.label),
                folders=picture.folders,
                pool=picture.split in (None, "train"),
            )
            for picture in self.pictures
        ]

    def counts(self) -> dict[str, int]:
        """How many pictures each class has, over all splits; classes sorted by name."""
        return dict(sorted(Counter(picture.label for picture in self.pictures).items()))


@dataclass(eq=False)
class _Node:
    """A folder: its own pictures and sub-folders. total, files, media: counts over the whole tree below it.

    total: pictures that kt reads. files: all files. media: images and videos that kt can't read.
    """

    path: Path
    pictures: list[Path] = field(default_factory=list)
    folders: list["_Node"] = field(default_factory=list)
    total: int = 0
    files: int = 0
    media: int = 0

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def full(self) -> list["_Node"]:
        """The sub-folders that have pictures."""
        return [folder for folder in self.folders if folder.total]

    def vanished(self) -> bool:
        """Whether it was probably meant as a class, without a picture: it has no files, or media that kt can't read."""
        return not self.total and (not self.files or self.media > 0)

    def below(self) -> Iterator[tuple[Path, tuple[str, ...]]]:
        """Every picture with the folders that it lies in, sorted by path."""
        waiting: list[tuple[_Node, tuple[str, ...]]] = [(self, ())]
        while waiting:
            node, folders = waiting.pop()
            yield from ((file, folders) for file in node.pictures)
            waiting += [(folder, (*folders, folder.name)) for folder in reversed(node.folders)]


def check_folder(root: Path) -> None:
    """Raise DataError unless `root` is a folder or a zip file."""
    if root.is_dir() or is_zip(root):
        return
    if root.suffix.lower() in OTHERS and root.exists():
        raise DataError(f"Cannot read pictures from {root}: kt unpacks .zip alone; unpack it, and give the folder.")
    damaged = "it is no zip, or a damaged one" if root.suffix.lower() == ".zip" else "it is a file"
    why = damaged if root.exists() else "no such folder"
    raise DataError(f"Cannot read pictures from {root}: {why}; expected a folder with one sub-folder a class.")


def read_layout(root: Path, *, decided: bool = False, known: Collection[str] = ()) -> Layout:
    """The pictures of a folder, or of a zip of one, with their classes and splits.

    decided: the caller has said how pictures are grouped, so the outer folders are the classes, even if their names
    leave that unclear. known: the classes of a model, if pictures are read for one. Raises DataError if there are no
    classes, if a class folder is empty or holds only media that kt can't read, and if it is not clear which folders are
    splits or classes.
    """
    check_folder(root)
    if not root.is_dir():
        root = unpacked(root)
    left = LeftOut()
    facts: list[str] = []
    top = _unwrapped(_tree(root, left), facts)
    found = _by_split(top) or _by_class_and_split(top)
    parts, notes = (found.parts, found.notes) if found else ([_Part(None, "", None, top)], [])
    for outer in {id(part.node): part.node for part in parts if part.label is None}.values():
        _check_clear(outer, decided=decided, known=known)
    pictures = [picture for part in parts for picture in part.pictures()]
    if not pictures:
        loose = f"{len(top.pictures)} pictures lie in it directly; " if top.pictures else ""
        raise DataError(f"No class in {top.path}: {loose}{EXPECTED}.")
    _check_vanished(parts, top)
    for label in sorted({picture.label for picture in pictures}):
        check_label(label, where=f"folder {root}")
    # A class that the model knows keeps its spelling: the model may have two classes that differ in spelling only.
    spelled, merged = one_class(picture.label for picture in pictures if picture.label not in known)
    splits: dict[str, tuple[str, ...]] = {}
    for part in parts:
        if part.split:
            splits[part.split] = tuple(dict.fromkeys([*splits.get(part.split, ()), part.called]))
    return Layout(
        root=root,
        pictures=tuple(replace(picture, label=spelled.get(picture.label, picture.label)) for picture in pictures),
        splits=splits,
        facts=tuple(facts),
        notes=(
            *left.lines(root),
            *notes,
            *(note for part in parts for note in part.beside(root)),
            *(f"{note}; rename a folder if they are two" for note in merged),
        ),
    )


def _tree(root: Path, left: LeftOut) -> _Node:
    walk = Walk(root, left)
    top = _Node(root)
    levels = [(top, walk.entries(root))]
    while levels:
        node, entries = levels[-1]
        entry = next(entries, None)
        if entry is None:
            levels.pop()
            node.total = len(node.pictures) + sum(folder.total for folder in node.folders)
            node.files += sum(folder.files for folder in node.folders)
            node.media += sum(folder.media for folder in node.folders)
        elif walk.goes_into(entry):
            below = _Node(Path(entry.path))
            node.folders.append(below)
            levels.append((below, walk.entries(below.path)))
        else:
            node.files += 1
            if walk.takes(entry):
                node.pictures.append(Path(entry.path))
            else:
                node.media += _is_media(entry.name)
    return top


def _is_media(name: str) -> bool:
    kind = mimetypes.guess_type(name, strict=False)[0] or ""
    return kind.startswith(("image/", "video/")) or Path(name).suffix.lower() in RAW_SUFFIXES


# ------------------------------------------------------------------------------------------------------------ wrappers


def _unwrapped(node: _Node, facts: list[str]) -> _Node:
    """The folder that holds the splits or classes: the innermost one, if each outer folder holds only the next."""
    inner = node
    while (only := _inside(inner)) is not None:
        inner = only
    if inner is not node:
        facts.append(f"{inner.path.relative_to(node.path).as_posix()}/ is read, since no pictures lie beside it")
    return inner


def _inside(node: _Node) -> _Node | None:
    """The one folder that a wrapper holds; None if `node` is not a wrapper."""
    if node.pictures or len(node.full) != 1 or any(folder.vanished() for folder in node.folders):
        return None
    only = node.full[0]
    return only if len(only.full) > 1 or _inside(only) is not None else None


# -------------------------------------------------------------------------------------------------------------- splits


@dataclass(frozen=True)
class _Part:
    """A folder with class folders; or, if `label` is given, a folder with the pictures of one class.

    split: the split of all its pictures. called: what a person calls that folder.
    """

    split: str | None
    called: str
    label: str | None
    node: _Node

    def pictures(self) -> Iterator[Placed]:
        if self.label is not None:
            yield from (Placed(file, self.label, self.split, folders) for file, folders in self.node.below())
            return
        for folder in self.node.folders:
            yield from (Placed(file, folder.name, self.split, folders) for file, folders in folder.below())

    def beside(self, root: Path) -> Iterator[str]:
        """Notes on what lies beside the class folders and is not read."""
        if self.label is not None:
            return
        if loose := self.node.pictures:
            pictures = "1 picture lies" if len(loose) == 1 else f"{len(loose):,} pictures lie"
            first = loose[0].relative_to(root).as_posix()
            verb = "is" if len(loose) == 1 else "are"
            yield f"{pictures} beside the class folders and {verb} not read, for want of a class: {first}"
        for folder in self.node.folders:
            if not folder.total:
                yield f"{folder.path.relative_to(root).as_posix()}/ has no pictures and is no class"


@dataclass(frozen=True)
class _Found:
    parts: list[_Part]
    notes: list[str]


def _by_split(top: _Node) -> _Found | None:
    """The parts of a folder with `train/CLASS/...` and at least one other split; None if the layout is another."""
    meant = splits_of(folder.name for folder in top.folders)
    split_of_folder = {folder.name: split for folder in top.folders if (split := meant[folder.name])}
    named = [folder for folder in top.folders if folder.name in split_of_folder]
    if "train" not in split_of_folder.values() or len(named) < 2:
        return None
    if not any(folder.full for folder in named):
        if all(folder in named for folder in top.full):
            raise DataError(_without_classes(top, named))
        return None  # these are classes, and one of them is called train
    splits = Counter(split_of_folder.values())
    if double := [split for split, count in splits.items() if count > 1]:
        both = " and ".join(f"{folder.name}/" for folder in named if split_of_folder[folder.name] == double[0])
        raise DataError(
            f"{top.path} has {both} for one split, {double[0]}: {_sketch(top)}. Rename or merge them, so that there is "
            "at most one each of train/, validation/ and test/."
        )
    notes = [
        f"{folder.name}/ lies beside the splits and is not read ({_pictures(folder.total)})"
        for folder in top.full
        if folder not in named
    ]
    parts = []
    for folder in named:
        split = split_of_folder[folder.name]
        if folder.total and not folder.full and split != "train":
            notes.append(
                f"{folder.name}/ holds {_pictures(folder.total)} and no class folders, so nothing says what they show; "
                "it is not read"
            )
        elif not folder.full:
            loose = f"{len(folder.pictures)} pictures lie in it directly; " if folder.pictures else ""
            raise DataError(f"No class in {folder.path}: {loose}{EXPECTED}.")
        else:
            parts.append(_Part(split, f"{folder.name}/", None, folder))
    if all(_inside(part.node) is not None for part in parts):  # seg_train/seg_train/CLASS, seg_test/seg_test/CLASS
        parts = [replace(part, node=_unwrapped(part.node, [])) for part in parts]
    if top.pictures:
        notes.append(f"{_pictures(len(top.pictures))} beside the splits not read: {top.pictures[0].name}")
    order = ("train", "validation", "test")
    return _Found(sorted(parts, key=lambda part: order.index(part.split or "train")), notes)


def _by_class_and_split(top: _Node) -> _Found | None:
    """The parts of a folder with `CLASS/train/...`, `CLASS/test/...` for each class; None if the layout is another."""
    split = [folder for folder in top.full if _has_splits(folder)]
    if len(split) < 2:
        return None
    if len(split) < len(top.full):
        other = next(folder for folder in top.full if folder not in split)
        raise DataError(
            f"Some folders of {top.path} hold splits and {other.name}/ does not: {_sketch(top)}. Give every class "
            "the same splits, such as train/ and test/, or none."
        )
    parts = []
    for folder in split:
        meant = splits_of(below.name for below in folder.full)
        if double := [name for name, count in Counter(meant.values()).items() if count > 1]:
            raise DataError(f"{folder.path} has two folders for one split, {double[0]}: {_sketch(top)}. Merge them.")
        parts += [_Part(meant[below.name], f"{below.name}/", folder.name, below) for below in folder.full]
    if _batches([below for part in split for below in part.full], ()):
        raise DataError(f"It is not clear which folders of {top.path} are classes: {_sketch(top)}. {_REMEDY}")
    notes = [f"{_pictures(len(folder.pictures))} beside the splits not read: {folder.name}/{folder.pictures[0].name}"
             for folder in split if folder.pictures]  # fmt: skip
    return _Found(parts, notes)


def _has_splits(folder: _Node) -> bool:
    meant = [split_of(below.name) for below in folder.full]
    return len(meant) > 1 and None not in meant and "train" in meant and len(folder.pictures) * 10 < folder.total


def _without_classes(top: _Node, named: Sequence[_Node]) -> str:
    both = " and ".join(f"{folder.name}/" for folder in named)
    return (
        f"{both} of {top.path} are named like splits, and have no class folders: {_sketch(top)}. Expected "
        f"{named[0].name}/CLASS/picture.jpg; name the folders otherwise if they are the classes."
    )


def _told(splits: dict[str, tuple[str, ...]]) -> list[str]:
    if not splits:
        return []
    order = ("train", "validation", "test")
    given = [f"{' and '.join(splits[name])} is {name}" for name in order if name in splits]
    drawn = [name for name in order[1:] if name not in splits]
    rest = f"; {' and '.join(drawn)} {'is' if len(drawn) == 1 else 'are'} drawn from train" if drawn else ""
    return [f"splits: {', '.join(given)}{rest}"]


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count:,} pictures"


# ------------------------------------------------------------------------------------------------------------- clarity

_REMEDY = (
    "Name splits train/, validation/ and test/ and the classes below them; or merge the folders; or, if the outer "
    'folders are the classes, say what the inner ones are: group_by="folder" where each holds pictures of one thing, '
    'group_by="none" where they only sort (--group-by none, or for kt run --set data.group_by=none).'
)

_CLASSES = frozenset({"class", "classes", "label", "category", "cat", "type", "kind", "grade", "stage", "species"})
_COUNTED = re.compile(r"(\D*?)[-_ .]?\d+")


def _check_clear(outer: _Node, *, decided: bool, known: Collection[str]) -> None:
    if decided or not _batches(outer.full, known):
        return
    raise DataError(
        f"It is not clear which folders of {outer.path} are classes, for they hold no pictures of their own but "
        f"folders of the same names: {_sketch(outer)}. {_REMEDY}"
    )


def _batches(folders: Sequence[_Node], known: Collection[str]) -> bool:
    """Whether folders may not be classes, but for example batches that each hold all classes.

    The sign is that they hold folders of the same names and hardly any pictures. Names may show that they are classes
    nevertheless: if the inner folders only sort pictures (2021/) or are numbered (plant_07/).
    """
    if len(folders) < 2 or sum(len(folder.pictures) for folder in folders) * 10 > sum(node.total for node in folders):
        return False
    inner = [{key_of(below.name) for below in folder.full} for folder in folders]
    counts = Counter(name for names in inner for name in names)
    shared = {name for name, count in counts.items() if count > 1}
    alike = sum(bool(names) and 2 * len(names & shared) >= len(names) for names in inner)
    if len(shared) < 2 or 2 * alike < len(folders):
        return False
    outer = [key_of(folder.name) for folder in folders]
    if known and all(class_of(folder.name, known) for folder in folders):
        return False
    if any(map(split_of, outer)) or all(map(is_batch, outer)):
        return True
    if any(words(name) & _CLASSES for name in outer):
        return False
    if all(map(sorts_within, shared)):
        return False
    stem = _stem(shared)
    # Numbered inner folders are groups, such as plant_07/; but bare numbers may be classes if the outer folders are
    # numbered.
    return stem is None or (not stem and _stem(outer) is not None)


def _stem(names: Iterable[str]) -> str | None:
    """The text that all names have before a number, possibly empty; None if they are not numbered like that."""
    matches = [_COUNTED.fullmatch(name) for name in names]
    stems = {match[1] if match else None for match in matches}
    return stems.pop() if len(stems) == 1 else None


def _sketch(node: _Node) -> str:
    """A folder's sub-folders on one line: `batch1/{cat/, dog/}, batch2/{cat/, dog/}`."""
    return _some([f"{folder.name}/{_inner(folder)}" for folder in node.full])


def _inner(node: _Node) -> str:
    inside = [f"{folder.name}/" for folder in node.full]
    inside += [_pictures(len(node.pictures))] if node.pictures else []
    return f" ({inside[0]})" if len(inside) == 1 and not node.full else f"{{{_some(inside)}}}"


def _some(parts: Sequence[str]) -> str:
    more = len(parts) - 5
    return ", ".join(parts[:5]) + (f" and {more} more" if more > 0 else "")


# ------------------------------------------------------------------------------------------------------------- classes


def _check_vanished(parts: Sequence[_Part], top: _Node) -> None:
    """Raise a DataError that names every class folder without a picture in any split, if there are any."""
    folders = [folder for part in parts if part.label is None for folder in part.node.folders]
    full = {key_of(folder.name) for folder in folders if folder.total}
    gone = [folder for folder in folders if folder.vanished() and key_of(folder.name) not in full]
    if any(part.label is not None for part in parts):
        gone += [folder for folder in top.folders if folder.vanished()]
    if gone:
        names = _some([f"{folder.path.relative_to(top.path).as_posix()}/{_why_empty(folder)}" for folder in gone])
        one = len(gone) == 1
        raise DataError(
            f"{'A class' if one else f'{len(gone)} classes'} of {top.path} {'has' if one else 'have'} no picture: "
            f"{names}. Add pictures, or remove {'the folder' if one else 'the folders'}."
        )


def _why_empty(folder: _Node) -> str:
    return f" ({folder.files} files that kt can't read)" if folder.files else " (empty)"


def to_measure(layout: Layout) -> tuple[Layout, str]:
    """The pictures to measure a model on, and one line on the choice.

    They are those of test, or else of validation or of train; all pictures, and no line, if the folder has no splits.
    """
    for split in ("test", "validation", "train"):
        if split in layout.splits:
            chosen = tuple(picture for picture in layout.pictures if picture.split == split)
            others = [folder for other in layout.splits if other != split for folder in layout.splits[other]]
            rest = f"; {' and '.join(others)} {'is' if len(others) == 1 else 'are'} not looked at" if others else ""
            fact = f"measured on {' and '.join(layout.splits[split])}, {_pictures(len(chosen))}{rest}"
            return replace(layout, pictures=chosen), fact
    return layout, ""
