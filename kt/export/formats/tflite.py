"""TFLite files for phones: uint8 pixels in, preprocessing inside, float32 scores out, labels embedded."""

import threading
import weakref
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kt.errors import ReleaseError
from kt.export.asides import kind_of_artifact
from kt.export.formats.format import THREADS, Details, FullFormat, Pixels, Replies, Scores, add_to_zip
from kt.export.labels import LABELS, from_text
from kt.familiar import UNFAMILIARITY, Carried
from kt.kinds.kind import check_examples

SCORES = "scores"
"""The name of the first output."""

Variant = Literal["float32", "float16", "int8"]
VARIANTS: tuple[Variant, ...] = ("float32", "float16", "int8")

GENTLER: dict[str, dict[str, Any]] = {
    "its head computes in float32": {"float_head": True},
    "the first 15% of its layers compute in float32": {"float_share": 0.15},
    "the first 15% of its layers and its head compute in float32": {"float_share": 0.15, "float_head": True},
    "the first 35% of its layers and its head compute in float32": {"float_share": 0.35, "float_head": True},
    "only its weights are int8, and all layers compute in float32": {"dynamic": True},
}
"""Gentler ways to make int8, tried in this order if it changes too many of the trained model's answers."""


class Conversions:
    """The steps that several TFLite files of one model share, each done once: conversion to float32, calibration."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._model: Any = lambda: None
        self._float32: dict[Carried | None, bytes] = {}
        self._calibrated: dict[tuple[Carried | None, Path, int], bytes] = {}

    def float32(self, model: Any, familiar: Carried | None) -> bytes:
        """The model in float32; a second thread waits while it is made."""
        with self._lock:
            if self._model() is not model:
                self._model = weakref.ref(model)
                self._float32.clear()
                self._calibrated.clear()
            if familiar not in self._float32:
                self._float32[familiar] = _converted(model, familiar)
            return self._float32[familiar]

    def calibrated(self, model: Any, familiar: Carried | None, representative: Path, *, pictures: int) -> bytes:
        """The float32 model with its layers' output ranges, measured on a `.npy` file's first `pictures` pictures."""
        from kt.export.calibration import calibrated

        content, known = self.float32(model, familiar), (familiar, representative, pictures)
        if known not in self._calibrated:
            chosen = np.load(representative, mmap_mode="r")[:pictures]
            batches = (np.asarray(picture)[None] for picture in chosen)
            self._calibrated[known] = calibrated(content, batches)
        return self._calibrated[known]


@dataclass(frozen=True)
class TFLite(FullFormat):
    """`<name>_<variant>.tflite`, for one picture a call.

    Its first output is `scores`, float32 `[1, C]`. If the model can say that a picture is unlike anything it learned
    from, and has a limit for that, the second is `unfamiliarity`, float32 `[1, 1]`, and the metadata has the limit.
    It is computed in float32 from the features in the file's own precision; its constants are float16 in all but the
    float32 file. What leads to the scores is the same with it and without.

    float16 keeps its weights in half precision. int8 quantises weights (per channel) and activations, calibrated on the
    first `calibration` pictures of the details' `representative`. float_share: the share of int8's layers, counted from
    the input, that stays in float32. An early layer's rounding error passes through all later layers, and an early
    layer has few weights: 0.35 of MobileNetV2 adds 4% to the file. float_head: in int8, the head and its pooling stay
    in float32, because a linear probe's weights differ by orders of magnitude, and pooled features of several depths
    would have to share one scale. dynamic: int8 quantises weights only, and activations are float32 (dynamic range).
    conversions: shared with the other variants, so that common steps are done once.
    """

    variant: Variant
    float_share: float = 0.0
    float_head: bool = False
    dynamic: bool = False
    conversions: Conversions = field(default_factory=Conversions, compare=False, repr=False)

    asked = "tflite"
    seen_as = ".tflite"
    mobile = True
    threaded = True
    scores_suffice = True

    @property
    def name(self) -> str:
        """Its name in `report.json`, one for each variant."""
        return f"tflite_{self.variant}"

    @property
    def exact(self) -> bool:
        """True for float32, which does not round."""
        return self.variant == "float32"

    @property
    def stands_in(self) -> bool:
        """True for float32, which is twice as fast as the trained model."""
        return self.variant == "float32"

    def file_name(self, name: str) -> str:
        """The name of the file."""
        return f"{name}_{self.variant}.tflite"

    def make(self, model: Any, directory: Path, *, details: Details) -> Path:
        """Write the file and give its path."""
        from kt.export.metadata import embed

        familiar = self.carries(details)
        content = self._content(model, details, familiar)
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / self.file_name(details.name)
        kind = details.kind_for(model)
        limit = None if familiar is None or familiar.familiarity.limit is None else familiar.familiarity.limit.value
        path.write_bytes(
            embed(content, name=details.name, classes=details.classes, kind=kind, about=details.about, limit=limit)
        )
        return path

    def carries(self, details: Details) -> Carried | None:
        """None where apps want one output only, and without a limit: apps could make nothing of the distance alone."""
        familiar = details.familiar
        without = familiar is None or familiar.familiarity.limit is None or details.about.one_output
        return None if without else familiar

    def _content(self, model: Any, details: Details, familiar: Carried | None) -> bytes:
        from kt.export.halved import halved

        if self.variant == "float32":
            return self.conversions.float32(model, familiar)
        if self.variant == "int8" and not self.dynamic:
            if details.representative is None:
                raise ReleaseError(
                    "int8 needs representative training pictures (.npy, uint8 [M, H, W, 3]); none were given."
                )
            known = self.conversions.calibrated(model, familiar, details.representative, pictures=details.calibration)
            return halved(_quantised(known, self.float_share, head=self.float_head), beside_scores=True)
        if self.variant == "float16":
            return halved(self.conversions.float32(model, familiar))
        return _converted(model, familiar, dynamic_range=True)

    def attempts(self) -> Iterator[tuple[str, "TFLite"]]:
        """Gentler ways to make int8, for when it changes too many answers; none for other variants."""
        for change, fields in GENTLER.items() if self.variant == "int8" else ():
            yield change, replace(self, **fields)

    def opens(self, path: Path) -> bool:
        """Whether it is a TFLite file of any variant, by its suffix."""
        return path.is_file() and path.suffix == ".tflite"

    def open(self, path: Path, *, threads: int = THREADS) -> "TFLiteArtifact":
        """Open it with LiteRT."""
        return TFLiteArtifact(path, threads=threads)

    def found_in(self, folder: Path) -> list[Path]:
        """The float32 file first, then float16, int8 and any others."""
        return sorted(super().found_in(folder), key=lambda path: (_rank(path), path.name))

    def annotate(self, path: Path, name: str, text: str) -> None:
        """Put a text into the zip behind the model."""
        add_to_zip(path, name, text)

    def stamp(self, path: Path, version: int) -> None:
        """Write the version into the file's metadata."""
        from kt.export.metadata import stamp

        stamp(path, version)


def variants() -> tuple[TFLite, ...]:
    """The three formats that "tflite" stands for; they share their conversions."""
    shared = Conversions()
    return tuple(TFLite(variant, conversions=shared) for variant in VARIANTS)


def _rank(path: Path) -> int:
    ends = [path.stem.endswith(f"_{variant}") for variant in VARIANTS]
    return ends.index(True) if any(ends) else len(ends)


def says_unfamiliar(file: Path) -> bool:
    """Whether a TFLite file says of an example that it is unlike anything it learned from; it is not run."""
    from kt.export.metadata import limit_in

    return limit_in(file) is not None


def _converted(model: Any, familiar: Carried | None, *, dynamic_range: bool = False) -> bytes:
    from kt.export.strange import with_distances
    from kt.litert import converter

    takes, by = str(model.inputs[0].name), None if familiar is None else with_distances(model, familiar)
    gives = [SCORES] if by is None else [SCORES, UNFAMILIARITY]
    return converter.converted(model, batch_size=1, takes=takes, gives=gives, by=by, dynamic_range=dynamic_range)


def _quantised(calibrated_model: bytes, share: float, *, head: bool) -> bytes:
    """The model in int8; the first `share` of its operators stays in float32, and with `head` the head too.

    What only unfamiliarity needs stays in float32. The share is of the operators that the scores need.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    from kt.litert import converter
    from kt.litert.operators import beside_the_first, needed_by

    content = flatbuffer_utils.convert_bytearray_to_object(calibrated_model)
    graph = content.subgraphs[0]
    own = needed_by(graph, 0)
    in_float = [*own[: round(share * len(own))], *(_head(content) if head else []), *beside_the_first(graph)]
    names = [graph.tensors[index].name.decode() for operator in in_float for index in operator.outputs]
    return converter.quantised(calibrated_model, in_float=names)


def _head(content: Any) -> list[Any]:
    """The operators of the head: from the last dense layer on, and the pooling and joining that lead to it."""
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    from kt.litert.operators import needed_by

    pooling = (BuiltinOperator.MEAN, BuiltinOperator.CONCATENATION, BuiltinOperator.RESHAPE)
    graph = content.subgraphs[0]
    own = needed_by(graph, 0)
    kind = {id(operator): content.operatorCodes[operator.opcodeIndex].builtinCode for operator in own}
    maker = {index: operator for operator in own for index in operator.outputs}
    dense = [place for place, operator in enumerate(own) if kind[id(operator)] == BuiltinOperator.FULLY_CONNECTED]
    if not dense:
        return []
    head = own[dense[-1] :]
    waiting = list(head[0].inputs)
    while waiting:
        operator = maker.get(waiting.pop())
        if operator is not None and kind[id(operator)] in pooling:
            head.append(operator)
            waiting += list(operator.inputs)
    return head


class TFLiteArtifact:
    """An open TFLite file, run image by image as on a phone (batches are no faster on XNNPACK). It is thread-safe.

    Float and quantised inputs are fed with the raw pixel values; quantised outputs come back as real numbers.
    """

    def __init__(self, path: Path, *, threads: int = THREADS) -> None:
        from kt.export.metadata import limit_in
        from kt.litert import interpreter

        self.path = path
        self._interpreter = interpreter.opened(path, threads=threads)
        self._lock = threading.Lock()
        (self._input,), self._outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        self._limit = limit_in(path)
        if len(self._outputs) != (1 if self._limit is None else 2):
            raise ReleaseError(
                f"{path} has {len(self._outputs)} outputs; kt runs models with one, the scores, or with a second that "
                "kt put there."
            )
        shape = tuple(int(side) for side in self._input["shape"])
        self.kind = kind_of_artifact(path, shape, np.dtype(self._input["dtype"]).name)
        if shape[0] != 1:
            raise ReleaseError(f"{path} takes {list(shape)}; kt runs models that take one example a call.")
        self.classes = _embedded_labels(path)

    def scores(self, pixels: Pixels) -> Scores:
        """Scores float32 `[N, C]` of examples of its kind, such as pixels uint8 `[N, H, W, 3]`."""
        return self.answers(pixels).scores

    @property
    def says_unfamiliar(self) -> bool:
        """Whether it says of an example that it is unlike anything that it learned from."""
        return self._limit is not None

    def answers(self, pixels: Pixels) -> Replies:
        """Scores and unfamiliarity of examples of its kind."""
        check_examples(self.kind, pixels)
        with self._lock:
            parts = [self._asked(image[None]) for image in pixels]
        widths = (len(self.classes), *([] if self._limit is None else [1]))
        nothing = [np.zeros((0, width), np.float32) for width in widths]
        scores, *told = [np.concatenate(column) for column in zip(*parts, strict=True)] or nothing
        if self._limit is None:
            return Replies(scores)
        distances = told[0][:, 0]
        return Replies(scores, distances, distances > self._limit)

    def _asked(self, image: Pixels) -> list[Scores]:
        self._interpreter.set_tensor(self._input["index"], _as_input(image, self._input))
        self._interpreter.invoke()
        return [_real(self._interpreter.get_tensor(output["index"]), output) for output in self._outputs]


def _embedded_labels(path: Path) -> tuple[str, ...]:
    """The labels in the zip at the file's end; empty for a file that kt did not make."""
    try:
        with zipfile.ZipFile(path) as archive:
            return from_text(archive.read(LABELS))
    except (zipfile.BadZipFile, KeyError):
        return ()


def _as_input(image: Pixels, details: Any) -> npt.NDArray[Any]:
    dtype, (scale, zero) = details["dtype"], details["quantization"]
    if dtype == np.float32 or scale == 0:
        return image.astype(dtype)
    limits = np.iinfo(dtype)
    quantised: npt.NDArray[Any] = np.clip(np.round(image / scale) + zero, limits.min, limits.max).astype(dtype)
    return quantised


def _real(values: npt.NDArray[Any], details: Any) -> Scores:
    scale, zero = details["quantization"]
    if values.dtype == np.float32 or scale == 0:
        return values.astype(np.float32)
    real: Scores = ((values.astype(np.float32) - zero) * scale).astype(np.float32)
    return real
