"""The release gate: an artefact is released only if its answers match the trained model's, image by image."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.export import evidence
from kt.export.distances import Nearness, judge_distances
from kt.export.formats.format import EXACT, Artifact, Pixels, Replies, Scores
from kt.familiar import Carried
from kt.kinds.kind import Nouns

_WARM_UP, _TIMED = 3, 20

MOST_STRANGE = 100
"""The most examples on which unfamiliarity is compared."""


@dataclass(frozen=True)
class Further:
    """Pictures besides the test split's that an export is checked on, since a small test split can't judge it.

    pixels: uint8 `[N, H, W, 3]`; answers: `[N]`, the trained model's top class of each; labels: `[N]`; learned: `[N]`,
    whether the model was trained on the picture. Replies are compared on all of them, accuracy only on those that the
    model was not trained on.
    """

    pixels: Pixels
    answers: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    learned: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Verdict:
    """What the gate measured on the test split, and whether it lets the artefact pass.

    agreement, accuracy and balanced_accuracy: shares from 0 to 1. accuracy_change: artefact minus trained model.
    largest_score_difference: over all images and classes, None if any score is NaN. bytes: of the file or of the whole
    folder. latency_ms: median of single-image calls, None if it is measured later. reason: why it is not released, or
    "". judged: the judgement by counts, on further pictures too; None for an exact format. changed: `[N]`, for each of
    these pictures, the test split's first, whether its answer differs from the trained model's.
    unfamiliarity_difference: the largest, as for the scores; None if the artefact gives no unfamiliarity.
    unfamiliarity_rate: the share of familiar examples that one that rounds is expected to call unfamiliar; else None.
    strange: whether unfamiliarity is all that is wrong.
    """

    released: bool
    reason: str
    agreement: float
    accuracy: float
    balanced_accuracy: float
    accuracy_change: float
    largest_score_difference: float | None
    bytes: int
    latency_ms: float | None
    images: int
    judged: evidence.Judgement | None = None
    changed: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    unfamiliarity_difference: float | None = None
    unfamiliarity_rate: float | None = None
    strange: bool = False


def judge_artifact(
    artifact: Artifact,
    reference_scores: Scores,
    *,
    labels: npt.NDArray[np.int64],
    pixels: Pixels,
    classes: Sequence[str],
    exact: bool,
    tolerance: float = 0.01,
    further: Further | None = None,
    also: Callable[[Scores], str] = lambda _: "",
    timed: bool = True,
    nouns: Nouns,
    familiar: Carried | None = None,
) -> Verdict | str:
    """Run an artefact on the test split and judge it against the trained model's scores `[N, C]`.

    exact: every score must match within 1e-4; otherwise `kt.export.evidence` judges by the answers on the test split
    and on `further` pictures, where the accuracy may fall by `tolerance` (a share). also: the format's own check,
    called with the artefact's scores; it gives the reason for a refusal, or "". timed: measure the latency too, which
    needs a quiet machine. nouns: what an example is called. familiar: what an artefact that says how unfamiliar an
    example is must agree with. Gives the reason alone, as text, if nothing can be
    compared: no test examples, other classes, scores of another shape.
    """
    if len(labels) == 0:
        return f"there are no test {nouns.unit}s to check it on"
    if artifact.classes and artifact.classes != tuple(classes):  # a recipe's own exporter may embed none
        return f"its labels are {_few(artifact.classes)}, where the model has {_few(classes)}"
    scores = artifact.scores(pixels)
    if scores.shape != reference_scores.shape:
        return f"it answers with {list(scores.shape)} scores where the model has {list(reference_scores.shape)}"
    top, reference_top = scores.argmax(axis=1), reference_scores.argmax(axis=1)
    difference = np.abs(scores.astype(np.float64) - reference_scores)
    reason = _not_a_number(scores, reference_scores, nouns)
    judged, changed = None, top != reference_top
    if exact:
        reason = reason or _not_exact(difference, nouns)
    else:
        judged, changed = _by_evidence(
            artifact, top, reference_top, labels=labels, further=further, tolerance=tolerance, nouns=nouns
        )
        reason = reason or judged.reason
    near = _nearness(artifact, pixels, familiar, nouns, exact=exact)
    reason = reason or also(scores)
    return Verdict(
        released=not (reason or near.reason),
        reason=reason or near.reason,
        agreement=float(np.mean(top == reference_top)),
        accuracy=float(np.mean(top == labels)),
        balanced_accuracy=_balanced(top, labels),
        accuracy_change=float(np.mean(top == labels) - np.mean(reference_top == labels)),
        largest_score_difference=float(difference.max()) if np.isfinite(difference).all() else None,
        bytes=bytes_of(artifact.path),
        latency_ms=latency(artifact, pixels) if timed else None,
        images=len(labels),
        judged=judged,
        changed=changed,
        unfamiliarity_difference=near.largest if np.isfinite(near.largest) and not near.reason else None,
        unfamiliarity_rate=near.rate,
        strange=bool(near.reason) and not reason,
    )


def _nearness(
    artifact: Artifact, pixels: Pixels, familiar: Carried | None, nouns: Nouns, *, exact: bool
) -> Nearness:  # fmt: skip
    """How near its unfamiliarity is to the trained model's, on up to `MOST_STRANGE` examples.

    An artefact that gives none is not judged by it.
    """

    def no(reason: str) -> Nearness:
        return Nearness(np.nan, None, reason)

    ask: Callable[[Pixels], Replies] | None = getattr(artifact, "answers", None)
    if familiar is None or ask is None:
        return no("")
    from kt.frozen.store import hashes

    known = [(place, familiar.checked.get(name)) for place, name in enumerate(hashes(pixels))]
    pairs = [(place, distance) for place, distance in known if distance is not None]
    if not pairs:
        return no(f"there are no test {nouns.unit}s to check its unfamiliarity on")
    pairs = [pairs[place] for place in np.unique(np.linspace(0, len(pairs) - 1, MOST_STRANGE, dtype=int))]
    answers = ask(np.asarray(pixels[[place for place, _ in pairs]]))
    if answers.unfamiliarity is None:
        return no("it does not say how unfamiliar an example is, though it was made to")
    limit, trained = familiar.familiarity.limit, [distance for _, distance in pairs]
    near = judge_distances(answers.unfamiliarity, trained, exact=exact, promised=limit.rate if limit else None)
    if near.reason:
        return near
    called = None if limit is None else answers.unfamiliarity > np.float32(limit.value)
    if called is not None and (answers.unfamiliar is None or (called != answers.unfamiliar).any()):
        return no("what it calls unfamiliar is not what is above the limit")
    return near


def _by_evidence(
    artifact: Artifact,
    top: Any,
    reference_top: Any,
    *,
    labels: Any,
    further: Further | None,
    tolerance: float,
    nouns: Nouns,
) -> tuple[evidence.Judgement, npt.NDArray[np.bool_]]:
    """The judgement by the answers on the test split and on further pictures, and which of these answers changed."""
    learned = np.zeros(len(top), bool)
    if further is not None and len(further.labels):
        top = np.concatenate([top, artifact.scores(further.pixels).argmax(axis=1)])
        reference_top = np.concatenate([reference_top, further.answers])
        labels, learned = np.concatenate([labels, further.labels]), np.concatenate([learned, further.learned])
    counts = evidence.count_changes(top, reference_top, labels=labels, learned=learned)
    return evidence.judge(counts, tolerance=tolerance, nouns=nouns), top != reference_top


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _not_a_number(scores: Scores, reference_scores: Scores, nouns: Nouns) -> str:
    if not np.isfinite(reference_scores).all():
        return "the trained model itself gives scores that are not numbers (NaN), so nothing can be compared"
    count = int((~np.isfinite(scores).all(axis=1)).sum())
    of = f"{count} of {len(scores)} {nouns.unit}s"
    return f"it gives scores that are not numbers (NaN) for {of}" if count else ""


def _not_exact(difference: npt.NDArray[np.float64], nouns: Nouns) -> str:
    if difference.max() <= EXACT:
        return ""
    where = f"test {nouns.unit} {int(difference.max(axis=1).argmax())}"
    return f"a score differs by {difference.max():.2g} from the trained model's (limit {EXACT:g}), on {where}"


def _balanced(top: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> float:
    """The mean recall over the classes in `labels`."""
    return float(np.mean([np.mean(top[labels == label] == label) for label in np.unique(labels)]))


def latency(artifact: Artifact, pixels: Pixels) -> float:
    """Milliseconds for one picture: the median of 20 calls after warming up."""
    seconds = []
    for run in range(_WARM_UP + _TIMED):
        image = pixels[run % len(pixels)][None]
        start = time.perf_counter()
        artifact.scores(image)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[_WARM_UP:]) * 1000)


def bytes_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
