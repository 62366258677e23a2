"""One export from start to end: described here, made and checked in a child process under TensorFlow.

This module stays light (no TensorFlow, no Keras), since the process that calls it may train under JAX or torch.
"""

import dataclasses
import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kt.backend import child_environment, temporary_files_in
from kt.console import say, shown
from kt.data.values import ValueRange
from kt.errors import EnvironmentProblem, ReleaseError, did_you_mean
from kt.export.about import About
from kt.extras import install
from kt.files import save_array
from kt.names import is_utf8
from kt.recipe import EXPORTS

FORMATS = EXPORTS
"""What an export can be asked for by name; "tflite" makes three files: float32, float16 and int8."""

_OPTIONAL = (
    *("reference_scores", "representative", "representative_labels", "validation_pixels", "validation_labels"),
    "recipe_file",
)

_NEEDS = {"onnx": ("tf2onnx", "onnxruntime"), "openvino": ("openvino",)}


def check_packages(formats: Sequence[object]) -> None:
    """Raise EnvironmentProblem, with the command that mends it, for a format whose packages are not installed."""
    for name in formats:
        missing = [package for package in _NEEDS.get(str(name), ()) if importlib.util.find_spec(package) is None]
        if missing:
            raise EnvironmentProblem(f"Export to {name} needs {' and '.join(missing)}: {install(str(name))}")


@dataclass(frozen=True)
class ExportJob:
    """What to export, and what to check it with; plain data, so that it can be handed to another process.

    model_file: the trained model as `.keras`: one input `pixels`, uint8 `[N, H, W, 3]`, to scores float32 `[N, C]`.
    directory: where the artefacts, `export.log`, `job.json` and `result.json` are written (inside a run, not yet
    released). name: begins the names of the `.tflite` files. test_pixels: `.npy`, uint8 `[N, H, W, 3]`. labels:
    `.npy`, int64 `[N]`. reference_scores: `.npy`, float32 `[N, C]`, what the trained model said of the test pixels;
    None lets the child ask the `.keras` file itself, on the CPU in full float32 (right after training on a GPU, whose
    convolutions may round to TF32 and so miss 1e-4). representative: `.npy`, uint8 `[M, H, W, 3]` from train, for int8.
    validation_pixels, validation_labels: `.npy`, as for the test split, and representative_labels: `.npy`, int64 `[M]`:
    they, and the pictures of `representative` that calibrate nothing, are further evidence where an export rounds.
    encoded: picture files that the SavedModel must decode as Pillow does, as many as test pixels where they are these
    pictures. recipe_file: loaded before the model, so that
    its own layers are known; exporters: the indices in its `export` that are functions. tolerance: the accuracy, as a
    share, that float16, int8 and a recipe's own exports may lose. about: what the `.tflite` files tell of the model.
    value_range: by which `encoded` are read where they have more than 8 bits.
    """

    model_file: Path
    directory: Path
    name: str
    classes: tuple[str, ...]
    test_pixels: Path
    labels: Path
    reference_scores: Path | None = None
    representative: Path | None = None
    representative_labels: Path | None = None
    validation_pixels: Path | None = None
    validation_labels: Path | None = None
    encoded: tuple[Path, ...] = ()
    formats: tuple[str, ...] = ("saved_model", "tflite")
    recipe_file: Path | None = None
    exporters: tuple[int, ...] = ()
    tolerance: float = 0.01
    about: About = field(default_factory=About)
    value_range: ValueRange | None = None

    def __post_init__(self) -> None:
        for name in self.formats:
            if name not in FORMATS:
                raise ReleaseError(f"Cannot export to {name!r}. {did_you_mean(name, FORMATS)}")
        if self.exporters and self.recipe_file is None:
            raise ReleaseError("A recipe's own exporters need its recipe_file.")
        self.about.check(self.classes)

    def write(self, file: Path) -> None:
        """Write the job as JSON, with absolute paths where that can be."""
        file.write_text(json.dumps(dataclasses.asdict(self), default=_absolute, indent=2), encoding="utf-8")

    @classmethod
    def read(cls, file: Path) -> "ExportJob":
        """Read what `write` wrote."""
        data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        for name in ("model_file", "directory", "test_pixels", "labels"):
            data[name] = Path(data[name])
        for name in _OPTIONAL:
            data[name] = Path(data[name]) if data[name] else None
        for name in ("classes", "formats", "exporters"):
            data[name] = tuple(data[name])
        encoded = tuple(Path(name) for name in data["encoded"])
        data["value_range"] = ValueRange(**data["value_range"]) if data["value_range"] else None
        return cls(**{**data, "encoded": encoded, "about": About.from_json(data["about"])})


def _absolute(path: object) -> str:
    """The path, absolute where it is UTF-8, as TensorFlow needs it; a working directory may have any name."""
    absolute = str(Path(str(path)).absolute())
    return absolute if is_utf8(absolute) else str(path)  # the child works in the same directory


@dataclass(frozen=True)
class ArtifactResult:
    """One artefact and what the gate found; the figures are None where it could not be made or run.

    format: "saved_model", "tflite_float32", "tflite_float16", "tflite_int8", "keras", "onnx", "openvino" or "custom".
    reason: why it is not
    released, or "". agreement: share of test images with the same top class as the trained model. accuracy_change:
    artefact minus trained model, as a share. latency_ms: median of single-image calls. seconds: to make it and to check
    it. note: what had to be changed to make it so, such as layers that stay in float32. evidence: where it may round,
    by which counts of pictures it was judged (`Judgement.as_json`). tries: the ways it was made, in order, where there
    were several.
    """

    name: str
    format: str
    path: Path
    released: bool
    reason: str
    agreement: float | None = None
    accuracy: float | None = None
    balanced_accuracy: float | None = None
    accuracy_change: float | None = None
    largest_score_difference: float | None = None
    bytes: int | None = None
    latency_ms: float | None = None
    images: int | None = None
    seconds: float = 0.0
    note: str = ""
    evidence: dict[str, Any] | None = None
    tries: tuple[dict[str, Any], ...] = ()

    @property
    def mobile(self) -> bool:
        """Whether a phone can run it."""
        return self.path.suffix == ".tflite"

    def as_json(self) -> dict[str, Any]:
        """Plain data under stable keys, the path as text."""
        return {**dataclasses.asdict(self), "path": str(self.path), "tries": list(self.tries)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "ArtifactResult":
        """The reverse of `as_json`."""
        return cls(**{**data, "path": Path(data["path"]), "tries": tuple(data.get("tries", ()))})


def unreleased(results: Sequence[ArtifactResult], *, why: str) -> tuple[ArtifactResult, ...]:
    """The same results where the release itself failed: what passed the gate is in the run, and nowhere else."""
    reason = f"it passed the gate, but the release failed: {why}"
    return tuple(
        dataclasses.replace(result, released=False, reason=reason) if result.released else result for result in results
    )


def export(
    job: ExportJob,
    *,
    scores: Callable[[], Any] | None = None,
    work: Path | None = None,
    worker: "Worker | None" = None,
) -> tuple[ArtifactResult, ...]:
    """Make and check every artefact of a job in a child process under TensorFlow, and tell how each one did.

    scores: gives what `reference_scores` is to hold, and is asked while the child makes the artefacts; None where that
    file is there. work: a folder for the child's temporary files, converters' too; where the system keeps such files
    unless given. worker: a child that was started ahead; else one is started now. Artefacts that fail are in the answer
    too, with `released=False` and the reason. Raises ReleaseError when the child could not work at all: no model, or it
    was killed.
    """
    if not job.model_file.is_file():
        raise ReleaseError(f"There is no trained model at {shown(job.model_file)}; train first.")
    job.directory.mkdir(parents=True, exist_ok=True)
    job_file, result_file, log_file = (job.directory / name for name in ("job.json", "result.json", LOG))
    result_file.unlink(missing_ok=True)
    job.write(job_file)
    if worker is None or not worker.waits():
        with started_ahead(log_file) as fresh:
            code = _done(job, job_file, fresh, scores=scores, work=work)
    else:
        code = _done(job, job_file, worker, scores=scores, work=work)
    if code != 0 or not result_file.is_file():
        _check_room(job.directory, log_file.read_text(encoding="utf-8", errors="replace"))
        raise ReleaseError(f"Export failed ({_ending(code)}): {_last_line(log_file)} (all of it: {shown(log_file)})")
    results = tuple(ArtifactResult.from_json(item) for item in json.loads(result_file.read_text(encoding="utf-8")))
    for result in results:
        if result.format != "custom":  # which may write elsewhere
            _check_room(job.directory, result.reason)
    return results


def _done(
    job: ExportJob, job_file: Path, worker: "Worker", *, scores: Callable[[], Any] | None, work: Path | None
) -> int:
    """The child's exit code, when it has done the job."""
    worker.begin(job_file, log_file=job.directory / LOG, temporary=work)
    if scores is not None and job.reference_scores is not None:
        save_array(job.reference_scores, scores())
    return worker.finish()


LOG = "export.log"
"""The file in the job's directory that takes what the child prints besides its progress."""


class Worker:
    """A child process that loads TensorFlow, and then waits for one job."""

    def __init__(self, process: "subprocess.Popen[str]", *, logged: bool) -> None:
        self._process, self._logged = process, logged

    def waits(self) -> bool:
        """Whether it is there to be given a job."""
        return self._process.poll() is None

    def end(self) -> None:
        """It is not needed."""
        self._process.kill()

    def begin(self, job_file: Path, *, log_file: Path, temporary: Path | None = None) -> None:
        """Give it the job; its reference scores need not be there yet.

        log_file: for its noise, where it was started with none. temporary: a folder for temporary files.
        """
        log = None if self._logged else str(log_file)
        self._tell({"job": str(job_file), "log": log, "environment": temporary_files_in(temporary)})

    def finish(self) -> int:
        """Tell it that the reference scores are there, pass on its progress, and give its exit code."""
        self._tell("scores")
        progress = self._process.stdout
        assert progress is not None
        for line in progress:
            say(line.rstrip("\n"))
        return self._process.wait()

    def _tell(self, what: Any) -> None:
        """A line of its input, which stays open: that is how it knows that this process is still there."""
        given = self._process.stdin
        assert given is not None
        with suppress(BrokenPipeError):  # it has just died: its exit code says so
            given.write(f"{json.dumps(what)}\n")
            given.flush()


@contextmanager
def started_ahead(log_file: Path | None) -> Iterator[Worker]:
    """Start the child of an export, which takes seconds to load TensorFlow, before there is a job for it.

    log_file: for its noise, C++ included; None where there is no place for it yet: then what it says before it has a
    job is lost. It ends when the block does, or when this process dies.
    """
    with ExitStack() as stack:
        log: Any = subprocess.DEVNULL
        if log_file is not None:
            log_file.parent.mkdir(parents=True, exist_ok=True)
            log = stack.enter_context(log_file.open("w", encoding="utf-8"))
        process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-P", "-m", "kt.export.child"],  # our own interpreter and module
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
                env=child_environment(),
            )
        )
        stack.callback(process.kill)  # does nothing to one that has ended; an interrupted run leaves none behind
        yield Worker(process, logged=log_file is not None)


_AT_HAND: ContextVar[Worker | None] = ContextVar("at_hand", default=None)


@contextmanager
def at_hand() -> Iterator[None]:
    """Within it there is a child that `taken` gives: started before it is known what is to be exported, if anything."""
    with started_ahead(None) as worker:
        token = _AT_HAND.set(worker)
        try:
            yield
        finally:
            _AT_HAND.reset(token)


@contextmanager
def taken(log_file: Path, *, needed: bool) -> Iterator[Worker | None]:
    """The child that is at hand, or a new one; none, and none is left at hand, where it is not needed."""
    worker = _AT_HAND.get()
    if not needed:
        if worker is not None:
            worker.end()
        yield None
    elif worker is not None and worker.waits():
        yield worker
    else:
        with started_ahead(log_file) as fresh:
            yield fresh


_NO_ROOM = ("No space left on device", "Disk quota exceeded")


def _check_room(directory: Path, told: str) -> None:
    """Raise EnvironmentProblem where the child found the disk full, which says nothing about the artefacts.

    told: what it said; on a full disk the end of that may be lost.
    """
    if any(text in told for text in _NO_ROOM) or shutil.disk_usage(directory).free < _LEAST:
        raise EnvironmentProblem(f"The disk is full (while exporting into {shown(directory)}); free some space.")


_LEAST = 16 * 1024
"""Bytes: with less left on the disk of a run, what went wrong there went wrong for that reason."""


def _ending(code: int) -> str:
    return f"killed by signal {-code}; out of memory?" if code < 0 else f"exit code {code}"


def _last_line(log_file: Path) -> str:
    lines = log_file.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "the log is empty")
