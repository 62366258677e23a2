"""Training on made-up pictures: what is kept, what stops it, and that asking twice gives the same."""

import dataclasses
import gc
import json
import random
from dataclasses import dataclass

import keras
import numpy as np
import pytest
import tensorflow as tf

from kt import Classifier, Cosine, LayerwiseDecay, LinearProbe, Phase, Recipe, freeze, graph, training
from kt.data.splits import Split, Splits
from kt.errors import RecipeError, TrainingError
from kt.frozen.engine import Work
from kt.kinds.pictures.kind import Pictures
from kt.network import model
from kt.runs.main import run
from kt.runs.trained import as_written
from kt.training.batches import Order, class_weights, training_batches


def tiny(include_top, weights, input_shape):
    """One block, so that every test trains in a second."""
    del include_top, weights
    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(4, 3, strides=2, name="block_1_conv")(inputs)
    return keras.Model(inputs, keras.layers.ReLU(name="block_1_relu")(x), name="tiny")


tiny.preprocessing = "scale -1..1"


def part(count, seed=0, classes=2):
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    pixels = (
        random.integers(0, 80, (count, 16, 16, 3)).astype(np.uint8)
        + (labels * 60).astype(np.uint8)[:, None, None, None]
    )
    names = tuple(map(str, range(count)))
    return Split(pixels, labels.astype(np.int64), names, names)


SPLITS = Splits(part(40), part(12, 1), part(12, 2), ("dark", "light"), 8, "made up", "-")
WHOLE = Work(None, SPLITS.train.examples, SPLITS.validation.examples)


def recipe_of(*phases, head=None, augment=None, class_weight=None, seed=0):
    return Recipe(
        lambda: SPLITS, tiny, head or Classifier(dropout=0.2), phases,
        weights="none", augment=augment, class_weight=class_weight, seed=seed,
    )  # fmt: skip


def trained(recipe, splits=SPLITS, **options):
    training.seed_everything(recipe.seed)
    built = model.build(recipe, kind=splits.kind, num_classes=len(splits.classes))
    return built, *training.train(built, recipe, splits, **options)


HEAD = Phase("first", freeze.frozen, epochs=3, lr=1e-2)


def test_the_best_weights_over_all_phases_are_kept_even_if_a_later_phase_is_worse():
    ruin = Phase("ruin", freeze.everything, epochs=2, lr=5.0)
    built, results, best = trained(recipe_of(HEAD, ruin))
    assert best.phase == "first"
    assert best.val_loss == min(results[0].history["val_loss"])
    assert all(np.array_equal(one, two) for one, two in zip(built.model.get_weights(), best.weights, strict=True))
    compiled = built.model
    compiled.compile(loss=keras.losses.CategoricalCrossentropy())
    measured = compiled.evaluate(SPLITS.validation.examples, np.eye(2)[SPLITS.validation.labels], verbose=0)
    assert np.ravel(measured)[0] == pytest.approx(best.val_loss, abs=1e-5)


class WithoutAccuracy(Classifier):
    """A head that shows its loss alone."""

    def metrics(self):
        return []


@pytest.mark.parametrize("step", [HEAD, LinearProbe()])
def test_without_a_metric_of_accuracy_the_best_weights_have_none_and_the_report_says_null(tmp_path, step):
    recipe = dataclasses.replace(recipe_of(step, head=WithoutAccuracy()), export=())
    run(recipe, tmp_path)
    told = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert told["best"]["val_accuracy"] is None
    assert told["best"]["val_loss"] == min(told["phases"][0]["history"]["val_loss"])
    assert not [name for name in told["phases"][0]["history"] if "accuracy" in name]


def test_a_phase_that_helps_is_the_one_that_is_kept():
    slow = Phase("slow", freeze.frozen, epochs=1, lr=1e-5)
    _, _, best = trained(recipe_of(slow, Phase("fast", freeze.frozen, epochs=4, lr=3e-2)))
    assert best.phase == "fast"


def test_the_same_seed_gives_the_same_weights_and_another_does_not():
    phases = (HEAD, Phase("all", freeze.everything, epochs=2, lr=1e-3))

    def weights(seed):
        augment = keras.layers.RandomFlip("horizontal", seed=1)
        built, results, _ = trained(recipe_of(*phases, augment=augment, seed=seed))
        return results[1].history["loss"], built.model.get_weights()

    (once, first), (twice, second), (other, _) = weights(4), weights(4), weights(5)
    assert once == twice
    assert all(np.array_equal(one, two) for one, two in zip(first, second, strict=True))
    assert once != other


@pytest.mark.parametrize("more", [{}, {"optimizer": keras.optimizers.SGD}, {"layer_rates": LayerwiseDecay(0.5)}])
def test_no_graph_of_a_training_stays_in_memory(more):
    def graphs():
        keras.backend.clear_session()
        gc.collect()
        return sum(type(one).__name__.endswith("FuncGraph") for one in gc.get_objects())

    before = graphs()
    trained(recipe_of(HEAD, Phase("all", freeze.everything, epochs=1, lr=1e-3, **more)))
    assert graphs() <= before


def test_a_run_gives_the_content_of_its_report_json_and_nothing_else(tmp_path):
    given = run(dataclasses.replace(recipe_of(HEAD), export=()), tmp_path)
    assert given == json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert given["format"] == 1


def telling(**told):
    """Ordinary training that tells these keys besides."""
    return lambda *given, **options: dataclasses.replace(as_written(*given, **options), told=told)


def test_what_a_training_step_tells_stands_in_the_report_and_its_notes_join_the_run_s(tmp_path):
    recipe = dataclasses.replace(recipe_of(HEAD), export=())
    plain = run(recipe, tmp_path / "plain")
    told = run(recipe, tmp_path / "told", training=telling(tries=[1, 2], notes=["two tries"]))
    assert told["tries"] == [1, 2]
    assert sorted(told["notes"]) == sorted(["two tries", *plain["notes"]])


@pytest.mark.parametrize("key", ["best", "test", "format", "wrongest"])
def test_what_a_training_step_tells_never_replaces_a_key_of_the_run(tmp_path, key):
    recipe = dataclasses.replace(recipe_of(HEAD), export=())
    with pytest.raises(RecipeError, match=rf"The training step tells '{key}', a key that the run itself writes into"):
        run(recipe, tmp_path, training=telling(**{key: {}}, tries=[1]))
    assert not (tmp_path / "report.json").exists()


def test_what_reading_the_pictures_draws_at_random_does_not_change_the_run(tmp_path):
    def reading(draws):
        def data():
            for _ in range(draws):
                random.random(), np.random.random(), tf.random.uniform(())
            return SPLITS

        return data

    recipes = [dataclasses.replace(recipe_of(HEAD), data=reading(draws), export=()) for draws in (0, 3)]
    losses = [run(recipe, tmp_path / f"{i}")["phases"][0]["history"]["loss"] for i, recipe in enumerate(recipes)]
    assert losses[0] == losses[1]


def test_each_epoch_has_another_order_that_follows_from_the_seed():
    def order(seed, epoch):
        return np.concatenate(list(Order(40, 8, seed=(seed, 0), epoch=epoch)()))

    assert sorted(order(0, 0)) == list(range(40))
    assert not np.array_equal(order(0, 0), order(0, 1))
    assert not np.array_equal(order(0, 0), order(1, 0))
    assert np.array_equal(order(3, 2), order(3, 2))


def test_fit_sees_the_order_of_each_epoch_in_turn(monkeypatch):
    seen = []
    right = Order.__call__

    def watched(self):
        seen.append(self.epoch)
        return right(self)

    monkeypatch.setattr(Order, "__call__", watched)
    trained(recipe_of(HEAD))
    assert seen == [0, 1, 2]


@dataclass(frozen=True)
class NoNumber(Classifier):
    """A head whose loss is not a number."""

    def loss(self):
        return lambda truth, scores: keras.ops.sum(scores * truth, axis=-1) * float("nan")


def test_a_loss_that_is_not_a_number_stops_with_phase_and_epoch():
    with pytest.raises(
        TrainingError, match=r"loss became nan in phase 'first', epoch 1, batch 1; .*--set first\.lr=0\.001"
    ):
        trained(recipe_of(HEAD, head=NoNumber()))


def test_patience_ends_a_phase_that_no_longer_gets_better():
    _, results, _ = trained(recipe_of(Phase("first", freeze.frozen, epochs=30, lr=5.0, patience=2)))
    assert results[0].epochs == 30
    assert results[0].epochs_run == len(results[0].history["loss"]) < 30
    assert results[0].epochs_run == results[0].best_epoch + 2


def test_a_cosine_schedule_shapes_the_rates_of_a_phase():
    _, results, _ = trained(recipe_of(Phase("first", freeze.frozen, epochs=4, lr=1e-2, schedule=Cosine(warmup=0.25))))
    rates = results[0].history["lr"]
    assert max(rates) <= 1e-2
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 1e-3


def test_a_phase_takes_the_optimizer_that_it_is_given():
    built = model.build(recipe_of(HEAD), kind=Pictures((16, 16)), num_classes=2)
    phase = Phase("x", freeze.frozen, 1, 0.5, keras.optimizers.SGD)
    training.compile_for(built.model, recipe_of(HEAD), phase, steps=4, backbone=built.backbone)
    assert isinstance(built.model.optimizer, keras.optimizers.SGD)
    assert float(built.model.optimizer.learning_rate) == 0.5


def test_balanced_class_weights_average_to_one_and_even_the_classes_out():
    labels = np.array([0] * 90 + [1] * 10)
    weights = class_weights(labels, 2)
    assert weights[labels].mean() == pytest.approx(1)
    assert weights[0] * 90 == pytest.approx(weights[1] * 10)


def test_batches_carry_the_class_weights_and_one_hot_labels():
    order = Order(40, 16, seed=(0,))
    recipe = recipe_of(HEAD, class_weight="balanced")
    lopsided = np.array([0] * 30 + [1] * 10)
    rows = list(training_batches(order, WHOLE, lopsided, recipe=recipe, classes=2))
    assert [len(x) for x, _, _ in rows] == [16, 16, 8]
    for (x, y, w), indices in zip(rows, order(), strict=True):
        assert np.array_equal(x, SPLITS.train.examples[indices])
        assert np.array_equal(np.argmax(y, axis=1), lopsided[indices])
        assert np.allclose(w, np.where(lopsided[indices] == 0, 40 / 60, 40 / 20))


def test_label_smoothing_changes_the_loss():
    _, plain, _ = trained(recipe_of(HEAD, head=Classifier(dropout=0)))
    _, smooth, _ = trained(recipe_of(HEAD, head=Classifier(dropout=0, label_smoothing=0.3)))
    assert smooth[0].history["loss"] != plain[0].history["loss"]


@pytest.mark.parametrize("kind", ["keras", "keras_cv", "function"])
def test_augmentation_changes_pixels_keeps_their_range_and_stays_out_of_the_model(kind):
    if kind == "keras":
        augment = keras.layers.RandomBrightness(0.5, seed=1)
    elif kind == "keras_cv":
        keras_cv = pytest.importorskip("keras_cv")
        augment = keras_cv.layers.RandomFlip("horizontal", seed=1)
    else:
        augment = lambda images: 255.0 - images  # noqa: E731
    recipe = recipe_of(HEAD, augment=augment)
    order = Order(40, 16, seed=(0,))
    rows = list(training_batches(order, WHOLE, SPLITS.train.labels, recipe=recipe, classes=2))
    x = np.concatenate([np.asarray(row[0]) for row in rows])
    plain = SPLITS.train.examples[np.concatenate(list(order()))]
    assert x.dtype == np.uint8
    assert x.shape == plain.shape
    assert not np.array_equal(x, plain)
    built, _, _ = trained(recipe)
    assert not any("random" in leaf.name for leaf in graph.leaves(built.model))


def test_tensorboard_finds_each_phase(tmp_path):
    trained(recipe_of(HEAD), logs=tmp_path)
    events = list((tmp_path / "first").glob("events.*"))
    tags = {
        value.tag
        for file in events
        for event in tf.compat.v1.train.summary_iterator(str(file))
        for value in event.summary.value
    }
    assert {"loss", "val_loss", "accuracy", "val_accuracy", "lr"} <= tags


def test_a_phase_for_a_block_that_is_not_there_is_told_before_any_training():
    recipe = recipe_of(HEAD, Phase("fine", freeze.from_block("block_9"), epochs=1, lr=1e-3))
    built = model.build(recipe, kind=Pictures((16, 16)), num_classes=2)
    with pytest.raises(RecipeError, match=r"no block or layer 'block_9'\. Did you mean 'block_1'"):
        training.check_phases(recipe, built)


def test_a_head_that_does_not_fit_the_classes_is_told():
    @dataclass(frozen=True)
    class Wrong(Classifier):
        def __call__(self, features, num_classes):
            return super().__call__(features, num_classes + 1)

    with pytest.raises(RecipeError, match=r"The head gives \(None, 3\) for 2 classes"):
        model.build(recipe_of(HEAD, head=Wrong()), kind=Pictures((16, 16)), num_classes=2)


def test_the_model_takes_uint8_pixels_and_gives_scores_that_sum_to_one():
    built = model.build(recipe_of(HEAD), kind=Pictures((16, 16)), num_classes=2)
    assert built.model.input_shape == (None, 16, 16, 3)
    assert built.model.inputs[0].dtype == "uint8"
    assert model.predict(built.model, SPLITS.test.examples).sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_a_model_trained_in_mixed_precision_comes_out_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        recipe = recipe_of(HEAD)
        built, _, best = trained(recipe)
        plain = model.in_float32(built, recipe)
    finally:
        keras.config.set_dtype_policy("float32")
    assert plain is not built.model
    assert {leaf.compute_dtype for leaf in graph.leaves(plain) if leaf.weights} == {"float32"}
    assert all(np.array_equal(one, two) for one, two in zip(plain.get_weights(), best.weights, strict=True))
