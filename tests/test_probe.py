"""LinearProbe: the head answers as the convex classifier does, features come from the depths that were asked for."""

import keras
import numpy as np
import pytest
from conftest import TINY_RECIPE, make_folder
from test_train import HEAD, SPLITS, part, recipe_of, trained

from kt import Classifier, LinearProbe, Phase, Recipe, Views, freeze, graph, linear, training
from kt.data.splits import Splits
from kt.errors import RecipeError
from kt.frozen.cut import Cut, find_cut
from kt.network import model


def cut_of(built):
    """The cut under the flags as they are."""
    return find_cut(built, freeze.moving(lambda backbone: None, built.backbone))


def deep(include_top, weights, input_shape):
    """Three blocks, the second of which is added to."""
    x = inputs = keras.Input(input_shape)
    for number, width in ((1, 4), (2, 4), (3, 6)):
        y = keras.layers.Conv2D(width, 3, padding="same", name=f"block_{number}_conv")(x)
        y = keras.layers.BatchNormalization(name=f"block_{number}_bn")(y)
        y = keras.layers.ReLU(name=f"block_{number}_relu")(y)
        x = keras.layers.Add(name=f"block_{number}_add")([x, y]) if number == 2 else y
    return keras.Model(inputs, x, name="deep")


deep.preprocessing = "scale -1..1"


def deep_recipe(*phases, head=None):
    return Recipe(lambda: SPLITS, deep, head or Classifier(dropout=0.2), phases, weights="none")


def built_of(recipe):
    return model.build(recipe, kind=SPLITS.kind, num_classes=2)


def pooled(built, pixels):
    """What comes to the head's last layer."""
    return keras.Model(built.model.input, built.model.get_layer("scores").input).predict(pixels, verbose=0)


@pytest.mark.parametrize("classifier", ["softmax", "svm"])
def test_the_model_answers_as_the_classifier_of_its_pooled_features(classifier):
    built, results, best = trained(recipe_of(LinearProbe(classifier)))

    expected = linear.fit(pooled(built, SPLITS.train.examples), SPLITS.train.labels, classes=2, kind=classifier)

    scores = model.predict(built.model, SPLITS.test.examples)
    assert scores == pytest.approx(expected.scores(pooled(built, SPLITS.test.examples)), abs=1e-3)
    assert results[0].probe["C"] == pytest.approx(expected.C)
    assert results[0].history["val_loss"] == [best.val_loss]


def test_the_losses_of_a_probe_are_those_that_keras_measures():
    built, results, _ = trained(recipe_of(LinearProbe(), head=Classifier(label_smoothing=0.1)))
    built.model.compile(loss=keras.losses.CategoricalCrossentropy(label_smoothing=0.1), metrics=["accuracy"])

    for prefix, split in (("", SPLITS.train), ("val_", SPLITS.validation)):
        loss, accuracy = built.model.evaluate(split.examples, np.eye(2)[split.labels], batch_size=64, verbose=0)
        assert results[0].history[f"{prefix}loss"] == [pytest.approx(loss, abs=1e-4)]
        assert results[0].history[f"{prefix}accuracy"] == [pytest.approx(accuracy)]


def test_nothing_of_the_backbone_moves_and_its_features_stored_or_not_give_the_same_head():
    recipe = recipe_of(LinearProbe())
    before = built_of(recipe)
    stored, results, _ = trained(recipe)
    computed, others, _ = trained(recipe, cached=False)

    assert results[0].inputs == "stored outputs of pool"
    assert others[0].inputs == "pixels"
    assert len(before.backbone.get_weights()) == len(stored.backbone.get_weights())
    for one, other in zip(stored.model.get_weights(), computed.model.get_weights(), strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-4)


def test_fine_tuning_goes_on_from_the_probe():
    still = Phase("fine_tune", freeze.everything, epochs=1, lr=1e-12)
    _, results, _ = trained(recipe_of(LinearProbe(), still))

    assert results[1].history["val_loss"] == [pytest.approx(results[0].best_val_loss, abs=1e-4)]


def test_each_view_is_a_picture_more_for_the_probe():
    views = Views(keras.layers.RandomFlip("horizontal", seed=1), views=3)
    built, results, _ = trained(recipe_of(LinearProbe(C=0.01), augment=views))
    plain, _, _ = trained(recipe_of(LinearProbe(C=0.01)))

    assert results[0].history["accuracy"][0] > 0.5
    assert not np.allclose(built.model.get_weights()[-2], plain.model.get_weights()[-2])


@pytest.mark.parametrize(
    ("features", "widths"),
    [
        (["block_1", "top"], [("block_1", 4), ("top", 6)]),
        (["block_2", "block_1_conv"], [("block_2", 4), ("block_1_conv", 4)]),
        ("block_2", [("block_2", 4)]),
        ("all", [("stem", 3), ("block_1", 4), ("block_2", 4), ("top", 6)]),
    ],
    ids=str,
)
def test_features_come_pooled_from_the_depths_that_are_asked_for(features, widths):
    built = built_of(deep_recipe(LinearProbe(features=features)))
    assert list(built.taps) == widths

    whole = built_of(deep_recipe(HEAD)).backbone
    for layer in built.backbone.layers:
        if layer.weights:
            layer.set_weights(whole.get_layer(layer.name).get_weights())
    ends = {"stem": None, "block_1": "block_1_relu", "block_2": "block_2_add", "top": "block_3_relu"}
    pixels = SPLITS.test.examples
    scaled = pixels / np.float32(127.5) - 1
    found = []
    for name, _ in widths:
        layer = ends.get(name, name)
        output = whole.input if layer is None else whole.get_layer(layer).output
        found.append(keras.Model(whole.input, output).predict(scaled, verbose=0).mean(axis=(1, 2)))
    assert pooled(built, pixels) == pytest.approx(np.hstack(found), abs=1e-5)


def test_all_depths_are_the_widest_maps_of_the_blocks():
    mobile = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(32, 32, 3), alpha=0.35)
    inner = ["expanded_conv_depthwise_relu", *(f"block_{number}_depthwise_relu" for number in range(1, 16))]

    assert model.every_depth(mobile) == ("stem", *inner, "top")
    backbone, taps = model.tapped(mobile, model.every_depth(mobile))
    assert backbone.output_shape == (None, sum(width for _, width in taps))


def test_of_a_wide_or_deep_backbone_all_depths_are_some_blocks_as_far_apart_as_can_be():
    wide = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(32, 32, 3))
    _, taps = model.tapped(wide, model.every_depth(wide))
    names = [block.name for block in freeze.blocks(wide)]

    assert sum(width for name, width in taps if name != "top") <= model.MOST_FEATURES
    assert [name for name, _ in taps] == [*names[-2::-2][::-1], "top"]

    thin = x = keras.Input((4, 4, 3))
    for number in range(50):
        x = keras.layers.Conv2D(2, 1, name=f"block{number}_conv")(x)
    every_third = [f"block{number}" for number in range(0, 49, 3)]  # of 49, for 20 at most
    assert model.every_depth(keras.Model(thin, x)) == (*every_third, "top")


def test_a_backbone_of_which_a_middle_block_is_taken_ends_there():
    names = [layer.name for layer in built_of(deep_recipe(LinearProbe(features="block_2"))).backbone.layers]

    assert "block_2_add" in names
    assert not any(name.startswith("block_3") for name in names)


def test_blocks_are_the_same_where_features_are_taken_out_of_them():
    plain, with_taps = built_of(deep_recipe(HEAD)), built_of(deep_recipe(LinearProbe(features="all")))
    taken = [
        [(block.name, [layer.name for layer in block.layers if layer.weights]) for block in freeze.blocks(one.backbone)]
        for one in (plain, with_taps)
    ]

    assert taken[0] == taken[1]
    freeze.last_blocks(1)(with_taps.backbone)
    assert freeze.count_trainable(with_taps.model, with_taps.backbone).first == "block_3"
    border = cut_of(with_taps)
    assert isinstance(border, Cut)
    assert not border.in_head


def test_a_probe_on_several_depths_and_then_a_block_train_as_on_pixels():
    recipe = deep_recipe(LinearProbe(features="all"), Phase("tune", freeze.last_blocks(1), epochs=2, lr=1e-3))
    stored, results, _ = trained(recipe)
    whole, others, _ = trained(recipe, cached=False)

    assert "stored outputs" in results[1].inputs
    assert results[1].history["loss"] == pytest.approx(others[1].history["loss"], abs=1e-3)
    for one, other in zip(stored.model.get_weights(), whole.model.get_weights(), strict=True):
        assert one == pytest.approx(other, abs=1e-3)


def test_a_probe_uses_the_features_that_tell_the_classes_apart():
    splits = Splits(part(120), part(40, 1), part(40, 2), ("dark", "light"), 8, "made up", "-")
    built, results, best = trained(deep_recipe(LinearProbe(features="all")), splits)

    assert sum(results[0].probe["features"].values()) <= 3 + 4 + 4 + 6
    assert best.val_accuracy > 0.9
    assert graph.is_functional(built.model)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinearProbe("forest"), "classifier must be 'softmax' or 'svm', not 'forest'"),
        (lambda: LinearProbe(C=0.0), "C must be above 0"),
        (lambda: LinearProbe(features=[]), "features must be 'top'"),
        (lambda: LinearProbe(features=["top", "top"]), "features must be 'top'"),
        (lambda: LinearProbe(name="a b"), "a name has letters"),
        (lambda: deep_recipe(LinearProbe(), LinearProbe(features="block_1", name="two")), "they must be the same"),
        (lambda: built_of(deep_recipe(LinearProbe(features="block_9"))), "no block or layer 'block_9'. Did you mean"),
        (
            lambda: trained(deep_recipe(LinearProbe(), head=Classifier(hidden=8))),
            "needs a head of pooling, dropout and one dense layer.*this one has .*hidden.*scores",
        ),
    ],
)
def test_a_probe_that_cannot_be_is_refused(make, message):
    with pytest.raises(RecipeError, match=message):
        make()


def test_a_head_that_a_probe_cannot_fill_is_found_before_any_training():
    recipe = deep_recipe(HEAD, LinearProbe(), head=Classifier(hidden=8))

    with pytest.raises(RecipeError, match="LinearProbe needs a head"):
        training.check_phases(recipe, built_of(recipe))


def test_the_command_line_trains_and_releases_a_probe(tmp_path, kt_here):
    make_folder(tmp_path / "pictures", {"red": 20, "green": 20})
    recipe = TINY_RECIPE.replace('Phase("train_head", trainable=frozen, epochs=4, lr=3e-2)', "LinearProbe()")
    recipe = recipe.replace("Phase, Recipe", "LinearProbe, Phase, Recipe").replace("frozen, ", "")
    (tmp_path / "tiny.py").write_text(recipe, encoding="utf-8")

    done = kt_here("run", "tiny.py", "--set", "probe.C=0.01", "--set", "probe.features=all", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert "linear classifier (softmax)" in done.stderr
    page = (tmp_path / "runs" / "tiny" / "LATEST" / "report.html").read_text(encoding="utf-8")
    assert "stored outputs of" in page or "probe" in page
