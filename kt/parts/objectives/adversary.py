"""What objectives with a domain classifier share: the classifier, its loss, and the reversal of its gradient.

(Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 2016.) The classifier learns to tell the domains
apart. The reversed gradient makes the features such that it can't.
"""

from typing import Any


def reversed_gradient(x: Any, scale: Any) -> Any:
    """The tensor as it is, but for rounding; its gradient is that of the result, times -scale. scale: 0 or above."""
    from keras import ops

    return ops.stop_gradient((1.0 + scale) * x) - scale * x


def rising(progress: Any) -> Any:
    """How much of the reversed gradient counts at this share of the phase: 0 at its beginning, 0.9999 at its end."""
    from keras import ops

    return 2.0 / (1.0 + ops.exp(-10.0 * progress)) - 1.0


def domain_classifier(inputs: Any, hidden: int) -> Any:
    """The logit `[B, 1]` of the training pictures' domain: two ReLU layers on symbolic features `[B, D]`."""
    from keras import layers

    x = layers.Dense(hidden, activation="relu", dtype="float32", name="domain_hidden_1")(inputs)
    x = layers.Dense(hidden, activation="relu", dtype="float32", name="domain_hidden_2")(x)
    return layers.Dense(1, dtype="float32", name="domain")(x)


def domain_loss(source: Any, target: Any, *, weights: tuple[Any, Any] = (1.0, 1.0)) -> Any:
    """The cross-entropy of a domain classifier, the mean of both domains' means: ln 2 if it can't tell them apart.

    source, target: the logits `[B, 1]` of the source, for examples of both domains. weights: of the examples, `[B, 1]`.
    """
    from keras import ops

    here, away = weights
    return (ops.mean(here * ops.softplus(-source)) + ops.mean(away * ops.softplus(target))) / 2.0
