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
from kt.export.formats.format import Replies, replies_of
from kt.kinds.kind import Kind, Source
from kt.kinds.pictures.find import LeftOut

BATCH = 32


@dataclass(frozen=True)
class Prediction:
    """The prediction for one example: its label, that label's score, and the score of every label; or an error.

    label: None where the model is not sure; then the score is the highest. one_of: the labels of which one is the true
    one, as often as asked (`kt.predict.decide`); None if no sets are asked. unfamiliarity: how far it is from anything
    that the model learned from, from 0 to 2. unfamiliar: whether that is above the model's limit, so that the answer
    can't be trusted. None where the artefact does not say.
    """

    path: Path
    label: str | None = ""
    score: float = 0.0
    scores: dict[str, float] | None = None
    error: str = ""
    one_of: tuple[str, ...] | None = None
    unfamiliarity: float | None = None
    unfamiliar: bool | None = None

    def as_json(self) -> dict[str, Any]:
        """`path`, `label`, `score`, `scores`, `set` if asked, `unfamiliarity`, `unfamiliar`; or `path` and `error`."""
        if self.error:
            return {"path": str(self.path), "error": self.error}
        sets = {} if self.one_of is None else {"set": [*self.one_of]}
        return {
            "path": str(self.path), "label": self.label, "score": self.score, "scores": self.scores, **sets,
            "unfamiliarity": self.unfamiliarity, "unfamiliar": self.unfamiliar,
        }  # fmt: skip


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
    answers, place = _answers(artifact, inputs), 0
    for source, why in zip(sources, errors, strict=True):
        if why:
            yield Prediction(source.name, error=why)
        else:
            yield _prediction(source.name, answers, place, artifact.classes)
            place += 1


def _input(artifact: Any, given: Any) -> Any:
    """The artefact's input: encoded bytes for a SavedModel, which decodes them itself, else the decoded example."""
    encoded = artifact.kind.encoded
    if encoded is not None and hasattr(artifact, "answers_to"):
        return encoded.bytes_of(given)
    return artifact.kind.read(given)


def _answers(artifact: Any, inputs: list[Any]) -> Replies:
    if not inputs:
        return Replies(np.empty((0, len(artifact.classes)), np.float32))
    if isinstance(inputs[0], bytes):
        answers: Replies = artifact.answers_to(inputs)
    else:
        answers = replies_of(artifact, np.stack(inputs))
    scores = np.asarray(answers.scores, np.float32)
    if scores.shape[1] != len(artifact.classes):
        raise ReleaseError(
            f"{artifact.path} gives {scores.shape[1]} scores and has {len(artifact.classes)} labels; export it with "
            "kt, which puts the labels in."
        )
    return answers


def _prediction(file: Path, answers: Replies, place: int, classes: Sequence[str]) -> Prediction:
    scores = answers.scores[place]
    top = int(scores.argmax())
    by_label = {label: round(float(score), 6) for label, score in zip(classes, scores, strict=True)}
    return Prediction(
        file, classes[top], by_label[classes[top]], by_label,
        unfamiliarity=None if answers.unfamiliarity is None else round(float(answers.unfamiliarity[place]), 6),
        unfamiliar=None if answers.unfamiliar is None else bool(answers.unfamiliar[place]),
    )  # fmt: skip


def scores_of(artifact: Any, sources: Sequence[Source]) -> tuple[npt.NDArray[np.float32], list[int], list[Prediction]]:
    """Scores `[M, C]` of the examples that could be read, their places in `sources`, and the others' predictions."""
    all_answers = list(predictions_of(artifact, sources))
    good = [index for index, answer in enumerate(all_answers) if not answer.error]
    rows = [[all_answers[index].scores[label] for label in artifact.classes] for index in good]  # type: ignore[index]
    return np.array(rows, np.float32), good, [answer for answer in all_answers if answer.error]
