"""Predictions for files from a SavedModel or a TFLite file."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.data.archive import is_zip, unpacked
from kt.errors import DataError, ReleaseError
from kt.kinds.kind import Kind, Source
from kt.kinds.pictures.find import LeftOut

BATCH = 32


@dataclass(frozen=True)
class Prediction:
    """The prediction for one example: its label, that label's score, and the score of every label; or an error.

    label: None where the model is not sure; then the score is the highest. one_of: the labels of which one is the true
    one, as often as asked (`kt.predict.decide`); None if no sets are asked.
    """

    path: Path
    label: str | None = ""
    score: float = 0.0
    scores: dict[str, float] | None = None
    error: str = ""
    one_of: tuple[str, ...] | None = None

    def as_json(self) -> dict[str, Any]:
        """`path`, `label`, `score`, `scores`, `set` if asked; or `path`, `error` for a file that could not be read."""
        if self.error:
            return {"path": str(self.path), "error": self.error}
        sets = {} if self.one_of is None else {"set": [*self.one_of]}
        return {"path": str(self.path), "label": self.label, "score": self.score, "scores": self.scores, **sets}


def predict_files(artifact: Any, paths: Sequence[Path], left: LeftOut | None = None) -> Iterator[Prediction]:
    """A prediction for each example, in order; folders and zips are searched for pictures, tables give a row each.

    artifact: from `kt.export.artifact.open_artifact`. left: collects the folders' other files, which are left out. An
    example that can't be read gives a Prediction with `error`. Raises DataError for a path that does not exist, before
    the first prediction.
    """
    check_there(paths)
    yield from predictions_of(artifact, examples_in(paths, artifact.kind, left))


def predictions_of(artifact: Any, sources: Iterable[Source]) -> Iterator[Prediction]:
    """A prediction for each example, in order."""
    rest = iter(sources)
    while batch := list(islice(rest, BATCH)):
        yield from _answer(artifact, batch)


def check_there(paths: Sequence[Path]) -> None:
    """Raise DataError for the first path that does not exist."""
    missing = [path for path in paths if not os.path.lexists(path)]  # a broken link is reported as unreadable later
    if missing:
        raise DataError(f"There is no file or folder {missing[0]}.")


def examples_in(paths: Sequence[Path], kind: Kind, left: LeftOut | None = None) -> Iterator[Source]:
    """The examples of a kind in files, folders and zips, in order. left: collects what else these hold."""
    return kind.found([unpacked(path) if is_zip(path) else path for path in paths], left)


def _answer(artifact: Any, sources: Sequence[Source]) -> Iterator[Prediction]:
    inputs: list[Any] = []
    errors: list[str] = []
    for source in sources:
        try:
            errors.append(source.error)
            if not source.error:
                inputs.append(_input(artifact, source.given))
        except DataError as error:
            errors[-1] = str(error)
    rows = iter(_scores(artifact, inputs))
    for source, why in zip(sources, errors, strict=True):
        yield Prediction(source.name, error=why) if why else _prediction(source.name, next(rows), artifact.classes)


def _input(artifact: Any, given: Any) -> Any:
    """The artefact's input: encoded bytes for a SavedModel, which decodes them itself, else the decoded example."""
    encoded = artifact.kind.encoded
    if encoded is not None and hasattr(artifact, "answer"):
        return encoded.bytes_of(given)
    return artifact.kind.read(given)


def _scores(artifact: Any, inputs: list[Any]) -> npt.NDArray[np.float32]:
    if not inputs:
        return np.empty((0, len(artifact.classes)), np.float32)
    encoded = isinstance(inputs[0], bytes)
    answers = artifact.answer(inputs) if encoded else artifact.scores(np.stack(inputs))
    scores = np.asarray(answers, np.float32)
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


def scores_of(artifact: Any, sources: Sequence[Source]) -> tuple[npt.NDArray[np.float32], list[int], list[Prediction]]:
    """Scores `[M, C]` of the examples that could be read, their places in `sources`, and the others' predictions."""
    all_answers = list(predictions_of(artifact, sources))
    good = [index for index, answer in enumerate(all_answers) if not answer.error]
    rows = [[all_answers[index].scores[label] for label in artifact.classes] for index in good]  # type: ignore[index]
    return np.array(rows, np.float32), good, [answer for answer in all_answers if answer.error]
