"""Exporting a run: gives a trained model with its splits to the export child, at once or later from the folder."""

import csv
import io
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.base import run_folder
from kt.base.backend import accelerated
from kt.base.environment import versions
from kt.base.files import replace_json, replace_text, save_array
from kt.base.names import cell_of, text_of
from kt.base.scratch import WORK, scratch
from kt.base.stages import key_of
from kt.data.sources.domains import TARGET
from kt.data.splits import Split, Splits
from kt.export.about import About
from kt.export.job import ArtifactResult, ExportJob, Worker, export, taken
from kt.export.sample import held_out_of, in_turn
from kt.recipe import Format, Recipe
from kt.runs.familiar import kept_familiarity

REPRESENTATIVE = 500
"""The most training pictures that calibrate int8 or judge it, and the most validation pictures that do."""

UNLABELLED = -1
"""The label of an example whose class is not known. It is no class, so no answer is right."""


def record(out: Path, splits: Splits, recipe_file: Path | None) -> None:
    """Write into the run what later steps need: the split of each picture, and a copy of the recipe."""
    out.mkdir(parents=True, exist_ok=True)
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(["split", "label", "group", "name", "content"])
    for name, part in splits.parts().items():
        groups = part.group_names or part.groups
        hashes = part.hashes or ("",) * len(part)
        for label, group, picture, content in zip(part.labels, groups, part.names, hashes, strict=True):
            table.writerow([name, splits.classes[label], cell_of(group), text_of(PurePosixPath(picture)), content])
    replace_text(out / run_folder.SPLITS, text.getvalue())
    replace_text(out / run_folder.LABELS, "".join(f"{label}\n" for label in splits.classes))
    replace_json(out / run_folder.DATA, {"digest": splits.digest, "origin": splits.origin, "classes": splits.classes})
    if recipe_file is not None and recipe_file.resolve() != (out / run_folder.RECIPE).resolve():
        shutil.copyfile(recipe_file, out / run_folder.RECIPE)


def export_run(
    out: Path,
    recipe: Recipe,
    splits: Splits,
    *,
    scores: Callable[[], npt.NDArray[np.float32]],
    name: str,
    formats: Sequence[str | Callable[[Any, Path], Path] | Format],
    about: About | None = None,
    worker: Worker | None = None,
    key: str | None = None,
) -> tuple[ArtifactResult, ...]:
    """Export `out/model.keras` in the child process and check each artefact on the test split.

    scores: gives the trained model's scores `[N, C]` for the test split; it is called while the child makes the
    artefacts. name: begins the files' names. about: the description of the model in `.tflite` files; by default that of
    the recipe's file. worker: of `export_ahead`. key: of the model and the pictures; artefacts with the same key that
    an interrupted run has made already are kept. Without formats there is no child.
    """
    if not formats:
        return ()
    # In the run's folder, not the system's temporary folder, which may be small and would keep a killed run's files.
    with scratch(out, WORK) as folder:
        folder.mkdir()
        shown, validation = _learned_from(splits), representative(splits.validation)
        held_out = held_out_of(splits)
        arrays: dict[str, npt.NDArray[Any]] = {
            "test_pixels": splits.test.examples,
            "labels": splits.test.labels,
            "representative": shown[0],
            "representative_labels": shown[1],
            "validation_pixels": validation.examples,
            "validation_labels": validation.labels,
            "held_out": held_out.examples,
            "held_out_labels": held_out.labels,
        }
        for key, array in arrays.items():
            save_array(folder / f"{key}.npy", array)
        familiar = kept_familiarity(out)
        about = about or About.of_recipe(out / run_folder.RECIPE)
        job = ExportJob(
            model_file=out / run_folder.MODEL,
            directory=out / run_folder.ARTIFACTS,
            name=name,
            classes=splits.classes,
            test_pixels=folder / "test_pixels.npy",
            labels=folder / "labels.npy",
            # An accelerator's convolutions may round to TF32. Then the child computes the reference on the CPU.
            reference_scores=None if accelerated() else folder / "reference_scores.npy",
            representative=folder / "representative.npy",
            representative_labels=folder / "representative_labels.npy",
            validation_pixels=folder / "validation_pixels.npy",
            validation_labels=folder / "validation_labels.npy",
            held_out=folder / "held_out.npy",
            held_out_labels=folder / "held_out_labels.npy",
            held_out_groups=held_out.groups,
            encoded=splits.test.files or (),
            formats=tuple(item for item in formats if isinstance(item, str)),
            recipe_file=out / run_folder.RECIPE if (out / run_folder.RECIPE).is_file() else None,
            exporters=tuple(index for index, item in enumerate(formats) if not isinstance(item, str)),
            tolerance=recipe.tolerance,
            about=about,
            kind=splits.kind,
            familiar=familiar,
            key=key_of(key, name, recipe.tolerance, asdict(about), versions(), familiar is None) if key else None,
        )
        return export(job, scores=scores, work=folder, worker=worker)


def export_ahead(out: Path, formats: Sequence[object]) -> AbstractContextManager[Worker | None]:
    """Start the child before there is anything to export, because that takes seconds; None without formats."""
    return taken(out / run_folder.ARTIFACTS / run_folder.EXPORT_LOG, needed=bool(formats))


def export_again(
    run: Path,
    recipe: Recipe,
    splits: Splits,
    *,
    name: str,
    formats: Sequence[str | Callable[[Any, Path], Path] | Format],
    about: About | None = None,
    note: str = "",
) -> tuple[ArtifactResult, ...]:
    """Export a finished run's model again. The trained model's scores for the test split are computed anew.

    note: is added to the note of each artefact.
    """
    import keras

    from kt.network.model import predict

    model = keras.saving.load_model(run / run_folder.MODEL, compile=False)
    results = export_run(
        run,
        recipe,
        splits,
        scores=lambda: predict(model, splits.test.examples),
        name=name,
        formats=formats,
        about=about,
    )
    return tuple(replace(result, note="; ".join(filter(None, [result.note, note]))) for result in results)


def _learned_from(splits: Splits) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Examples that the model was trained on, and their labels: of train and, in turn with these, of a target domain.

    The target's have the label `UNLABELLED`. So what rounds is calibrated and compared where the model will work.
    """
    own = representative(splits.train)
    if TARGET not in splits.streams:
        return own.examples, own.labels
    there = splits.streams[TARGET]
    chosen = np.sort(np.random.default_rng(0).permutation(len(there))[:REPRESENTATIVE])
    turns = np.argsort(np.concatenate([np.arange(len(own)), np.arange(len(chosen))]), kind="stable")
    examples = np.concatenate([own.examples, there.examples[chosen]])[turns]
    return examples, np.concatenate([own.labels, np.full(len(chosen), UNLABELLED)])[turns]


def representative(part: Split) -> Split:
    """Up to 500 pictures of a split, taking turns by class, so that the first few have all classes."""
    return part.take(in_turn(part)[:REPRESENTATIVE])
