"""The page of `kt check`: each finding with its pictures side by side."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kt.base.files import replace_text
from kt.checkup.result import Checkup
from kt.errors import DataError
from kt.findings import COLUMNS, SEVERITIES
from kt.kinds.pictures.kind import Pictures
from kt.kinds.pictures.rgb import read_rgb
from kt.report.findings import ShownKind, shown_kinds
from kt.report.templates import filled


@dataclass(frozen=True)
class _Page:
    origin: str
    in_words: str
    verdict: str
    left_out: tuple[str, ...]
    kinds: tuple[ShownKind, ...]
    columns: str


def write_page(file: Path, result: Checkup) -> None:
    """Write the page in one step. It shows the pictures from their files; one that is gone has its name alone."""
    replace_text(file, page_of(result))


def page_of(result: Checkup) -> str:
    """The page as text."""
    kept: dict[str, str] = {}

    def show(name: str) -> str:
        if name not in kept:
            kept[name] = _address(result.files, name)
        return kept[name]

    return filled(
        "checked",
        _Page(
            result.origin,
            result.in_words(),
            verdict(result),
            result.left_out,
            shown_kinds(result.findings, show),
            ",".join(COLUMNS),
        ),
    )


def verdict(result: Checkup) -> str:
    """One sentence: how many findings there are of each severity."""
    counts = [(name, sum(finding.severity == name for finding in result.findings)) for name in SEVERITIES]
    told = [f"{count:,} {name if count == 1 else f'{name}s'}" for name, count in counts if count]
    return f"{', '.join(told)}." if told else "Nothing was found."


def _address(files: Mapping[str, Path], name: str) -> str:
    file = files.get(name)
    if file is None:
        return ""
    try:
        pixels = read_rgb(file)
    except DataError:
        return ""
    return Pictures((pixels.shape[0], pixels.shape[1])).shown(pixels)
