"""Pictures with known classes: a folder with one sub-folder a class, or a table of paths and labels."""

from collections.abc import Sequence
from pathlib import Path

from kt.data.groups import check_group_by, find_groups
from kt.data.labelled.labelled import Labelled, Question, class_names, tell_layout
from kt.data.layout import read_layout, to_measure
from kt.data.tables import is_table, listing
from kt.data.tables.listing import check_table_group_by
from kt.errors import DataError
from kt.kinds.kind import Kind, Source


def read(data: Path, kind: Kind, classes: Sequence[str], asked: Question) -> Labelled:  # noqa: ARG001 - as for all kinds
    """The pictures of a folder or table: only those of test, if it has splits."""
    return _table(data, classes, asked) if is_table(data) else _folder(data, classes, asked)


def _folder(data: Path, classes: Sequence[str], asked: Question) -> Labelled:
    check_group_by(asked.group_by)
    if asked.label is not None:
        raise DataError(f"{data} is a folder: its sub-folders are the labels, and it has no column {asked.label!r}.")
    if not data.exists():
        raise DataError(f"There is no folder {data}; expected one with a sub-folder a class.")
    layout = read_layout(data, decided=asked.group_by != "auto", known=classes)
    chosen, fact = to_measure(layout)
    names = class_names(chosen.counts(), classes, data)
    # No split is drawn here, so two groups of a class are enough for intervals.
    groups = find_groups(chosen.places(), asked.group_by, fewest=2, missing=0)
    tell_layout([*layout.facts, fact, groups.fact], layout.notes)
    sources = [Source(placed.file, placed.file) for placed in chosen.pictures]
    return Labelled(sources, [names[placed.label] for placed in chosen.pictures], list(groups.names))


def _table(data: Path, classes: Sequence[str], asked: Question) -> Labelled:
    check_table_group_by(asked.group_by)
    layout = listing.read_table(
        data, label_column=asked.label, group_by=asked.group_by, known=classes, fewest=2, drawn=False
    )
    chosen, fact = listing.to_measure(layout)
    names = class_names(chosen.counts(), classes, data)
    tell_layout([*layout.facts, fact], layout.notes)
    return Labelled(
        [Source(picture.file, picture.file) for picture in chosen.pictures],
        [names[picture.label] for picture in chosen.pictures],
        [picture.group for picture in chosen.pictures],
    )
