"""Data sources, one file each: a source is called without arguments and returns `Splits`."""

import dataclasses
from pathlib import Path
from typing import Any


def places_of(source: object) -> dict[str, Path]:
    """Where a source reads from: folders, tables and zips by their fields; empty if it has no such field.

    A source names these fields in `reads_from`. A field that holds another source leads to that one's: "source.root".
    """
    named = getattr(type(source), "reads_from", ())
    places: dict[str, Path] = {}
    for field in (named,) if isinstance(named, str) else named:
        value = getattr(source, field)
        if isinstance(value, str | Path):
            places[field] = Path(value).expanduser()
        else:
            places |= {f"{field}.{inner}": path for inner, path in places_of(value).items()}
    return places


def reading_from(source: Any, field: str, place: Path) -> Any:
    """The source with another place in a field of `places_of`."""
    name, _, inner = field.partition(".")
    new = reading_from(getattr(source, name), inner, place) if inner else str(place)
    return dataclasses.replace(source, **{name: new})
