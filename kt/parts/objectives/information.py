"""The two terms of information maximisation: how unsure scores are, and how evenly classes occur among them."""

from typing import Any


def entropy_and_diversity(logits: Any) -> tuple[Any, Any]:
    """The mean entropy of the scores, and the entropy of the mean scores, in nats, from logits `[N, C]`.

    Both are from 0 to ln C, and the first is never above the second. Their difference is the information that an
    example gives of its class (Krause et al., Discriminative Clustering by Regularized Information Maximization, 2010).
    """
    from keras import ops

    logits = ops.cast(logits, "float32")
    scores, logarithms = ops.softmax(logits), ops.log_softmax(logits)
    entropy = -ops.mean(ops.sum(scores * logarithms, axis=-1))
    shares = ops.mean(scores, axis=0)
    return entropy, -ops.sum(shares * ops.log(ops.maximum(shares, 1e-12)))
