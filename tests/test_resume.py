"""Runs that are killed and go on: they end with the weights, the history and the figures of an unbroken run."""

import os
import random
import subprocess
import sys

import pytest
from conftest import installed
from resuming import (
    CHAINS,
    DIES_IN_A_WRITE,
    KILLS,
    chain,
    check_same,
    go_on_until_it_ends,
    make_work,
    outcome,
)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(CHAINS))
def test_a_run_that_is_killed_at_any_moments_ends_as_an_unbroken_one(tmp_path, unbroken, seed):
    work = make_work(tmp_path)
    assert chain(work, "run", seed=seed, kills=KILLS, lines=18) >= 1
    check_same(outcome(work), unbroken())


@pytest.mark.slow
@pytest.mark.parametrize("write", random.Random(0).sample(range(2, 60), 4))
def test_a_run_that_ends_inside_a_write_goes_on_and_ends_as_an_unbroken_one(tmp_path, unbroken, write):
    work = make_work(tmp_path)
    environment = {**os.environ, "KT_HOME": str(work / "home")}
    command = [sys.executable, "-c", DIES_IN_A_WRITE, str(write), "run", "tiny.py"]
    ended = subprocess.run(command, cwd=work, env=environment, check=False, capture_output=True).returncode
    assert ended in (0, 9)
    if ended:
        go_on_until_it_ends(work, "run")
    check_same(outcome(work), unbroken())


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_training_under_other_backends_that_is_killed_ends_as_an_unbroken_one(tmp_path, unbroken, backend):
    installed(backend)
    options = ("--backend", backend, "--set", "export=[]")
    work = make_work(tmp_path)
    # After its tenth line, which comes in the second of two phases, or in the first on a slow machine.
    assert chain(work, "run", *options, seed=5, kills=1, lines=11) == 1
    check_same(outcome(work), unbroken(*options), within=1e-6 if backend == "jax" else 0.0)
