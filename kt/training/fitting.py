"""Compiling a model for a phase that is fitted by gradient steps."""

from typing import Any

import keras

from kt.base.backend import accelerated
from kt.recipe import Phase, Recipe
from kt.training.layer_rates import optimizer_of


def compile_for(model: Any, recipe: Recipe, phase: Phase, *, steps: int, backbone: Any) -> None:
    """Compile the model for a phase: Keras would ignore flags that changed after an earlier `compile`.

    model: the whole one or its end behind a cut. backbone: that of the whole model, which layer rates count depth on.
    """
    optimizer = optimizer_of(phase, model, backbone, steps=steps)
    head: Any = recipe.head
    model.compile(optimizer=optimizer, loss=head.loss(), metrics=list(head.metrics()), jit_compile=by_xla())


def by_xla() -> bool:
    """Whether to compile by XLA. On a CPU it makes depthwise convolutions ten times slower, but JAX always uses it."""
    return keras.backend.backend() == "jax" or (keras.backend.backend() == "tensorflow" and accelerated())
