"""`kt check`, top to bottom: list, look at every file, compare pictures, ask a frozen network, sort the findings."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from kt.base.console import say, shown, warn
from kt.checkup.result import Checkup
from kt.data.archive import unpacked
from kt.data.checks import copies, files, folders, shortcuts
from kt.data.checks.scan import Scan, scan
from kt.data.fixes import apply_fixes
from kt.data.items import Item, Listed
from kt.data.layout import check_folder
from kt.data.sources.folder import Folder
from kt.data.sources.table import Table
from kt.errors import DataError, EnvironmentProblem, WeightsError
from kt.findings import Finding, worst_first
from kt.kinds.pictures.find import LeftOut, find_pictures
from kt.kinds.pictures.kind import Pictures

if TYPE_CHECKING:
    from kt.checkup.by_features import ByFeatures

IMAGE_SIZE = (224, 224)
"""The size at which the network sees the pictures, that of a new recipe."""


def check_up(source: Folder | Table, *, seed: int = 0, quick: bool = False) -> Checkup:
    """All that kt can find wrong with the pictures of a source. Nothing is changed.

    seed: of folds and random draws. quick: leave out the checks that need a network. Raises DataError if there is no
    such folder or table, or no picture in it; a folder whose classes can't be told is a finding, not an error.
    """
    data = _listed(source)
    for fact in data.listed.facts:
        say(fact)
    for note in data.listed.notes:
        warn(note)
    looked = _looked_at(data.listed)
    pictures = _Readable.of(data.listed, looked)
    copied = _copies(data, looked)
    pictures = pictures.joined(copied)
    findings = [*data.findings, *_by_files(data, looked), *copied, *_by_pixels(pictures, seed=seed)]
    why_not = _why_not_asked(pictures, quick=quick)
    left_out = [why_not] if why_not else []
    if not why_not:
        try:
            by_network = _by_network(pictures, seed=seed)
            findings = _with_groups(findings, by_network.findings)
            left_out += by_network.left_out
        except (WeightsError, EnvironmentProblem) as error:  # without a network the rest is still worth knowing
            left_out.append(f"{_ASKED}: {error}")
    return Checkup(
        origin=f"{type(source).__name__.lower()} {shown(_place(source))}",
        pictures=len(data.listed.items),
        classes=_counts(item.label for item in data.listed.items),
        splits=_counts(item.split or "" for item in data.listed.items),
        findings=tuple(worst_first(findings)),
        facts=data.listed.facts,
        left_out=tuple(left_out),
        files=dict(zip(looked.names, looked.files, strict=True)),
    )


def _place(source: Folder | Table) -> Path:
    return Path(source.root if isinstance(source, Folder) else source.file).expanduser()


def _counts(names: Iterator[str] | Sequence[str]) -> dict[str, int]:
    return dict(sorted(Counter(name for name in names if name).items()))


@dataclass(frozen=True)
class _Data:
    """The pictures, with decisions applied, and what the listing itself found."""

    listed: Listed
    findings: tuple[Finding, ...]


def _listed(source: Folder | Table) -> _Data:
    """The pictures of a source; those of a folder whose classes can't be told have no label."""
    findings: list[Finding] = []
    root = _place(source)
    if isinstance(source, Folder):
        check_folder(root)
        findings = folders.check_folders(root, decided=source.group is not None or source.group_by != "auto")
    try:
        listed = source.listed()
    except DataError:
        if not any(finding.kind == "layout" for finding in findings):
            raise
        listed = _without_classes(root if root.is_dir() else unpacked(root))
    if not listed.items:
        raise DataError(f"There are no pictures in {shown(root)}.")
    if isinstance(source, Table):
        findings = folders.check_names([item.name for item in listed.items])
    if source.fixes is None:
        return _Data(listed, tuple(findings))
    fixed = apply_fixes(listed.items, Path(source.fixes).expanduser())
    notes = (*listed.notes, *fixed.notes)
    return _Data(Listed(fixed.items, listed.root, (*listed.facts, *fixed.facts), notes), tuple(findings))


def _without_classes(root: Path) -> Listed:
    left = LeftOut()
    names = [(file, file.relative_to(root).as_posix()) for file in find_pictures(root, left)]
    return Listed(tuple(Item(file, "", name, group=name) for file, name in names), root, (), tuple(left.lines(root)))


def _looked_at(listed: Listed) -> Scan:
    files = [(item.source, item.name) for item in listed.items if isinstance(item.source, Path)]
    return scan([file for file, _ in files], names=[name for _, name in files], root=listed.root)


# ------------------------------------------------------------------------------------------------------------- checks


@dataclass(frozen=True)
class _Readable:
    """The pictures that can be read. rows: their places in the scan. labels: indices into the classes, -1 for none."""

    items: tuple[Item, ...]
    rows: npt.NDArray[np.int64]
    looked: Scan
    classes: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    groups: tuple[str, ...]

    @classmethod
    def of(cls, listed: Listed, looked: Scan) -> "_Readable":
        rows = np.flatnonzero(looked.readable)
        by_name = {item.name: item for item in listed.items}
        items = tuple(by_name[looked.names[row]] for row in rows)
        classes = tuple(sorted({item.label for item in items if item.label}))
        places = {label: place for place, label in enumerate(classes)}
        labels = np.array([places.get(item.label, -1) for item in items], np.int64)
        return cls(items, rows, looked, classes, labels, tuple(item.group for item in items))

    @property
    def names(self) -> list[str]:
        return [item.name for item in self.items]

    def joined(self, findings: Sequence[Finding]) -> "_Readable":
        """The same, with copies of each other in one group, so that none is asked about what its copy taught."""
        places = {name: place for place, name in enumerate(self.names)}
        pairs = [
            (places[finding.items[0]], places[other])
            for finding in findings
            for other in finding.items[1:]
            if finding.items[0] in places and other in places
        ]
        first: dict[str, int] = {}
        pairs += [(place, first.setdefault(group, place)) for place, group in enumerate(self.groups)]
        one, other = np.array(pairs, np.int64).reshape(-1, 2).T
        links = coo_array((np.ones(len(one), bool), (one, other)), shape=(len(self.items),) * 2)
        numbers = connected_components(links, directed=False)[1]
        return replace(self, groups=tuple(map(str, numbers)))

    def of_rows(self, values: Sequence[str]) -> list[str]:
        """The values of these pictures, of a column of the scan."""
        return [values[row] for row in self.rows]


def _by_files(data: _Data, looked: Scan) -> list[Finding]:
    """What the files, their names and their number tell."""
    items = {item.name: item for item in data.listed.items}
    labels = [items[name].label for name in looked.names]
    seen = [items[name] for name, good in zip(looked.names, looked.readable, strict=True) if good and items[name].label]
    return [
        *folders.check_number([label for label in labels if label], [item.label for item in seen]),
        *files.check_files(looked, labels=labels if all(labels) else None),
        *folders.check_classes(
            [item.name for item in seen],
            [item.label for item in seen],
            [item.group for item in seen],
            splits=[item.split for item in seen],
        ),
    ]


def _copies(data: _Data, looked: Scan) -> list[Finding]:
    items = {item.name: item for item in data.listed.items}
    return copies.check_copies(
        looked,
        labels=[items[name].label for name in looked.names],
        splits=[items[name].split for name in looked.names],
    )


def _by_pixels(pictures: _Readable, *, seed: int) -> list[Finding]:
    """What the pixels and the files' properties tell."""
    looked, rows = pictures.looked, pictures.rows
    if len(pictures.classes) < 2:
        return []
    return shortcuts.check(
        pictures.labels,
        pictures.classes,
        names=pictures.names,
        groups=pictures.groups,
        formats=pictures.of_rows(looked.kinds),
        modes=pictures.of_rows(looked.modes),
        cameras=pictures.of_rows(looked.cameras),
        sizes=looked.sizes[rows],
        lengths=looked.bytes[rows],
        border=looked.border[rows],
        colour=shortcuts.mean_colours(looked.thumbnails)[rows],
        seed=seed,
    )


# ---------------------------------------------------------------------------------------------------------- a network


_ASKED = "likely wrong labels, outliers, groups, and whether test looks like train"


def _why_not_asked(pictures: _Readable, *, quick: bool) -> str:
    """Why no network is asked about the pictures; empty if one is."""
    if quick:
        return f"{_ASKED}, as --quick asks"
    if len(pictures.classes) < 2:
        return f"{_ASKED}, since there are no two classes"
    return ""


def _with_groups(findings: Sequence[Finding], asked: Sequence[Finding]) -> list[Finding]:
    """All findings; of two groups of the same pictures only the one by the network, which is the larger."""
    grouped = {fix.path for finding in asked for fix in finding.fixes if fix.action == "group"}
    return [finding for finding in findings if finding.kind != "group" or grouped.isdisjoint(finding.items)] + [*asked]


def _by_network(pictures: _Readable, *, seed: int) -> "ByFeatures":
    """What the features of a frozen network tell."""
    from kt.checkup.by_features import SeenByNetwork  # here, since Keras takes seconds to load
    from kt.checkup.features import probe_network
    from kt.checkup.of_files import features_of_files
    from kt.training.probe import shares_of

    looked, rows = pictures.looked, pictures.rows
    built = probe_network(Pictures(IMAGE_SIZE), classes=len(pictures.classes))
    say(f"features: {built.pretrained.source.in_words()}")
    of_files = features_of_files(
        built,
        pictures.items,
        pictures.of_rows(looked.sha256),
        image_size=IMAGE_SIZE,
        deep=(looked.bits[rows] > 8).tolist(),
        place=looked.place,
    )
    chosen, names = of_files.places, pictures.names  # files may vanish meanwhile
    asked = SeenByNetwork(
        of_files.features,
        pictures.labels[chosen],
        [pictures.groups[place] for place in chosen],
        [names[place] for place in chosen],
        [pictures.items[place].split for place in chosen],
        looked.taken[rows[chosen]],
        pictures.classes,
        shares_of(built),
        built.nouns,
        seed,
    )
    return asked.answers(asked.key(of_files.key), looked.place)
