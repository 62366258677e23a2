"""kt from Python: one call trains on a folder of pictures, and one object holds what came of it."""

import dataclasses
import functools
import html
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kt.errors import DataError, KtError, RecipeError
from kt.recipe import Loaded, Recipe, override

if TYPE_CHECKING:
    from kt.serve.predict import Prediction

__all__ = ["Result", "train"]


def train(
    data: str | os.PathLike[str] | Recipe,
    *,
    name: str | None = None,
    export: Sequence[str | Callable[[Any, Path], Path]] | None = None,
    settings: Sequence[str] = (),
    seed: int | None = None,
    backend: str | None = None,
    runs: str | os.PathLike[str] = "runs",
    saved_models: str | os.PathLike[str] = "saved_models",
) -> "Result":
    """Train, measure, export, check and report, as `kt run` does, and give what came of it.

    data: a folder with one sub-folder a class, a table of pictures, a recipe's file, or a `Recipe`. name: of the runs
    and of the model; that of the folder or file unless given. export: formats, such as `["tflite"]`; `[]` for none;
    those of the recipe unless given. settings: changes to the recipe, such as `["data.image_size=96x96"]`. backend:
    what trains; the one that Keras is loaded on, or TensorFlow. Raises KtError, in one line, for whatever can't be.
    """
    loaded = _loaded(data, backend=backend)
    name = _checked(name, loaded)
    recipe = override(loaded.recipe, list(settings))
    changes: dict[str, Any] = {} if seed is None else {"seed": seed}
    if export is not None:
        changes["export"] = export
    recipe = dataclasses.replace(recipe, **changes)

    from kt.cli.options import origin_of
    from kt.cli.run_folder import mark_latest, new_run
    from kt.export.job import check_packages
    from kt.run import run

    check_packages(recipe.export)
    out = new_run(Path(runs) / name)
    told = (*settings, *(["export=" + ",".join(map(str, export))] if export is not None and _named(export) else []))
    origin = origin_of(dataclasses.replace(loaded, name=name), data=None, settings=told, out=out)
    if isinstance(data, Recipe):
        origin = dataclasses.replace(origin, file=None)
    origin = dataclasses.replace(origin, command="", saved_models=Path(saved_models))
    results = run(recipe, out, origin=origin)
    mark_latest(out)
    return Result(name=name, folder=out, figures=results)


def _loaded(data: Any, *, backend: str | None) -> Loaded:
    if isinstance(data, Recipe):
        from kt import backend as backends

        backends.start(backend)
        return Loaded(data, Path("recipe.py"), "recipe", "")
    if not isinstance(data, str | os.PathLike):
        raise RecipeError(
            f"kt.train takes a folder of pictures, a table of them, or a recipe, not {type(data).__name__}; such as "
            'kt.train("photos/").'
        )
    from kt.cli.options import load_recipe

    path = Path(data).expanduser()
    if not path.exists() and path.suffix != ".py":
        raise DataError(f"There is no {path}; expected a folder with one sub-folder a class, or a CSV of path,label.")
    return load_recipe(path, backend=backend)


def _named(export: Sequence[Any]) -> bool:
    return all(isinstance(one, str) for one in export)


def _checked(name: str | None, loaded: Loaded) -> str:
    from kt.cli.from_pictures import safe_name

    if name is None:
        return loaded.name
    if not isinstance(name, str) or safe_name(name) != name:
        raise RecipeError(f"name has letters, digits, '_', '-' and '.', as that of a folder, not {name!r}.")
    return name


@dataclass(frozen=True, repr=False)
class Result:
    """What a run gave: figures on the test pictures, where its files are, and answers for other pictures.

    folder: the run's, with the report, the model and the recipe. figures: all that `report.json` holds.
    """

    name: str
    folder: Path
    figures: Mapping[str, Any] = field(repr=False)

    @property
    def accuracy(self) -> float:
        """The share of test pictures that are answered rightly."""
        return float(self._test["accuracy"])

    @property
    def balanced_accuracy(self) -> float:
        """The mean over the classes of the share that is answered rightly."""
        return float(self._test["balanced_accuracy"])

    @property
    def log_loss(self) -> float:
        """The mean of the negative logarithm of the score of the right class."""
        return float(self._test["log_loss"])

    def interval(self, metric: str = "balanced_accuracy") -> tuple[float, float]:
        """The 95% interval of a metric: from what to what it may be for other pictures of the same kind."""
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
        """What a person should know of this run."""
        return tuple(map(str, self.figures.get("notes") or ()))

    @property
    def report(self) -> Path:
        """The page for people; `report.json` beside it is for programs."""
        return self.folder / "report.html"

    @property
    def saved_model(self) -> Path | None:
        """The version's folder in `saved_models`, for TensorFlow Serving and `kt serve`; None if nothing passed."""
        released = self.figures.get("released_to")
        return Path(str(released)) if released else None

    @property
    def exports(self) -> dict[str, Path]:
        """What was released, by format: `saved_model`, `tflite_float32`, `tflite_float16`, `tflite_int8`, ..."""
        return {one["format"]: Path(one["path"]) for one in self.figures["artifacts"] if one["released"]}

    def predict(self, pictures: Any) -> Any:
        """The answer for a picture, or a list of answers for several; each has `label`, `score` and `scores`.

        pictures: a file, a folder, a PIL image, pixels `[H, W, 3]` or `[N, H, W, 3]` from 0 to 255, or a list of these.
        Raises DataError for one picture that can't be read; among several it is an answer with `error`.
        """
        if isinstance(pictures, str | os.PathLike) and Path(pictures).is_dir():
            return list(_answers(self._artifact, [Path(pictures)]))
        if isinstance(pictures, list | tuple):
            return [answer for one in pictures for answer in _several(self._artifact, one)]
        found = _several(self._artifact, pictures)
        if getattr(pictures, "ndim", 3) == 4:
            return found
        if found[0].error:
            raise DataError(f"{found[0].path}: {found[0].error}")
        return found[0]

    @functools.cached_property
    def _artifact(self) -> Any:
        """What answers: the release, as `kt predict` asks it; the trained model where nothing was released."""
        if self.saved_model is not None:
            from kt.export.artifact import open_artifact

            return open_artifact(self.saved_model)
        return _Trained(self.folder / "model.keras", self.classes)

    @property
    def _test(self) -> Mapping[str, Any]:
        test: Mapping[str, Any] = self.figures["test"]
        return test

    def __repr__(self) -> str:
        released = f"released to {self.saved_model}" if self.saved_model else "nothing released"
        return f"<kt.Result {self.name}: {', '.join(map(' '.join, self._rows()))}; {released}; report {self.report}>"

    def _repr_html_(self) -> str:
        """How a notebook shows it."""
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
        from kt.report.numbers import figure, interval

        return [
            (name.replace("_", " "), f"{figure(self._test[name])} ({interval(self._test['intervals'].get(name))})")
            for name in ("balanced_accuracy", "accuracy")
        ]


@dataclass(frozen=True)
class _Trained:
    """The trained model itself, asked as an artefact is."""

    path: Path
    classes: tuple[str, ...]

    @functools.cached_property
    def _model(self) -> Any:
        import keras

        return keras.saving.load_model(self.path, compile=False)

    @functools.cached_property
    def value_range(self) -> Any:
        from kt.export.value_range import kept

        return kept(self.path)

    @property
    def image_size(self) -> tuple[int, int]:
        _, height, width, _ = self._model.input_shape
        return int(height), int(width)

    def scores(self, pixels: Any) -> Any:
        from kt.model import predict

        return predict(self._model, pixels)


def _several(artifact: Any, pictures: Any) -> "list[Prediction]":
    """The answers for one thing that pictures can be given as."""
    if isinstance(pictures, str | os.PathLike):
        return list(_answers(artifact, [Path(pictures)]))
    return [_of_pixels(artifact, pixels) for pixels in _pixels(pictures)]


def _answers(artifact: Any, paths: Sequence[Path]) -> "list[Prediction]":
    from kt.serve.predict import predict_files

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
            f"{_told(pictures)}."
        )
    array = np.round(array).astype(np.uint8)
    return list(array) if array.ndim == 4 else [array]


def _told(value: Any) -> str:
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

    from kt.data.images import resize
    from kt.serve.predict import Prediction

    row = np.asarray(artifact.scores(resize(pixels, artifact.image_size)[None]))[0]
    scores = {label: round(float(score), 6) for label, score in zip(artifact.classes, row, strict=True)}
    top = max(scores, key=lambda label: scores[label])
    return Prediction(Path(), top, scores[top], scores)
