"""Applies decisions on single pictures, from the CSV that `kt check --fix` proposes and a person edits.

The pictures themselves are never touched. Imports nothing heavy.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from kt.base.names import path_of
from kt.data.items import Item
from kt.data.labels import check_label, class_of
from kt.data.tables.text import read_rows
from kt.errors import DataError
from kt.findings import ACTIONS, COLUMNS

_NEEDED = ("path", "action")
_YES, _NO = ("yes", "y", "true", "1", "x"), ("no", "n", "false", "0", "")


@dataclass(frozen=True)
class FixLine:
    """What to do with one picture. name: the picture's, as its source names it. line: where the file says so."""

    name: str
    action: str
    value: str
    line: int


def read_fixes(file: Path) -> tuple[FixLine, ...]:
    """The decisions of a file that count. Raises DataError with the line if one can't be understood.

    A line counts if its cell `apply` is yes, true, 1 or x. In a file without that column every line counts.
    """
    rows = read_rows(file).rows
    if not rows:
        raise DataError(f"{file} is empty; expected the columns {', '.join(COLUMNS)}, as kt check --fix writes them.")
    head = [cell.lower() for cell in rows[0].cells]
    if missing := [name for name in _NEEDED if name not in head]:
        raise DataError(
            f"{file} has no column {missing[0]!r}; expected {', '.join(COLUMNS)}, as kt check --fix writes them."
        )
    decisions = []
    for row in rows[1:]:
        cells = dict(zip(head, row.cells, strict=False))
        if _counts(cells.get("apply", "yes"), file, row.line):
            decisions.append(_decision(cells, file, row.line))
    return tuple(decisions)


def _counts(cell: str, file: Path, line: int) -> bool:
    word = cell.casefold()
    if word not in (*_YES, *_NO):
        raise DataError(f"{file}:{line}: apply must be yes or no, not {cell!r}.")
    return word in _YES


def _decision(cells: Mapping[str, str], file: Path, line: int) -> FixLine:
    path, action, value = (cells.get(name, "") for name in ("path", "action", "value"))
    if not path:
        raise DataError(f"{file}:{line}: there is no path.")
    if action not in ACTIONS:
        raise DataError(f"{file}:{line}: action must be one of {', '.join(ACTIONS)}, not {action!r}.")
    if action != "leave_out" and not value:
        what = "label" if action == "relabel" else "group"
        raise DataError(f"{file}:{line}: {action} needs the {what} in the column value.")
    return FixLine(_key(path_of(path).as_posix()), action, value, line)


@dataclass(frozen=True)
class Fixed:
    """Items after the decisions, facts on what these did, and notes on what they could not do."""

    items: tuple[Item, ...]
    facts: tuple[str, ...]
    notes: tuple[str, ...]


def apply_fixes(items: Sequence[Item], file: Path) -> Fixed:
    """Leave pictures out, relabel and group them as the file says.

    A picture that gets a group takes the group that it had along, so that nothing that stayed together comes apart. A
    path without a picture gives a note, since pictures may have been removed meanwhile. Raises DataError with the line
    for two decisions that contradict each other, for a label that is none of the classes, and if no path has a picture.
    """
    decisions = read_fixes(file)
    classes = sorted({item.label for item in items})
    names = {_key(item.name) for item in items}
    known = [decision for decision in decisions if decision.name in names]
    if decisions and not known:
        raise DataError(
            f"{file} names no picture of this data, such as {decisions[0].name!r} in line {decisions[0].line}; "
            f"expected paths like {items[0].name if items else 'CLASS/picture.jpg'}."
        )
    _agree(known, file)
    out = {decision.name for decision in known if decision.action == "leave_out"}
    label = {
        decision.name: _label(decision, classes, file)
        for decision in known
        if decision.action == "relabel" and decision.name not in out
    }
    stay = [item for item in items if _key(item.name) not in out]
    relabelled = [replace(item, label=label.get(_key(item.name), item.label)) for item in stay]
    together = {
        decision.name: decision.value for decision in known if decision.action == "group" and decision.name not in out
    }
    parts = [
        *([f"leaves out {_pictures(len(out))}"] if out else []),
        *([f"gives {_pictures(len(label))} another label"] if label else []),
        *([f"groups {_pictures(len(together))} ({_some(together)})"] if together else []),
    ]
    facts = (f"{file.name} {_listed(parts)}",) if parts else (f"{file.name} changes nothing",)
    return Fixed(tuple(_grouped(relabelled, together)), facts, tuple(_strangers(decisions, names, file)))


def _key(name: str) -> str:
    return PurePosixPath(name).as_posix()


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count:,} pictures"


def _some(together: Mapping[str, str]) -> str:
    count = len(set(together.values()))
    return "1 group" if count == 1 else f"{count:,} groups"


def _listed(parts: Sequence[str]) -> str:
    return ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]


def _agree(decisions: Iterable[FixLine], file: Path) -> None:
    """Raise DataError if two decisions give one picture different labels or groups."""
    before: dict[tuple[str, str], FixLine] = {}
    for decision in decisions:
        first = before.setdefault((decision.name, decision.action), decision)
        if first.value != decision.value and decision.action != "leave_out":
            raise DataError(
                f"{file}:{decision.line}: {decision.name} gets {decision.value!r} here and {first.value!r} in line "
                f"{first.line}; decide on one."
            )


def _label(decision: FixLine, classes: Sequence[str], file: Path) -> str:
    label = decision.value if decision.value in classes else class_of(decision.value, classes)
    if label is None:
        check_label(decision.value, where=str(file))
        raise DataError(
            f"{file}:{decision.line}: {decision.value!r} is no class of this data; its classes are "
            f"{', '.join(classes)}."
        )
    return label


def _grouped(items: Sequence[Item], together: Mapping[str, str]) -> Iterable[Item]:
    """The items; those whose groups hold a picture of `together` belong to its group."""
    if not together:
        return items
    # Nodes are groups that the source gives and groups of the file: a picture of the file joins both of its groups.
    above: dict[tuple[str, str], tuple[str, str]] = {}

    def top(node: tuple[str, str]) -> tuple[str, str]:
        above.setdefault(node, node)
        while above[node] != node:
            above[node] = above[above[node]]
            node = above[node]
        return node

    for item in items:
        if _key(item.name) in together:
            one, other = top(("file", together[_key(item.name)])), top(("source", item.group))
            above[other] = one
    called: dict[tuple[str, str], str] = {}
    for item in items:
        if _key(item.name) in together:
            called.setdefault(top(("source", item.group)), together[_key(item.name)])
    return [
        replace(item, group=f"//{called[node]}", thing=called[node]) if (node := top(("source", item.group))) in called
        else item
        for item in items
    ]  # fmt: skip


def _strangers(decisions: Sequence[FixLine], names: set[str], file: Path) -> list[str]:
    missing = [decision for decision in decisions if decision.name not in names]
    if not missing:
        return []
    first = missing[0]
    many = "path is" if len(missing) == 1 else "paths are"
    return [
        f"{file.name}: {len(missing):,} {many} of no picture of this data, such as {first.name} in line {first.line}"
    ]
