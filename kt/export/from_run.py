"""Exports of a run: hands a trained model with its splits to the export child, at once or later from the folder."""

import csv
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.backend import accelerated
from kt.data.splits import Split, Splits
from kt.export.about import About
from kt.export.job import LOG, ArtifactResult, ExportJob, Worker, export, taken
from kt.export.value_range import keep
from kt.files import save_array
from kt.names import text_of
from kt.recipe import Recipe
from kt.scratch import WORK, scratch

REPRESENTATIVE = 500
"""Training pictures, at most, that calibrate int8 or are asked to judge it; of validation as many."""


def record(out: Path, splits: Splits, recipe_file: Path | None) -> None:
    """Write into the run what later steps need: which picture is in which split, and the recipe as it was."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "splits.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["split", "label", "group", "name"])
        for name, part in splits.parts().items():
            for label, group, picture in zip(part.labels, part.groups, part.names, strict=True):
                table.writerow([name, splits.classes[label], group, text_of(PurePosixPath(picture))])
    (out / "labels.txt").write_text("".join(f"{label}\n" for label in splits.classes), encoding="utf-8")
    if recipe_file is not None and recipe_file.resolve() != (out / "recipe.py").resolve():
        shutil.copyfile(recipe_file, out / "recipe.py")


def export_run(
    out: Path,
    recipe: Recipe,
    splits: Splits,
    *,
    scores: Callable[[], npt.NDArray[np.float32]],
    name: str,
    formats: Sequence[str | Callable[[Any, Path], Path]],
    about: About | None = None,
    worker: Worker | None = None,
) -> tuple[ArtifactResult, ...]:
    """Export `out/model.keras` in the child process and check each artefact on the test split.

    scores: gives `[N, C]`, what the trained model says of the test split; it is asked while the child makes the
    artefacts. name: begins the files' names. about: what the `.tflite` files tell of the model, what the recipe's file
    says of itself unless given. worker: of `export_ahead`. Without formats there is no child.
    """
    if not formats:
        return ()
    # In the run, not where the system keeps temporary files: that may be small, and would keep what a killed run left.
    with scratch(out, WORK) as folder:
        folder.mkdir()
        shown, held_out = representative(splits.train), splits.validation.take(_in_turn(splits.validation))
        arrays: dict[str, npt.NDArray[Any]] = {
            "test_pixels": splits.test.pixels,
            "labels": splits.test.labels,
            "representative": shown.pixels,
            "representative_labels": shown.labels,
            "validation_pixels": held_out.pixels,
            "validation_labels": held_out.labels,
        }
        for key, array in arrays.items():
            save_array(folder / f"{key}.npy", array)
        job = ExportJob(
            model_file=out / "model.keras",
            directory=out / "artifacts",
            name=name,
            classes=splits.classes,
            test_pixels=folder / "test_pixels.npy",
            labels=folder / "labels.npy",
            # An accelerator's convolutions may round to TF32: then the child asks the .keras file on the CPU.
            reference_scores=None if accelerated() else folder / "reference_scores.npy",
            representative=folder / "representative.npy",
            representative_labels=folder / "representative_labels.npy",
            validation_pixels=folder / "validation_pixels.npy",
            validation_labels=folder / "validation_labels.npy",
            encoded=splits.test.files or (),
            formats=tuple(item for item in formats if isinstance(item, str)),
            recipe_file=out / "recipe.py" if (out / "recipe.py").is_file() else None,
            exporters=tuple(index for index, item in enumerate(formats) if not isinstance(item, str)),
            tolerance=recipe.tolerance,
            about=about or About.of_recipe(out / "recipe.py"),
            value_range=splits.value_range,
        )
        results = export(job, scores=scores, work=folder, worker=worker)
        for result in results:
            keep(result.path, splits.value_range)
        return results


def export_ahead(out: Path, formats: Sequence[object]) -> AbstractContextManager[Worker | None]:
    """Have the child ready while there is nothing to export yet, for it takes seconds; None without formats."""
    return taken(out / "artifacts" / LOG, needed=bool(formats))


def export_again(
    run: Path,
    recipe: Recipe,
    splits: Splits,
    *,
    name: str,
    formats: Sequence[str | Callable[[Any, Path], Path]],
    about: About | None = None,
) -> tuple[ArtifactResult, ...]:
    """Export a finished run's model once more; the trained model answers for the test split anew."""
    import keras

    from kt.model import predict

    model = keras.saving.load_model(run / "model.keras", compile=False)
    return export_run(
        run, recipe, splits, scores=lambda: predict(model, splits.test.pixels), name=name, formats=formats, about=about
    )


def representative(train: Split) -> Split:
    """Up to 500 training pictures: class by class in turn, so that the first few hold all."""
    return train.take(_in_turn(train))


def _in_turn(part: Split) -> npt.NDArray[np.int64]:
    random = np.random.default_rng(0)
    turns = np.empty(len(part), np.int64)
    for label in np.unique(part.labels):
        members = np.flatnonzero(part.labels == label)
        turns[members] = random.permutation(len(members))
    return np.lexsort((part.labels, turns))[:REPRESENTATIVE]
