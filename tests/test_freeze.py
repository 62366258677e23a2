"""Block borders and the functions that freeze by them."""

import re

import keras
import numpy as np
import pytest

from kt import freeze, graph
from kt.errors import RecipeError

SIZE = (96, 96, 3)


def backbone(name):
    return getattr(keras.applications, name)(weights=None, include_top=False, input_shape=SIZE)


@pytest.fixture(scope="module")
def mobile():
    return backbone("MobileNetV2")


FAMILIES = {
    "MobileNetV2": ("block_15", "block_16", 18),
    "ResNet50": ("conv5_block2", "conv5_block3", 17),
    "EfficientNetB0": ("block6d", "block7a", 17),
    "DenseNet121": ("conv5_block15", "conv5_block16", 59),
    "MobileNetV3Small": ("expanded_conv_9", "expanded_conv_10", 12),
    "MobileNet": ("conv_dw_12", "conv_dw_13", 14),
    "VGG16": ("block4", "block5", 6),
    "InceptionV3": ("mixed9", "mixed10", 12),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_of_each_family_are_found_by_name_and_graph(family):
    before, last, count = FAMILIES[family]
    # Keras numbers unnamed layers through a session, and InceptionV3 names its mixed ones by itself.
    names = [re.sub(r"^(mixed\d+)_\d+$", r"\1", block.name) for block in freeze.blocks(backbone(family))]
    assert names[0] == "stem"
    assert names[-2:] == [before, last]
    assert len(names) == len(set(names)) == count


@pytest.mark.parametrize("family", ["MobileNetV2", "ResNet50", "EfficientNetB0", "DenseNet121"])
def test_one_tensor_alone_crosses_each_border(family):
    model = backbone(family)
    order = freeze.blocks(model)
    for index in range(1, len(order)):
        before = {id(t) for block in order[:index] for op in block.layers for t in keras.tree.flatten(op.output)}
        after = [op for block in order[index:] for op in block.layers]
        crossing = {id(t) for op in after for t in keras.tree.flatten(op.input)} & before
        assert len(crossing) == 1, order[index].name


def test_every_layer_lies_in_exactly_one_block(mobile):
    layers = [layer.name for block in freeze.blocks(mobile) for layer in block.layers]
    assert sorted(layers) == sorted(layer.name for layer in mobile.layers)


def trained_names(model):
    return [leaf.name for leaf in graph.leaves(model) if leaf.trainable_weights]


def test_last_blocks_begins_at_a_border_and_keeps_batch_norm_frozen(mobile):
    freeze.last_blocks(2)(mobile)
    names = trained_names(mobile)
    assert names[0] == "block_15_expand"
    assert names[-1] == "Conv_1"
    assert not any("BN" in name or name.endswith("_bn") for name in names)


def test_from_block_takes_a_block_or_a_layer_inside_it_and_trains_the_whole_block(mobile):
    freeze.from_block("block_15")(mobile)
    by_block = trained_names(mobile)
    freeze.from_block("block_15_project")(mobile)
    assert trained_names(mobile) == by_block
    assert by_block[0] == "block_15_expand"


def test_batch_norm_trains_when_asked_for(mobile):
    freeze.from_block("block_16", batch_norm=True)(mobile)
    assert "block_16_expand_BN" in trained_names(mobile)
    assert "block_15_expand_BN" not in trained_names(mobile)


def test_frozen_and_everything_are_opposites(mobile):
    freeze.everything(mobile)
    assert "Conv1" in trained_names(mobile)
    assert "bn_Conv1" not in trained_names(mobile)
    freeze.everything_with_batch_norm(mobile)
    assert "bn_Conv1" in trained_names(mobile)
    freeze.frozen(mobile)
    assert trained_names(mobile) == []


def test_what_was_frozen_as_a_whole_trains_again():
    model = backbone("MobileNetV2")
    outer = keras.Sequential([model, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
    outer.build((None, *SIZE))
    for trainable in (freeze.everything, freeze.everything_with_batch_norm, freeze.last_blocks(1)):
        freeze.frozen(model)
        assert len(outer.trainable_weights) == 2
        trainable(model)
        assert len(outer.trainable_weights) > 2


def test_a_later_phase_undoes_the_flags_of_an_earlier_one(mobile):
    freeze.everything_with_batch_norm(mobile)
    freeze.last_blocks(1)(mobile)
    assert trained_names(mobile)[0] == "block_16_expand"


def test_a_block_that_does_not_exist_is_told_with_the_nearest_name(mobile):
    with pytest.raises(RecipeError, match=r"no block or layer 'blok_13'\. Did you mean 'block_13'"):
        freeze.from_block("blok_13")(mobile)


def test_more_blocks_than_there_are_is_told(mobile):
    with pytest.raises(RecipeError, match=r"last_blocks\(99\): .* has 18 blocks"):
        freeze.last_blocks(99)(mobile)
    with pytest.raises(RecipeError, match="at least 1, not 0"):
        freeze.last_blocks(0)


def test_a_subclassed_backbone_has_no_blocks_but_can_be_frozen():
    class Plain(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv = keras.layers.Conv2D(4, 3)

        def call(self, x):
            return self.conv(x)

    model = Plain()
    model(np.zeros((1, 8, 8, 3), np.float32))
    freeze.frozen(model)
    assert model.trainable_weights == []
    freeze.everything(model)
    assert len(model.trainable_weights) == 2
    with pytest.raises(RecipeError, match="not a functional model"):
        freeze.last_blocks(1)(model)


def test_counts_see_what_trains_although_the_backbone_itself_is_flagged_frozen():
    model = backbone("MobileNetV2")
    outer = keras.Sequential([model, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2, name="scores")])
    outer.build((None, *SIZE))
    freeze.frozen(model)
    assert freeze.count_trainable(outer, model).first == "head"
    assert freeze.count_trainable(outer, model).parameters == 1280 * 2 + 2
    freeze.last_blocks(1)(model)
    counted = freeze.count_trainable(outer, model)
    assert counted.first == "block_16"
    assert counted.parameters == sum(int(np.prod(weight.shape)) for weight in outer.trainable_weights)
    assert counted.layers == 5


def test_stochastic_depth_of_a_frozen_efficientnet_does_not_fire():
    model = backbone("EfficientNetB0")
    pixels = np.random.default_rng(0).uniform(0, 255, (4, *SIZE)).astype(np.float32)
    reference = np.asarray(model(pixels, training=False))
    freeze.frozen(model)
    assert np.abs(np.asarray(model(pixels, training=True)) - reference).max() > 0
    with freeze.inference_where_frozen(model):
        assert np.array_equal(np.asarray(model(pixels, training=True)), reference)
    assert "call" not in model.layers[-1].__dict__


def test_layers_get_their_own_call_back_after_an_error():
    model = backbone("EfficientNetB0")
    freeze.frozen(model)
    with pytest.raises(ZeroDivisionError), freeze.inference_where_frozen(model):
        raise ZeroDivisionError
    assert not any("call" in leaf.__dict__ for leaf in graph.leaves(model))
