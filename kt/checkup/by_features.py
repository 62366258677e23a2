"""What the features of a frozen network tell of a data set, however large it is: things, wrong labels, outliers."""

import hashlib
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.base.console import progress_bar
from kt.base.stages import Stage, key_of
from kt.checkup.apart import group_findings, held_apart
from kt.checkup.features import Features
from kt.checkup.labels import label_errors
from kt.checkup.outliers import outliers
from kt.checkup.shift import unlike_test
from kt.checkup.things import find_things
from kt.findings import Finding
from kt.kinds.kind import Nouns

COMPARED = 50_000
"""The most pictures among which things photographed several times are looked for: the time grows with their square."""

RUN = 64
"""If there are more, runs of this many pictures are drawn that follow each other by name, as shots of one thing do."""

CELLS = 8_000_000
"""The most answers, pictures times classes, that are judged at once for wrong labels: half a gigabyte.

Of more pictures random parts are judged, one after the other. The probes learn from a sample in any case.
"""

FOUND_BY = ("checkup", "drift", "familiar", "learnability", "linear")
"""The packages whose code decides what is found by features; with other code, what was found before is not used."""


@dataclass(frozen=True)
class ByFeatures:
    """What was found by features, and what was not looked at, in words."""

    findings: tuple[Finding, ...]
    left_out: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"findings": [finding.to_json() for finding in self.findings], "left_out": [*self.left_out]}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> "ByFeatures":
        """From what `to_json` gives."""
        return cls(tuple(map(Finding.from_json, told["findings"])), tuple(told["left_out"]))


@dataclass(frozen=True, eq=False)
class SeenByNetwork:
    """N pictures by their features. keep: the shares of features that a probe chooses between."""

    features: Features
    labels: npt.NDArray[np.int64]
    groups: list[str]
    names: list[str]
    splits: list[str | None]
    times: npt.NDArray[np.float64]
    classes: tuple[str, ...]
    keep: tuple[float, ...]
    nouns: Nouns
    seed: int

    def key(self, of_features: str) -> str:
        """A key of all that the answers depend on; empty if the features have none."""
        if not of_features:
            return ""
        code = hashlib.sha256()
        for package in FOUND_BY:
            for file in sorted((Path(__file__).parents[1] / package).rglob("*.py")):
                code.update(file.read_bytes())
        of_each = [self.labels.tolist(), self.groups, self.names, self.splits, self.times.tolist()]
        return key_of(of_features, code.hexdigest(), of_each, self.classes, self.keep, self.seed)

    def answers(self, key: str, place: Path | None) -> ByFeatures:
        """What is found, from the data set's place in the cache if it was found before. key: empty to keep nothing."""
        if place is None or not key:
            return self._found()
        stage = Stage(place / "asked" / key[:32], key)
        if (kept := stage.kept()) is not None:
            return ByFeatures.from_json(kept.told)
        found = self._found()
        shutil.rmtree(place / "asked", ignore_errors=True)  # of other pictures, or of another kt
        with suppress(OSError):  # a full disk: it is found anew the next time
            stage.keep(found.to_json())
        return found

    def _found(self) -> ByFeatures:
        known = (self.features, self.labels, self.groups, self.names)
        with progress_bar("asking the network", 5, unit="checks") as bar:
            bar.advance(0, "things photographed several times")
            groups, one_of_each, left_out = self._things()
            bar.advance(2, "wrong labels")
            wrong = self._labels()
            bar.advance(1, "outliers")
            far = outliers(*known, classes=self.classes, seed=self.seed)
            bar.advance(1, "the given test")
            shifted = unlike_test(
                self.features, self.labels, one_of_each, self.names, self.splits, nouns=self.nouns, seed=self.seed
            )
            bar.advance(1)
        return ByFeatures((*wrong, *far, *shifted, *groups), left_out)

    def _things(self) -> tuple[list[Finding], list[str], tuple[str, ...]]:
        """The findings on things photographed several times, the thing of each picture, and what was not looked at."""
        some = runs_of(self.names, most=COMPARED, seed=self.seed)
        rows, labels = self.features.take(some).all(), self.labels[some]
        names, groups = [self.names[place] for place in some], [self.groups[place] for place in some]
        things = find_things(rows, labels, names=names, times=self.times[some], groups=groups, seed=self.seed)
        apart = None
        if things.found:
            apart = held_apart(
                rows, labels, things, classes=len(self.classes), groups=groups, keep=self.keep, seed=self.seed
            )
        findings = group_findings(things, names, apart, nouns=self.nouns)
        thing_of = dict(zip(groups, map(str, things.numbers.tolist()), strict=True))  # a group is never divided
        one_of_each = [thing_of.get(group, f"group {group}") for group in self.groups]
        if len(some) == len(self.names):
            return findings, one_of_each, ()
        return (
            findings,
            one_of_each,
            (
                f"groups among {len(self.names) - len(some):,} of {len(self.names):,} pictures: those of the other "
                f"{len(some):,} were looked for, in runs of {RUN} pictures that follow each other by name",
            ),
        )

    def _labels(self) -> list[Finding]:
        """The likely wrong labels, of all pictures at once or of random parts, in which groups stay whole."""
        parts = -(-len(self.names) * len(self.classes) // CELLS)
        _, number = np.unique(self.groups, return_inverse=True)
        part = np.random.default_rng(self.seed).integers(parts, size=int(number.max(initial=0)) + 1)[number]
        findings: list[Finding] = []
        for each in range(parts):
            own = np.flatnonzero(part == each)
            findings += label_errors(
                self.features if parts == 1 else self.features.take(own),
                self.labels[own],
                [self.groups[place] for place in own],
                [self.names[place] for place in own],
                classes=self.classes,
                seed=self.seed,
            )
        return findings


def runs_of(names: Sequence[str], *, most: int, seed: int) -> npt.NDArray[np.int64]:
    """The places of all pictures or, if there are more than `most`, of random runs that follow each other by name."""
    if len(names) <= most:
        return np.arange(len(names))
    in_order = np.array(sorted(range(len(names)), key=names.__getitem__), np.int64)
    runs = np.array_split(in_order, -(-len(names) // RUN))
    drawn = np.random.default_rng(seed).permutation(len(runs))[: most // RUN]
    return np.sort(np.concatenate([runs[run] for run in drawn]))
