"""One export from start to end: its job is described here; a child process under TensorFlow makes and checks it.

This module stays light (no TensorFlow, no Keras), since the process that calls it may train under JAX or torch.
"""

import dataclasses
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

from kt import kinds
from kt.base.backend import child_environment, temporary_files_in
from kt.base.console import say, shown
from kt.base.files import save_array
from kt.base.names import is_utf8
from kt.base.run_folder import EXPORT_LOG
from kt.errors import EnvironmentProblem, ReleaseError
from kt.export.about import About
from kt.export.formats import FullFormat, named
from kt.export.formats.of_recipe import of_recipe
from kt.kinds.kind import Kind

_OPTIONAL = (
    *("reference_scores", "representative", "representative_labels", "validation_pixels", "validation_labels"),
    *("held_out", "held_out_labels", "recipe_file", "familiar"),
)


def check_packages(export: Sequence[Any]) -> None:
    """Raise EnvironmentProblem, with the command that installs them, if a format's packages are not installed.

    export: as in a recipe: names, functions and formats.
    """
    for item in export:
        for kind in formats_of(item):
            if missing := kind.missing():
                raise EnvironmentProblem(
                    f"Export to {kind.asked} needs {' and '.join(missing)}: {kind.how_to_install()}"
                )


def formats_of(item: Any) -> tuple[FullFormat, ...]:
    """The formats that one item of a recipe's `export` stands for; "tflite" stands for three."""
    return named(item) if isinstance(item, str) else (of_recipe(item),)


@dataclass(frozen=True)
class ExportJob:
    """What to export, and the data to check it with; plain data, so that it can be handed to another process.

    model_file: the trained model as `.keras`: one input `pixels`, uint8 `[N, H, W, 3]`, to scores float32 `[N, C]`.
    directory: where the artefacts, `export.log`, `job.json` and `result.json` are written (inside a run, not yet
    released). name: begins the names of the `.tflite` files. test_pixels: `.npy`, uint8 `[N, H, W, 3]`. labels: `.npy`,
    int64 `[N]`. reference_scores: `.npy`, float32 `[N, C]`, the trained model's scores of the test pixels; None lets
    the child compute them from the `.keras` file, on the CPU in full float32 (for use right after training on a GPU,
    whose convolutions may round to TF32 and so miss 1e-4). representative: `.npy`, uint8 `[M, H, W, 3]` from train, for
    int8, and of a target domain. representative_labels: `.npy`, int64 `[M]`, -1 where there is no label.
    validation_pixels, validation_labels: `.npy`, as for the test split; they, and the pictures of `representative` that
    do not calibrate, are further evidence on exports that round.
    held_out, held_out_labels, held_out_groups: `.npy`, as for the test split, and the group of each: examples that
    training did not learn from, which an artefact with features is to remember. encoded: picture files that the
    SavedModel must decode as Pillow does; if there are as many as test pixels, they are the same pictures. formats: the
    names to export to. recipe_file: loaded before the model, so that its own layers are known; exporters: the indices
    in its `export` that are functions or formats. tolerance: the accuracy, as a share, that float16, int8 and a
    recipe's own exports may lose. about: the description of the model in the `.tflite` files. kind: of the examples;
    unless given, pictures of the size of the model's input. familiar: the folder of a run in which the score is kept
    that says how unlike anything it learned from an example is; an artefact that gives it must agree with the trained
    model. key: a hash of what the artefacts are made from and checked with; an artefact that was made and checked
    before under the same key is not made again; None makes all.
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
    held_out: Path | None = None
    held_out_labels: Path | None = None
    held_out_groups: tuple[str, ...] = ()
    encoded: tuple[Path, ...] = ()
    formats: tuple[str, ...] = ("saved_model", "tflite")
    recipe_file: Path | None = None
    exporters: tuple[int, ...] = ()
    tolerance: float = 0.01
    about: About = field(default_factory=About)
    kind: Kind | None = None
    familiar: Path | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        for name in self.formats:
            named(name)  # raises for an unknown name
        if self.exporters and self.recipe_file is None:
            raise ReleaseError("A recipe's own exporters need its recipe_file.")
        self.about.check(self.classes)

    def write(self, file: Path) -> None:
        """Write the job as JSON, with absolute paths where these are UTF-8."""
        data = {**dataclasses.asdict(self), "kind": self.kind.to_json() if self.kind else None}
        file.write_text(json.dumps(data, default=_absolute, indent=2), encoding="utf-8")

    @classmethod
    def read(cls, file: Path) -> "ExportJob":
        """Read what `write` wrote."""
        data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        for name in ("model_file", "directory", "test_pixels", "labels"):
            data[name] = Path(data[name])
        for name in _OPTIONAL:
            data[name] = Path(data[name]) if data[name] else None
        for name in ("classes", "formats", "exporters", "held_out_groups"):
            data[name] = tuple(data[name])
        encoded = tuple(Path(name) for name in data["encoded"])
        data["kind"] = kinds.from_json(data["kind"]) if data["kind"] else None
        return cls(**{**data, "encoded": encoded, "about": About.from_json(data["about"])})


def _absolute(path: object) -> str:
    """The absolute path if it is UTF-8 (for TensorFlow), else as given: a working directory may have any name."""
    absolute = str(Path(str(path)).absolute())
    return absolute if is_utf8(absolute) else str(path)  # the child works in the same directory


@dataclass(frozen=True)
class ArtifactResult:
    """One artefact and the gate's verdict; the figures are None if it could not be made or run.

    format: "saved_model", "tflite_float32", "tflite_float16", "tflite_int8", "keras", "onnx", "openvino", "custom" for
    what a recipe's function wrote, or the name of a recipe's own format. mobile: phones run it. reason: why it is not
    released, or "". agreement: share of test images with the same top class as the trained model. accuracy_change:
    artefact minus trained model, as a share. unfamiliarity_difference: the largest difference of its unfamiliarity from
    the trained model's; None if it gives none. unfamiliarity_rate: the share of familiar examples that an artefact that
    rounds is expected to call unfamiliar; None for others. latency_ms: median of single-image calls. seconds: to make
    it and to check it. note: what was changed so that it passes, such as layers that stay in float32. evidence: for a
    format that may round, the counts of pictures by which it was judged (`Judgement.as_json`). tries: the ways in which
    it was made, in order, if there were several.
    """

    name: str
    format: str
    path: Path
    released: bool
    reason: str
    mobile: bool = False
    agreement: float | None = None
    accuracy: float | None = None
    balanced_accuracy: float | None = None
    accuracy_change: float | None = None
    largest_score_difference: float | None = None
    bytes: int | None = None
    latency_ms: float | None = None
    images: int | None = None
    seconds: float = 0.0
    unfamiliarity_difference: float | None = None
    unfamiliarity_rate: float | None = None
    note: str = ""
    evidence: dict[str, Any] | None = None
    tries: tuple[dict[str, Any], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain data under stable keys, the path as text."""
        return {**dataclasses.asdict(self), "path": str(self.path), "tries": list(self.tries)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "ArtifactResult":
        """The reverse of `as_json`."""
        return cls(**{**data, "path": Path(data["path"]), "tries": tuple(data.get("tries", ()))})


def unreleased(results: Sequence[ArtifactResult], *, why: str) -> tuple[ArtifactResult, ...]:
    """The same results after the release itself failed: artefacts that passed the gate remain in the run only."""
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
    """Make and check every artefact of a job in a child process under TensorFlow, and give a result for each.

    scores: computes the content of `reference_scores`, and is called while the child makes the artefacts; None if that
    file exists already. work: a folder for temporary files of the child and its converters; unless given, the system's.
    worker: a child that was started ahead; unless given, one is started now. Artefacts that fail are in the answer too,
    with `released=False` and the reason. Raises ReleaseError if the child could not work at all: there is no model, or
    it was killed; EnvironmentProblem if the disk is full.
    """
    if not job.model_file.is_file():
        raise ReleaseError(f"There is no trained model at {shown(job.model_file)}; train first.")
    job.directory.mkdir(parents=True, exist_ok=True)
    job_file, result_file, log_file = (job.directory / name for name in ("job.json", "result.json", EXPORT_LOG))
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
        if result.format != "custom":  # a recipe's function may write elsewhere
            _check_room(job.directory, result.reason)
    return results


def _done(
    job: ExportJob, job_file: Path, worker: "Worker", *, scores: Callable[[], Any] | None, work: Path | None
) -> int:
    """Let the child do the job, and give its exit code."""
    worker.begin(job_file, log_file=job.directory / EXPORT_LOG, temporary=work)
    if scores is not None and job.reference_scores is not None:
        save_array(job.reference_scores, scores())
    return worker.finish()


class Worker:
    """A child process that loads TensorFlow, and then waits for one job."""

    def __init__(self, process: "subprocess.Popen[str]", *, logged: bool) -> None:
        self._process, self._logged = process, logged

    def waits(self) -> bool:
        """Whether it still runs, so that it can be given a job."""
        return self._process.poll() is None

    def end(self) -> None:
        """Kill it, since it is not needed."""
        self._process.kill()

    def begin(self, job_file: Path, *, log_file: Path, temporary: Path | None = None) -> None:
        """Give it the job; its reference scores need not be written yet.

        log_file: for its output, if it was started without one. temporary: a folder for temporary files.
        """
        log = None if self._logged else str(log_file)
        self._tell({"job": str(job_file), "log": log, "environment": temporary_files_in(temporary)})

    def finish(self) -> int:
        """Tell it that the reference scores are written, pass on its progress, and give its exit code."""
        self._tell("scores")
        progress = self._process.stdout
        assert progress is not None
        for line in progress:
            say(line.rstrip("\n"))
        return self._process.wait()

    def _tell(self, what: Any) -> None:
        """Write a line to its input, which stays open: when it closes, the child knows that this process has ended."""
        given = self._process.stdin
        assert given is not None
        with suppress(BrokenPipeError):  # it has just died: its exit code says so
            given.write(f"{json.dumps(what)}\n")
            given.flush()


@contextmanager
def started_ahead(log_file: Path | None) -> Iterator[Worker]:
    """Start the child of an export, which takes seconds to load TensorFlow, before there is a job for it.

    log_file: for its output, C++ logs included; None if it isn't known yet: then the output before the job is lost. The
    child ends when the block does, or when this process dies.
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
        stack.callback(process.kill)  # so that an interrupted run leaves none behind; does nothing if it has ended
        yield Worker(process, logged=log_file is not None)


_AT_HAND: ContextVar[Worker | None] = ContextVar("at_hand", default=None)


@contextmanager
def at_hand() -> Iterator[None]:
    """Start a child for `taken` to give within the block, before it is known whether anything will be exported."""
    with started_ahead(None) as worker:
        token = _AT_HAND.set(worker)
        try:
            yield
        finally:
            _AT_HAND.reset(token)


@contextmanager
def taken(log_file: Path, *, needed: bool) -> Iterator[Worker | None]:
    """The child that is at hand, or else a new one; if none is needed, None, and the child at hand is ended."""
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
    """Raise EnvironmentProblem if the child failed because the disk is full, which says nothing about the artefacts.

    told: the child's output or reason; on a full disk its end may be lost, so the free space is checked too.
    """
    if any(text in told for text in _NO_ROOM) or shutil.disk_usage(directory).free < _LEAST:
        raise EnvironmentProblem(f"The disk is full (while exporting into {shown(directory)}); free some space.")


_LEAST = 16 * 1024
"""Free bytes on the disk of a run below which a failure is put down to the full disk."""


def _ending(code: int) -> str:
    return f"killed by signal {-code}; out of memory?" if code < 0 else f"exit code {code}"


def _last_line(log_file: Path) -> str:
    lines = log_file.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "the log is empty")
