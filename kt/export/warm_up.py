"""Warm-up requests inside a SavedModel: TensorFlow Serving runs them after it loads a version, before it serves it.

Without them the first requests would wait for TensorFlow's lazy set-up. The examples are made up: the time of a request
depends on their size and kind, not on what they show, and private pictures don't belong in a release, which is copied
to other places.
"""

from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from kt.kinds.kind import Kind

PLACE = Path("assets.extra", "tf_serving_warmup_requests")
"""Where TensorFlow Serving looks for them in a SavedModel."""

BATCH_SIZES = (1, 8, 32)

_GREY = 127


def write_requests(path: Path, *, name: str, kind: Kind) -> Path:
    """Write requests for both signatures of the SavedModel at `path`, in each batch size, and give the file's path.

    name: the model's, as a server calls it. kind: of the examples that it takes.
    """
    file = path / PLACE
    file.parent.mkdir(exist_ok=True)
    encoded = kind.encoded
    examples = [] if encoded is None else encoded.warm_up()
    with tf.io.TFRecordWriter(str(file)) as writer:
        for size in BATCH_SIZES:
            # One value for all elements: a few bytes, however many examples.
            plain = tf.make_tensor_proto(_GREY, dtype=kind.dtype, shape=[size, *kind.shape])
            default = {kind.takes: plain}
            if encoded is not None:
                default = {
                    encoded.takes: tf.make_tensor_proto([examples[place % len(examples)] for place in range(size)])
                }
            writer.write(_log(name, "serving_default", inputs=default))
            writer.write(_log(name, kind.takes, inputs={kind.takes: plain}))
    return file


def _log(name: str, signature: str, *, inputs: dict[str, Any]) -> bytes:
    request = predict_pb2.PredictRequest(inputs=inputs)
    request.model_spec.name, request.model_spec.signature_name = name, signature
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.CopyFrom(request)
    content: bytes = log.SerializeToString(deterministic=True)
    return content
