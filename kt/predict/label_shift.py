"""Scores of a table corrected for the shares of the classes that its examples seem to have (`kt.drift.shares`)."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kt.base.numbers import percent
from kt.drift import ClassShares, Reference, estimate, why_untold
from kt.drift.shares import FEWEST
from kt.errors import DataError, ReleaseError
from kt.export.artifact import find_artifact
from kt.export.formats.saved_model import reference_of
from kt.predict.scorer import Scored


@dataclass(frozen=True)
class LabelShift:
    """Estimates the shares from all scores of a table, and corrects the scores for them."""

    reference: Reference

    @classmethod
    def of_model(cls, model: Path) -> "LabelShift":
        """With the held-out examples of a model. Raises ReleaseError if it has none, or none that shares need."""
        artifact = find_artifact(model)
        if not artifact.is_dir():
            raise ReleaseError(
                f"--label-shift needs the held-out examples beside a SavedModel; name its folder, not {artifact}."
            )
        reference = reference_of(artifact)
        if why := why_untold(reference, FEWEST):
            raise ReleaseError(
                f"The shares of the classes can't be told with {artifact}: {why}. Leave --label-shift out."
            )
        return cls(reference)

    def estimated(self, blocks: Sequence[Scored]) -> ClassShares:
        """The shares among the examples of these blocks that could be read. Raises DataError if they are too few."""
        scores = np.concatenate([block.scores[[not error for error in block.errors]] for block in blocks])
        if why := why_untold(self.reference, len(scores)):
            raise DataError(f"The shares of the classes can't be told: {why}. Leave --label-shift out.")
        return estimate(self.reference, scores, np.arange(len(scores)))


def corrected(block: Scored, shares: ClassShares) -> Scored:
    """The block with scores under the estimated shares; those of examples that can't be read stay as they are."""
    return dataclasses.replace(block, scores=shares.correct(block.scores))


def as_json(shares: ClassShares, classes: Sequence[str]) -> dict[str, Any]:
    """What was done to the scores, as plain data: the shares of each class, and the calibration before."""
    correct = shares.correct
    known = zip(classes, shares.reference, shares.new, shares.intervals, correct.offsets, strict=True)
    return {
        "factor": correct.factor,
        "classes": {
            name: {
                "held_out": float(before),
                "new": float(now),
                "interval": list(map(float, ends)),
                "offset": float(of),
            }
            for name, before, now, ends, of in known
        },
    }


def in_words(shares: ClassShares, classes: Sequence[str]) -> str:
    """One line for a person."""
    known = zip(classes, shares.reference, shares.new, strict=True)
    changes = ", ".join(f"{name} {percent(before)} to {percent(now)}" for name, before, now in known)
    return f"scores are corrected for other shares of the classes than in the held-out examples: {changes}"
