"""Block borders and the functions that freeze by them."""

import re

import keras
import numpy as np
import pytest

from kt import Classifier, Cosine, LayerwiseDecay, Phase, Recipe, freeze, graph
from kt.errors import RecipeError
from kt.parts.named import changed
from kt.recipe import describe

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


# ------------------------------------------------------------------------------------- values, flags, and families


def flags(model):
    return {leaf.name: leaf.trainable for leaf in graph.leaves(model)}


@pytest.mark.parametrize("trainable", freeze.NAMED.values())
def test_flags_are_put_back_whatever_was_applied(mobile, trainable):
    freeze.last_blocks(3)(mobile)
    before, momentum = flags(mobile), mobile.get_layer("bn_Conv1").momentum
    example = getattr(trainable, "call_first", None)
    trainable = eval(example, freeze.NAMED.copy()) if example else trainable
    with freeze.under(trainable, mobile):
        pass
    assert flags(mobile) == before
    assert mobile.get_layer("bn_Conv1").momentum == momentum
    freeze.moving(trainable, mobile)
    assert flags(mobile) == before


def test_flags_are_put_back_after_an_error_in_a_function_of_ones_own(mobile):
    before = flags(mobile)

    def wrong(backbone):
        backbone.trainable = False
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        freeze.moving(wrong, mobile)
    assert flags(mobile) == before


def test_what_moves_is_what_trains_under_the_flags(mobile):
    moving = freeze.moving(freeze.last_blocks(1), mobile)
    with freeze.under(freeze.last_blocks(1), mobile):
        assert moving.weights == {id(weight) for weight in mobile.trainable_weights}
    assert freeze.moving(freeze.frozen, mobile).weights == freeze.NOTHING.weights


def test_trainables_are_values():
    assert freeze.last_blocks(4) == freeze.LastBlocks(4) != freeze.last_blocks(5)
    assert freeze.from_block("block_3") == freeze.FromBlock("block_3")
    assert freeze.frozen == freeze.Frozen()
    assert freeze.everything_with_batch_norm == freeze.Everything(batch_norm=True)
    assert {freeze.last_blocks(4), freeze.last_blocks(4)} == {freeze.LastBlocks(4)}


@pytest.mark.parametrize("share", [0, 1.5, "a"])
def test_a_share_that_is_none_is_told(share):
    with pytest.raises(RecipeError, match="share must be"):
        freeze.top_share(share)


def plain(names):
    x = inputs = keras.Input((16, 16, 3))
    for name in names:
        x = keras.layers.Conv2D(2, 1, name=name)(x)
    return keras.Model(inputs, x, name="plain")


def test_a_backbone_that_tells_no_blocks_is_an_error_and_never_one_block():
    model = plain(["first", "second", "third"])
    assert freeze.known_blocks(model) == ()
    for trainable in (freeze.last_blocks(1), freeze.from_block("second"), freeze.top_share(0.5)):
        with pytest.raises(RecipeError, match=r"The blocks of plain are unknown.*block_of"):
            trainable(model)
    freeze.everything(model)
    assert len(trained_names(model)) == 3


def test_a_backbone_of_ones_own_says_its_blocks():
    model = plain(["first_a", "first_b", "second_a", "second_b"])
    graph.tell_blocks(model, lambda layer: layer.partition("_")[0])
    assert [block.name for block in freeze.blocks(model)][-2:] == ["first", "second"]
    freeze.last_blocks(1)(model)
    assert trained_names(model) == ["second_a", "second_b"]


def test_a_family_is_known_by_the_name_of_its_constructor():
    told = {name: graph.family(name) for name in ("MobileNet", "MobileNetV2", "MobileNetV3Large", "ResNet50")}
    assert told["MobileNet"]("conv_pw_3_bn") == "conv_dw_3"
    assert told["MobileNetV2"]("expanded_conv_depthwise") == "expanded_conv"
    assert told["MobileNetV3Large"]("expanded_conv_7_project") == "expanded_conv_7"
    assert told["ResNet50"]("conv2_block1_out") == "conv2_block1"
    assert told["ResNet50"]("pool1_pool") is None


# ------------------------------------------------------------------------------------------------ from the command line


def recipe():
    phases = [Phase("first", freeze.frozen, epochs=1, lr=1e-3), Phase("tune", freeze.last_blocks(4), epochs=1, lr=1e-4)]
    return Recipe(lambda: None, lambda include_top, weights, input_shape: None, Classifier(), phases)


@pytest.mark.parametrize(
    ("setting", "trainable"),
    [
        ("tune.trainable=last_blocks(6)", freeze.last_blocks(6)),
        ("tune.trainable=last_blocks(n=2, batch_norm=True)", freeze.last_blocks(2, batch_norm=True)),
        ('tune.trainable=from_block("block_7")', freeze.from_block("block_7")),
        ("tune.trainable = everything", freeze.everything),
        ("tune.trainable=top_share(0.5)", freeze.top_share(0.5)),
        ("tune.trainable.n=7", freeze.last_blocks(7)),
    ],
)
def test_what_trains_is_set_on_the_command_line_and_described(setting, trainable):
    tuned = changed(recipe(), [setting]).phases[1]
    assert tuned.trainable == trainable
    assert describe(tuned)["trainable"]["kind"] == type(trainable).__name__


def test_other_parts_are_set_by_name_too():
    tuned = changed(recipe(), ["tune.schedule=Cosine(warmup=0.2)", "tune.layer_rates=LayerwiseDecay(0.7)"]).phases[1]
    assert (tuned.schedule, tuned.layer_rates) == (Cosine(warmup=0.2), LayerwiseDecay(0.7))
    assert changed(recipe(), ["head=Classifier(hidden=8)"]).head == Classifier(hidden=8)
    assert changed(recipe(), ["tune.schedule=Cosine()", "tune.schedule=none"]).phases[1].schedule is None


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("tune.trainable=last_block(6)", r"there is no 'last_block' for it\. Did you mean 'last_blocks'"),
        ("tune.trainable=last_blocks", r"trainable is last_blocks itself; call it: last_blocks\(4\)"),
        ("tune.trainable=last_blocks(0)", "n must be at least 1, not 0"),
        ("tune.trainable=last_blocks(6, 7, 8)", "Cannot set 'tune.trainable' to 'last_blocks"),
        ("tune.trainable=last_blocks(__import__('os').getpid())", "expected a name, with plain values in brackets"),
        ("tune.trainable=(lambda backbone: None)", "expected a name, with plain values"),
        ("tune.trainable=", "expected a name"),
        ("tune.optimizer=Adam", "it is a function; change it in the recipe file"),
        ("tune.trainable.share=2", "LastBlocks has no 'share'"),
        ("tune.schedule=Cosine", "write Cosine"),
    ],
)
def test_what_cannot_be_set_is_told_and_nothing_is_executed(setting, message):
    with pytest.raises(RecipeError, match=message):
        changed(recipe(), [setting])
