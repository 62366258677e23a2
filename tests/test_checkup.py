"""What a backbone's features say about a data set: the features themselves, likely wrong labels, unlike pictures."""

import keras
import numpy as np
import pytest

from kt.checkup.features import features_of, features_of_splits, probe_network
from kt.data.splits import Split, Splits
from kt.kinds.pictures.kind import Pictures
from kt.network.model import predict

SIZE = (32, 32)


def tiny(include_top, weights, input_shape):
    inputs = x = keras.Input(input_shape)
    for block in (1, 2, 3):
        x = keras.layers.Conv2D(4 * block, 3, padding="same", activation="relu", name=f"block_{block}_conv")(x)
    return keras.Model(inputs, x, name="tiny")


tiny.preprocessing = "scale -1..1"


def pictures(count, *, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *SIZE, 3), np.uint8)


@pytest.fixture(scope="module")
def network():
    return probe_network(Pictures(SIZE), backbone=tiny, weights="none")


def test_features_are_those_of_all_depths_with_the_top_last(network):
    pixels = pictures(40)
    (found,) = features_of(network, [pixels])
    assert found.depths == network.taps
    assert found.depths[-1] == ("top", 12)
    assert sum(width for _, width in found.depths) == found.width == found.all().shape[1]
    expected = predict(keras.Model(network.model.input, network.features), pixels)
    np.testing.assert_allclose(found.all(), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found.top(), found.all()[:, -12:])
    np.testing.assert_array_equal(found.at(np.array([3, 0])), found.all()[[3, 0]])
    turn = np.random.default_rng(0).normal(size=(found.width, 3))
    np.testing.assert_allclose(found.reduced(turn), found.all() @ turn, rtol=1e-4, atol=1e-4)


def test_each_part_of_splits_has_the_features_of_its_own_pictures(network):
    parts = []
    for seed, count in enumerate((6, 3, 4)):
        names = tuple(f"{seed}/{number}.png" for number in range(count))
        parts.append(Split(pictures(count, seed=seed), np.arange(count) % 2, names, names))
    splits = Splits(*parts, classes=("one", "other"), batch_size=4, origin="a test", digest="")
    found = features_of_splits(splits, built=network)
    assert [(name, len(part)) for name, part in found.items()] == [("train", 6), ("validation", 3), ("test", 4)]
    (alone,) = features_of(network, [splits.test.examples])
    np.testing.assert_allclose(found["test"].all(), alone.all(), rtol=1e-5)
