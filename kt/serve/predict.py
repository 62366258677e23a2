"""Predictions for picture files from a SavedModel or a TFLite file."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.data.archive import is_zip, unpacked
from kt.data.find import LeftOut, find_pictures
from kt.data.images import read_rgb, resize, servable_bytes
from kt.errors import DataError, ReleaseError

BATCH = 32


@dataclass(frozen=True)
class Prediction:
    """The answer for one file: its label, that label's score, and the score of every label; or why it has none."""

    path: Path
    label: str = ""
    score: float = 0.0
    scores: dict[str, float] | None = None
    error: str = ""

    def as_json(self) -> dict[str, Any]:
        """`path`, `label`, `score`, `scores`; or `path`, `error` for a file that could not be read."""
        if self.error:
            return {"path": str(self.path), "error": self.error}
        return {"path": str(self.path), "label": self.label, "score": self.score, "scores": self.scores}


def predict_files(artifact: Any, paths: Sequence[Path], left: LeftOut | None = None) -> Iterator[Prediction]:
    """A prediction for each file, in order; folders and zips are searched for pictures.

    artifact: from `kt.export.artifact.open_artifact`. left: is told what the folders hold besides. A file that can't be
    read gives a Prediction with `error`. Raises DataError for a path that does not exist, before the first answer.
    """
    check_there(paths)
    files = pictures_of(paths, left)
    while batch := list(islice(files, BATCH)):
        yield from _answer(artifact, batch)


def check_there(paths: Sequence[Path]) -> None:
    """Raise DataError for the first path that does not exist."""
    missing = [path for path in paths if not os.path.lexists(path)]  # a link that leads nowhere is named as unreadable
    if missing:
        raise DataError(f"There is no file or folder {missing[0]}.")


def pictures_of(paths: Sequence[Path], left: LeftOut | None = None) -> Iterator[Path]:
    """Each file, whatever it is, and each folder's or zip's pictures, in order. left: is told what else these hold."""
    for path in paths:
        folder = unpacked(path) if is_zip(path) else path
        yield from find_pictures(folder, left) if folder.is_dir() else [path]


def _answer(artifact: Any, files: Sequence[Path]) -> Iterator[Prediction]:
    inputs: list[Any] = []
    errors: dict[Path, str] = {}
    for file in files:
        try:
            inputs.append(_input(artifact, file))
        except DataError as error:
            errors[file] = str(error)
    rows = iter(_scores(artifact, inputs))
    for file in files:
        yield (
            Prediction(file, error=errors[file]) if file in errors else _prediction(file, next(rows), artifact.classes)
        )


def _input(artifact: Any, file: Path) -> Any:
    """What the artefact takes: encoded bytes for a SavedModel, which decodes them itself; pixels for TFLite."""
    value_range = getattr(artifact, "value_range", None)
    if hasattr(artifact, "answer"):
        return servable_bytes(file, value_range=value_range)
    return resize(read_rgb(file, value_range=value_range), artifact.image_size)


def _scores(artifact: Any, inputs: list[Any]) -> npt.NDArray[np.float32]:
    if not inputs:
        return np.empty((0, len(artifact.classes)), np.float32)
    found = artifact.answer(inputs) if hasattr(artifact, "answer") else artifact.scores(np.stack(inputs))
    scores = np.asarray(found, np.float32)
    if scores.shape[1] != len(artifact.classes):
        raise ReleaseError(
            f"{artifact.path} gives {scores.shape[1]} scores and has {len(artifact.classes)} labels; export it with "
            "kt, which puts the labels in."
        )
    return scores


def _prediction(file: Path, scores: npt.NDArray[np.float32], classes: Sequence[str]) -> Prediction:
    top = int(scores.argmax())
    by_label = {label: round(float(score), 6) for label, score in zip(classes, scores, strict=True)}
    return Prediction(file, classes[top], by_label[classes[top]], by_label)


def scores_of(artifact: Any, files: Sequence[Path]) -> tuple[npt.NDArray[np.float32], list[int], list[Prediction]]:
    """Scores `[M, C]` of the files that could be read, their places in `files`, and the predictions of the others."""
    answers = list(predict_files(artifact, files))
    good = [index for index, answer in enumerate(answers) if not answer.error]
    rows = [[answers[index].scores[label] for label in artifact.classes] for index in good]  # type: ignore[index]
    return np.array(rows, np.float32), good, [answer for answer in answers if answer.error]
