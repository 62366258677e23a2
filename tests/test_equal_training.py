"""Proof that training on frozen layers' stored outputs is training: the same weights and losses on every backend."""

import importlib.util
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "facts" / "equal_training.py"
FAMILIES = ("MobileNetV2", "ResNet50", "EfficientNetB0", "DenseNet121", "MobileNetV3Small", "EfficientNetLite0")


@pytest.fixture(scope="module")
def facts_of(tmp_path_factory):
    @cache
    def facts(backend):
        home = tmp_path_factory.mktemp(backend)
        child = subprocess.run(
            [sys.executable, str(SCRIPT), *FAMILIES],
            env={**os.environ, "KERAS_BACKEND": backend, "KT_HOME": str(home)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert child.returncode == 0, child.stderr[-2000:]
        assert child.stderr.count("computed once for 28 pictures") == len(FAMILIES), child.stderr
        return json.loads(child.stdout.splitlines()[-1])

    return facts


def installed(backend):
    missing = importlib.util.find_spec(backend) is None
    return pytest.param(backend, marks=pytest.mark.skip(reason=f"{backend} is an extra")) if missing else backend


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("backend", [installed(name) for name in ("tensorflow", "jax", "torch")])
def test_stored_outputs_train_to_the_weights_and_losses_of_ordinary_training(facts_of, backend, family):
    facts = facts_of(backend)[family]
    assert facts["weights"] <= 1e-4
    assert facts["losses"] <= 1e-5
    assert facts["learned"] != 0
    assert facts["batch_norm_kept"]
