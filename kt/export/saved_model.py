"""A SavedModel for servers: encoded pictures or pixels in, labels and scores out, without Keras or kt."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from kt.data.images import decode_jpeg_in_graph, over_white, resize_in_graph
from kt.export import warm_up
from kt.export.labels import LABELS, to_text
from kt.plain import plain_folder
from kt.traced import of_keras

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG"


@dataclass(frozen=True)
class SavedModel:
    """Exporter: writes `directory/saved_model` with the signatures `serving_default` and `pixels`.

    Both answer `label` string `[N]`, `scores` float32 `[N, C]` and `classes` string `[N, C]` (every output has the
    batch dimension, which TensorFlow Serving's row format needs). `serving_default` takes `image_bytes`, string `[N]`;
    `pixels` takes `pixels`, uint8 `[N, H, W, 3]`. The labels lie in `assets/labels.txt`, requests that warm a server up
    in `assets.extra`; `name` is the model's in these.
    """

    classes: tuple[str, ...]
    name: str = "model"

    def __call__(self, model: Any, directory: Path) -> Path:
        """Write the folder for a model of uint8 `[N, H, W, 3]` to scores `[N, C]` and give its path."""
        path = directory / "saved_model"
        height, width = model.input_shape[1:3]
        answer = _answer(model, self.classes)
        from_pixels = of_keras(answer, [tf.TensorSpec([None, height, width, 3], tf.uint8, name="pixels")])
        from_bytes = tf.function(
            lambda image_bytes: from_pixels(_decode_all(image_bytes, (height, width))),
            input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")],
            autograph=False,
        )
        with plain_folder() as folder:
            labels = folder / LABELS
            labels.write_bytes(to_text(self.classes))
            module = tf.Module()
            # Tracked as plain variables: a tracked Keras model would ask for Keras when it is loaded.
            module.weights = [variable.value for variable in model.variables]
            module.labels = tf.saved_model.Asset(str(labels))
            signatures = {"serving_default": from_bytes, "pixels": from_pixels}
            made = folder / "saved_model"
            tf.saved_model.save(module, str(made), signatures=signatures)
            shutil.copytree(made, path, dirs_exist_ok=True)
        warm_up.write_requests(path, name=self.name, image_size=(height, width))
        return path


def _answer(model: Any, classes: tuple[str, ...]) -> Callable[[Any], dict[str, Any]]:
    def answer(pixels: Any) -> dict[str, Any]:
        names = tf.constant(classes)
        scores = tf.cast(model(pixels, training=False), tf.float32)
        return {
            "label": tf.gather(names, tf.argmax(scores, axis=-1)),
            "scores": scores,
            "classes": tf.tile(names[None], [tf.shape(scores)[0], 1]),
        }

    return answer


def _decode_all(image_bytes: Any, size: tuple[int, int]) -> Any:
    return tf.map_fn(
        lambda encoded: resize_in_graph(_decode(encoded), size),
        image_bytes,
        fn_output_signature=tf.TensorSpec([*size, 3], tf.uint8),
    )


def _decode(encoded: Any) -> Any:
    """One picture to uint8 `[h, w, 3]`, exactly as Pillow decodes 8-bit JPEG and PNG."""
    image = tf.case(
        [
            (_begins_with(encoded, _JPEG), lambda: decode_jpeg_in_graph(encoded)),
            (_begins_with(encoded, _PNG), lambda: _decode_png(encoded)),
        ],
        default=lambda: tf.io.decode_image(encoded, channels=3, expand_animations=False),
    )
    return tf.ensure_shape(image, [None, None, 3])


def _begins_with(encoded: Any, magic: bytes) -> Any:
    return tf.equal(tf.strings.substr(encoded, 0, len(magic)), magic)


def _decode_png(encoded: Any) -> Any:
    rgba = tf.cast(tf.io.decode_png(encoded, channels=4), tf.int32)
    return tf.cast(over_white(rgba[..., :3], rgba[..., 3:]), tf.uint8)
