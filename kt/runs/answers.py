"""The scores of a run's model, kept with all that is needed to measure them again."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kt.base.console import shown
from kt.base.run_folder import ANSWERS
from kt.base.stages import Stage, whole
from kt.data.splits import Split
from kt.errors import ReleaseError
from kt.kinds.kind import Kind


@dataclass(frozen=True)
class KeptAnswers:
    """A model's scores for a split.

    scores: float32 `[N, C]`. labels: int64 `[N]`. groups: of each example. seed: of the run; the bootstrap of intervals
    uses it. kind: the name of the kind of examples.
    """

    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    groups: tuple[str, ...]
    classes: tuple[str, ...]
    seed: int
    kind: str


def keep_answers(
    stage: Stage, scores: npt.NDArray[np.float32], part: Split, *, classes: tuple[str, ...], seed: int, kind: Kind
) -> None:
    """Write the scores, with the labels and groups of their pictures."""
    facts = {"classes": list(classes), "groups": list(part.groups), "seed": seed, "kind": kind.name}
    stage.keep(facts, scores={"scores": scores, "labels": part.labels})


def answers_of(run: Path, split: str = "test") -> KeptAnswers:
    """The scores of a run's model for a split. Raises ReleaseError if the run does not hold them, or damaged ones."""
    kept = whole(run / ANSWERS / split)
    if kept is None:
        raise ReleaseError(
            f"{shown(run)} does not hold what its model says of the {split} examples: it has not come so far, or an "
            "earlier kt made it."
        )
    arrays = kept.arrays["scores"]
    facts = kept.told
    return KeptAnswers(
        arrays["scores"],
        arrays["labels"],
        groups=tuple(facts["groups"]),
        classes=tuple(facts["classes"]),
        seed=facts["seed"],
        kind=facts.get("kind", ""),
    )
