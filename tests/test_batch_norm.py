"""AdaptiveBatchNorm: each BatchNormalization gets the statistics of its inputs over one domain's examples."""

import keras
import numpy as np
import pytest
from test_adapted import AWAY, DOMAINS
from test_probe import built_of, deep, pooled
from test_train import SPLITS, tiny

from kt import AdaptedProbe, AdaptiveBatchNorm, Classifier, LinearProbe, Recipe, linear, training
from kt.adaptation.methods import SourceOnly
from kt.errors import RecipeError
from kt.frozen.engine import Engine
from kt.network import model
from kt.report.results import _notes
from kt.training import batch_norm
from kt.training.batch_norm import batch_norms, renew_statistics


def branching(include_top, weights, input_shape):
    """Two blocks with shortcuts, layers without scale and centre, and a gate of rows."""
    x = inputs = keras.Input(input_shape)
    for number in (1, 2):
        y = keras.layers.Conv2D(4, 3, strides=2, padding="same", name=f"block_{number}_conv")(x)
        y = keras.layers.BatchNormalization(name=f"block_{number}_bn", scale=False, center=False)(y)
        y = keras.layers.ReLU(name=f"block_{number}_relu")(y)
        y = keras.layers.Dropout(0.5, name=f"block_{number}_drop")(y)
        z = keras.layers.Conv2D(4, 1, strides=2, name=f"block_{number}_short")(x)
        z = keras.layers.BatchNormalization(name=f"block_{number}_short_bn")(z)
        x = keras.layers.Add(name=f"block_{number}_add")([y, z])
    gate = keras.layers.Dense(4, name="end_gate")(keras.layers.GlobalAveragePooling2D(name="end_pooled")(x))
    gate = keras.layers.BatchNormalization(name="end_bn")(gate)  # of one number for each example and channel
    x = keras.layers.Multiply(name="end_scaled")([x, keras.layers.Reshape((1, 1, 4), name="end_shape")(gate)])
    return keras.Model(inputs, x, name="branching")


branching.preprocessing = "scale -1..1"


def recipe_of(*phases, backbone=deep):
    return Recipe(lambda: DOMAINS, backbone, Classifier(dropout=0.0), phases, weights="none")


def trained(recipe, **options):
    training.seed_everything(recipe.seed)
    built = built_of(recipe)
    return built, *training.train(built, recipe, DOMAINS, **options)


def statistics(built):
    return [[np.array(layer.moving_mean), np.array(layer.moving_variance)] for layer in layers_of(built)]


def layers_of(built):
    return [node.operation for node in batch_norms(built.backbone)]


def moments_of_inputs(built, pixels):
    """The mean and variance of each layer's inputs, by Keras alone, in one batch of all examples."""
    for node in batch_norms(built.backbone):
        inner = keras.Model(built.backbone.inputs, node.inputs[0])
        values = np.asarray(keras.Model(built.model.inputs, inner(built.prepared))(pixels, training=False), np.float64)
        axes = tuple(range(values.ndim - 1))
        yield [values.mean(axis=axes), values.var(axis=axes)]


@pytest.mark.parametrize("backbone", [deep, branching])
def test_the_statistics_are_the_moments_of_what_each_layer_gets_behind_the_renewed_ones(backbone):
    built = built_of(recipe_of(AdaptiveBatchNorm(), backbone=backbone))
    before = [np.array(weight) for weight in built.model.trainable_weights]
    assert renew_statistics(built, AWAY.examples) == len(layers_of(built))
    for ours, theirs in zip(statistics(built), moments_of_inputs(built, AWAY.examples), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    for weight, value in zip(built.model.trainable_weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_batches_and_the_order_of_examples_do_not_matter(monkeypatch):
    built = built_of(recipe_of(AdaptiveBatchNorm(), backbone=branching))
    renew_statistics(built, AWAY.examples)
    once = statistics(built)
    monkeypatch.setattr(batch_norm, "BATCH", 2)
    renew_statistics(built, AWAY.examples[::-1])
    for ours, again in zip(once, statistics(built), strict=True):
        np.testing.assert_allclose(ours, again, rtol=1e-5, atol=1e-6)


def test_a_probe_between_two_steps_learns_on_the_first_statistics_and_answers_with_the_last():
    built, results, best = trained(
        recipe_of(AdaptiveBatchNorm("train", name="here"), LinearProbe(), AdaptiveBatchNorm(name="there"))
    )
    last = statistics(built)
    head = [np.array(weight) for weight in built.model.get_layer("scores").weights]
    for ours, theirs in zip(last, moments_of_inputs(built, AWAY.examples), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    renew_statistics(built, SPLITS.train.examples)
    solved = linear.fit(
        pooled(built, SPLITS.train.examples), SPLITS.train.labels, classes=2, groups=SPLITS.train.groups, seed=0
    )
    np.testing.assert_allclose(head[0], solved.weights, atol=2e-2 * np.abs(solved.weights).max())
    assert best.phase == "there"
    assert [result.adapted_to for result in results] == [None, None, "target"]
    assert results[2].gain is None and results[2].trainable_parameters == results[0].trainable_parameters == 0
    assert len(results[2].history["val_loss"]) == 1
    assert _notes(results, best) == []


def test_features_behind_new_statistics_are_computed_anew_also_where_the_cache_has_the_old_ones():
    recipe = recipe_of(
        LinearProbe(), AdaptiveBatchNorm(), LinearProbe(name="again"), AdaptedProbe(method=SourceOnly(), name="last")
    )
    built, *_ = trained(recipe)
    with_cache = model.predict(built.model, AWAY.examples)
    built, *_ = trained(recipe, cached=False)
    np.testing.assert_allclose(with_cache, model.predict(built.model, AWAY.examples), atol=1e-3)


def test_a_layer_without_scale_and_centre_moves_too_so_nothing_behind_it_is_computed_ahead():
    recipe = recipe_of(LinearProbe(), AdaptiveBatchNorm(), LinearProbe(name="again"), backbone=branching)
    built = built_of(recipe)
    engine = Engine(built, recipe, DOMAINS)
    assert len(engine._later_cuts(0)) == 0
    assert len(Engine(built, recipe_of(LinearProbe(), LinearProbe(name="again")), DOMAINS)._later_cuts(0)) == 1


def test_a_training_that_ends_after_the_step_goes_on_with_its_statistics(tmp_path):
    recipe = recipe_of(AdaptiveBatchNorm("train", name="here"), LinearProbe(), AdaptiveBatchNorm(name="there"))
    built, *_ = trained(recipe, steps=tmp_path)
    whole = built.model.get_weights()
    for file in (tmp_path / "3-there").iterdir():
        file.unlink()
    again, results, best = trained(recipe, steps=tmp_path)
    for ours, theirs in zip(whole, again.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert best.phase == "there" and [result.adapted_to for result in results] == [None, None, "target"]


def shared(include_top, weights, input_shape):
    """One BatchNormalization that is called twice."""
    inputs = keras.Input(input_shape)
    layer = keras.layers.BatchNormalization(name="block_1_bn")
    return keras.Model(inputs, layer(keras.layers.Conv2D(3, 1, name="block_1_conv")(layer(inputs))), name="shared")


def nested(include_top, weights, input_shape):
    """A model inside the model."""
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, deep(include_top, weights, input_shape)(inputs), name="nested")


shared.preprocessing = nested.preprocessing = "scale -1..1"


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        (tiny, "the backbone tiny, which has no BatchNormalization layer; use AdaptedProbe"),
        (shared, "or calls one twice"),
        (nested, "inside other models"),
    ],
)
def test_a_backbone_whose_statistics_cannot_be_renewed_is_told_before_anything_trains(backbone, message):
    recipe = recipe_of(LinearProbe(), AdaptiveBatchNorm(), backbone=backbone)
    with pytest.raises(RecipeError, match=message):
        training.check_phases(recipe, built_of(recipe))


def test_streams_that_cannot_be_are_told():
    for stream in ("validation", "test"):
        with pytest.raises(RecipeError, match="which is there to judge the model"):
            AdaptiveBatchNorm(stream)
    recipe = recipe_of(AdaptiveBatchNorm("elsewhere"))
    with pytest.raises(RecipeError, match="A step wants pictures of 'elsewhere'"):
        trained(recipe)
