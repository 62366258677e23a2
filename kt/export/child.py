"""The child process of an export: `python -m kt.export.child` makes each artefact, checks it, writes results.

It runs under TensorFlow whatever backend trained (the parent sets the environment). The job's file is named in a line
of standard input, which may come late: until then it has loaded what it needs. Another line says that the trained
model's scores are there; until then artefacts are made, and none is checked. When that input ends, the parent is gone,
and so the child ends. Progress is standard output, line by line; everything else, C++ logs included, is standard
error, which the parent keeps as `export.log`.
"""

import dataclasses
import gc
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import keras
import numpy as np

import kt.recipe
from kt import backend
from kt.beside import beside
from kt.data.images import servable_bytes
from kt.environment import cores
from kt.errors import KtError, ReleaseError
from kt.export import gate
from kt.export.artifact import Artifact, can_open, open_artifact
from kt.export.evidence import Judgement, differ
from kt.export.job import ArtifactResult, ExportJob
from kt.export.keras_file import KerasFile
from kt.export.onnx import Onnx
from kt.export.openvino import OpenVino
from kt.export.saved_model import SavedModel
from kt.export.tflite import CALIBRATION, VARIANTS, Conversions, TFLite
from kt.names import printable
from kt.numbers import size
from kt.plain import use_plain_temporary_folder
from kt.traced import in_inference

GENTLER: dict[str, dict[str, Any]] = {
    "its head computes in float32": {"float_head": True},
    "the first 15% of its layers compute in float32": {"float_share": 0.15},
    "the first 15% of its layers and its head compute in float32": {"float_share": 0.15, "float_head": True},
    "the first 35% of its layers and its head compute in float32": {"float_share": 0.35, "float_head": True},
    "only its weights are int8, and all layers compute in float32": {"dynamic": True},
}
"""How int8 is made, step by step, where it changes too much of what the trained model answers."""

MOST_ENCODED = 100
"""Decoding is checked on at most so many pictures, spread over the test split; scores are checked on all of it."""

_FEWEST = 10
"""Pictures that calibrate, however few there are: ten do as well as a thousand (benchmarks/README.md, int8)."""

_BESIDE = 4
"""Artefacts that are made and checked at once; more than there are cores, for each waits now and then."""

_SWITCH = 0.0005
"""Seconds after which a thread gives way to another: each picture of a check needs Python's lock for a moment."""

_TRY = ".try_"
_FLOAT32 = "tflite_float32"
_MEASURED = (
    *("released", "reason", "agreement", "accuracy", "balanced_accuracy", "accuracy_change"),
    *("largest_score_difference", "bytes", "images"),
)


@dataclass(frozen=True)
class _Task:
    """One artefact to make. exact: it must match the trained model in every score.

    gentler: further ways to make it, with what each changes in words, for when the one before changes too much.
    """

    name: str
    format: str
    make: Callable[[Any, Path], Path]
    exact: bool
    gentler: tuple[tuple[str, Callable[[Any, Path], Path]], ...] = ()


@dataclass
class _Evidence:
    """What every artefact is checked with.

    scores: waits for the trained model's. further: pictures besides the test split's, with labels and whether they
    trained; without the trained model's answers, which `answered` adds when they are first needed. float32: the file
    that gives them in the model's place if it matches, which is faster. opened: what takes long to open, by its path.
    """

    pixels: Any
    labels: Any
    scores: Callable[[], Any]
    encoded: gate.Encoded = field(default_factory=gate.Encoded)
    further: tuple[Any, Any, Any] | None = None
    float32: Future[ArtifactResult] | None = None
    opened: dict[Path, Artifact] = field(default_factory=dict)
    _found: gate.Further | None = None
    _finding: threading.Lock = field(default_factory=threading.Lock)

    def answered(self, model: Any) -> gate.Further | None:
        """The further pictures with the trained model's answers: by the float32 file, where that was found to match."""
        with self._finding:
            if self._found is None and self.further is not None:
                pixels, labels, learned = self.further
                answers = _in_batches(self._fastest(model), pixels).argmax(axis=1)
                self._found = gate.Further(pixels, answers, labels, learned)
            return self._found

    def _fastest(self, model: Any) -> Callable[[Any], Any]:
        if self.float32 is not None and (made := self.float32.result()).released:
            return open_artifact(made.path, threads=cores()).scores
        return in_inference(model)


@dataclass(frozen=True)
class _Attempt:
    """An artefact as it was made in one way; changed, for each picture of the evidence; None where it wasn't judged."""

    result: ArtifactResult
    judged: Judgement | None = None
    changed: Any = None


def main(job_file: Path, progress: TextIO, *, scores_are_there: threading.Event) -> None:
    """Do the whole job and write `result.json` into its directory. An artefact that fails doesn't stop the others.

    They are made and checked beside each other, each mostly on one core. How long a picture takes is measured at the
    end, when nothing else is done.
    """
    sys.setswitchinterval(_SWITCH)
    backend.settle()
    use_plain_temporary_folder()
    job = ExportJob.read(job_file)
    own = _own_exporters(job)  # before the model, which may need layers that the recipe registers
    model = _load_model(job.model_file)
    evidence = _evidence(job, model, scores_are_there=scores_are_there)
    tell = _Progress(progress)
    tasks = list(_tasks(job))
    with ThreadPoolExecutor(max_workers=_BESIDE) as pool:
        begun = {}
        # What rounds waits for the float32 file: that is begun first, so that nothing can keep it from being made.
        for task in sorted(tasks, key=lambda task: task.format != _FLOAT32):
            begun[task.name] = pool.submit(_make_and_check, task, job, model=model, evidence=evidence, tell=tell)
            if task.format == _FLOAT32:
                evidence.float32 = begun[task.name]
        made = [begun[task.name].result() for task in tasks]
    made += [_make_and_check(task, job, model=model, evidence=evidence, tell=tell) for task in own]
    results = []
    for result in made:
        timed = _with_latency(result, evidence)
        tell(_summary(timed))
        results.append(timed.as_json())
    (job.directory / "result.json").write_text(json.dumps(results, indent=2), encoding="utf-8")


class _Progress:
    """Lines for the parent, whole though two threads may have something to tell."""

    def __init__(self, lines: TextIO) -> None:
        self._lines, self._lock = lines, threading.Lock()

    def __call__(self, text: str) -> None:
        with self._lock:
            print(printable(text), file=self._lines, flush=True)


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
        shared = Conversions()
        for variant in VARIANTS:
            make = TFLite(
                variant,
                job.classes,
                job.name,
                representative=job.representative,
                calibration=_calibrating(job),
                about=job.about,
                conversions=shared,
            )
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


def _calibrating(job: ExportJob) -> int:
    """How many of the representative pictures calibrate: half at most where the others are to be judged by."""
    if job.representative is None or job.representative_labels is None:
        return CALIBRATION
    return min(CALIBRATION, max(_FEWEST, len(np.load(job.representative, mmap_mode="r")) // 2))


def _evidence(job: ExportJob, model: Any, *, scores_are_there: threading.Event) -> _Evidence:
    pixels = np.load(job.test_pixels, mmap_mode="r")

    def scores() -> Any:
        if job.reference_scores is None:
            return _in_batches(in_inference(model), pixels)
        scores_are_there.wait()
        return np.load(job.reference_scores)

    chosen = np.linspace(0, len(job.encoded) - 1, num=min(len(job.encoded), MOST_ENCODED), dtype=int)
    encoded = [servable_bytes(job.encoded[index], value_range=job.value_range) for index in chosen]
    places = chosen.tolist() if len(job.encoded) == len(pixels) else None
    return _Evidence(pixels, np.load(job.labels), beside(scores), gate.Encoded(encoded, places), _further(job))


def _further(job: ExportJob) -> tuple[Any, Any, Any] | None:
    """Pixels and labels of validation and of the training pictures that don't calibrate, and whether they trained."""
    parts = []
    if job.validation_pixels is not None and job.validation_labels is not None:
        parts.append((np.load(job.validation_pixels), np.load(job.validation_labels), False))
    if job.representative is not None and job.representative_labels is not None:
        rest = slice(_calibrating(job), None)
        parts.append((np.load(job.representative)[rest], np.load(job.representative_labels)[rest], True))
    if not any(len(labels) for _, labels, _ in parts):
        return None
    learned = np.concatenate([np.full(len(labels), trained) for _, labels, trained in parts])
    return np.concatenate([one for one, _, _ in parts]), np.concatenate([one for _, one, _ in parts]), learned


def _in_batches(ask: Callable[[Any], Any], pixels: Any) -> Any:
    return np.concatenate([np.asarray(ask(pixels[start : start + 64])) for start in range(0, len(pixels), 64)])


def _opened(path: Path, task: _Task, evidence: _Evidence) -> Artifact:
    """Open it for one thread: checking goes on beside other work, where more would wait for each other."""
    opened = open_artifact(path, threads=1)
    if task.format == "saved_model":
        evidence.opened[path] = opened
    return opened


def _make_and_check(
    task: _Task, job: ExportJob, *, model: Any, evidence: _Evidence, tell: Callable[[str], None]
) -> ArtifactResult:
    """One artefact with the gate's verdict; of several ways to make it the best.

    It is made in the next way while the best so far is refused for what it changes. Where that only seems too much and
    may be chance, it ends as soon as the next way can't be told from the best by these pictures.
    """
    best = first = _attempt(task, job, model=model, evidence=evidence, folder=job.directory)
    tries = [_tried("as it is", first)]
    for number, (change, make) in enumerate(task.gentler):
        if best.judged is None or not (best.judged.reason or best.judged.doubtful):
            break
        if number == 0:
            tell(f"  {task.name}: {_of_try(first)}; it is made in other ways, and the best is kept")
        one = _attempt(
            dataclasses.replace(task, make=make), job, model=model, evidence=evidence,
            folder=job.directory / f"{_TRY}{number}",
        )  # fmt: skip
        tell(f"  {task.name}: {change}: {_of_try(one)}")
        tries.append(_tried(change, one))
        same = one.judged is not None and not differ(one.changed, best.changed)
        settled = same and not best.judged.reason
        if _rank(one) < _rank(best):
            note = f"{change}, since otherwise {first.result.reason or _of_try(first)}"
            best = dataclasses.replace(one, result=dataclasses.replace(one.result, note=note))
        if settled:
            break
    result = _kept(best.result, job.directory)
    for folder in job.directory.glob(f"{_TRY}*"):
        shutil.rmtree(folder, ignore_errors=True)
    return dataclasses.replace(result, tries=tuple(tries) if len(tries) > 1 else ())


def _rank(one: _Attempt) -> tuple[bool, int, float]:
    """The lower the better: released, then few changed answers, then little loss."""
    if one.judged is None:
        return (True, len(one.changed) if one.changed is not None else 1 << 60, 0.0)
    return (not one.result.released, one.judged.counts.changed, one.judged.loss)


def _tried(way: str, one: _Attempt) -> dict[str, Any]:
    """A way to make it, for the report."""
    counts = None if one.judged is None else one.judged.counts
    return {
        "way": way,
        "pictures": None if counts is None else counts.pictures,
        "changed": None if counts is None else counts.changed,
        "reason": one.result.reason,
        "seconds": one.result.seconds,
    }


def _of_try(one: _Attempt) -> str:
    seconds = f"{one.result.seconds:.1f} s"
    if one.judged is None:
        return f"{one.result.reason}, {seconds}"
    counts = one.judged.counts
    share = 1 - counts.changed / counts.pictures
    return f"same answer on {100 * share:.1f}% of {counts.pictures:,} pictures, {seconds}"


def _kept(result: ArtifactResult, directory: Path) -> ArtifactResult:
    """The artefact of the best way, moved to where the first one lies."""
    if not result.path.parent.name.startswith(_TRY) or result.path.parent.parent != directory:
        return result
    path = directory / result.path.name
    result.path.replace(path)
    return dataclasses.replace(result, path=path)


def _attempt(task: _Task, job: ExportJob, *, model: Any, evidence: _Evidence, folder: Path) -> _Attempt:
    start = time.perf_counter()
    result = ArtifactResult(name=task.name, format=task.format, path=folder / task.name, released=False, reason="")
    try:
        folder.mkdir(exist_ok=True)
        path = Path(task.make(model, folder))
        result = dataclasses.replace(result, name=path.name, path=path, seconds=time.perf_counter() - start)
        if not can_open(path):
            reason = f"kt cannot run a {path.suffix or 'file without a suffix'} to check it"
            return _Attempt(dataclasses.replace(result, reason=reason, bytes=gate.size_of(path)))
        verdict = gate.check(
            _opened(path, task, evidence),
            evidence.scores(),
            labels=evidence.labels,
            pixels=evidence.pixels,
            classes=job.classes,
            exact=task.exact,
            tolerance=job.tolerance,
            encoded=evidence.encoded,
            further=None if task.exact else evidence.answered(model),
            timed=False,
        )
    except Exception as error:  # noqa: BLE001 - one exporter that fails must not lose the others' artefacts
        traceback.print_exc()
        return _Attempt(dataclasses.replace(result, reason=_one_line(error)))
    result = dataclasses.replace(result, seconds=time.perf_counter() - start)
    if isinstance(verdict, str):
        return _Attempt(dataclasses.replace(result, reason=verdict, bytes=gate.size_of(path)))
    judged = verdict.judged
    found = {name: getattr(verdict, name) for name in _MEASURED}
    found["evidence"] = None if judged is None else judged.as_json()
    return _Attempt(dataclasses.replace(result, **found), judged, verdict.changed)


def _with_latency(result: ArtifactResult, evidence: _Evidence) -> ArtifactResult:
    """With the milliseconds for one picture, where it can be asked."""
    if result.images is None:
        return result
    artifact = evidence.opened.get(result.path) or open_artifact(result.path)
    return dataclasses.replace(result, latency_ms=gate.latency(artifact, evidence.pixels))


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, KtError) else f"{type(error).__name__}: {text}"[:300]


def _summary(result: ArtifactResult) -> str:
    figures = [size(result.bytes)] if result.bytes else []
    if result.latency_ms is not None:
        figures.append(f"{result.latency_ms:.1f} ms a picture")
    if result.largest_score_difference is not None:
        figures.append(f"largest difference {result.largest_score_difference:.1g}")
    told = (result.evidence or {}).get("told")
    figures += [result.note] if result.note else []
    figures += [told] if told else []
    end = "released" if result.released else f"NOT released: {result.reason}"
    return f"  {result.name}: {', '.join([*figures, end])}"


def _job_file(scores_are_there: threading.Event) -> Path:
    """The job's file, once the parent names it; ends this process where the parent ends without."""
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    threading.Thread(target=_listen, args=(scores_are_there,), daemon=True).start()
    asked = json.loads(line)
    if asked["log"]:
        with Path(asked["log"]).open("w", encoding="utf-8") as log:
            os.dup2(log.fileno(), 2)
    os.environ.update(asked["environment"])
    tempfile.tempdir = None  # it is looked up anew
    return Path(asked["job"])


def _listen(scores_are_there: threading.Event) -> None:
    """The parent has one more thing to say; then its end is this process's."""
    if sys.stdin.readline():
        scores_are_there.set()
        sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process, and says what happened
    # What Keras, TensorFlow or an exporter of the recipe's own prints must not be taken for progress.
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="backslashreplace")
    there = threading.Event()
    job_file = _job_file(there)
    os.dup2(2, 1)
    try:
        main(job_file, lines, scores_are_there=there)
    except Exception as error:  # noqa: BLE001 - the parent shows the last line of the log
        traceback.print_exc()
        sys.exit(_one_line(error))
    gc.freeze()  # nothing is searched for circles at the end, while the parent waits
