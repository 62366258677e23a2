"""What is frozen is computed once: what each phase trains on, what is found again, and what if it can't be kept."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import grainy

from kt import Classifier, FeatureAugmentation, Phase, Recipe, Views, freeze, training
from kt.base import cache
from kt.data.splits import Split, Splits
from kt.errors import RecipeError
from kt.frozen import answers as answers_room
from kt.frozen import encode, encoder, store
from kt.frozen.answers import answers as answers_of
from kt.frozen.engine import Engine
from kt.frozen.fingerprint import fingerprint
from kt.kinds.pictures.kind import Pictures
from kt.network import model
from kt.training.batches import Order, training_batches


def chain(include_top, weights, input_shape):
    """Four blocks that get smaller."""
    inputs = x = keras.Input(input_shape)
    for block in (1, 2, 3, 4):
        x = keras.layers.Conv2D(6, 3, strides=2, padding="same", name=f"block_{block}_conv")(x)
        x = keras.layers.ReLU(name=f"block_{block}_relu")(x)
    return keras.Model(inputs, x, name="chain")


chain.preprocessing = "scale -1..1"


def part(count, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3)).astype(np.uint8)
    names = tuple(map(str, range(count)))
    return Split(pixels, np.arange(count) % 2, names, names)


SPLITS = Splits(part(40, 0), part(10, 1), part(4, 2), ("one", "other"), 8, "made up", "-")
HEAD = Phase("first", freeze.frozen, epochs=2, lr=1e-2)
LAST = Phase("last", freeze.last_blocks(1), epochs=1, lr=1e-3)
MORE = Phase("more", freeze.last_blocks(3), epochs=1, lr=1e-3)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A cache for each test."""
    monkeypatch.setenv("KT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def recipe_of(*phases, augment=None, backbone=chain):
    return Recipe(lambda: SPLITS, backbone, Classifier(dropout=0.1), phases, weights="none", augment=augment, seed=3)


def built_for(recipe):
    training.seed_everything(recipe.seed)
    return model.build(recipe, kind=Pictures((32, 32)), num_classes=2)


def work_of(recipe, index=0, built=None, **options):
    built = built or built_for(recipe)
    recipe.phases[index].trainable(built.backbone)
    return Engine(built, recipe, SPLITS, **options).work(index)


def answers(built, pixels):
    """What the model answers, with its flags as they are."""
    return answers_of(built, pixels, moving=freeze.moving(lambda backbone: None, built.backbone))


def trained(recipe, **options):
    built = built_for(recipe)
    results, _ = training.train(built, recipe, SPLITS, **options)
    return built.model.get_weights(), results


def test_a_head_trains_on_pooled_features_and_the_last_block_on_the_map_before_it():
    assert work_of(recipe_of(HEAD)).train.shape == (40, 6)
    assert work_of(recipe_of(LAST)).train.shape == (40, 4 * 4 * 6)
    assert work_of(recipe_of(LAST)).validation.shape == (10, 4 * 4 * 6)


def test_the_rows_are_what_the_model_computes_and_its_end_answers_as_the_whole():
    built = built_for(recipe_of(MORE))
    work = work_of(recipe_of(MORE), built=built)
    np.testing.assert_allclose(work.model(work.train), built.model(SPLITS.train.examples), atol=1e-5)
    np.testing.assert_allclose(work.model(work.validation), built.model(SPLITS.validation.examples), atol=1e-5)


def test_one_pass_over_the_pictures_serves_all_phases(capfd):
    trained(recipe_of(HEAD, LAST))
    told = capfd.readouterr().err
    assert told.count("computed once for 50 pictures") == 1
    assert told.count("outputs of 50 pictures at hand") == 1


def test_what_a_phase_has_trained_is_computed_anew_from_where_nothing_changed(capfd):
    recipe = recipe_of(MORE, LAST)
    cached, _ = trained(recipe)
    assert "computed once for 50 pictures from those at block_1_relu" in capfd.readouterr().err
    ordinary, _ = trained(recipe, cached=False)
    for one, other in zip(cached, ordinary, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_second_run_finds_what_the_first_has_kept_and_a_third_with_new_pictures_computes_those_alone(capfd):
    recipe = recipe_of(HEAD)
    once, _ = trained(recipe)
    capfd.readouterr()
    twice, _ = trained(recipe)
    assert "computed" not in capfd.readouterr().err
    assert all(np.array_equal(one, other) for one, other in zip(once, twice, strict=True))
    pixels = SPLITS.train.examples.copy()
    pixels[:3] = 255 - pixels[:3]
    changed = dataclasses.replace(SPLITS, train=dataclasses.replace(SPLITS.train, examples=pixels))
    built = built_for(recipe)
    freeze.frozen(built.backbone)
    Engine(built, recipe, changed).work(0)
    assert "computed once for 3 pictures" in capfd.readouterr().err


def test_without_a_cache_every_phase_trains_the_whole_model_on_pixels():
    work = work_of(recipe_of(HEAD), cached=False)
    assert work.train is SPLITS.train.examples
    assert work.model.input_shape == (None, 32, 32, 3)


def test_plain_augmentation_trains_on_pixels():
    assert work_of(recipe_of(HEAD, augment=lambda images: images)).train is SPLITS.train.examples


def test_a_backbone_that_can_not_be_cut_trains_as_a_whole_and_says_why(capfd):
    noisy = recipe_of(Phase("only", partly_random, epochs=1, lr=1e-3), backbone=grainy)
    assert work_of(noisy).train is SPLITS.train.examples
    assert "layer 'grain' acts at random and is not frozen" in capfd.readouterr().err


def partly_random(backbone):
    for layer in backbone.layers:
        layer.trainable = layer.name in ("grain", "block_2_conv")


# ------------------------------------------------------------------------------------------------ where they are kept


def test_few_outputs_are_held_in_memory_and_many_are_mapped(monkeypatch):
    assert isinstance(work_of(recipe_of(HEAD)).train, np.ndarray)
    held, _ = trained(recipe_of(LAST))
    monkeypatch.setattr(encoder, "IN_MEMORY", 100)
    assert isinstance(work_of(recipe_of(HEAD)).train, store.CachedRows)
    mapped, _ = trained(recipe_of(LAST))
    assert all(np.array_equal(one, other) for one, other in zip(held, mapped, strict=True))


def test_a_full_disk_keeps_them_in_memory_and_says_so(monkeypatch, capfd, home):
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1000))
    assert work_of(recipe_of(HEAD)).train.shape == (40, 6)
    assert "not kept for the next run: 1.0 GiB have to be free" in capfd.readouterr().err
    assert not list(home.rglob("*.npy"))


def test_a_disk_that_fills_up_on_the_way_loses_nothing(monkeypatch, capfd, home):
    def full(self, keys, rows):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store._IntoFile, "add", full)
    work = work_of(recipe_of(LAST))
    assert work.train.shape == (40, 96)
    assert "not kept for the next run: No space left on device" in capfd.readouterr().err
    assert not [file for file in home.rglob("*") if file.suffix in (".npy", ".part")]


def test_outputs_that_fit_neither_disk_nor_memory_are_not_stored(monkeypatch, capfd):
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1000))
    monkeypatch.setattr(encoder, "WITHOUT_DISK", 100)
    assert work_of(recipe_of(HEAD)).train is SPLITS.train.examples
    told = capfd.readouterr().err
    assert "not kept for the next run: 1.0 GiB have to be free" in told
    assert "can't be stored: 0.0 GiB would have to be held in memory; every epoch computes all layers" in told


def test_a_cache_that_can_not_be_written_is_no_obstacle(monkeypatch, tmp_path, capfd):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KT_HOME", str(tmp_path / "file" / "home"))
    assert work_of(recipe_of(HEAD)).train.shape == (40, 6)
    assert "not kept for the next run: kt can't use its cache directory" in capfd.readouterr().err


# --------------------------------------------------------------------------------------------------------- fingerprints


class Scaled(keras.layers.Layer):
    """A layer of one's own."""

    def __init__(self, factor=2.0, **rest):
        super().__init__(**rest)
        self.factor = factor

    def call(self, x):
        return x * self.factor

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


class Opaque(keras.layers.Layer):
    """A layer that doesn't tell its settings as plain data."""

    def call(self, x):
        return x

    def get_config(self):
        return {**super().get_config(), "what": object()}


def small(*layers):
    keras.utils.set_random_seed(0)
    inputs = x = keras.Input((4,))
    for layer in (keras.layers.Dense(3), *layers):
        x = layer(x)
    return keras.Model(inputs, x + 1.0)


def test_equal_models_have_equal_fingerprints_whatever_their_layers_are_called_and_whatever_trains():
    one, other = small(Scaled()), small(Scaled())
    other.trainable = False
    assert one.layers[1].name != other.layers[1].name
    assert fingerprint(one) == fingerprint(other) is not None


def test_another_weight_setting_constant_layer_or_code_gives_another_fingerprint(monkeypatch):
    found = [fingerprint(small()), fingerprint(small(Scaled())), fingerprint(small(Scaled(3.0)))]
    moved = small()
    moved.layers[1].bias.assign([0, 0, 1e-7])
    found.append(fingerprint(moved))
    inputs = keras.Input((4,))
    keras.utils.set_random_seed(0)
    found.append(fingerprint(keras.Model(inputs, keras.layers.Dense(3)(inputs) + 1.5)))
    monkeypatch.setattr("kt.frozen.fingerprint.inspect.getsource", lambda kind: "other code")
    found.append(fingerprint(small(Scaled())))
    monkeypatch.setattr(keras, "__version__", "3.99")
    found.append(fingerprint(small()))
    assert len(set(found)) == len(found)


def test_what_can_not_be_described_has_no_fingerprint_and_is_still_computed_once(home, capfd):
    assert fingerprint(small(Opaque())) is None

    def opaque(include_top, weights, input_shape):
        inputs = keras.Input(input_shape)
        x = Opaque()(keras.layers.Conv2D(4, 3, name="block_1_conv")(inputs))
        return keras.Model(inputs, keras.layers.Conv2D(4, 3, name="block_2_conv")(x))

    opaque.preprocessing = "scale -1..1"
    recipe = recipe_of(HEAD, LAST, backbone=opaque)
    cached, _ = trained(recipe)
    assert capfd.readouterr().err.count("computed once for 50 pictures") == 2
    assert not list(home.rglob("*.npy"))
    ordinary, _ = trained(recipe, cached=False)
    for one, other in zip(cached, ordinary, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


# --------------------------------------------------------------------------------------------------------------- LiteRT


@pytest.fixture
def litert_pays(monkeypatch):
    monkeypatch.setattr(encode, "_pays", lambda *_, **__: True)


def test_a_converted_model_gives_what_keras_gives_and_is_kept(litert_pays, monkeypatch, capfd, home):
    by_litert = work_of(recipe_of(LAST))
    assert "by LiteRT" in capfd.readouterr().err
    shutil.rmtree(home / "features")
    monkeypatch.setattr(encode, "_pays", lambda *_, **__: False)
    again = work_of(recipe_of(LAST))
    told = capfd.readouterr().err
    assert "by LiteRT" in told and "converted" not in told
    assert np.array_equal(again.train, by_litert.train)
    shutil.rmtree(home)
    by_keras = work_of(recipe_of(LAST))
    assert "by tensorflow" in capfd.readouterr().err
    np.testing.assert_allclose(by_litert.train, by_keras.train, atol=1e-4)


@pytest.mark.parametrize("phase", [HEAD, LAST], ids=lambda phase: phase.name)
def test_a_trained_model_answers_through_what_was_converted_for_its_training(phase, litert_pays, monkeypatch):
    built = built_for(recipe_of(phase))
    training.train(built, recipe_of(phase), SPLITS)
    pixels = SPLITS.train.examples[:35]  # a batch and some
    whole = model.predict(built.model, pixels)
    monkeypatch.setattr(answers_room, "predict", lambda *_: pytest.fail("all of it was computed by Keras"))
    np.testing.assert_allclose(answers(built, pixels), whole, atol=1e-5)


def test_a_model_whose_frozen_part_was_not_converted_or_has_changed_since_answers_as_a_whole(litert_pays, home):
    built = built_for(recipe_of(LAST))
    training.train(built, recipe_of(LAST), SPLITS)
    pixels = SPLITS.test.examples
    first = built.model.get_layer("chain").get_layer("block_1_conv")
    first.set_weights([weight * 1.5 for weight in first.get_weights()])
    assert np.array_equal(answers(built, pixels), model.predict(built.model, pixels))
    shutil.rmtree(home)
    assert np.array_equal(answers(built, pixels), model.predict(built.model, pixels))
    assert not list(home.rglob("*.tflite"))


def test_a_converted_model_that_answers_otherwise_is_not_used_and_that_is_said(litert_pays, monkeypatch, capfd, home):
    monkeypatch.setattr(encode, "TOLERANCE", -1.0)
    assert work_of(recipe_of(LAST)).train.shape == (40, 96)
    told = capfd.readouterr().err
    assert "computed by tensorflow, not by the faster LiteRT: it differs from Keras by" in told
    assert not list(home.rglob("*.tflite"))


def test_what_litert_can_not_convert_is_computed_by_keras(litert_pays, monkeypatch, capfd):
    def fails(*_, **__):
        raise RuntimeError("no such\noperator")

    monkeypatch.setattr(encode.converter, "converted", fails)
    assert work_of(recipe_of(LAST)).train.shape == (40, 96)
    assert "not by the faster LiteRT: it can't convert them (no such operator)" in capfd.readouterr().err


def test_a_damaged_converted_model_is_made_again(litert_pays, home, capfd):
    work_of(recipe_of(LAST))
    (file,) = (home / "encoders").iterdir()
    file.write_bytes(file.read_bytes()[:-100])
    shutil.rmtree(home / "features")
    work_of(recipe_of(LAST))
    (other,) = (home / "encoders").iterdir()
    assert other != file
    assert capfd.readouterr().err.count("converted for LiteRT") == 2


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_another_backend_has_its_model_converted_in_a_process_of_its_own(backend, home):
    pytest.importorskip(backend)
    script = Path(__file__).parent / "facts" / "litert_elsewhere.py"
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "KERAS_BACKEND": backend, "KT_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    slow, fast, difference = json.loads(done.stdout.splitlines()[-1])
    assert (slow, fast) == (backend, "LiteRT"), done.stderr
    assert difference <= 1e-4


def test_converting_pays_for_many_pictures_and_soonest_where_the_backend_is_slow():
    backbone = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(224, 224, 3))
    assert not encode._pays(backbone, pictures=200, backend="tensorflow")
    assert encode._pays(backbone, pictures=300, backend="tensorflow")
    pixels = keras.Input((224, 224, 3))
    assert encode._pays(keras.Model(pixels, backbone(pixels)), pictures=300, backend="tensorflow")
    assert encode._pays(backbone, pictures=400, backend="jax")
    assert not encode._pays(backbone, pictures=50, backend="jax")
    without_depthwise = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(64, 64, 3))
    assert not encode._pays(without_depthwise, pictures=1_000_000, backend="tensorflow")


# --------------------------------------------------------------------------------------------------------- augmentation


def brighter(images):
    return images + 40.0


def test_views_are_augmented_copies_that_are_encoded_once(capfd):
    work = work_of(recipe_of(HEAD, augment=Views(keras.layers.RandomBrightness(0.5, seed=1), 3)))
    assert work.train.shape == (120, 6)
    assert work.validation.shape == (10, 6)
    assert capfd.readouterr().err.count("computed once") == 1
    views = work.train.reshape(3, 40, 6)
    assert not np.allclose(views[0], views[1])


def test_views_train_alike_with_and_without_the_cache():
    def recipe():
        return recipe_of(HEAD, LAST, augment=Views(keras.layers.RandomFlip("horizontal", seed=1), 2))

    cached, _ = trained(recipe())
    ordinary, _ = trained(recipe(), cached=False)
    for one, other in zip(cached, ordinary, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_each_picture_shows_another_view_each_epoch_until_all_were_there():
    order = Order(30, 8, seed=(1, 0), views=3)
    seen = []
    for epoch in range(6):
        order.epoch = epoch
        chosen = np.concatenate(list(order()))
        assert sorted(chosen % 30) == list(range(30))
        seen.append((chosen // 30)[np.argsort(chosen % 30)])
    for cycle in (seen[:3], seen[3:]):
        assert all(sorted(views) == [0, 1, 2] for views in np.transpose(cycle))
    assert len(set(seen[0])) == 3


def test_labels_follow_the_pictures_of_each_view():
    order = Order(40, 16, seed=(0,), views=2)
    recipe = recipe_of(HEAD, augment=Views(brighter, 2))
    work = work_of(recipe, cached=False)
    rows = list(training_batches(order, work, SPLITS.train.labels, recipe=recipe, classes=2))
    for (x, y, _), chosen in zip(rows, order(), strict=True):
        assert np.array_equal(np.argmax(y, axis=1), SPLITS.train.labels[chosen % 40])
        assert np.array_equal(x, np.clip(SPLITS.train.examples[chosen % 40].astype(int) + 40, 0, 255))


def test_features_are_augmented_channel_by_channel_within_their_range():
    augment = FeatureAugmentation(0.2)
    rows = np.random.default_rng(0).normal(size=(4, 2 * 2 * 3 + 5)).astype(np.float32)
    changed = augment.on_rows(rows, sizes=(12, 5), channels=(3, 5), seed=(1, 2))
    assert changed.shape == rows.shape and changed.dtype == np.float32
    for part in (slice(0, 12), slice(12, 17)):
        low, high = rows[:, part].min(axis=1, keepdims=True), rows[:, part].max(axis=1, keepdims=True)
        assert (changed[:, part] >= low).all() and (changed[:, part] <= high).all()
        assert (np.abs(changed[:, part] - rows[:, part]) <= 0.2 * (high - low) + 1e-6).all()
        assert not np.allclose(changed[:, part], rows[:, part])
    moved = (changed - rows)[:, :12].reshape(4, 4, 3)
    inside = (changed[:, :12].reshape(4, 4, 3) > rows[:, :12].min(axis=1)[:, None, None]) & (
        changed[:, :12].reshape(4, 4, 3) < rows[:, :12].max(axis=1)[:, None, None]
    )
    for picture in range(4):
        for channel in range(3):
            of_channel = moved[picture, :, channel][inside[picture, :, channel]]
            assert len(of_channel) and np.ptp(of_channel) < 1e-5
    assert np.array_equal(changed, augment.on_rows(rows, sizes=(12, 5), channels=(3, 5), seed=(1, 2)))
    assert not np.array_equal(changed, augment.on_rows(rows, sizes=(12, 5), channels=(3, 5), seed=(1, 3)))


def test_feature_augmentation_trains_on_changed_rows_the_same_for_the_same_seed():
    plain, _ = trained(recipe_of(HEAD))
    recipe = recipe_of(HEAD, augment=FeatureAugmentation(0.3))
    (once, _), (twice, _) = trained(recipe), trained(recipe)
    assert all(np.array_equal(one, other) for one, other in zip(once, twice, strict=True))
    assert not all(np.array_equal(one, other) for one, other in zip(once, plain, strict=True))


def test_feature_augmentation_needs_stored_features():
    with pytest.raises(RecipeError, match=r"FeatureAugmentation changes .* stored outputs, and --no-cache stores none"):
        work_of(recipe_of(HEAD, augment=FeatureAugmentation()), cached=False)


def test_feature_augmentation_says_where_it_has_nothing_to_change(capfd):
    everything = Phase("all", freeze.everything, epochs=1, lr=1e-3)
    assert work_of(recipe_of(everything, augment=FeatureAugmentation())).augment is None
    assert "FeatureAugmentation changes nothing in this phase" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Views(brighter, 0), "views must be from 1 to 1000"),
        (lambda: Views(brighter, 2.5), "views must be an integer"),
        (lambda: Views(3), "augment must be a function"),
        (lambda: FeatureAugmentation(0.0), "brightness is above 0 and at most 1"),
        (lambda: FeatureAugmentation("much"), "brightness must be a number"),
    ],
)
def test_augmentation_that_can_not_be_is_told(make, message):
    with pytest.raises(RecipeError, match=message):
        make()
