"""The release gate: an artefact is released only if it answers, image by image, as the trained model did."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.data.images import read_rgb, resize
from kt.export import evidence
from kt.export.artifact import Artifact, Pixels, SavedModelArtifact, Scores

EXACT = 1e-4
"""The largest difference of any score that an unquantised artefact may have."""

_WARM_UP, _TIMED = 3, 20


@dataclass(frozen=True)
class Further:
    """Pictures besides the test split's that an export is asked, since a small test split can't judge it.

    pixels: uint8 `[N, H, W, 3]`; answers: `[N]`, the trained model's top class of each; labels: `[N]`; learned: `[N]`,
    whether the model was trained on the picture. Which answer it gets is compared for all of them; whether it is right,
    for those that did not train.
    """

    pixels: Pixels
    answers: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    learned: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Encoded:
    """Picture files, and what they are when decoded: places in the test split, where they are of it."""

    files: Sequence[bytes] = ()
    places: Sequence[int] | None = None


@dataclass(frozen=True)
class Verdict:
    """What the gate measured on the test split, and whether it lets the artefact pass.

    agreement, accuracy and balanced_accuracy: shares from 0 to 1. accuracy_change: artefact minus trained model.
    largest_score_difference: over all images and classes, None if any score is NaN. bytes: of the file or of the whole
    folder. latency_ms: median of single-image calls, None where it is measured later. reason: why it is not released,
    or "". judged: by which counts, on further pictures too; None where every score must match. changed: for each of
    these pictures, the test split's first, whether its answer is another than the trained model's.
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


def check(
    artifact: Artifact,
    reference_scores: Scores,
    *,
    labels: npt.NDArray[np.int64],
    pixels: Pixels,
    classes: Sequence[str],
    exact: bool,
    tolerance: float = 0.01,
    encoded: Encoded | None = None,
    further: Further | None = None,
    timed: bool = True,
) -> Verdict | str:
    """Run an artefact on the test split and judge it against the trained model's scores `[N, C]`.

    exact: every score must match within 1e-4; else `kt.export.evidence` judges by the answers on the test split and on
    `further` pictures, where the accuracy may fall by `tolerance` (a share). encoded: pictures that a SavedModel's
    decoder must answer as Pillow's pixels are answered. timed: measure the latency too, which needs a quiet machine.
    Gives the reason alone, as text, when there is nothing to measure: other classes, another shape of answer.
    """
    if len(labels) == 0:
        return "there are no test images to check it on"
    if artifact.classes and artifact.classes != tuple(classes):  # an exporter of one's own may embed none
        return f"its labels are {_few(artifact.classes)}, where the model has {_few(classes)}"
    scores = artifact.scores(pixels)
    if scores.shape != reference_scores.shape:
        return f"it answers with {list(scores.shape)} scores where the model has {list(reference_scores.shape)}"
    top, reference_top = scores.argmax(axis=1), reference_scores.argmax(axis=1)
    difference = np.abs(scores.astype(np.float64) - reference_scores)
    reason = _not_a_number(scores, reference_scores)
    judged, changed = None, top != reference_top
    if exact:
        reason = reason or _not_exact(difference)
    else:
        judged, changed = _by_evidence(
            artifact, top, reference_top, labels=labels, further=further, tolerance=tolerance
        )
        reason = reason or judged.reason
    return Verdict(
        released=not (reason := reason or _decodes_otherwise(artifact, encoded, pixels=pixels, scores=scores)),
        reason=reason,
        agreement=float(np.mean(top == reference_top)),
        accuracy=float(np.mean(top == labels)),
        balanced_accuracy=_balanced(top, labels),
        accuracy_change=float(np.mean(top == labels) - np.mean(reference_top == labels)),
        largest_score_difference=float(difference.max()) if np.isfinite(difference).all() else None,
        bytes=size_of(artifact.path),
        latency_ms=latency(artifact, pixels) if timed else None,
        images=len(labels),
        judged=judged,
        changed=changed,
    )


def _by_evidence(
    artifact: Artifact, top: Any, reference_top: Any, *, labels: Any, further: Further | None, tolerance: float
) -> tuple[evidence.Judgement, npt.NDArray[np.bool_]]:
    """What the answers on the test split and on further pictures say, and which of them changed."""
    learned = np.zeros(len(top), bool)
    if further is not None and len(further.labels):
        top = np.concatenate([top, artifact.scores(further.pixels).argmax(axis=1)])
        reference_top = np.concatenate([reference_top, further.answers])
        labels, learned = np.concatenate([labels, further.labels]), np.concatenate([learned, further.learned])
    counts = evidence.count(top, reference_top, labels=labels, learned=learned)
    return evidence.judge(counts, tolerance=tolerance), top != reference_top


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _not_a_number(scores: Scores, reference_scores: Scores) -> str:
    if not np.isfinite(reference_scores).all():
        return "the trained model itself gives scores that are not numbers (NaN), so nothing can be compared"
    count = int((~np.isfinite(scores).all(axis=1)).sum())
    return f"it gives scores that are not numbers (NaN) for {count} of {len(scores)} images" if count else ""


def _not_exact(difference: npt.NDArray[np.float64]) -> str:
    if difference.max() <= EXACT:
        return ""
    image = int(difference.max(axis=1).argmax())
    return (
        f"a score differs by {difference.max():.2g} from the trained model's (limit {EXACT:g}), on test image {image}"
    )


def _decodes_otherwise(artifact: Artifact, encoded: Encoded | None, *, pixels: Pixels, scores: Scores) -> str:
    if encoded is None or not encoded.files or not isinstance(artifact, SavedModelArtifact):
        return ""
    decoded = np.stack([resize(read_rgb(data), artifact.image_size) for data in encoded.files])
    places = encoded.places
    # The test split's pictures have been answered already.
    known = places is not None and np.array_equal(pixels[list(places)], decoded)
    expected = scores[list(places or ())] if known else artifact.scores(decoded)
    difference = np.abs(artifact.answer(encoded.files).astype(np.float64) - expected).max()
    if difference <= EXACT:
        return ""
    return f"serving_default answers otherwise than pixels for the same pictures, by {difference:.2g} (limit {EXACT:g})"


def _balanced(top: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> float:
    """The mean over the classes in `labels` of the share of each that was found."""
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


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
