"""Warm-up requests inside a SavedModel: TensorFlow Serving runs them when it has loaded a version, before it serves it.

Without them the first requests wait for what TensorFlow sets up when it is first needed. The pictures are drawn here:
what a request takes depends on their size and kind, not on what they show, and a release is copied to places where
nobody's pictures belong.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

PLACE = Path("assets.extra", "tf_serving_warmup_requests")
"""Where TensorFlow Serving looks for them in a SavedModel."""

BATCH_SIZES = (1, 8, 32)

_PICTURE = (320, 240)
_GREY = 127


def write_requests(path: Path, *, name: str, image_size: tuple[int, int]) -> Path:
    """Write requests for both signatures of the SavedModel at `path`, in each batch size, and give the file's path.

    name: the model's, as a server calls it. image_size: height and width in pixels.
    """
    file = path / PLACE
    file.parent.mkdir(exist_ok=True)
    kinds = [_encoded("JPEG"), _encoded("PNG")]
    with tf.io.TFRecordWriter(str(file)) as writer:
        for size in BATCH_SIZES:
            encoded = tf.make_tensor_proto([kinds[index % len(kinds)] for index in range(size)])
            # One value for all elements: a few bytes, however many pictures.
            pixels = tf.make_tensor_proto(_GREY, dtype=tf.uint8, shape=[size, *image_size, 3])
            writer.write(_log(name, "serving_default", inputs={"image_bytes": encoded}))
            writer.write(_log(name, "pixels", inputs={"pixels": pixels}))
    return file


def _log(name: str, signature: str, *, inputs: dict[str, Any]) -> bytes:
    request = predict_pb2.PredictRequest(inputs=inputs)
    request.model_spec.name, request.model_spec.signature_name = name, signature
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.CopyFrom(request)
    content: bytes = log.SerializeToString(deterministic=True)
    return content


def _encoded(kind: str) -> bytes:
    """A smooth picture, so that the decoder has something to do."""
    width, height = _PICTURE
    y, x = np.mgrid[0:height, 0:width]
    levels = np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=-1).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, kind)
    return buffer.getvalue()
