"""The child process of an export: `python -m kt.export.child job.json` makes each artefact, checks it, writes results.

It runs under TensorFlow whatever backend trained (the parent sets the environment). Progress is standard output, line
by line; everything else, C++ logs included, is standard error, which the parent keeps as `export.log`.
"""

import dataclasses
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import keras
import numpy as np

import kt.recipe
from kt import backend
from kt.data.images import servable_bytes
from kt.errors import KtError, ReleaseError
from kt.export import gate
from kt.export.artifact import can_open, open_artifact
from kt.export.job import ArtifactResult, ExportJob
from kt.export.keras_file import KerasFile
from kt.export.onnx import Onnx
from kt.export.openvino import OpenVino
from kt.export.saved_model import SavedModel
from kt.export.tflite import VARIANTS, TFLite
from kt.names import printable
from kt.numbers import size
from kt.plain import use_plain_temporary_folder

GENTLER: dict[str, dict[str, Any]] = {
    "its head computes in float32": {"float_head": True},
    "calibrated with up to 500 pictures": {"calibration": 500},
    "the first 15% of its layers compute in float32": {"float_share": 0.15},
    "the first 15% of its layers and its head compute in float32": {"float_share": 0.15, "float_head": True},
    "the first 35% of its layers and its head compute in float32": {"float_share": 0.35, "float_head": True},
    "only its weights are int8, and all layers compute in float32": {"dynamic": True},
}
"""How int8 is made, step by step, where the gate refuses it for what it loses."""

MOST_ENCODED = 100
"""Decoding is checked on at most so many pictures, spread over the test split; scores are checked on all of it."""


@dataclass(frozen=True)
class _Task:
    """One artefact to make. exact: it must match the trained model in every score.

    gentler: further ways to make it, with what each changes in words, for when the one before loses too much accuracy.
    """

    name: str
    format: str
    make: Callable[[Any, Path], Path]
    exact: bool
    gentler: tuple[tuple[str, Callable[[Any, Path], Path]], ...] = ()


@dataclass(frozen=True)
class _Evidence:
    """What every artefact is checked with."""

    pixels: Any
    labels: Any
    scores: Any
    encoded: Sequence[bytes]


def main(job_file: Path, progress: TextIO) -> None:
    """Do the whole job and write `result.json` into its directory. An artefact that fails doesn't stop the others."""
    backend.settle()
    use_plain_temporary_folder()
    job = ExportJob.read(job_file)
    own = _own_exporters(job)  # before the model, which may need layers that the recipe registers
    model = _load_model(job.model_file)
    evidence = _evidence(job, model)
    results = []
    for task in [*_tasks(job), *own]:
        result = _make_and_check(task, job, model=model, evidence=evidence)
        print(printable(_summary(result)), file=progress, flush=True)
        results.append(result.as_json())
    (job.directory / "result.json").write_text(json.dumps(results, indent=2), encoding="utf-8")


def _own_exporters(job: ExportJob) -> list[_Task]:
    if job.recipe_file is None:
        return []
    export = kt.recipe.load(job.recipe_file).recipe.export
    chosen: list[Any] = [export[index] for index in job.exporters]
    return [_Task(getattr(make, "__name__", type(make).__name__), "custom", make, exact=False) for make in chosen]


def _tasks(job: ExportJob) -> Iterator[_Task]:
    if "saved_model" in job.formats:
        yield _Task("saved_model", "saved_model", SavedModel(job.classes, job.name), exact=True)
    if "tflite" in job.formats:
        for variant in VARIANTS:
            make = TFLite(variant, job.classes, job.name, representative=job.representative, about=job.about)
            steps = GENTLER.items() if variant == "int8" else ()
            gentler = tuple((change, dataclasses.replace(make, **fields)) for change, fields in steps)
            yield _Task(f"{job.name}_{variant}.tflite", f"tflite_{variant}", make, variant == "float32", gentler)
    if "keras" in job.formats:
        yield _Task(f"{job.name}.keras", "keras", KerasFile(job.classes, name=job.name), exact=True)
    if "onnx" in job.formats:
        yield _Task(f"{job.name}.onnx", "onnx", Onnx(job.classes, name=job.name), exact=True)
    if "openvino" in job.formats:
        yield _Task(f"{job.name}_openvino", "openvino", OpenVino(job.classes, name=job.name), exact=True)


def _load_model(file: Path) -> Any:
    try:
        return keras.saving.load_model(file, compile=False, safe_mode=True)
    except Exception as error:
        raise ReleaseError(f"{file.name} cannot be loaded under TensorFlow: {_one_line(error)}") from error


def _evidence(job: ExportJob, model: Any) -> _Evidence:
    pixels = np.load(job.test_pixels, mmap_mode="r")
    if job.reference_scores is None:
        scores = np.concatenate([model.predict_on_batch(pixels[i : i + 64]) for i in range(0, len(pixels), 64)])
    else:
        scores = np.load(job.reference_scores)
    chosen = np.linspace(0, len(job.encoded) - 1, num=min(len(job.encoded), MOST_ENCODED), dtype=int)
    encoded = [servable_bytes(job.encoded[index], value_range=job.value_range) for index in chosen]
    return _Evidence(pixels, np.load(job.labels), scores, encoded)


def _make_and_check(task: _Task, job: ExportJob, *, model: Any, evidence: _Evidence) -> ArtifactResult:
    """One artefact with the gate's verdict: of the ways to make it the first that passes, else the last."""
    result = first = _attempt(task, job, model=model, evidence=evidence)
    for change, make in task.gentler:
        if result.released or result.accuracy_change is None:  # None: it could not be made or asked at all
            break
        result = _attempt(dataclasses.replace(task, make=make), job, model=model, evidence=evidence)
        result = dataclasses.replace(result, note=f"{change}, since otherwise {first.reason}")
    return result


def _attempt(task: _Task, job: ExportJob, *, model: Any, evidence: _Evidence) -> ArtifactResult:
    start = time.perf_counter()
    result = ArtifactResult(
        name=task.name, format=task.format, path=job.directory / task.name, released=False, reason=""
    )
    try:
        path = Path(task.make(model, job.directory))
        result = dataclasses.replace(result, name=path.name, path=path, seconds=time.perf_counter() - start)
        if not can_open(path):
            reason = f"kt cannot run a {path.suffix or 'file without a suffix'} to check it"
            return dataclasses.replace(result, reason=reason, bytes=gate.size_of(path))
        verdict = gate.check(
            open_artifact(path),
            evidence.scores,
            labels=evidence.labels,
            pixels=evidence.pixels,
            classes=job.classes,
            exact=task.exact,
            tolerance=job.tolerance,
            encoded=evidence.encoded,
        )
    except Exception as error:  # noqa: BLE001 - one exporter that fails must not lose the others' artefacts
        traceback.print_exc()
        return dataclasses.replace(result, reason=_one_line(error))
    if isinstance(verdict, str):
        return dataclasses.replace(result, reason=verdict, bytes=gate.size_of(path))
    return dataclasses.replace(result, **dataclasses.asdict(verdict))


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, KtError) else f"{type(error).__name__}: {text}"[:300]


def _summary(result: ArtifactResult) -> str:
    figures = [size(result.bytes)] if result.bytes else []
    if result.latency_ms is not None:
        figures.append(f"{result.latency_ms:.1f} ms a picture")
    if result.largest_score_difference is not None:
        figures.append(f"largest difference {result.largest_score_difference:.1g}")
    figures += [result.note] if result.note else []
    end = "released" if result.released else f"NOT released: {result.reason}"
    return f"  {result.name}: {', '.join([*figures, end])}"


if __name__ == "__main__":
    # What Keras, TensorFlow or an exporter of the recipe's own prints must not be taken for progress.
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="backslashreplace")
    os.dup2(2, 1)
    try:
        main(Path(sys.argv[1]), lines)
    except Exception as error:  # noqa: BLE001 - the parent shows the last line of the log
        traceback.print_exc()
        sys.exit(_one_line(error))
