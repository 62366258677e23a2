"""The files of the test pictures that a run's report explains, for as long as they are where the run read them."""

import csv
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kt.base.console import shown
from kt.base.files import read_json
from kt.base.names import text_of
from kt.base.run_folder import REPORT, SPLITS
from kt.data.archive import is_zip, unpacked
from kt.data.tables import is_table
from kt.data.tables.paths import Finder
from kt.errors import DataError, KtError
from kt.kinds.pictures.find import why_not


@dataclass(frozen=True)
class PictureOfRun:
    """A test picture that the report explains.

    name: what the run calls it. label: its true class. file: None if no file with its content was found.
    """

    name: str
    label: str
    file: Path | None


def shown_pictures(run: Path) -> list[PictureOfRun]:
    """The test pictures that the report of a run explains, in its order: class by class, right ones, then wrong ones.

    A file is found below the folder, zip or table that the run read, and taken only if its content is the same. Raises
    DataError, which says to name pictures, if the report explains none, or if none of them is found.
    """
    instead = f"Name pictures: kt explain {shown(run)} photo.jpg"
    try:
        report = read_json(run / REPORT)
        explained = report.get("explained") or {}
        pictures = [(str(each["name"]), str(each["label"])) for each in explained.get("pictures", [])]
        why, rendered = str(explained.get("why", "")).rstrip("."), bool(report["data"].get("rendered"))
        places = [Path(place) for place in (report["recipe"].get("places") or {}).values()]
    except OSError:
        raise DataError(f"{shown(run)} has no report that says which pictures to explain. {instead}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{shown(run / REPORT)} is damaged. {instead}") from None
    if not pictures:
        raise DataError(f"The report of {shown(run)} explains no pictures{why and f': {why}'}. {instead}")
    if not places:
        how = "kt drew them" if rendered else "they come from no folder and no table"
        raise DataError(f"The test pictures of {shown(run)} lie in no files: {how}. {instead}")
    contents, finders = _contents(run), [*_finders(places)]
    found = [_picture(name, label, finders, contents) for name, label in pictures]
    if all(each.file is None for each in found):
        where = ", ".join(shown(place) for place in places)
        raise DataError(f"The test pictures of {shown(run)} are not in {where} any more. {instead}")
    return found


def _contents(run: Path) -> dict[str, str]:
    """The SHA-256 of each test picture by its name as a cell; empty if the run does not tell, as of an earlier kt."""
    try:
        with (run / SPLITS).open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row.get("split") == "test"]
    except (OSError, ValueError, csv.Error):
        return {}
    return {str(row.get("name")): row["content"] for row in rows if row.get("content")}


def _finders(places: list[Path]) -> Iterator[Finder]:
    for place in places:
        try:
            if place.is_dir():
                yield Finder(place)
            elif is_zip(place):
                yield Finder(unpacked(place))
            elif is_table(place):
                yield Finder(place.parent)
        except (OSError, KtError):  # it is as good as gone
            continue


def _picture(name: str, label: str, finders: list[Finder], contents: Mapping[str, str]) -> PictureOfRun:
    content = contents.get(text_of(PurePosixPath(name)))
    files = (finder.find(name) for finder in finders)
    return PictureOfRun(name, label, next((file for file in files if _is_it(file, content)), None))


def _is_it(file: Path, content: str | None) -> bool:
    if why_not(file):  # such as a pipe, which would be waited for
        return False
    try:
        with file.open("rb") as opened:
            return content is None or hashlib.file_digest(opened, "sha256").hexdigest() == content
    except (OSError, ValueError):
        return False
