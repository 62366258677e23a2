"""The child process of an export: `python -m kt.export.child` makes each artefact, checks it, writes results.

It runs under TensorFlow, whichever backend trained (the parent sets the environment). The first line of standard input
names the job's file. It may come late; meanwhile the child loads what it needs. A second line says that the trained
model's scores are written; before that, artefacts are made, but none is checked. When standard input ends, the parent
is gone, so the child ends too. Progress goes to standard output, line by line; everything else, C++ logs included, goes
to standard error, which the parent keeps as `export.log`.
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
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import keras
import numpy as np

import kt.recipe
from kt import kinds
from kt.base import backend
from kt.base.beside import beside
from kt.base.environment import cores
from kt.base.files import replace_json
from kt.base.names import printable
from kt.base.numbers import size
from kt.base.plain import use_plain_temporary_folder
from kt.base.stages import whole
from kt.errors import KtError, ReleaseError
from kt.export import gate
from kt.export.artifact import keep_kind
from kt.export.evidence import Judgement, differ
from kt.export.formats import FORMATS
from kt.export.formats.format import CALIBRATION, Artifact, Details, EncodedTest, FullFormat, HeldOut
from kt.export.formats.of_recipe import of_recipe
from kt.export.job import ArtifactResult, ExportJob
from kt.export.kept import keep, kept_before
from kt.familiar import Carried
from kt.graph.traced import in_inference
from kt.kinds.kind import Kind, Nouns

MOST_ENCODED = 100
"""The most pictures on which decoding is checked, spread over the test split; scores are checked on all of it."""

_FEWEST = 10
"""The fewest pictures that calibrate: ten do as well as a thousand (benchmarks/README.md, int8)."""

_BESIDE = 4
"""Artefacts that are made and checked at once: more than there are cores, since each of them sometimes waits."""

_SWITCH = 0.0005
"""Python's switch interval in seconds: short, since each picture of a check needs the global lock (GIL) briefly."""

_TRY = ".try_"
_MEASURED = (
    *("released", "reason", "agreement", "accuracy", "balanced_accuracy", "accuracy_change"),
    *("largest_score_difference", "unfamiliarity_difference", "unfamiliarity_rate", "bytes", "images"),
)


@dataclass
class _Evidence:
    """The data that every artefact is checked with.

    pixels, labels: of the test split. scores: waits for the trained model's scores and gives them. encoded: picture
    files for the check of decoding. further: pictures besides the test split's, with their labels and whether the model
    was trained on each; `answered` adds the trained model's answers when they are first needed. held_out: what an
    artefact with features is to remember. familiar: what an artefact can say unfamiliarity by, and is checked by.
    faster: the format whose artefact gives these answers in the model's place, if it passes the gate. opened: the
    artefacts that are open already, by path.
    """

    pixels: Any
    labels: Any
    scores: Callable[[], Any]
    encoded: EncodedTest = field(default_factory=EncodedTest)
    further: tuple[Any, Any, Any] | None = None
    held_out: HeldOut | None = None
    familiar: Carried | None = None
    faster: tuple[FullFormat, Future[ArtifactResult]] | None = None
    opened: dict[Path, Artifact] = field(default_factory=dict)
    _found: gate.Further | None = None
    _finding: threading.Lock = field(default_factory=threading.Lock)

    def answered(self, model: Any) -> gate.Further | None:
        """The further pictures with the trained model's answers; the faster artefact gives them if it was released."""
        with self._finding:
            if self._found is None and self.further is not None:
                pixels, labels, learned = self.further
                answers = _in_batches(self._fastest(model), pixels).argmax(axis=1)
                self._found = gate.Further(pixels, answers, labels, learned)
            return self._found

    def _fastest(self, model: Any) -> Callable[[Any], Any]:
        if self.faster is not None:
            kind, made = self.faster[0], self.faster[1].result()
            if made.released:
                return kind.open(made.path, threads=cores()).scores
        return in_inference(model)


@dataclass(frozen=True)
class _Attempt:
    """An artefact made in one way. changed: `[N]`, whether each answer differs from the model's; None if unchecked."""

    result: ArtifactResult
    judged: Judgement | None = None
    changed: Any = None


def main(job_file: Path, progress: TextIO, *, scores_are_there: threading.Event) -> None:
    """Do the whole job and write `result.json` into its directory. An artefact that fails doesn't stop the others.

    The artefacts are made and checked at the same time, each mostly on one core. Latency is measured at the end, when
    nothing else runs.
    """
    sys.setswitchinterval(_SWITCH)
    backend.settle()
    use_plain_temporary_folder()
    job = ExportJob.read(job_file)
    own = _own_formats(job)  # before the model, which may need layers that the recipe registers
    known = [kind for kind in FORMATS if kind.asked in job.formats]
    names = {kind: kind.file_name(job.name) for kind in (*known, *own)}
    before = {kind: result for kind, name in names.items() if (result := kept_before(name, kind.name, job)) is not None}
    # If a resumed run has made all artefacts already, the model is not needed.
    model = None if len(before) == len(names) else _load_model(job.model_file)
    evidence = _evidence(job, model, scores_are_there=scores_are_there)
    tell = _Progress(progress)

    def made_of(kind: FullFormat) -> ArtifactResult:
        if kind in before:
            return before[kind]
        result = _make_and_check(kind, job, model=model, evidence=evidence, tell=tell)
        keep(names[kind], kind.name, job, result)
        return result

    made: dict[FullFormat, ArtifactResult] = {}
    with ThreadPoolExecutor(max_workers=_BESIDE) as pool:
        begun = {}
        # Formats that round wait for the artefact that stands in for the model. It is begun first, so that they can't
        # take all threads before it.
        for kind in sorted(known, key=lambda kind: not kind.stands_in):
            begun[kind] = pool.submit(made_of, kind)
            if kind.stands_in:
                evidence.faster = kind, begun[kind]
        made |= {kind: begun[kind].result() for kind in known}
    made |= {kind: made_of(kind) for kind in own}
    results = []
    for kind, result in made.items():
        known_before = kind in before and result.latency_ms is not None
        timed = result if known_before else _with_latency(kind, result, evidence)
        keep(names[kind], kind.name, job, timed)
        tell(_summary(timed, _kind(job, evidence.pixels)))
        results.append(timed.as_json())
    replace_json(job.directory / "result.json", results)


class _Progress:
    """Writes progress lines for the parent; a lock keeps each line whole when two threads write."""

    def __init__(self, lines: TextIO) -> None:
        self._lines, self._lock = lines, threading.Lock()

    def __call__(self, text: str) -> None:
        with self._lock:
            print(printable(text), file=self._lines, flush=True)


def _own_formats(job: ExportJob) -> list[FullFormat]:
    if job.recipe_file is None:
        return []
    export = kt.recipe.load(job.recipe_file).recipe.export
    chosen: list[Any] = [export[index] for index in job.exporters]
    return list(map(of_recipe, chosen))


def _details(job: ExportJob, familiar: Carried | None) -> Details:
    return Details(
        job.name, job.classes, representative=job.representative, calibration=_calibrating(job), about=job.about,
        kind=job.kind, familiar=familiar,
    )  # fmt: skip


def _familiar(job: ExportJob) -> Carried | None:
    kept = None if job.familiar is None else whole(job.familiar)
    return None if kept is None else Carried.of(kept)


def _load_model(file: Path) -> Any:
    try:
        return keras.saving.load_model(file, compile=False, safe_mode=True)
    except Exception as error:
        raise ReleaseError(f"{file.name} cannot be loaded under TensorFlow: {_one_line(error)}") from error


def _calibrating(job: ExportJob) -> int:
    """How many of the representative pictures calibrate: 100, or half (10 to 100) if the others are evidence."""
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
    how = _kind(job, pixels).encoded
    encoded = [] if how is None else [how.bytes_of(job.encoded[index]) for index in chosen]
    places = chosen.tolist() if len(job.encoded) == len(pixels) else None
    return _Evidence(
        pixels, np.load(job.labels), beside(scores), EncodedTest(encoded, places), _further(job), _held_out(job),
        _familiar(job),
    )  # fmt: skip


def _kind(job: ExportJob, examples: Any) -> Kind:
    return job.kind or kinds.of_model(examples.shape, str(examples.dtype), {}, where=job.test_pixels)


def _further(job: ExportJob) -> tuple[Any, Any, Any] | None:
    """Validation pictures and training pictures that don't calibrate: pixels, labels, whether the model saw them."""
    parts = []
    if job.validation_pixels is not None and job.validation_labels is not None:
        parts.append((np.load(job.validation_pixels), np.load(job.validation_labels), False))
    if job.representative is not None and job.representative_labels is not None:
        rest = slice(_calibrating(job), None)
        parts.append((np.load(job.representative)[rest], np.load(job.representative_labels)[rest], True))
    if not any(len(labels) for _, labels, _ in parts):
        return None
    learned = np.concatenate([np.full(len(labels), trained) for _, labels, trained in parts])
    all_pixels = np.concatenate([pixels for pixels, _, _ in parts])
    return all_pixels, np.concatenate([labels for _, labels, _ in parts]), learned


def _held_out(job: ExportJob) -> HeldOut | None:
    if job.held_out is None or job.held_out_labels is None:
        return None
    labels = np.load(job.held_out_labels)
    return HeldOut(np.load(job.held_out, mmap_mode="r"), labels, job.held_out_groups) if len(labels) else None


def _in_batches(ask: Callable[[Any], Any], pixels: Any) -> Any:
    return np.concatenate([np.asarray(ask(pixels[start : start + 64])) for start in range(0, len(pixels), 64)])


def _opened(path: Path, kind: FullFormat, evidence: _Evidence) -> Artifact:
    """Open it with one thread: other artefacts are checked at the same time, and more threads would block them."""
    opened = kind.open(path, threads=1)
    if not kind.threaded:
        evidence.opened[path] = opened
    return opened


def _make_and_check(
    kind: FullFormat, job: ExportJob, *, model: Any, evidence: _Evidence, tell: Callable[[str], None]
) -> ArtifactResult:
    """One artefact with the gate's verdict, made in the best of several ways.

    The next way is tried while the best so far is refused by its counts, or is doubtful. If it is only doubtful, the
    search ends at the first way that changes neither significantly more nor significantly fewer answers than the best.
    """
    name = kind.file_name(job.name)
    nouns = _kind(job, evidence.pixels)
    best = first = _attempt(kind, job, model=model, evidence=evidence, folder=job.directory)
    tries = [_tried("as it is", first)]
    for number, (change, gentler) in enumerate(kind.attempts()):
        if best.judged is None or not (best.judged.reason or best.judged.doubtful):
            break
        if number == 0:
            tell(f"  {name}: {_of_try(first, nouns)}; it is made in other ways, and the best is kept")
        folder = job.directory / f"{_TRY}{number}_{kind.name}"  # other formats are made at the same time
        attempt = _attempt(gentler, job, model=model, evidence=evidence, folder=folder)
        tell(f"  {name}: {change}: {_of_try(attempt, nouns)}")
        tries.append(_tried(change, attempt))
        same = attempt.judged is not None and not differ(attempt.changed, best.changed)
        settled = same and not best.judged.reason
        if _rank(attempt) < _rank(best):
            note = f"{change}, since otherwise {first.result.reason or _of_try(first, nouns)}"
            note = "; ".join(filter(None, [note, attempt.result.note]))
            best = dataclasses.replace(attempt, result=dataclasses.replace(attempt.result, note=note))
        if settled:
            break
    result = _kept(best.result, job.directory)
    for number in range(len(tries)):
        shutil.rmtree(job.directory / f"{_TRY}{number}_{kind.name}", ignore_errors=True)
    return dataclasses.replace(result, tries=tuple(tries) if len(tries) > 1 else ())


def _rank(one: _Attempt) -> tuple[bool, int, float]:
    """A sort key, lower is better: released first, then fewer changed answers, then a smaller loss of accuracy."""
    if one.judged is None:
        return (True, len(one.changed) if one.changed is not None else 1 << 60, 0.0)
    return (not one.result.released, one.judged.counts.changed, one.judged.loss)


def _tried(way: str, one: _Attempt) -> dict[str, Any]:
    """One attempt, as plain data for the report."""
    counts = None if one.judged is None else one.judged.counts
    return {
        "way": way,
        "pictures": None if counts is None else counts.pictures,
        "changed": None if counts is None else counts.changed,
        "reason": one.result.reason,
        "seconds": one.result.seconds,
    }


def _of_try(one: _Attempt, nouns: Nouns) -> str:
    seconds = f"{one.result.seconds:.1f} s"
    if one.judged is None:
        return f"{one.result.reason}, {seconds}"
    counts = one.judged.counts
    share = 1 - counts.changed / counts.pictures
    return f"same answer on {100 * share:.1f}% of {counts.pictures:,} {nouns.many}, {seconds}"


def _kept(result: ArtifactResult, directory: Path) -> ArtifactResult:
    """The best attempt's result, its artefact moved from the attempt's folder into the job's directory."""
    if not result.path.parent.name.startswith(_TRY) or result.path.parent.parent != directory:
        return result
    path = directory / result.path.name
    result.path.replace(path)
    return dataclasses.replace(result, path=path)


def _attempt(kind: FullFormat, job: ExportJob, *, model: Any, evidence: _Evidence, folder: Path) -> _Attempt:
    """One artefact with the gate's verdict; without unfamiliarity if that is all that is wrong and scores suffice."""
    attempt, strange = _made_once(kind, job, model=model, evidence=evidence, folder=folder, familiar=evidence.familiar)
    if not (strange and kind.scores_suffice):
        return attempt
    without, _ = _made_once(kind, job, model=model, evidence=evidence, folder=folder, familiar=None)
    seconds = attempt.result.seconds + without.result.seconds
    note = f"it does not say what is unfamiliar, since {attempt.result.reason}"
    return dataclasses.replace(without, result=dataclasses.replace(without.result, note=note, seconds=seconds))


def _made_once(
    kind: FullFormat,
    job: ExportJob,
    *,
    model: Any,
    evidence: _Evidence,
    folder: Path,
    familiar: Carried | None,
) -> tuple[_Attempt, bool]:
    """One artefact with the gate's verdict, and whether its unfamiliarity is all that is wrong."""
    start = time.perf_counter()
    name = kind.file_name(job.name)
    result = ArtifactResult(
        name=name, format=kind.name, path=folder / name, released=False, reason="", mobile=kind.mobile
    )
    try:
        folder.mkdir(exist_ok=True)
        details = _details(job, familiar)
        path = kind.make(model, folder, details=details)
        keep_kind(path, _kind(job, evidence.pixels))  # before it is opened, since it may say what the input is
        result = dataclasses.replace(result, name=path.name, path=path, mobile=kind.on_phones(path))
        result = dataclasses.replace(result, seconds=time.perf_counter() - start)
        if reason := _not_openable(path, kind):
            return _Attempt(dataclasses.replace(result, reason=reason, bytes=gate.bytes_of(path))), False
        artifact = _opened(path, kind, evidence)
        if evidence.held_out is not None:
            kind.remember(path, artifact, evidence.held_out)
        verdict = gate.judge_artifact(
            artifact,
            evidence.scores(),
            labels=evidence.labels,
            pixels=evidence.pixels,
            classes=job.classes,
            exact=kind.exact,
            tolerance=job.tolerance,
            further=None if kind.exact else evidence.answered(model),
            also=lambda scores: kind.also_checks(artifact, scores, pixels=evidence.pixels, encoded=evidence.encoded),
            timed=False,
            nouns=_kind(job, evidence.pixels),
            familiar=kind.carries(details),
        )
    except Exception as error:  # noqa: BLE001 - one format that fails must not lose the others' artefacts
        traceback.print_exc()
        return _Attempt(dataclasses.replace(result, reason=_one_line(error))), False
    result = dataclasses.replace(result, seconds=time.perf_counter() - start)
    if isinstance(verdict, str):
        return _Attempt(dataclasses.replace(result, reason=verdict, bytes=gate.bytes_of(path))), False
    judged = verdict.judged
    figures = {name: getattr(verdict, name) for name in _MEASURED}
    figures["evidence"] = None if judged is None else judged.as_json()
    return _Attempt(dataclasses.replace(result, **figures), judged, verdict.changed), verdict.strange


def _not_openable(path: Path, kind: FullFormat) -> str:
    """Why the written artefact can't be opened, or "" if it can."""
    if not path.exists():
        return f"{path.name} was not written, though its exporter gives that path"
    if kind.opens(path):
        return ""
    if kind.name != "custom":
        return f"its own `opens` does not know {path.name}, which its `make` wrote"
    what = path.suffix or ("folder that is no SavedModel" if path.is_dir() else "file without a suffix")
    return f"kt cannot run a {what} to check it"


def _with_latency(kind: FullFormat, result: ArtifactResult, evidence: _Evidence) -> ArtifactResult:
    """The result with the milliseconds for one picture, unless the artefact could not be checked."""
    if result.images is None:
        return result
    artifact = evidence.opened.get(result.path) or kind.open(result.path)
    return dataclasses.replace(result, latency_ms=gate.latency(artifact, evidence.pixels))


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, KtError) else f"{type(error).__name__}: {text}"[:300]


def _summary(result: ArtifactResult, nouns: Nouns) -> str:
    figures = [size(result.bytes)] if result.bytes else []
    if result.latency_ms is not None:
        figures.append(f"{result.latency_ms:.1f} ms a {nouns.one}")
    if result.largest_score_difference is not None:
        figures.append(f"largest difference {result.largest_score_difference:.1g}")
    doubt = (result.evidence or {}).get("told")
    figures += [result.note] if result.note else []
    figures += [doubt] if doubt else []
    end = "released" if result.released else f"NOT released: {result.reason}"
    return f"  {result.name}: {', '.join([*figures, end])}"


def _job_file(scores_are_there: threading.Event) -> Path:
    """Wait until the parent names the job's file, and give it; end this process if the parent ends before."""
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    threading.Thread(target=_listen, args=(scores_are_there,), daemon=True).start()
    asked = json.loads(line)
    if asked["log"]:
        with Path(asked["log"]).open("w", encoding="utf-8") as log:
            os.dup2(log.fileno(), 2)
    os.environ.update(asked["environment"])
    tempfile.tempdir = None  # so that it is looked up again
    return Path(asked["job"])


def _listen(scores_are_there: threading.Event) -> None:
    """Wait for the parent's line that the scores are written; end this process when the parent ends."""
    if sys.stdin.readline():
        scores_are_there.set()
        sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process, and says what happened
    # Output that Keras, TensorFlow or the recipe's own exporter prints must not be mistaken for progress.
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="backslashreplace")
    there = threading.Event()
    job_file = _job_file(there)
    os.dup2(2, 1)
    try:
        main(job_file, lines, scores_are_there=there)
    except Exception as error:  # noqa: BLE001 - the parent shows the last line of the log
        traceback.print_exc()
        sys.exit(_one_line(error))
    gc.freeze()  # at exit Python doesn't search for reference cycles, while the parent waits
