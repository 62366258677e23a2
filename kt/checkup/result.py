"""The result of a check: what was looked at, what was found, and what was left out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kt import __version__
from kt.findings import Finding

FORMAT = 1
"""Increased when a key of the JSON changes its meaning or is removed, not for a new key."""


@dataclass(frozen=True)
class Checkup:
    """What `kt check` says of a data set.

    origin: the folder or table. pictures: the number of files that were looked at. classes: how many pictures each
    class has, sorted by name; empty if the folder has no classes. splits: the same for the splits that the data gives.
    findings: the worst first. facts: how the data was understood. left_out: checks that were not made, and why.
    files: where each picture is, by its name; for those who show them.
    """

    origin: str
    pictures: int
    classes: Mapping[str, int]
    splits: Mapping[str, int]
    findings: tuple[Finding, ...]
    facts: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    files: Mapping[str, Path] = field(default_factory=dict)

    def in_words(self) -> str:
        """What was looked at, on one line."""
        of = f" of {len(self.classes):,} classes" if self.classes else ""
        return f"{self.origin}: {self.pictures:,} {'picture' if self.pictures == 1 else 'pictures'}{of}"

    def to_json(self) -> dict[str, Any]:
        """What `kt check --json` prints; docs/check.md explains each key."""
        return {
            "format": FORMAT,
            "kt": __version__,
            "data": self.origin,
            "pictures": self.pictures,
            "classes": dict(self.classes),
            "splits": dict(self.splits),
            "findings": [finding.to_json() for finding in self.findings],
            "facts": [*self.facts],
            "left_out": [*self.left_out],
        }
