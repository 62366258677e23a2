"""Proof that training on frozen layers' stored outputs is training: the same weights and losses on every backend."""

from functools import cache

import pytest
from conftest import facts_from, on_backends

FAMILIES = ("MobileNetV2", "MobileNetV3Small", "ResNet50", "EfficientNetB0", "DenseNet121", "EfficientNetLite0")
FURTHER = FAMILIES[:1]
"""What the other backends train: where a network is cut does not depend on them, and they compile for minutes."""


@pytest.fixture(scope="module")
def facts_of(tmp_path_factory):
    @cache
    def facts_of_backend(backend):
        home = tmp_path_factory.mktemp(backend)
        families = FAMILIES if backend == "tensorflow" else FURTHER
        facts, said = facts_from("equal_training.py", *families, backend=backend, KT_HOME=str(home))
        assert said.count("computed once for 28 pictures") == len(families), said
        return facts

    return facts_of_backend


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "family"), on_backends({"tensorflow": FAMILIES, "jax": FURTHER, "torch": FURTHER}))
def test_stored_outputs_train_to_the_weights_and_losses_of_ordinary_training(facts_of, backend, family):
    facts = facts_of(backend)[family]
    assert facts["weights"] <= 1e-4
    assert facts["losses"] <= 1e-5
    assert facts["learned"] != 0
    assert facts["batch_norm_kept"]
