"""Frozen layers' outputs, computed once: where a model is cut, that both parts are the whole, and when it isn't cut."""

import keras
import numpy as np
import pytest

from kt import Classifier, Phase, Recipe, features, freeze, model
from kt.data.splits import Split, Splits

SIZE = (96, 96)


def part(count, seed):
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (count, *SIZE, 3)).astype(np.uint8)
    names = tuple(map(str, range(count)))
    return Split(pixels, np.arange(count) % 2, names, names)


SPLITS = Splits(part(6, 0), part(4, 1), part(4, 2), ("one", "other"), 4, "made up", "-")


def built_with(backbone):
    recipe = Recipe(
        lambda: SPLITS, backbone, Classifier(), [Phase("only", freeze.frozen, epochs=1, lr=1e-3)], weights="none"
    )
    return model.build(recipe, image_size=SIZE, num_classes=2)


FAMILIES = {
    "MobileNetV2": ("block_15", (3, 3, 160)),
    "ResNet50": ("conv5_block2", (3, 3, 2048)),
    "EfficientNetB0": ("block7a", (3, 3, 192)),
    "DenseNet121": ("conv5_block16", (3, 3, 992)),
    "MobileNetV3Small": ("expanded_conv_9", (3, 3, 96)),
    "Xception": ("block14", (3, 3, 1024)),
    "VGG16": ("block5", (6, 6, 512)),
    "InceptionV3": ("mixed10", (1, 1, 2048)),
}


@pytest.mark.parametrize(
    "family",
    [pytest.param(name, marks=[] if name in ("MobileNetV2", "VGG16") else pytest.mark.slow) for name in FAMILIES],
)
def test_a_model_is_cut_at_the_border_of_the_first_block_that_trains_and_both_parts_are_the_whole(family):
    block, border = FAMILIES[family]
    built = built_with(getattr(keras.applications, family))
    freeze.from_block(block)(built.backbone)
    work = features.prepare(built, SPLITS, augmented=False)
    assert work.model.input_shape == (None, *border)
    assert work.train.shape == (6, *border) and work.validation.shape == (4, *border)
    whole = built.model.predict(SPLITS.train.pixels, verbose=0)
    np.testing.assert_allclose(work.model.predict(work.train, verbose=0), whole, atol=1e-5)
    assert {id(weight) for weight in work.model.trainable_weights} == {
        id(weight) for weight in built.model.trainable_weights
    }


def test_a_head_alone_trains_on_pooled_features():
    built = built_with(keras.applications.MobileNetV2)
    freeze.frozen(built.backbone)
    work = features.prepare(built, SPLITS, augmented=False)
    assert work.train.shape == (6, 1280)
    whole = built.model.predict(SPLITS.train.pixels, verbose=0)
    np.testing.assert_allclose(work.model.predict(work.train, verbose=0), whole, atol=1e-5)


@pytest.fixture(scope="module")
def branched():
    """A stem, then a random layer, then a block of two branches that meet again."""

    def backbone(include_top, weights, input_shape):
        del include_top, weights
        pixels = keras.Input(input_shape)
        stem = keras.layers.Conv2D(4, 3, strides=4, name="stem_conv")(pixels)
        noisy = keras.layers.Dropout(0.5, name="stem_dropout")(stem)
        wide = keras.layers.Conv2D(16, 1, name="block_1_wide")(noisy)
        narrow = keras.layers.Conv2D(16, 3, padding="same", name="block_1_narrow")(noisy)
        met = keras.layers.Add(name="block_1_add")([wide, narrow])
        return keras.Model(pixels, keras.layers.Conv2D(8, 1, name="block_2_conv")(met))

    backbone.preprocessing = "scale -1..1"
    return built_with(backbone)


def test_a_cut_never_falls_between_branches(branched):
    branched.backbone.trainable = False
    branched.backbone.get_layer("block_1_narrow").trainable = True
    assert freeze.frozen_until(branched.backbone) is branched.backbone.get_layer("stem_dropout").output


def test_what_stands_behind_a_random_layer_that_is_not_frozen_is_not_stored(branched):
    branched.backbone.trainable = True
    for layer in branched.backbone.layers:
        layer.trainable = layer.name in ("stem_dropout", "block_2_conv")
    assert freeze.frozen_until(branched.backbone) is branched.backbone.get_layer("stem_conv").output


def test_of_the_places_in_a_block_the_smallest_tensor_is_stored():
    built = built_with(keras.applications.MobileNetV2)
    built.backbone.trainable = True
    for layer in built.backbone.layers:
        layer.trainable = layer.name == "block_15_project"
    assert freeze.frozen_until(built.backbone) is built.backbone.get_layer("block_14_add").output


def test_nothing_is_stored_where_pictures_are_augmented_or_the_first_layer_trains(branched):
    branched.backbone.trainable = False
    assert features.prepare(branched, SPLITS, augmented=True).train is SPLITS.train.pixels
    freeze.everything(branched.backbone)
    assert features.prepare(branched, SPLITS, augmented=False).model is branched.model


def test_what_would_not_fit_into_memory_is_not_stored(branched, monkeypatch, capfd):
    monkeypatch.setattr(features, "MEMORY_BUDGET", 100)
    branched.backbone.trainable = False
    assert features.prepare(branched, SPLITS, augmented=False).model is branched.model
    assert "every epoch computes them anew" in capfd.readouterr().err


def test_a_subclassed_backbone_that_trains_in_part_takes_the_ordinary_way():
    class Own(keras.Model):
        pass

    assert freeze.frozen_until(Own()) is None
