"""`kt check`, top to bottom: list, look at every file, compare pictures, ask a frozen network, sort the findings."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kt.base.console import say, shown
from kt.checkup.result import Checkup
from kt.data.checks.scan import Scan, scan
from kt.data.fixes import apply_fixes
from kt.data.items import Item, Listed
from kt.data.sources.folder import Folder
from kt.data.sources.table import Table
from kt.errors import DataError
from kt.findings import Finding, worst_first
from kt.kinds.pictures.find import LeftOut, find_pictures

MOST = 20_000
"""With more pictures than this, the checks that need a network are left out: it would take an hour."""


def check_up(source: Folder | Table, *, seed: int = 0, quick: bool = False) -> Checkup:
    """All that kt can find wrong with the pictures of a source. Nothing is changed.

    seed: of folds and random draws. quick: leave out the checks that need a network. Raises DataError if there is no
    such folder or table, or no picture in it; a folder whose classes can't be told is a finding, not an error.
    """
    data = _listed(source)
    for fact in data.listed.facts:
        say(fact)
    looked = _looked_at(data.listed)
    findings = [*data.findings]
    left_out: list[str] = []
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
    findings: tuple[Finding, ...] = ()
    try:
        listed = source.listed()
    except DataError as error:
        root = _place(source)
        if isinstance(source, Table) or not root.is_dir():
            raise
        listed = _without_classes(root)
        if not listed.items:
            raise
        findings = (
            Finding(
                "layout", "error", (), str(error), "Give each class a folder of its own; kt run can't go on before."
            ),
        )
    if source.fixes is None:
        return _Data(listed, findings)
    fixed = apply_fixes(listed.items, Path(source.fixes).expanduser())
    notes = (*listed.notes, *fixed.notes)
    return _Data(Listed(fixed.items, listed.root, (*listed.facts, *fixed.facts), notes), findings)


def _without_classes(root: Path) -> Listed:
    left = LeftOut()
    names = [(file, file.relative_to(root).as_posix()) for file in find_pictures(root, left)]
    return Listed(tuple(Item(file, "", name, group=name) for file, name in names), root, (), tuple(left.lines(root)))


def _looked_at(listed: Listed) -> Scan:
    files = [(item.source, item.name) for item in listed.items if isinstance(item.source, Path)]
    return scan([file for file, _ in files], names=[name for _, name in files], root=listed.root)
