"""One version of a model, opened and warmed up, with its signatures and the number of its users."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from kt.errors import ReleaseError
from kt.export.artifact import open_artifact
from kt.export.formats.format import Replies, replies_of
from kt.export.formats.saved_model import FEATURES, SavedModelArtifact
from kt.kinds.pictures.images import resize
from kt.kinds.pictures.kind import Pictures
from kt.predict.decide import Wanted
from kt.predict.scorer import choose
from kt.releases.released import checked_card
from kt.serve.batching import BatchQueue, BatchScheduler, Pixels, Reply, Scores
from kt.serve.window import Window
from kt.serve.workers import TookTooLong

log = logging.getLogger("kt.serve")

FROM_BYTES = "serving_default"
FROM_PIXELS = "pixels"
SIGNATURES = {FROM_BYTES: "image_bytes", FROM_PIXELS: "pixels"}
"""The signatures of kt's models, each with the name of its one input."""

IN_SET = "in_set"
"""The output that says of each class whether it is in the set that holds the true one as often as asked."""

_PREDICT = "tensorflow/serving/predict"
NO_REGRESSION = f"Expected regression signature method_name to be tensorflow/serving/regress. Was: {_PREDICT}"
"""TensorFlow Serving's error for a regression request to a classifier."""


class Servable:
    """A version of a model. Opening it runs a first batch of each size, so that the first client doesn't wait for it.

    window: the latest pictures' features, to look for drift; None if it can't be, and unwatched says why. decision: how
    its scores become labels and sets.

    Raises ReleaseError if it can't be opened, gives invalid scores or has no sets of the wanted level, and DataError if
    a threshold is for a class that it does not have.
    """

    def __init__(
        self,
        name: str,
        *,
        version: int,
        folder: Path,
        scheduler: BatchScheduler,
        engine: str,
        drift_window: int,
        wanted: Wanted,
    ) -> None:
        self.name, self.version, self.folder = name, version, folder
        self._artifact = open_artifact(choose(folder, engine=engine).file if engine == "litert" else folder)
        self.classes = self._artifact.classes
        kind = self._artifact.kind
        if not isinstance(kind, Pictures):
            raise ReleaseError(
                f"{folder} takes {kind.many}; kt serve answers for pictures. TensorFlow Serving takes it."
            )
        self.image_size, self.value_range = kind.image_size, kind.value_range
        self.card, self.decision = _card(folder), wanted.of(folder, self.classes)
        self.window, self.unwatched = _window(self._artifact, drift_window)
        self.signature_defs = _signature_defs(folder, self.image_size, len(self.classes))
        if self.decision.least is not None:
            for signature in self.signature_defs.values():
                info = _tensor_info(IN_SET, types_pb2.DT_BOOL, [-1, len(self.classes)])
                signature.outputs[IN_SET].CopyFrom(info)
        self._check(sizes=_sizes(scheduler.batching.max_batch_size))
        self.queues = {signature: BatchQueue(scheduler, self._answered) for signature in SIGNATURES}
        self._asides, self._batch = BatchQueue(scheduler, self._scored), scheduler.batching.max_batch_size
        self._lock = threading.Lock()
        self._users = 0

    @property
    def idle(self) -> bool:
        """Whether no request uses it now."""
        return self._users == 0

    @contextmanager
    def in_use(self) -> Iterator["Servable"]:
        """Hold it for the time of a request, so that it is not released meanwhile."""
        with self._lock:
            self._users += 1
        try:
            yield self
        finally:
            with self._lock:
                self._users -= 1

    @property
    def says_unfamiliar(self) -> bool:
        """Whether its answers say that a picture is unlike anything it learned from."""
        return bool(getattr(self._artifact, "says_unfamiliar", False))

    def ask(self, pixels: Pixels, *, until: float) -> Scores:
        """The scores `[N, C]` of pictures `[N, H, W, 3]` that no client sent: they are not kept in the window.

        They go through the batch threads, one batch at a time, in turn with the pictures of clients. It blocks. Raises
        TookTooLong if it is not done by `until`, a time of `time.monotonic`.
        """
        scores: list[Scores] = []
        for start in range(0, len(pixels), self._batch):
            if time.monotonic() > until:
                raise TookTooLong("takes too long")
            answers = self._asides.add(list(pixels[start : start + self._batch]))
            scores += [answer.result().scores for answer in answers]
        return np.stack(scores)

    def _scored(self, pixels: Pixels) -> list[Reply]:
        return [Reply(scores) for scores in self._artifact.scores(pixels)]

    def _answered(self, pixels: Pixels) -> list[Reply]:
        """The answers for pictures of clients, which are kept in the window."""
        features, answers = self._features_and_answers(pixels)
        if self.window is not None:
            self.window.add(features, answers.scores)
        nothing = [None] * len(pixels)
        distances = nothing if answers.unfamiliarity is None else answers.unfamiliarity.tolist()
        called = nothing if answers.unfamiliar is None else answers.unfamiliar.tolist()
        return [Reply(*row) for row in zip(answers.scores, distances, called, strict=True)]

    def _features_and_answers(self, pixels: Pixels) -> tuple[Any, Replies]:
        """Features and answers in one pass; no features if they are not kept."""
        if not isinstance(self._artifact, SavedModelArtifact):
            return None, replies_of(self._artifact, pixels)
        if self.window is not None:
            return self._artifact.features_and_answers(pixels)
        return None, self._artifact.answers(pixels)

    def _check(self, *, sizes: list[int]) -> None:
        if not self.classes:
            raise ReleaseError(f"{self.folder} has no labels; export it with kt, which puts them in.")
        resize(np.zeros((8, 8, 3), np.uint8), self.image_size)
        for size in sizes:
            scores = self._features_and_answers(np.zeros((size, *self.image_size, 3), np.uint8))[1].scores
            if scores.shape != (size, len(self.classes)) or not np.isfinite(scores).all():
                raise ReleaseError(
                    f"{self.folder} gives scores {list(scores.shape)} for {size} pictures and {len(self.classes)} "
                    "labels, or scores that are no numbers."
                )


def _window(artifact: Any, size: int) -> tuple[Window | None, str]:
    """The window of a version's latest pictures; or None, and why there is none."""
    if not size:
        return None, "the server keeps no pictures' features; --drift-window sets how many"
    if not isinstance(artifact, SavedModelArtifact):
        return None, "a .tflite file gives no features; --engine tensorflow serves the SavedModel, which does"
    try:
        return Window(artifact.reference(), size=size), ""
    except ReleaseError as error:  # it names files, which are not for clients
        log.info("no drift is looked for", extra={"error": str(error)})
        return None, "it carries no held-out pictures to compare with; export its run again: kt export RUN"


def _card(folder: Path) -> dict[str, Any]:
    """The version's card; empty if it is damaged, since the model works without it."""
    try:
        return checked_card(folder)
    except ReleaseError as error:
        log.warning("a version's card is damaged", extra={"error": str(error)})
        return {}


def _sizes(largest: int) -> list[int]:
    """1, 2, 4, ... and the largest batch: TensorFlow takes longer for the first batch of a size, up to a second."""
    return [*(2**power for power in range((largest - 1).bit_length())), largest]


def _signature_defs(folder: Path, size: tuple[int, int], num_classes: int) -> dict[str, Any]:
    """The SavedModel's own signatures that clients can ask; for a TFLite file those that its SavedModel would have."""
    file = folder / "saved_model.pb"
    if file.is_file():
        saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
        signatures = [pair for graph in saved.meta_graphs for pair in graph.signature_def.items()]
        return {name: signature for name, signature in signatures if name != FEATURES}
    inputs = {
        FROM_BYTES: _tensor_info("image_bytes", types_pb2.DT_STRING, [-1]),
        FROM_PIXELS: _tensor_info("pixels", types_pb2.DT_UINT8, [-1, *size, 3]),
    }
    outputs = {
        "label": _tensor_info("label", types_pb2.DT_STRING, [-1]),
        "scores": _tensor_info("scores", types_pb2.DT_FLOAT, [-1, num_classes]),
        "classes": _tensor_info("classes", types_pb2.DT_STRING, [-1, num_classes]),
    }
    return {
        name: meta_graph_pb2.SignatureDef(inputs={SIGNATURES[name]: info}, outputs=outputs, method_name=_PREDICT)
        for name, info in inputs.items()
    }


def _tensor_info(name: str, dtype: int, shape: list[int]) -> Any:
    dims = tf.TensorShape([None if side < 0 else side for side in shape]).as_proto()
    return meta_graph_pb2.TensorInfo(name=f"{name}:0", dtype=dtype, tensor_shape=dims)
