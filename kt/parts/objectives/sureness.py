"""How much an example counts by how sure the model is of it: `kt.Mcc` and `kt.Cdan` share it."""

from typing import Any


def sureness(scores: Any) -> Any:
    """How much each example counts by its scores `[B, C]`: 1 + exp(-entropy), `[B, 1]`, divided by its mean.

    Its gradient is 0.
    """
    from keras import ops

    entropy = -ops.sum(scores * ops.log(scores + 1e-7), axis=1, keepdims=True)
    sure = ops.stop_gradient(1.0 + ops.exp(-entropy))
    return sure / ops.mean(sure)
