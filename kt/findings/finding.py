"""Findings: what is wrong with a data set, or may be; one finding is one thing that a person decides about.

Imports nothing heavy.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kt.base.files import read_json, replace_json
from kt.errors import DataError

SEVERITIES = ("error", "warning", "note")
"""Worst first. error: the figures or the model are wrong if it stays. warning: they may be. note: worth knowing."""

ACTIONS = ("leave_out", "relabel", "group")
"""What a fix does with a picture: leave it out, give it another label, or say which pictures show the same thing."""


_CERTAIN = ("unreadable", "not_a_picture", "leak", "label_conflict")


@dataclass(frozen=True)
class Fix:
    """A decision on one picture, as a proposal. path: relative to the data. value: the label or the group, else empty.

    why: a few words for the person who decides.
    """

    path: str
    action: str
    value: str = ""
    why: str = ""

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ValueError(f"a fix does one of {', '.join(ACTIONS)}, not {self.action!r}")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or may be. kind: one of `KINDS`. items: the pictures, the one to look at first in front.

    items are paths relative to the data, as `kt run` names its pictures; a folder ends with a slash. words: one
    sentence on what was found. advice: one sentence on what to do. fixes: what does it, if a list of decisions can.
    score: how sure it is, from 0 to 1, comparable within the kind; None if there is nothing to be unsure of. figures:
    measured numbers behind it, by name. beside: other pictures to look at with it, such as the nearest ones.
    """

    kind: str
    severity: str
    items: tuple[str, ...]
    words: str
    advice: str
    fixes: tuple[Fix, ...] = ()
    score: float | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    beside: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind!r} is no kind of finding")
        if self.severity not in SEVERITIES:
            raise ValueError(f"{self.severity!r} is no severity; they are {', '.join(SEVERITIES)}")

    @property
    def certain(self) -> bool:
        """Whether its fixes count at once; otherwise they are proposals, which a person accepts first."""
        return self.kind == "copy" or (self.kind in _CERTAIN and self.severity == "error")

    @property
    def sums_up(self) -> bool:
        """Whether it says what the other findings of its kind come to, and is none to be counted with them."""
        return self.kind == "group" and not self.fixes

    def to_json(self) -> dict[str, Any]:
        """The entry of findings.json."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "items": [*self.items],
            "words": self.words,
            "advice": self.advice,
            "score": self.score,
            "figures": dict(self.figures),
            "beside": [*self.beside],
            "fixes": [
                {"path": fix.path, "action": fix.action, "value": fix.value, "why": fix.why} for fix in self.fixes
            ],
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "Finding":
        """From an entry of findings.json. Raises KeyError, TypeError or ValueError if it is none."""
        return cls(
            kind=entry["kind"],
            severity=entry["severity"],
            items=tuple(entry["items"]),
            words=entry["words"],
            advice=entry["advice"],
            fixes=tuple(Fix(fix["path"], fix["action"], fix["value"], fix["why"]) for fix in entry["fixes"]),
            score=entry["score"],
            figures=entry["figures"],
            beside=tuple(entry["beside"]),
        )


KINDS: Mapping[str, str] = {
    # files
    "unreadable": "files that can't be read",
    "not_a_picture": "files that are no pictures",
    "wrong_suffix": "files whose suffix names another format",
    "animated": "pictures with several frames",
    "tiny": "pictures with very few pixels",
    "uniform": "pictures of one colour",
    "dark": "very dark pictures",
    "bright": "very light pictures",
    "blurred": "blurred pictures",
    "rotated": "pictures that only EXIF turns upright",
    "unusual_mode": "pictures in unusual modes",
    "odd_aspect": "pictures of unusual proportions",
    "odd_size": "pictures of unusual size",
    # the set
    "copy": "exact copies",
    "near_copy": "near copies",
    "leak": "copies across splits",
    "label_conflict": "copies with different labels",
    "imbalance": "classes of very different size",
    "few_things": "classes, or their parts in a split, with few independent examples",
    "layout": "folders that can't be understood",
    "empty_folder": "empty folders",
    "stray_file": "files outside of any class",
    "nested_folder": "folders within classes",
    "name_clash": "names that some systems can't tell apart",
    "outside_link": "links that leave the folder",
    # shortcuts and meaning
    "shortcut": "properties that give the class away",
    "label_error": "likely wrong labels",
    "outlier": "pictures unlike the others",
    "unlike_test": "test pictures that look otherwise than those of train",
    "group": "groups that seem to show one thing",
}
"""Each kind of finding, and what a person calls several of them."""


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Sorted by severity, then by the order of `KINDS`, then by score, the surest first; else the order is kept."""
    order = {kind: place for place, kind in enumerate(KINDS)}
    return sorted(
        findings,
        key=lambda finding: (
            SEVERITIES.index(finding.severity),
            order[finding.kind],
            -(1.0 if finding.score is None else finding.score),
        ),
    )


def write_findings(path: Path, findings: Iterable[Finding]) -> None:
    """Write findings.json in one step."""
    replace_json(path, {"findings": [finding.to_json() for finding in findings]})


def read_findings(path: Path) -> tuple[Finding, ...]:
    """Read findings.json. Raises DataError if the file can't be read or does not hold findings."""
    try:
        return tuple(Finding.from_json(entry) for entry in read_json(path)["findings"])
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} does not hold the findings of kt check ({type(error).__name__}: {error}).") from None
