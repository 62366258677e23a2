"""The results of a run, as one object: figures, files, and predictions for other pictures."""

import functools
import html
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kt.base.run_folder import MODEL, PAGE
from kt.errors import DataError, KtError, RecipeError

if TYPE_CHECKING:
    from kt.predict.files import Prediction


@dataclass(frozen=True, repr=False)
class Result:
    """The results of a run: figures on the test pictures, the paths of its files, and predictions for other pictures.

    folder: of the run, with the report, the model and the recipe. figures: the content of `report.json`.
    """

    name: str
    folder: Path
    figures: Mapping[str, Any] = field(repr=False)

    @property
    def accuracy(self) -> float:
        """The share of test pictures that are classified correctly."""
        return float(self._test["accuracy"])

    @property
    def balanced_accuracy(self) -> float:
        """The mean over the classes of the share that is classified correctly."""
        return float(self._test["balanced_accuracy"])

    @property
    def log_loss(self) -> float:
        """The mean of the negative logarithm of the true class's score."""
        return float(self._test["log_loss"])

    def interval(self, metric: str = "balanced_accuracy") -> tuple[float, float]:
        """The 95% interval of a metric, for other pictures of the same kind."""
        intervals = self._test["intervals"]
        if metric not in intervals:
            raise RecipeError(f"There is no interval of {metric!r}; there is: {', '.join(intervals)}.")
        low, high = intervals[metric]
        return float(low), float(high)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the scores."""
        return tuple(self.figures["data"]["classes"])

    @property
    def notes(self) -> tuple[str, ...]:
        """The run's notes for people, such as warnings."""
        return tuple(map(str, self.figures.get("notes") or ()))

    @property
    def report(self) -> Path:
        """The path of the page for people; `report.json` beside it is for programs."""
        return self.folder / PAGE

    @property
    def saved_model(self) -> Path | None:
        """The version's folder in `saved_models`, for TensorFlow Serving and `kt serve`; None if nothing passed."""
        released = self.figures.get("released_to")
        return Path(str(released)) if released else None

    @property
    def exports(self) -> dict[str, Path]:
        """The released files, by format: `saved_model`, `tflite_float32`, `tflite_float16`, `tflite_int8`, ..."""
        return {each["format"]: Path(each["path"]) for each in self.figures["artifacts"] if each["released"]}

    def predict(self, pictures: Any) -> Any:
        """The prediction for a picture, or a list of them for several; each has `label`, `score` and `scores`.

        pictures: a file, a folder, a PIL image, pixels `[H, W, 3]` or `[N, H, W, 3]` from 0 to 255, or a list of these.
        Raises DataError for a single picture that can't be read; among several it gives a prediction with `error`.
        """
        if isinstance(pictures, str | os.PathLike) and Path(pictures).is_dir():
            return list(_answers(self._artifact, [Path(pictures)]))
        if isinstance(pictures, list | tuple):
            return [answer for item in pictures for answer in _several(self._artifact, item)]
        predictions = _several(self._artifact, pictures)
        if getattr(pictures, "ndim", 3) == 4:
            return predictions
        if predictions[0].error:
            raise DataError(f"{predictions[0].path}: {predictions[0].error}")
        return predictions[0]

    @functools.cached_property
    def _artifact(self) -> Any:
        """The model that predicts: the release, as for `kt predict`, or the trained model if nothing was released."""
        if self.saved_model is not None:
            from kt.export.artifact import open_artifact

            return open_artifact(self.saved_model)
        return _Trained(self.folder / MODEL, self.classes)

    @property
    def _test(self) -> Mapping[str, Any]:
        test: Mapping[str, Any] = self.figures["test"]
        return test

    def __repr__(self) -> str:
        released = f"released to {self.saved_model}" if self.saved_model else "nothing released"
        return f"<kt.Result {self.name}: {', '.join(map(' '.join, self._rows()))}; {released}; report {self.report}>"

    def _repr_html_(self) -> str:
        """The results as HTML, for a notebook."""
        rows = [*self._rows(), *(("note", note) for note in self.notes)]
        rows += [(f"released: {kind}", str(path)) for kind, path in self.exports.items()]
        cells = "".join(
            f'<tr><td style="text-align:left">{html.escape(name)}</td>'
            f'<td style="text-align:left">{html.escape(text)}</td></tr>'
            for name, text in rows
        )
        link = html.escape(self.report.as_posix())
        return (
            f"<table><caption>{html.escape(self.name)}</caption>{cells}"
            f'<tr><td style="text-align:left">report</td><td style="text-align:left">'
            f'<a href="{link}" target="_blank">{link}</a></td></tr></table>'
        )

    def _rows(self) -> list[tuple[str, str]]:
        from kt.base.numbers import figure, interval

        return [
            (name.replace("_", " "), f"{figure(self._test[name])} ({interval(self._test['intervals'].get(name))})")
            for name in ("balanced_accuracy", "accuracy")
        ]


@dataclass(frozen=True)
class _Trained:
    """The trained model itself, with the functions of an artefact."""

    path: Path
    classes: tuple[str, ...]

    @functools.cached_property
    def _model(self) -> Any:
        import keras

        return keras.saving.load_model(self.path, compile=False)

    @functools.cached_property
    def kind(self) -> Any:
        from kt.export.asides import kind_of_artifact

        return kind_of_artifact(self.path, self._model.input_shape, str(self._model.inputs[0].dtype))

    def scores(self, pixels: Any) -> Any:
        from kt.network.model import predict

        return predict(self._model, pixels)


def _several(artifact: Any, pictures: Any) -> "list[Prediction]":
    """The predictions for one item: a file, an image, or an array of one or several pictures."""
    if isinstance(pictures, str | os.PathLike):
        return list(_answers(artifact, [Path(pictures)]))
    return [_of_pixels(artifact, pixels) for pixels in _pixels(pictures)]


def _answers(artifact: Any, paths: Sequence[Path]) -> "list[Prediction]":
    from kt.predict.files import predict_files

    return list(predict_files(artifact, paths))


def _pixels(pictures: Any) -> list[Any]:
    """Pixels uint8 `[H, W, 3]` of each picture in an array or an image of PIL."""
    import numpy as np
    from PIL import Image, ImageOps

    if isinstance(pictures, Image.Image):
        return [np.asarray(ImageOps.exif_transpose(pictures).convert("RGB"))]
    try:
        array = np.asarray(pictures)
        fits = array.ndim in (3, 4) and array.shape[-1] == 3 and array.size and np.issubdtype(array.dtype, np.number)
    except (TypeError, ValueError):
        fits = False
    if not fits or array.min() < 0 or array.max() > 255 or (array.dtype.kind == "f" and 0 < array.max() <= 1):
        raise DataError(
            "predict takes files, folders, PIL images, or pixels [H, W, 3] or [N, H, W, 3] from 0 to 255, not "
            f"{_in_words(pictures)}."
        )
    array = np.round(array).astype(np.uint8)
    return list(array) if array.ndim == 4 else [array]


def _in_words(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if shape is None:
        return type(value).__name__
    kind = f"{getattr(value, 'dtype', type(value).__name__)} {list(shape)}"
    try:
        return f"{kind} from {float(value.min()):g} to {float(value.max()):g}"
    except (KtError, TypeError, ValueError, AttributeError):
        return kind


def _of_pixels(artifact: Any, pixels: Any) -> "Prediction":
    import numpy as np

    from kt.kinds.pictures.images import resize
    from kt.kinds.pictures.kind import Pictures
    from kt.predict.files import Prediction

    if not isinstance(artifact.kind, Pictures):
        raise DataError(f"This model takes {artifact.kind.many}; give predict a file of them.")
    row = np.asarray(artifact.scores(resize(pixels, artifact.kind.image_size)[None]))[0]
    scores = {label: round(float(score), 6) for label, score in zip(artifact.classes, row, strict=True)}
    top = max(scores, key=lambda label: scores[label])
    return Prediction(Path(), top, scores[top], scores)
