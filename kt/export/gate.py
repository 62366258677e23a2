"""The release gate: an artefact is released only if it answers, image by image, as the trained model did."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.data.images import read_rgb, resize
from kt.export.artifact import Artifact, Pixels, SavedModelArtifact, Scores

EXACT = 1e-4
"""The largest difference of any score that an unquantised artefact may have."""

_WARM_UP, _TIMED = 3, 20


@dataclass(frozen=True)
class Verdict:
    """What the gate measured on the test split, and whether it lets the artefact pass.

    agreement, accuracy and balanced_accuracy: shares from 0 to 1. accuracy_change: artefact minus trained model.
    largest_score_difference: over all images and classes, None if any score is NaN. bytes: of the file or of the whole
    folder. latency_ms: median of single-image calls. reason: why it is not released, or "".
    """

    released: bool
    reason: str
    agreement: float
    accuracy: float
    balanced_accuracy: float
    accuracy_change: float
    largest_score_difference: float | None
    bytes: int
    latency_ms: float
    images: int


def check(
    artifact: Artifact,
    reference_scores: Scores,
    *,
    labels: npt.NDArray[np.int64],
    pixels: Pixels,
    classes: Sequence[str],
    exact: bool,
    tolerance: float = 0.01,
    encoded: Sequence[bytes] = (),
) -> Verdict | str:
    """Run an artefact on the test split and judge it against the trained model's scores `[N, C]`.

    exact: every score must match within 1e-4; else the accuracy may fall by `tolerance` (a share). encoded: pictures
    that a SavedModel's decoder must answer as Pillow's pixels are answered. Gives the reason alone, as text, when there
    is nothing to measure: other classes, another shape of answer.
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
    change = float(np.mean(top == labels) - np.mean(reference_top == labels))
    reason = (
        _not_a_number(scores, reference_scores)
        or (_not_exact(difference) if exact else _too_much_lost(change, tolerance=tolerance))
        or _decodes_otherwise(artifact, encoded)
    )
    return Verdict(
        released=not reason,
        reason=reason,
        agreement=float(np.mean(top == reference_top)),
        accuracy=float(np.mean(top == labels)),
        balanced_accuracy=_balanced(top, labels),
        accuracy_change=change,
        largest_score_difference=float(difference.max()) if np.isfinite(difference).all() else None,
        bytes=size_of(artifact.path),
        latency_ms=_latency(artifact, pixels),
        images=len(labels),
    )


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


def _too_much_lost(change: float, *, tolerance: float) -> str:
    if change >= -tolerance - 1e-9:  # a loss of exactly the tolerance passes, whatever the rounding
        return ""
    return f"it loses {-100 * change:.2f} points of accuracy (tolerance {100 * tolerance:g})"


def _decodes_otherwise(artifact: Artifact, encoded: Sequence[bytes]) -> str:
    if not encoded or not isinstance(artifact, SavedModelArtifact):
        return ""
    decoded = np.stack([resize(read_rgb(data), artifact.image_size) for data in encoded])
    difference = np.abs(artifact.answer(encoded).astype(np.float64) - artifact.scores(decoded)).max()
    if difference <= EXACT:
        return ""
    return f"serving_default answers otherwise than pixels for the same pictures, by {difference:.2g} (limit {EXACT:g})"


def _balanced(top: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> float:
    """The mean over the classes in `labels` of the share of each that was found."""
    return float(np.mean([np.mean(top[labels == label] == label) for label in np.unique(labels)]))


def _latency(artifact: Artifact, pixels: Pixels) -> float:
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
