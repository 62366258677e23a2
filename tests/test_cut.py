"""Where a model is cut behind its frozen layers, and that both parts together are the whole."""

import re

import keras
import numpy as np
import pytest
from conftest import grainy
from hypothesis import given, settings
from hypothesis import strategies as st

from kt import Classifier, Phase, Recipe, backbones, freeze, graph
from kt.frozen.cut import Cut, Uncut, encoder, extension, find_cut, is_behind, tail
from kt.kinds.pictures.kind import Pictures
from kt.network import model
from kt.network.model import Built

SIZE = (96, 96)


def cut_of(built):
    """The cut under the flags as they are."""
    return find_cut(built, freeze.moving(lambda backbone: None, built.backbone))


def built_with(backbone, size=SIZE, head=None):
    phases = [Phase("only", freeze.frozen, epochs=1, lr=1e-3)]
    recipe = Recipe(lambda: None, backbone, head or Classifier(), phases, weights="none")
    return model.build(recipe, kind=Pictures(size), num_classes=2)


def pictures(count=3, size=SIZE):
    return np.random.default_rng(0).integers(0, 256, (count, *size, 3)).astype(np.uint8)


def rows_of(parts):
    return np.concatenate([np.asarray(part).reshape(len(part), -1) for part in keras.tree.flatten(parts)], axis=1)


def check_both_parts(built, border, size=SIZE):
    """The end on what the frozen part gives answers as the whole does, and trains just what the whole trains."""
    pixels = pictures(size=size)
    end = tail(built, border)
    rows = rows_of(encoder(built, [border])(pixels))
    assert rows.shape == (3, border.width)
    np.testing.assert_allclose(end(rows), built.model(pixels), atol=1e-5)
    assert set(map(id, end.trainable_weights)) == set(map(id, built.model.trainable_weights))


FAMILIES = {
    "MobileNetV2": ("block_15", [(3, 3, 160)]),
    "ResNet50": ("conv5_block2", [(3, 3, 2048)]),
    "EfficientNetB0": ("block7a", [(3, 3, 192)]),
    "EfficientNetLite0": ("block7a", [(3, 3, 192)]),
    "DenseNet121": ("conv5_block16", [(3, 3, 992)]),
    "MobileNetV3Small": ("expanded_conv_9", [(3, 3, 96)]),
    "Xception": ("block14", [(3, 3, 1024)]),
    "VGG16": ("block5", [(6, 6, 512)]),
    "InceptionV3": ("mixed10", [(1, 1, 2048)]),
    "ConvNeXtTiny": ("convnext_tiny_stage_3_block_2_depthwise_conv", [(3, 3, 768)]),
    "NASNetMobile": ("normal_conv_1_12", [(3, 3, 176)] * 3),
}


@pytest.mark.parametrize(
    "family",
    [pytest.param(name, marks=[] if name in ("MobileNetV2", "VGG16") else pytest.mark.slow) for name in FAMILIES],
)
def test_each_family_is_cut_where_its_training_begins_and_both_parts_are_the_whole(family):
    first, shapes = FAMILIES[family]
    built = built_with(getattr(backbones if "Lite" in family else keras.applications, family))
    if family == "NASNetMobile":  # its cells take the last two cells' outputs, so no place has one tensor alone
        names = [layer.name for layer in built.backbone.layers]
        start = next(i for i, name in enumerate(names) if name.startswith("normal_") and name.endswith("_12"))
        for i, layer in enumerate(built.backbone.layers):
            layer.trainable = i >= start
    else:
        freeze.from_block(first)(built.backbone)
    border = cut_of(built)
    assert [tensor.shape[1:] for tensor in border.tensors] == shapes
    check_both_parts(built, border)


def test_a_head_alone_is_cut_behind_its_pooling():
    built = built_with(keras.applications.MobileNetV2)
    freeze.frozen(built.backbone)
    border = cut_of(built)
    assert border.in_head and border.name == "pool" and border.width == 1280
    check_both_parts(built, border)


def test_one_pass_gives_what_crosses_several_borders_and_a_later_one_follows_from_an_earlier_one():
    built = built_with(keras.applications.MobileNetV2)
    borders = []
    for trainable in (freeze.from_block("block_13"), freeze.from_block("block_15"), freeze.frozen):
        trainable(built.backbone)
        borders.append(cut_of(built))
    found = encoder(built, [borders[2], borders[0], borders[1]])(pictures())
    alone = [encoder(built, [border])(pictures()) for border in borders]
    for one, other in zip(found, (alone[2], alone[0], alone[1]), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    further = extension(built, borders[0], [borders[1], borders[2]])(rows_of(alone[0]))
    np.testing.assert_allclose(further[0], alone[1], atol=1e-5)
    np.testing.assert_allclose(further[1], alone[2], atol=1e-5)
    assert is_behind(borders[1], borders[0], built) and is_behind(borders[2], borders[1], built)
    assert not is_behind(borders[0], borders[1], built) and not is_behind(borders[0], borders[2], built)


def branched(include_top, weights, input_shape):
    """A stem, then a random layer, then a block of two branches that meet again."""
    del include_top, weights
    pixels = keras.Input(input_shape)
    stem = keras.layers.Conv2D(4, 3, strides=4, name="stem_conv")(pixels)
    noisy = keras.layers.Dropout(0.5, name="stem_dropout")(stem)
    wide = keras.layers.Conv2D(16, 1, name="block_1_wide")(noisy)
    narrow = keras.layers.Conv2D(16, 3, padding="same", name="block_1_narrow")(noisy)
    met = keras.layers.Add(name="block_1_add")([wide, narrow])
    return keras.Model(pixels, keras.layers.Conv2D(8, 1, name="block_2_conv")(met))


branched.preprocessing = "scale -1..1"


def border_with_trained(built, *names):
    for layer in built.backbone.layers:
        layer.trainable = layer.name in names
    return cut_of(built)


def test_branches_of_the_block_where_training_begins_are_computed_again_where_that_keeps_less():
    border = border_with_trained(built_with(branched), "block_1_narrow")
    assert border.name == "stem_dropout"


def test_what_stands_behind_a_random_layer_that_is_not_frozen_is_not_stored():
    border = border_with_trained(built_with(branched), "stem_dropout", "block_2_conv")
    assert border.name == "stem_conv"


def test_of_the_places_in_a_block_the_smallest_tensor_is_stored():
    built = built_with(keras.applications.MobileNetV2)
    assert border_with_trained(built, "block_15_project").name == "block_14_add"


def test_what_trains_from_its_first_layer_on_is_not_cut_and_nothing_is_said():
    built = built_with(branched)
    freeze.everything(built.backbone)
    assert cut_of(built) == Uncut("")


def test_a_random_layer_before_all_weights_is_named():
    built = built_with(grainy)
    found = border_with_trained(built, "grain", "block_2_conv")
    assert found == Uncut("layer 'grain' acts at random and is not frozen, so nothing behind it stays the same")


def test_a_model_of_which_nothing_trains_is_not_cut():
    def still(features, num_classes):
        return keras.layers.Activation("softmax")(keras.layers.GlobalAveragePooling2D()(features)[:, :num_classes])

    still.loss = still.metrics = lambda: None
    built = built_with(branched, head=still)
    freeze.frozen(built.backbone)
    assert cut_of(built) == Uncut("nothing trains")


class Own(keras.Model):
    """A backbone that is not functional."""

    def __init__(self):
        super().__init__(name="own")
        self.first = keras.layers.Conv2D(4, 3, strides=2)
        self.second = keras.layers.Conv2D(6, 3, strides=2)

    def call(self, pixels):
        return self.second(self.first(pixels))


def own(include_top, weights, input_shape):
    backbone = Own()
    backbone(keras.Input(input_shape))
    return backbone


own.preprocessing = "scale -1..1"


def test_a_subclassed_backbone_is_cut_where_all_of_it_is_frozen_and_else_not():
    built = built_with(own)
    freeze.frozen(built.backbone)
    check_both_parts(built, cut_of(built))
    built.backbone.second.trainable = True
    found = cut_of(built)
    assert isinstance(found, Uncut) and "own is not a functional model" in found.reason


def test_a_layer_that_is_called_twice_moves_in_both_places():
    def twice(include_top, weights, input_shape):
        pixels = keras.Input(input_shape)
        x = keras.layers.Conv2D(4, 3, strides=4, name="block_1_conv")(pixels)
        shared = keras.layers.Conv2D(4, 3, padding="same", name="block_2_conv")
        x = keras.layers.Conv2D(4, 3, padding="same", name="block_3_conv")(shared(x))
        return keras.Model(pixels, keras.layers.Conv2D(4, 3, name="block_4_conv")(shared(x)))

    twice.preprocessing = "scale -1..1"
    built = built_with(twice)
    border = border_with_trained(built, "block_2_conv")
    assert border.name == "block_1_conv"
    check_both_parts(built, border)
    border = border_with_trained(built, "block_4_conv")
    assert border.name == "block_2_conv"
    check_both_parts(built, border)


def test_a_sequential_backbone_is_cut_too():
    def chain(include_top, weights, input_shape):
        layers = [keras.layers.Conv2D(4, 3, strides=2, name=f"block_{i}_conv") for i in (1, 2, 3)]
        return keras.Sequential([keras.Input(input_shape), *layers])

    chain.preprocessing = "scale -1..1"
    built = built_with(chain)
    freeze.last_blocks(1)(built.backbone)
    border = cut_of(built)
    assert border.name == "block_2_conv"
    check_both_parts(built, border)


# ------------------------------------------------------------------------------------------------- any graph at all


@st.composite
def graphs(draw):
    """A random graph of up to nine layers with branches, skips and joins, and which of its layers train."""
    steps = []
    for index in range(draw(st.integers(2, 9))):
        kind = draw(st.sampled_from(["conv", "norm", "relu", "dropout", "add", "join"]))
        steps.append((kind, draw(st.integers(0, index)), draw(st.integers(0, index))))
    flags = draw(st.lists(st.booleans(), min_size=len(steps), max_size=len(steps)))
    return steps, flags, draw(st.integers(0, len(steps)))


def backbone_of(steps):
    def backbone(include_top, weights, input_shape):
        pixels = keras.Input(input_shape)
        made = [keras.layers.Conv2D(3, 3, strides=4, name="block_0_conv")(pixels)]
        for index, (kind, one, other) in enumerate(steps, start=1):
            name = f"block_{index // 3}_{kind}_{index}"
            x = made[one]
            if kind == "conv":
                x = keras.layers.Conv2D(3, 3, padding="same", name=name)(x)
            elif kind == "norm":
                x = keras.layers.BatchNormalization(name=name)(x)
            elif kind == "relu":
                x = keras.layers.ReLU(name=name)(x)
            elif kind == "dropout":
                x = keras.layers.Dropout(0.3, name=name)(x)
            elif kind == "add":
                x = keras.layers.Add(name=name)([x, made[other]])
            else:
                x = keras.layers.Conv2D(3, 1, name=name)(keras.layers.Concatenate(name=f"{name}_in")([x, made[other]]))
            made.append(x)
        ends = made[-1] if len(made) < 3 else keras.layers.Add(name="ends")([made[-1], made[-2]])
        return keras.Model(pixels, ends)

    backbone.preprocessing = "scale -1..1"
    return backbone


@given(graphs())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_graph_is_cut_so_that_nothing_that_moves_is_stored_and_both_parts_are_the_whole(drawn):
    steps, flags, first = drawn
    built = built_with(backbone_of(steps), size=(16, 16))
    for leaf in graph.leaves(built.backbone):
        index = int(leaf.name.rpartition("_")[2]) if re.fullmatch(r"block_\d+_[a-z]+_\d+", leaf.name) else 0
        leaf.trainable = index >= first and (index == 0 or flags[index - 1])
    border = cut_of(built)
    if isinstance(border, Uncut):
        assert any(freeze.moves(leaf) for leaf in graph.leaves(built.backbone))
        return
    assert isinstance(border, Cut)
    frozen = encoder(built, [border])
    inside = {id(leaf) for leaf in graph.leaves(built.backbone)}
    assert not any(freeze.moves(leaf) for leaf in graph.leaves(frozen) if id(leaf) in inside)
    check_both_parts(built, border, size=(16, 16))


def test_a_tensor_that_crosses_two_cuts_goes_through_the_layers_between_them():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(3, 1, name="first")(inputs)
    y = keras.layers.Conv2D(3, 1, name="second")(x)
    z = keras.layers.Conv2D(3, 1, name="third")(y)
    backbone = keras.Model(inputs, keras.layers.Add()([x, z]))
    built = Built(backbone, backbone, None, inputs, backbone.outputs[0])
    early, late = (Cut(tensors, in_head=False, name="cut") for tensors in ((x, y), (x, z)))
    pixels = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    flat = [np.reshape(part, (2, -1)) for part in encoder(built, [early]).predict(pixels, verbose=0)]
    through = extension(built, early, [late]).predict(np.concatenate(flat, axis=1), verbose=0)
    for ours, theirs in zip(through, encoder(built, [late]).predict(pixels, verbose=0), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
