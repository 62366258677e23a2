"""Scores examples in blocks for `kt predict --out`, by LiteRT or TensorFlow, with a thread for each core.

One thread decodes, resizes and scores a block, so that decoding and forward passes don't wait for each other. With
LiteRT each thread has its own single-threaded interpreter: on two cores that is faster than one interpreter of two
threads (see benchmarks/README.md). TensorFlow manages its own threads and takes one block at a time.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kt.backbones.fetch import sha256_of
from kt.base.backend import accelerated
from kt.errors import DataError, KtError, ReleaseError, one_line
from kt.export.artifact import find_artifact
from kt.export.formats import tflite
from kt.export.formats.format import EXACT, Replies, replies_of
from kt.export.formats.saved_model import SavedModelArtifact, digest_of_model, says_unfamiliar
from kt.export.formats.tflite import TFLiteArtifact
from kt.kinds.kind import Source
from kt.releases.released import read_card

BLOCK = 32
"""The number of examples that are scored at once; the last block may have fewer."""

ENGINES = ("auto", "tensorflow", "litert", "ray")

Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Computing:
    """The model that computes the scores: a `.tflite` file by LiteRT, or a SavedModel folder by TensorFlow."""

    file: Path
    by: Literal["litert", "tensorflow"]

    def digest(self) -> str:
        """SHA-256 of the model's content, independent of its path."""
        return sha256_of(self.file) if self.by == "litert" else digest_of_model(self.file)


@dataclass(frozen=True)
class Scored:
    """A block's scores `[N, C]`, and for each example its name and its error, "" if there is none.

    unfamiliar: whether each example is unlike anything that the model learned from; None where it does not say, and for
    errors. Empty if it says so of none.
    """

    names: tuple[Path, ...]
    scores: Scores
    errors: tuple[str, ...]
    unfamiliar: tuple[bool | None, ...] = ()


def choose(model: Path, *, engine: str) -> Computing:
    """The plan that `--engine` means for this model.

    On a CPU `auto` and `ray` take a release's float32 TFLite file instead of its SavedModel, if the release gate has
    found it within 1e-4 of the trained model in every score, and if the SavedModel does not say more: that a picture
    is unlike anything it learned from, which files of an earlier kt don't say.
    """
    artifact = find_artifact(model)
    if artifact.suffix != ".tflite" and not (artifact / "saved_model.pb").is_file():
        raise KtError(f"{artifact} is no .tflite file or SavedModel; kt predict opens it without --out.")
    if not artifact.is_dir():
        if engine == "tensorflow":
            raise KtError(
                f"{artifact} runs on LiteRT only; leave --engine tensorflow out, or name a SavedModel folder."
            )
        return Computing(artifact, "litert")
    fast = _equal_file(artifact)
    if engine == "litert" and fast is None:
        raise ReleaseError(
            f"{artifact} has no float32 .tflite file that passed the release gate; name a .tflite file, or leave "
            "--engine litert out."
        )
    if fast is None or engine == "tensorflow" or (engine != "litert" and (accelerated() or _says_more(artifact, fast))):
        return Computing(artifact, "tensorflow")
    return Computing(fast, "litert")


def _says_more(folder: Path, file: Path) -> bool:
    """Whether a SavedModel says of an example that it is unlike anything it learned from, and a TFLite file doesn't."""
    try:
        return not tflite.says_unfamiliar(file) and says_unfamiliar(folder)
    except Exception:  # noqa: BLE001 - a damaged file, of which opening it says more
        return False


def _equal_file(folder: Path) -> Path | None:
    """The TFLite file of a release with the same scores as its SavedModel, by its kt.json; None if there is none."""
    try:
        for artifact in read_card(folder)["artifacts"]:
            difference = artifact.get("largest_score_difference")
            exact = artifact["released"] and difference is not None and difference <= EXACT
            file = folder / Path(str(artifact["path"])).name
            if exact and file.name.endswith("_float32.tflite") and file.is_file():
                return file
    except (OSError, KeyError, TypeError, AttributeError):
        return None  # not a release of kt's
    return None


class Scorer:
    """Scores blocks of examples; safe to call from `workers` threads at once."""

    def __init__(self, plan: Computing, *, workers: int) -> None:
        self._free: SimpleQueue[SavedModelArtifact | TFLiteArtifact] = SimpleQueue()
        try:
            opened: list[SavedModelArtifact | TFLiteArtifact] = (
                [TFLiteArtifact(plan.file, threads=1) for _ in range(workers)]
                if plan.by == "litert"
                else [SavedModelArtifact(plan.file)]
            )
        except ReleaseError:
            raise
        except Exception as error:  # noqa: BLE001 - TensorFlow raises nearly anything on a damaged file
            why = one_line(error)[:200]
            raise ReleaseError(f"{plan.file} cannot be opened; it may be damaged, export again. ({why})") from None
        for artifact in opened:
            self._free.put(artifact)
        self._padded = plan.by == "tensorflow"
        self._path, self.kind, self.classes = plan.file, opened[0].kind, opened[0].classes

    def score(self, sources: Sequence[Source]) -> Scored:
        """The scores of up to `BLOCK` examples."""
        # TensorFlow gets batches of one size, so that it plans once and a score does not depend on the batch's size.
        examples = np.zeros((BLOCK if self._padded else len(sources), *self.kind.shape), self.kind.dtype)
        errors = []
        for place, source in enumerate(sources):
            try:
                if not source.error:
                    examples[place] = self.kind.read(source.given)
                errors.append(source.error)
            except DataError as error:
                errors.append(str(error))
        scores = np.full((len(sources), len(self.classes)), np.nan, np.float32)
        unfamiliar: list[bool | None] = [None] * len(sources)
        good = np.flatnonzero([not error for error in errors])
        if len(good):
            answers = self._ask(examples if self._padded else examples[good])
            rows = good if self._padded else np.arange(len(good))
            scores[good] = answers.scores[rows]
            for place, row in zip(good.tolist(), rows.tolist(), strict=True):
                unfamiliar[place] = None if answers.unfamiliar is None else bool(answers.unfamiliar[row])
        return Scored(tuple(source.name for source in sources), scores, tuple(errors), tuple(unfamiliar))

    def _ask(self, examples: npt.NDArray[Any]) -> Replies:
        artifact = self._free.get()
        try:
            answers = replies_of(artifact, examples)
        finally:
            self._free.put(artifact)
        if answers.scores.shape[1] != len(self.classes):
            raise ReleaseError(
                f"{self._path} gives {answers.scores.shape[1]} scores and has {len(self.classes)} labels; export it "
                "with kt, which puts the labels in."
            )
        return answers


def in_threads(scorer: Scorer, blocks: Iterable[Sequence[Source]], *, workers: int) -> Iterator[Scored]:
    """The scores in the blocks' order. At most two blocks a worker are in work or wait to be taken."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Scored]] = deque()
        try:
            for block in blocks:
                waiting.append(pool.submit(scorer.score, block))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
