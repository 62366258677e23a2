"""A SavedModel for servers: encoded pictures or pixels in, labels and scores out, without Keras or kt."""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kt import kinds
from kt.backbones.fetch import sha256_of
from kt.drift import Observed, Reference
from kt.errors import ReleaseError
from kt.export.asides import kind_of_artifact
from kt.export.formats.format import (
    EXACT,
    THREADS,
    Details,
    EncodedTest,
    FullFormat,
    HeldOut,
    Pixels,
    Replies,
    Scores,
    batches,
    in_batches,
)
from kt.export.labels import LABELS, from_text, to_text
from kt.familiar import UNFAMILIAR, UNFAMILIARITY, Carried
from kt.kinds.carried import ASIDE
from kt.kinds.kind import check_examples

_GRAPH = "saved_model.pb"

FEATURES = "features"
"""The signature that gives features beside the scores, and the name of that output."""

WIDEST = 1024
"""The most features that this signature gives; of more, as many are taken in equal steps."""

REFERENCE = "reference.npz"
"""What `kt drift` compares with (`kt.drift.Reference`), in the folder that TensorFlow ignores."""


class SavedModel(FullFormat):
    """`saved_model/` with the signatures `serving_default`, `features` and one with the input's name, such as `pixels`.

    `serving_default` and `pixels` give `label` string `[N]`, `scores` float32 `[N, C]` and `classes` string `[N, C]`
    (every output has the batch dimension, which TensorFlow Serving's row format needs). For pictures, `serving_default`
    takes `image_bytes`, string `[N]`, and `pixels` takes `pixels`, uint8 `[N, H, W, 3]`. For kinds of examples without
    an encoded form, both take the same input. `features` takes what `pixels` takes, and gives `scores` and `features`
    float32 `[N, F]`: the input of the last layer with weights, averaged over the positions of a map, at most `WIDEST`
    of them. If the model can say how unlike anything it learned from an example is, each signature also gives
    `unfamiliarity` float32 `[N]`, and with a limit `unfamiliar` bool `[N]`. The labels are in `assets/labels.txt`.
    Requests that warm up a server are in `assets.extra`, under the model's name from the details. The content lies at
    the root of a version, where TensorFlow Serving looks.
    """

    asked = "saved_model"
    seen_as = "SavedModel"
    at_root = True

    def file_name(self, name: str) -> str:  # noqa: ARG002
        """The name of the folder, the same for all models."""
        return "saved_model"

    def make(self, model: Any, directory: Path, *, details: Details) -> Path:
        """Write the folder and give its path."""
        import tensorflow as tf

        from kt.base.plain import plain_folder
        from kt.export import warm_up
        from kt.graph.traced import of_keras

        path, kind = directory / self.file_name(details.name), details.kind_for(model)
        as_they_are = tf.TensorSpec([None, *kind.shape], kind.dtype, name=kind.takes)
        # The two signatures for examples as they are share one graph of the network.
        everything = of_keras(_everything(model, details.familiar), [as_they_are])
        plain = of_keras(_answer(everything, details.classes), [as_they_are])
        signatures = {kind.takes: plain, "serving_default": plain, FEATURES: everything}
        encoded = kind.encoded
        if encoded is not None:
            example = tf.TensorSpec(kind.shape, kind.dtype)

            def from_bytes(given: Any) -> Any:
                return plain(tf.map_fn(encoded.in_graph, given, fn_output_signature=example))

            strings = tf.TensorSpec([None], tf.string, name=encoded.takes)
            signatures["serving_default"] = tf.function(from_bytes, input_signature=[strings], autograph=False)
        with plain_folder() as folder:
            labels = folder / LABELS
            labels.write_bytes(to_text(details.classes))
            module = tf.Module()
            # Tracked as plain variables, since loading a tracked Keras model would need Keras.
            module.weights = [variable.value for variable in model.variables]
            module.labels = tf.saved_model.Asset(str(labels))
            made = folder / "saved_model"
            tf.saved_model.save(module, str(made), signatures=signatures)
            shutil.copytree(made, path, dirs_exist_ok=True)
        warm_up.write_requests(path, name=details.name, kind=kind)
        return path

    def carries(self, details: Details) -> Carried | None:
        """All that the details have: without a limit it gives the distance alone."""
        return details.familiar

    def opens(self, path: Path) -> bool:
        """Whether it is the folder of a SavedModel."""
        return (path / _GRAPH).is_file()

    def open(self, path: Path, *, threads: int = THREADS) -> "SavedModelArtifact":  # noqa: ARG002
        """Open it, with the number of threads that TensorFlow uses in this process."""
        return SavedModelArtifact(path)

    def found_in(self, folder: Path) -> list[Path]:
        """The SavedModel that an export wrote there; other folders may be versions, and the first is not the best."""
        path = folder / self.file_name("")
        return [path] if self.opens(path) else []

    def also_checks(self, artifact: Any, scores: Scores, *, pixels: Pixels, encoded: EncodedTest) -> str:
        """Check that encoded pictures get the same scores as their pixels when Pillow decodes them."""
        if not encoded.files:
            return ""
        decoded = np.stack([artifact.kind.read(data) for data in encoded.files])
        places = encoded.places
        # The test split's pictures have been answered already.
        known = places is not None and np.array_equal(pixels[list(places)], decoded)
        expected = scores[list(places or ())] if known else artifact.scores(decoded)
        difference = np.abs(artifact.answer(encoded.files).astype(np.float64) - expected).max()
        if difference <= EXACT:
            return ""
        return (
            f"serving_default answers otherwise than pixels for the same pictures, by {difference:.2g} "
            f"(limit {EXACT:g})"
        )

    def remember(self, path: Path, artifact: Any, held_out: HeldOut) -> None:
        """Put what the model says of held-out examples into a folder of the SavedModel that TensorFlow ignores."""
        seen = artifact.observed(held_out.examples)
        (path / ASIDE).mkdir(exist_ok=True)
        Reference.of(seen, held_out.labels, held_out.groups, model=digest_of_model(path)).write(
            path / ASIDE / REFERENCE
        )

    def annotate(self, path: Path, name: str, text: str) -> None:
        """Put a text into a folder of the SavedModel that TensorFlow ignores."""
        (path / ASIDE).mkdir(exist_ok=True)
        (path / ASIDE / name).write_text(text, encoding="utf-8")


def _answer(everything: Callable[[Any], Any], classes: tuple[str, ...]) -> Callable[[Any], dict[str, Any]]:
    import tensorflow as tf

    def answer(examples: Any) -> dict[str, Any]:
        names = tf.constant(classes)
        outputs = dict(everything(examples))
        scores = outputs["scores"]
        del outputs[FEATURES]
        return {
            "label": tf.gather(names, tf.argmax(scores, axis=-1)),
            "classes": tf.tile(names[None], [tf.shape(scores)[0], 1]),
            **outputs,
        }

    return answer


def _everything(model: Any, familiar: Carried | None) -> Callable[[Any], dict[str, Any]]:
    """A function of examples; the features are the scores themselves if no layer's input can stand for the example."""
    import tensorflow as tf

    from kt.export.strange import unfamiliarity_of, with_features

    ask = with_features(model, familiar)

    def answer(examples: Any) -> dict[str, Any]:
        scores, features, *tensors = ask(examples)
        scores, features = (tf.cast(output, tf.float32) for output in (scores, features))
        if len(features.shape) > 2:
            features = tf.reduce_mean(features, axis=list(range(1, len(features.shape) - 1)))
        width = features.shape[-1]
        if width > WIDEST:
            features = tf.gather(features, np.linspace(0, width - 1, WIDEST).round().astype(np.int64), axis=1)
        strange = {} if familiar is None else unfamiliarity_of(tensors, familiar)
        return {"scores": scores, FEATURES: features, **strange}

    return answer


def digest_of_model(folder: Path) -> str:
    """SHA-256 of the content that a SavedModel answers by, independent of its path and of files beside it."""
    files = sorted(file for part in (_GRAPH, "variables/*", "assets/*") for file in folder.glob(part) if file.is_file())
    named = "".join(f"{file.relative_to(folder).as_posix()} {sha256_of(file)}\n" for file in files)
    return hashlib.sha256(named.encode()).hexdigest()


def says_unfamiliar(folder: Path) -> bool:
    """Whether a SavedModel says of an example that it is unlike anything it learned from; it is not loaded."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString((folder / _GRAPH).read_bytes())
    return any(UNFAMILIAR in graph.signature_def["serving_default"].outputs for graph in saved.meta_graphs)


def reference_of(folder: Path) -> Reference:
    """What a SavedModel says of held-out examples. Raises ReleaseError if it carries none, or those of another one."""
    return Reference.read(folder / ASIDE / REFERENCE, model=digest_of_model(folder))


def _joined(parts: Sequence[Any], *, width: int) -> Replies:
    """The outputs of a signature for several batches, one after the other."""
    if not parts:
        return Replies(np.zeros((0, width), np.float32))

    def column(name: str) -> Any:
        return np.concatenate([part[name].numpy() for part in parts]) if name in parts[0] else None

    return Replies(column("scores"), column(UNFAMILIARITY), column(UNFAMILIAR))


class SavedModelArtifact:
    """A SavedModel with kt's signatures. Safe to call from several threads."""

    def __init__(self, path: Path) -> None:
        import tensorflow as tf

        from kt.base.plain import as_plain

        self.path = path
        with as_plain(path) as plain:
            self._loaded = tf.saved_model.load(str(plain))  # kept, since its functions stop working when it is freed
        self._tensor = tf.constant
        # The plain signature has the name of its one input; `serving_default` may take encoded examples.
        self.takes = next((name for name in kinds.inputs() if name in self._loaded.signatures), "pixels")
        self._plain = self._signature(self.takes)
        given = self._plain.structured_input_signature[1][self.takes]
        labels = path / "assets" / LABELS
        self.classes = from_text(labels.read_bytes()) if labels.is_file() else ()
        self.kind = kind_of_artifact(path, given.shape, given.dtype.name)

    def _signature(self, name: str) -> Any:
        if name not in self._loaded.signatures:
            known = ", ".join(self._loaded.signatures) or "none"
            raise ReleaseError(f"{self.path} has no signature {name!r}; it has: {known}.")
        return self._loaded.signatures[name]

    def scores(self, pixels: Pixels) -> Scores:
        """Scores float32 `[N, C]` of examples of its kind, such as pixels uint8 `[N, H, W, 3]`."""
        check_examples(self.kind, pixels)
        return self._asked(lambda batch: self._plain(**{self.takes: batch}), pixels)

    def reference(self) -> Reference:
        """What it says of held-out examples, for `observed` ones to be compared with. Raises ReleaseError if it can't.

        A model of an earlier kt gives no features; one that was exported otherwise carries no held-out examples.
        """
        if FEATURES not in self._loaded.signatures:
            raise ReleaseError(
                f"{self.path} gives no features, as models of an earlier kt; export its run again: kt export RUN"
            )
        return reference_of(self.path)

    def features_and_answers(self, examples: Pixels) -> tuple[npt.NDArray[np.float32], Replies]:
        """Features float32 `[N, F]` of examples of its kind, at least one, and the answers, in one pass."""
        check_examples(self.kind, examples)
        signature = self._signature(FEATURES)
        parts = [signature(**{self.takes: self._tensor(batch)}) for batch in batches(examples)]
        features = np.concatenate([part[FEATURES].numpy() for part in parts])
        return features, _joined(parts, width=len(self.classes))

    def features_and_scores(self, examples: Pixels) -> tuple[npt.NDArray[np.float32], Scores]:
        """Features float32 `[N, F]` and scores `[N, C]` of examples of its kind, at least one, in one pass."""
        features, answers = self.features_and_answers(examples)
        return features, answers.scores

    def observed(self, examples: Pixels) -> Observed:
        """The same as `kt.drift` compares it."""
        return Observed.of(*self.features_and_scores(examples))

    @property
    def says_unfamiliar(self) -> bool:
        """Whether it says of an example that it is unlike anything that it learned from."""
        return UNFAMILIAR in self._plain.structured_outputs

    def answers(self, examples: Pixels) -> Replies:
        """Scores and unfamiliarity of examples of its kind."""
        check_examples(self.kind, examples)
        return self._answers(lambda batch: self._plain(**{self.takes: batch}), examples)

    def answers_to(self, encoded: Sequence[bytes]) -> Replies:
        """The same of encoded examples, decoded inside the model (`serving_default`)."""
        signature, how = self._signature("serving_default"), self.kind.encoded
        assert how is not None
        return self._answers(lambda batch: signature(**{how.takes: batch}), encoded)

    def answer(self, encoded: Sequence[bytes]) -> Scores:
        """Scores float32 `[N, C]` of encoded examples, decoded inside the model (`serving_default`)."""
        return self.answers_to(encoded).scores

    def _answers(self, ask: Callable[[Any], Any], items: Any) -> Replies:
        parts = [ask(self._tensor(batch)) for batch in batches(items)]
        return _joined(parts, width=len(self.classes))

    def _asked(self, ask: Callable[[Any], Any], items: Any) -> Scores:
        return in_batches(lambda batch: ask(self._tensor(batch))["scores"].numpy(), items, width=len(self.classes))
