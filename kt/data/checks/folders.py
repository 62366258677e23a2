"""What is wrong with how a data set is arranged: folders, names, links, and how many pictures each class has.

`check_folders` is for a folder or a zip of one. `check_names` and `check_classes` are for any list of pictures.
"""

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from mimetypes import guess_type
from pathlib import Path, PurePosixPath

from kt.base.few import FEW, FEW_BEFORE_SPLITTING, FEW_THINGS
from kt.data.archive import unpacked
from kt.data.groups import find_groups
from kt.data.labels import key_of, one_class
from kt.data.layout import EXPECTED, Layout, check_folder, read_layout
from kt.errors import DataError
from kt.findings import Finding
from kt.kinds.pictures.find import RAW_SUFFIXES, LeftOut, Walk

UNEVEN, VERY_UNEVEN = 3.0, 10.0
"""The largest class has this many times the pictures of the smallest one: a note, and a warning."""

FEWEST = 3
"""A class with fewer independent pictures can't be in train, validation and test."""

_SHOWN = 20

_NAMED = 4


# ------------------------------------------------------------------------------------------------------- a whole folder


def check_folders(root: Path, *, decided: bool = False) -> list[Finding]:
    """The findings on the folders of a data set, which may lie in a zip; paths are relative to it.

    decided: see `kt.data.layout.read_layout`. A folder that `kt run` can't understand gives a finding, not an error.
    """
    try:
        check_folder(root)
        base = root if root.is_dir() else unpacked(root)
        layout: Layout | None = None
        findings = []
        try:
            layout = read_layout(base, decided=decided)
        except DataError as error:
            findings.append(_not_understood(error))
        tree = _tree(base)
    except (DataError, OSError) as error:
        return [_not_understood(error)]
    findings += _empty_folders(tree, base)
    if layout is not None:
        findings += _stray_files(tree, base, {placed.file for placed in layout.pictures})
        findings += _nested_folders(layout, sorted_out=decided or _grouped(layout))
        findings += _classes_that_merge(layout)
    findings += _other_media(tree, base)
    told = {item for finding in findings if finding.kind == "name_clash" for item in finding.items}
    clashes = check_names(_below(file, base) for folder in tree.all() for file in folder.files())
    findings += [clash for clash in clashes if not told.issuperset(clash.items)]
    return findings + _outside_links(tree, base)


def _not_understood(error: Exception) -> Finding:
    words, _, rest = str(error).partition(". ")
    return Finding("layout", "error", (), f"{words.rstrip('.')}.", rest or f"Arrange it anew: {EXPECTED}.")


@dataclass(eq=False)
class _Folder:
    """A folder: its own pictures, media that kt can't read, how many other files, links that lead out, sub-folders."""

    path: Path
    pictures: list[Path] = field(default_factory=list)
    media: list[Path] = field(default_factory=list)
    others: int = 0
    links: list[Path] = field(default_factory=list)
    folders: list["_Folder"] = field(default_factory=list)

    def all(self) -> Iterator["_Folder"]:
        """This folder and all below it."""
        waiting = [self]
        while waiting:
            folder = waiting.pop()
            yield folder
            waiting += reversed(folder.folders)

    def files(self) -> list[Path]:
        """Its own pictures and media."""
        return [*self.pictures, *self.media]

    def below(self) -> list[Path]:
        """All pictures in it and below it."""
        return [picture for folder in self.all() for picture in folder.pictures]


def _tree(base: Path) -> _Folder:
    walk, top, inside = Walk(base, LeftOut()), _Folder(base), Path(os.path.realpath(base))
    levels = [(top, walk.entries(base))]
    while levels:
        folder, entries = levels[-1]
        entry = next(entries, None)
        if entry is None:
            levels.pop()
            continue
        path = Path(entry.path)
        if entry.is_symlink() and path.exists() and not Path(os.path.realpath(path)).is_relative_to(inside):
            folder.links.append(path)
        if walk.goes_into(entry):
            inner = _Folder(path)
            folder.folders.append(inner)
            levels.append((inner, walk.entries(path)))
        elif walk.takes(entry):
            folder.pictures.append(path)
        elif _is_media(path):
            folder.media.append(path)
        else:
            folder.others += 1
    return top


def _is_media(path: Path) -> bool:
    kind = guess_type(path.name, strict=False)[0] or ""
    return path.suffix.lower() in RAW_SUFFIXES or kind.startswith(("image/", "video/"))


def _below(path: Path, base: Path) -> str:
    return path.relative_to(base).as_posix()


# -------------------------------------------------------------------------------------------------------------- folders


def _empty_folders(tree: _Folder, base: Path) -> list[Finding]:
    findings, waiting = [], list(tree.folders)
    while waiting:
        folder = waiting.pop(0)
        if folder.below():
            waiting += folder.folders
            continue
        name = f"{_below(folder.path, base)}/"
        others = sum(len(inner.media) + inner.others for inner in folder.all())
        media = any(inner.media for inner in folder.all())
        what = f"holds {_count(others, 'file')} and no picture that kt reads" if others else "is empty"
        findings.append(
            Finding(
                "empty_folder",
                "warning" if media or not others else "note",
                (name,),
                f"{name} {what}.",
                "Add its pictures if it is a class, else remove it.",
            )
        )
    return findings


def _stray_files(tree: _Folder, base: Path, taken: set[Path]) -> list[Finding]:
    findings, waiting = [], [tree]
    while waiting:
        folder = waiting.pop(0)
        pictures = folder.below()
        used = sum(picture in taken for picture in pictures)
        stray = pictures if not used else [picture for picture in folder.pictures if picture not in taken]
        if used:
            waiting += folder.folders
        if stray:
            items = tuple(_below(picture, base) for picture in stray)
            where = "the data folder itself" if folder is tree else f"{_below(folder.path, base)}/"
            findings.append(
                Finding(
                    "stray_file",
                    "warning",
                    items,
                    f"{_count(len(items), 'picture')} in {where} {_verb(items, 'lies', 'lie')} outside of any class "
                    f"folder, so kt does not read {_verb(items, 'it', 'them')}.",
                    "Move each into the folder of its class, or remove it from the data.",
                )
            )
    return findings


def _grouped(layout: Layout) -> bool:
    """Whether folders within the classes are taken for things, as the listing of the pictures says."""
    missing = sum(name not in layout.splits for name in ("validation", "test"))
    found = find_groups(layout.places(), missing=missing)
    return bool(found.fact) and any(
        thing and placed.folders for thing, placed in zip(found.things, layout.pictures, strict=True)
    )


def _nested_folders(layout: Layout, *, sorted_out: bool) -> list[Finding]:
    """sorted_out: whether it is known what the folders within the classes are."""
    keys = {key_of(label): label for label in layout.counts()}
    plain: dict[str, None] = {}
    alike: dict[str, tuple[str, str, int]] = {}
    for placed in layout.pictures:
        for depth, name in enumerate(placed.folders):
            folder = f"{_below(placed.file.parents[len(placed.folders) - depth - 1], layout.root)}/"
            other = keys.get(key_of(name))
            if other is not None and other != placed.label:
                alike[folder] = placed.label, other, alike.get(folder, ("", "", 0))[2] + 1
            elif depth == 0:
                plain[folder] = None
    findings = [
        Finding(
            "nested_folder",
            "warning",
            (folder,),
            f"{folder} lies within the class {label} and has the name of the class {other}; its "
            f"{_count(count, 'picture')} {'counts' if count == 1 else 'count'} as {label}.",
            f"Move {_verb([''] * count, 'it', 'them')} to {other}/ if {_verb([''] * count, 'it shows', 'they show')} "
            "that, or name the folder otherwise.",
        )
        for folder, (label, other, count) in alike.items()
    ]
    if plain and not sorted_out:
        first = next(iter(plain))
        findings.append(
            Finding(
                "nested_folder",
                "note",
                tuple(plain),
                f"{_count(len(plain), 'folder')} {_verb([*plain], 'lies', 'lie')} within class folders"
                f"{f', such as {first}' if len(plain) > 1 else f': {first}'}; the pictures count for the class.",
                'Nothing if they only sort; set group_by="folder" if each shows one thing; move them up if they are '
                "classes.",
            )
        )
    return findings


def _classes_that_merge(layout: Layout) -> list[Finding]:
    """Class folders whose names kt takes for spellings of one class, such as train/Cat and test/cat."""
    written: dict[str, dict[str, str]] = defaultdict(dict)
    for placed in layout.pictures:
        parts = placed.file.relative_to(layout.root).parts
        for depth, part in enumerate(parts[: len(parts) - 1 - len(placed.folders)]):
            if key_of(part) == key_of(placed.label):
                written[placed.label].setdefault(part, "/".join(parts[: depth + 1]) + "/")
    return [
        _one_class(label, folders.keys(), tuple(folders.values()))
        for label, folders in written.items()
        if len(folders) > 1
    ]


def _one_class(label: str, spellings: Iterable[str], items: tuple[str, ...]) -> Finding:
    return Finding(
        "name_clash",
        "warning",
        items,
        f"The class names {' and '.join(map(_shown, spellings))} differ by spelling alone, so kt takes them as one "
        f"class, {label}.",
        "Write them alike if they are one class, else give them names that differ by more.",
    )


def _shown(name: str) -> str:
    """The path, quoted; a part that is not in NFC with escapes, as it may look the same as another one."""
    parts = [part if unicodedata.is_normalized("NFC", part) else ascii(part)[1:-1] for part in name.split("/")]
    return f"'{'/'.join(parts)}'"


def _other_media(tree: _Folder, base: Path) -> list[Finding]:
    found: dict[str, list[str]] = defaultdict(list)
    for folder in tree.all():
        for file in folder.media:
            found[file.suffix.lower()].append(_below(file, base))
    return [
        Finding(
            "not_a_picture",
            "warning",
            tuple(names),
            f"{_count(len(names), 'file')} {_verb(names, 'ends', 'end')} with {suffix}, which kt does not read"
            f"{f', such as {names[0]}' if len(names) > 1 else f': {names[0]}'}.",
            "Save as JPEG or PNG what belongs to the data.",
        )
        for suffix, names in found.items()
    ]


def _outside_links(tree: _Folder, base: Path) -> list[Finding]:
    links = [link for folder in tree.all() for link in folder.links]
    if not links:
        return []
    names = tuple(f"{_below(link, base)}{'/' if link.is_dir() else ''}" for link in links)
    return [
        Finding(
            "outside_link",
            "note",
            names,
            f"{_count(len(names), 'link')} {_verb(names, 'leads', 'lead')} out of the folder and "
            f"{_verb(names, 'is', 'are')} followed: {names[0]} to {os.path.realpath(links[0])}.",
            "Copy what they lead to into the folder if it is to be complete wherever it goes.",
        )
    ]


# ------------------------------------------------------------------------------------------------------- names, classes


def check_names(names: Iterable[str], *, labels: Sequence[str] = ()) -> list[Finding]:
    """Names of files and folders that differ only by case or by the form of their Unicode characters.

    names: relative paths with `/`. labels: those of a table, as they are written: spellings of one class count too.
    """
    same: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for name in names:
        parts = PurePosixPath(name).parts
        for depth, part in enumerate(parts):
            parent = "/".join(parts[:depth])
            whole = "/".join(parts[: depth + 1]) + ("/" if depth + 1 < len(parts) else "")
            same[parent, _folded(part)][whole] = None
    findings = [
        Finding(
            "name_clash",
            "warning",
            tuple(clash),
            f"{' and '.join(_shown(name) for name in [*clash][:2])} differ by {_by_what(clash)} alone.",
            "Rename one of them: on Windows, on macOS and in some archives one would take the place of the other.",
        )
        for clash in same.values()
        if len(clash) > 1
    ]
    if labels:
        spelled, _ = one_class(labels)
        spellings: dict[str, list[str]] = defaultdict(list)
        for written, label in spelled.items():
            spellings[label].append(written)
        findings += [_one_class(label, each, ()) for label, each in spellings.items() if len(each) > 1]
    return findings


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _by_what(names: Iterable[str]) -> str:
    names = list(names)
    if len({unicodedata.normalize("NFC", name) for name in names}) == 1:
        return "the form of their Unicode"
    folded = {unicodedata.normalize("NFC", name): name.casefold() for name in names}
    return "case" if len(set(folded.values())) == 1 else "case and the form of their Unicode"


def check_number(labels: Iterable[str], seen: Iterable[str]) -> list[Finding]:
    """Classes without a picture that can be read, and one class alone: `kt run` makes no classifier of them.

    labels: of each picture that has one. seen: those of the pictures that can be read.
    """
    classes, known = set(labels), set(seen)
    if lost := sorted(classes - known):
        return [
            Finding(
                "layout",
                "error",
                (),
                f"{_listed_classes(lost)} no picture that can be read, so kt run can't train on the data.",
                "Get the files from where they came from again, or remove the class from the data.",
            )
        ]
    if len(classes) != 1:
        return []
    return [
        Finding(
            "layout",
            "error",
            (),
            f"All pictures are of one class, {_shown(*classes)}, and kt run needs at least two.",
            "Add a folder with pictures that are not of this class, such as of what else will be photographed.",
        )
    ]


def _listed_classes(labels: Sequence[str]) -> str:
    named = ", ".join(map(_shown, labels[:_NAMED])) + (f" and {len(labels) - _NAMED} more" * (len(labels) > _NAMED))
    return f"The class {named} has" if len(labels) == 1 else f"The classes {named} have"


def check_classes(
    names: Sequence[str], labels: Sequence[str], groups: Sequence[str], *, splits: Sequence[str | None] | None = None
) -> list[Finding]:
    """Classes of very different size, and classes with few independent pictures.

    names, labels, groups: of each picture; pictures of one group show the same thing. splits: of each picture, such as
    "test", None where it is still to be drawn.
    """
    if not names:
        return []
    counts = Counter(labels)
    return _imbalance(counts) + _few_things(names, labels, groups, splits or [None] * len(names))


def _imbalance(counts: Counter[str]) -> list[Finding]:
    (largest, most), (smallest, fewest) = counts.most_common()[0], counts.most_common()[-1]
    if most < UNEVEN * fewest:
        return []
    return [
        Finding(
            "imbalance",
            "warning" if most >= VERY_UNEVEN * fewest else "note",
            (),
            f"The class {largest} has {_count(most, 'picture')}, {most / fewest:.0f} times as many as {smallest} with "
            f"{fewest:,}.",
            'Set class_weight="balanced" in the recipe, judge each class by its own recall, and collect more of '
            f"{smallest}.",
            figures={label: float(count) for label, count in counts.items()},
        )
    ]


def _few_things(
    names: Sequence[str], labels: Sequence[str], groups: Sequence[str], splits: Sequence[str | None]
) -> list[Finding]:
    things: dict[tuple[str, str | None], dict[str, str]] = defaultdict(dict)
    pictures: Counter[tuple[str, str | None]] = Counter()
    for name, label, group, split in zip(names, labels, groups, splits, strict=True):
        things[label, split].setdefault(group, name)
        pictures[label, split] += 1
    drawn = sum(split not in splits for split in ("train", "validation", "test"))  # from train, or from all
    findings = []
    for (label, split), shown in things.items():
        source = split in (None, "train")
        enough = (FEW_BEFORE_SPLITTING if drawn else FEW) if source else FEW_THINGS
        if len(shown) >= enough:
            continue
        least = min(FEWEST, 1 + drawn) if source else 1
        where = f" in {split}" if split else ""
        of = "" if pictures[label, split] == len(shown) else f" ({pictures[label, split]:,} pictures)"
        what = "independent picture" if pictures[label, split] == len(shown) else "thing"
        findings.append(
            Finding(
                "few_things",
                "error" if len(shown) < least else "warning",
                tuple([*shown.values()][:_SHOWN]),
                f"The class {label} shows only {_count(len(shown), what)}{where}{of}, and "
                + (
                    f"kt run needs {least}, one for each split."
                    if len(shown) < least
                    else f"{enough} are the fewest that figures can rest on."
                ),
                "Take pictures of more things of this class: more pictures of the same ones do not help.",
                figures={"things": float(len(shown)), "pictures": float(pictures[label, split])},
            )
        )
    return findings


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _verb(names: Sequence[str], one: str, several: str) -> str:
    return one if len(names) == 1 else several
