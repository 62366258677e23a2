"""What scores pictures in blocks for `kt predict --out`: LiteRT or TensorFlow, in as many threads as there are cores.

A block is decoded, resized and scored by one thread, so that decoding and the forward pass go side by side without
waiting for each other. LiteRT has one interpreter of one thread for each of them: on two cores that is faster than one
interpreter of two threads (see benchmarks/README.md). TensorFlow shares its own threads out and takes one block at
once.
"""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Literal

import numpy as np
import numpy.typing as npt

from kt.backbones.fetch import sha256_of
from kt.backend import accelerated
from kt.data.images import read_rgb, resize
from kt.errors import DataError, KtError, ReleaseError, one_line
from kt.export.artifact import SavedModelArtifact, TFLiteArtifact, find_artifact
from kt.export.gate import EXACT
from kt.export.released import read_card

BLOCK = 32
"""Pictures that are scored in one go; the last block may have fewer."""

ENGINES = ("auto", "tensorflow", "litert", "ray")

Scores = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Plan:
    """What computes the scores: a `.tflite` file by LiteRT, or a SavedModel folder by TensorFlow."""

    file: Path
    by: Literal["litert", "tensorflow"]

    def digest(self) -> str:
        """SHA-256 of the model's content, wherever it lies."""
        if self.by == "litert":
            return sha256_of(self.file)
        parts = ["saved_model.pb", "variables/*", "assets/*"]
        files = sorted(file for part in parts for file in self.file.glob(part) if file.is_file())
        named = "".join(f"{file.relative_to(self.file).as_posix()} {sha256_of(file)}\n" for file in files)
        return hashlib.sha256(named.encode()).hexdigest()


@dataclass(frozen=True)
class Scored:
    """A block's answers: scores `[N, C]`, and why a file has none, which is "" for each that has."""

    files: tuple[Path, ...]
    scores: Scores
    errors: tuple[str, ...]


def choose(model: Path, *, engine: str) -> Plan:
    """What `--engine` means for this model.

    `auto` and `ray` take the float32 TFLite file that lies in a release beside its SavedModel, on a CPU, where the
    release gate has found it within 1e-4 of the trained model in every score.
    """
    found = find_artifact(model)
    if found.suffix != ".tflite" and not (found / "saved_model.pb").is_file():
        raise KtError(f"{found} is no .tflite file or SavedModel; kt predict opens it without --out.")
    if not found.is_dir():
        if engine == "tensorflow":
            raise KtError(f"{found} runs on LiteRT only; leave --engine tensorflow out, or name a SavedModel folder.")
        return Plan(found, "litert")
    fast = _equal_file(found)
    if engine == "litert" and fast is None:
        raise ReleaseError(
            f"{found} has no float32 .tflite file that passed the release gate; name a .tflite file, or leave "
            "--engine litert out."
        )
    if fast is None or engine == "tensorflow" or (engine != "litert" and accelerated()):
        return Plan(found, "tensorflow")
    return Plan(fast, "litert")


def _equal_file(folder: Path) -> Path | None:
    """The TFLite file of a release that answers as its SavedModel does, going by what kt.json says of it."""
    try:
        for told in read_card(folder)["artifacts"]:
            difference = told.get("largest_score_difference")
            exact = told["released"] and difference is not None and difference <= EXACT
            file = folder / Path(str(told["path"])).name
            if exact and file.name.endswith("_float32.tflite") and file.is_file():
                return file
    except (OSError, KeyError, TypeError, AttributeError):
        return None  # not a release of kt's
    return None


class Scorer:
    """Scores blocks of files; safe to call from `workers` threads at once."""

    def __init__(self, plan: Plan, *, workers: int) -> None:
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
        self._path, self._image_size = plan.file, opened[0].image_size
        self.classes = opened[0].classes
        self._value_range = opened[0].value_range

    def score(self, files: Sequence[Path]) -> Scored:
        """The answers for up to `BLOCK` files, one for each."""
        # In one size, so that TensorFlow plans once, and a picture's score does not hang on how many are beside it.
        pixels = np.zeros((BLOCK if self._padded else len(files), *self._image_size, 3), np.uint8)
        errors = []
        for place, file in enumerate(files):
            try:
                pixels[place] = resize(self._read(file), self._image_size)
                errors.append("")
            except DataError as error:
                errors.append(str(error))
        scores = np.full((len(files), len(self.classes)), np.nan, np.float32)
        good = np.flatnonzero([not error for error in errors])
        if len(good):
            scores[good] = self._ask(pixels)[good] if self._padded else self._ask(pixels[good])
        return Scored(tuple(files), scores, tuple(errors))

    def _read(self, file: Path) -> Pixels:
        return read_rgb(file) if self._value_range is None else read_rgb(file, value_range=self._value_range)

    def _ask(self, pixels: Pixels) -> Scores:
        artifact = self._free.get()
        try:
            scores = artifact.scores(pixels)
        finally:
            self._free.put(artifact)
        if scores.shape[1] != len(self.classes):
            raise ReleaseError(
                f"{self._path} gives {scores.shape[1]} scores and has {len(self.classes)} labels; export it with kt, "
                "which puts the labels in."
            )
        return scores


def in_threads(scorer: Scorer, blocks: Iterable[Sequence[Path]], *, workers: int) -> Iterator[Scored]:
    """The answers in the blocks' order; at most two blocks a worker are under way or wait to be taken."""
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
