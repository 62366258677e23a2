"""`kt models`: shows released models."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kt.base.console import tell, tell_json, warn
from kt.base.names import printable
from kt.cli.options import json_option, saved_models_option

if TYPE_CHECKING:
    from kt.releases.released import ReleasedVersion


@click.command("models")
@click.argument("name", required=False)
@saved_models_option
@json_option
def command(name: str | None, saved_models: Path, as_json: bool) -> None:
    """Show released models with labels and figures.

    NAME is one model's folder in saved_models/; by default all are shown. Figures are those of the trained model on its
    own test split.
    """
    from kt.releases.released import released

    versions = released(saved_models, name)
    for problem in (problem for version in versions for problem in version.problems):
        warn(problem)
    if as_json:
        tell_json([version.as_json() for version in versions], indent=2)
    elif versions:
        tell(*_table(versions))
    else:
        tell(f"no model in {saved_models}; kt run releases one")


def _table(versions: Sequence["ReleasedVersion"]) -> list[str]:
    rows = [("model", "version", "labels", "balanced accuracy", "released"), *map(_row, versions)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return [line.rstrip() for line in lines]


def _row(version: "ReleasedVersion") -> tuple[str, ...]:
    return (
        printable(version.name),
        str(version.version),
        printable(", ".join(version.labels) or "-"),
        _figure(version.test),
        printable(", ".join(version.artifacts) or "-"),
    )


def _figure(test: dict[str, Any]) -> str:
    if test.get("balanced_accuracy") is None:
        return "-"
    interval = (test.get("intervals") or {}).get("balanced_accuracy")
    between = f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
    return f"{test['balanced_accuracy']:.3f}{between}"
