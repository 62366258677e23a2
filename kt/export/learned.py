"""Decides whether a model has learned anything: a model that is no better than chance is not released."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy import stats

from kt.errors import ReleaseError
from kt.export.job import ArtifactResult
from kt.kinds.kind import Nouns


def remedy(nouns: Nouns) -> str:
    """What to do where a model has learned nothing."""
    return (
        f"look at labels, preprocessing and lr, compare with a linear probe (kt advise), or add {nouns.many}; --force "
        "releases it all the same"
    )


@dataclass(frozen=True)
class Learned:
    """The verdict from the test pictures.

    verdict: "no" for a model that gives every picture the same class, or whose interval reaches down to chance and not
    up to halfway between chance and 1; "unknown" if there are too few pictures to decide. reason: in words; empty for
    "yes". chance: the balanced accuracy of guessing. forced: whether it may be released all the same.
    """

    verdict: Literal["yes", "no", "unknown"]
    reason: str
    chance: float
    forced: bool = False

    @property
    def withheld(self) -> bool:
        """Whether the release is to be refused."""
        return self.verdict == "no" and not self.forced

    def as_json(self) -> dict[str, Any]:
        """Plain data for `report.json`."""
        return asdict(self)


def learned(test: Mapping[str, Any], things: Sequence[int], *, nouns: Nouns, force: bool = False) -> Learned:
    """Judge a model by its figures on the test split, the result of `kt.heads.classification.measure`.

    things: the number of groups (different things) that the test pictures of each class show. nouns: what these are
    called. The interval of the balanced accuracy is at least as wide as the report's, and as that of a share of as many
    groups. "yes": the whole interval is above chance. "no": it reaches down to chance, and not up to halfway between
    chance and 1. Otherwise "unknown".
    """
    matrix = np.asarray(test["confusion_matrix"])
    present = matrix.sum(axis=1) > 0
    classes = int(present.sum())
    if classes < 2:
        return Learned(
            "unknown", f"the test {nouns.many} are of one class, so nobody knows whether it has learned", 1.0
        )
    chance = 1 / classes
    if (matrix.sum(axis=0) > 0).sum() == 1:
        answer = test["per_class"][int(matrix.sum(axis=0).argmax())]["label"]
        return Learned(
            "no",
            f"every test {nouns.one} was answered with {answer!r}: the model has found nothing to tell the classes by",
            chance,
            force,
        )
    accuracy, (low, high) = _interval(test, np.asarray(things)[present])
    figures = f"balanced accuracy {accuracy:.3f} ({low:.3f} to {high:.3f}), where chance is {chance:.3f}"
    if low > chance:
        return Learned("yes", "", chance)
    if high < (1 + chance) / 2:
        return Learned("no", f"nothing shows that the model is better than chance: {figures}", chance, force)
    few = f"{int(test['images'])} test {nouns.many}"
    return Learned("unknown", f"{few} are too few to know whether the model has learned: {figures}", chance)


def _interval(test: Mapping[str, Any], things: Any) -> tuple[float, tuple[float, float]]:
    """The balanced accuracy and its interval, at least as wide as that of a share of as many groups (Jeffreys)."""
    accuracy = float(test["balanced_accuracy"])
    low, high = (test.get("intervals") or {}).get("balanced_accuracy") or (accuracy, accuracy)
    number = len(things) ** 2 / (1 / np.maximum(things, 1)).sum()
    ends = stats.beta.interval(0.95, accuracy * number + 0.5, (1 - accuracy) * number + 0.5)
    return accuracy, (min(low, float(ends[0])), max(high, float(ends[1])))


def withhold(artifacts: Sequence[ArtifactResult], found: Learned) -> tuple[ArtifactResult, ...]:
    """The artefacts; if the model has learned nothing, none of them is marked as released."""
    if not found.withheld:
        return tuple(artifacts)
    return tuple(
        replace(artifact, released=False, reason="the model has learned nothing") if artifact.released else artifact
        for artifact in artifacts
    )


def refuse_untaught(told: Mapping[str, Any] | None, artifacts: Sequence[Any], *, nouns: Nouns) -> None:
    """Raise ReleaseError if artefacts were withheld, or would be. told: `learned` of a `report.json`."""
    if told and told["verdict"] == "no" and not told["forced"] and artifacts:
        reason = str(told["reason"])
        raise ReleaseError(f"{reason[:1].upper()}{reason[1:]}. Nothing was released; {remedy(nouns)}.")
