"""One thread for the matrices of linear classifiers, and what was set before afterwards."""

import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from kt.base.beside import beside
from kt.linear import fit, one_thread


@pytest.fixture(autouse=True)
def two_threads():
    """As many as the tests do not have by default: one, which nothing has to limit."""
    with threadpool_limits(2, user_api="blas"):
        yield


def blas():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_within_it_there_is_one_thread_and_behind_it_as_many_as_before():
    before = blas()
    assert set(before) == {2}, "NumPy without a BLAS that can be set"
    with one_thread(), one_thread():
        assert set(blas()) == {1}
    assert blas() == before


@pytest.mark.parametrize("kind", ["softmax", "svm"])
def test_a_classifier_fitted_while_others_are_in_another_thread_is_the_same_to_the_last_bit(kind):
    random, before = np.random.default_rng(0), blas()
    features, labels = random.normal(size=(60, 400)), np.arange(60) % 3
    features[:, :3] += 2 * np.eye(3)[labels]

    def weights():
        np.random.seed(0)  # what liblinear draws from, as in a run, which seeds it once
        return fit(features, labels, classes=3, kind=kind).weights

    alone, stop = weights(), threading.Event()

    def others():
        fitted = 0
        while not stop.is_set() or not fitted:
            fit(features[:40], labels[:40], classes=3)
            fitted += 1
        return fitted

    with one_thread():
        wait = beside(others)
        again = [weights() for _ in range(3)]
        stop.set()
        assert wait()
    for one in again:
        np.testing.assert_array_equal(alone, one)
    assert blas() == before
