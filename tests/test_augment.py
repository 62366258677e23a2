"""RandAugment, MixUp and CutMix: what comes out, that it follows from the seed alone, and what can't go together."""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from functools import cache, partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import facts_from, on_each_backend

from kt import (
    Classifier,
    CutMix,
    FeatureAugmentation,
    LinearProbe,
    MixUp,
    Phase,
    RandAugment,
    Recipe,
    Views,
    freeze,
    training,
)
from kt.data.splits import Split, Splits
from kt.errors import RecipeError
from kt.frozen.engine import Engine, Work, all_views
from kt.kinds.pictures.kind import Pictures
from kt.network import model
from kt.parts.augment import copies_of, plan_of, seed_of
from kt.parts.augment.rand_augment import _layers, _numbers, _operations
from kt.parts.augment.seeds import Draws
from kt.recipe import describe, override
from kt.training.batches import Order, training_batches
from kt.training.rehearsal import rehearse

MIXES = {"MixUp": MixUp(alpha=1.0), "CutMix": CutMix()}


def tiny(include_top, weights, input_shape):
    """Two blocks, so that one can be frozen."""
    del include_top, weights
    inputs = x = keras.Input(input_shape)
    for block in (1, 2):
        x = keras.layers.Conv2D(4, 3, strides=2, name=f"block_{block}_conv")(x)
        x = keras.layers.ReLU(name=f"block_{block}_relu")(x)
    return keras.Model(inputs, x, name="tiny")


tiny.preprocessing = "scale -1..1"


def part(count, seed=0, classes=3):
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    pixels = random.integers(0, 80, (count, 16, 20, 3)) + (labels * 60)[:, None, None, None]
    names = tuple(map(str, range(count)))
    return Split(pixels.astype(np.uint8), labels.astype(np.int64), names, names)


SPLITS = Splits(part(41), part(12, 1), part(12, 2), ("dark", "grey", "light"), 8, "made up", "-")
HEAD = Phase("first", freeze.frozen, epochs=2, lr=1e-2)
ALL = Phase("all", freeze.everything, epochs=2, lr=1e-3)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A cache for each test."""
    monkeypatch.setenv("KT_HOME", str(tmp_path / "home"))


def recipe_of(augment, *phases, head=None, class_weight=None, seed=0):
    return Recipe(
        lambda: SPLITS, tiny, head or Classifier(dropout=0), phases or (HEAD,),
        weights="none", augment=augment, class_weight=class_weight, seed=seed,
    )  # fmt: skip


def batches_of(augment, *, epoch=0, seed=(0, 0), class_weight=None, batch_size=16, splits=SPLITS):
    """Pictures, labels and weights of all batches of an epoch."""
    pixels = all_views(plan_of(augment), splits.train.examples, seed=seed[0])
    views = len(pixels) // len(splits.train)
    order = Order(len(splits.train), batch_size, seed=seed, views=views, epoch=epoch)
    work = Work(None, pixels, splits.validation.examples)
    recipe = recipe_of(augment, class_weight=class_weight)
    rows = training_batches(order, work, splits.train.labels, recipe=recipe, classes=len(splits.classes))
    return [tuple(np.asarray(one) for one in row) for row in rows]


def same(some, others):
    return all(
        np.array_equal(one, other)
        for row, another in zip(some, others, strict=True)
        for one, other in zip(row, another, strict=True)
    )


def built_for(recipe):
    training.seed_everything(recipe.seed)
    return model.build(recipe, kind=Pictures((16, 20)), num_classes=3)


def trained(recipe, **options):
    built = built_for(recipe)
    return built, training.train(built, recipe, SPLITS, **options)[0]


def mixed(mix, images, labels, weights=None):
    """What a batch is mixed into: pictures, labels, weights."""
    weights = np.ones(len(images), np.float32) if weights is None else weights
    return [np.asarray(one) for one in mix(tf.constant(images), tf.constant(labels), tf.constant(weights), (1, 2))]


def levels(count, size=(12, 17)):
    """Pictures of one level each, 0, 1, 2 ..., so that what is seen tells which picture it is of."""
    return np.ascontiguousarray(
        np.broadcast_to(np.arange(count, dtype=np.float32)[:, None, None, None], (count, *size, 3))
    )


def shares_of(mix, count):
    """The share of each picture of a batch in each that it is mixed into, `[count, count]`."""
    return mixed(mix, levels(count), np.eye(count, dtype=np.float32))[1]


# ----------------------------------------------------------------------------------------------------- what comes out


@pytest.mark.parametrize(
    "augment",
    [RandAugment(), RandAugment(3, 1.0, geometric=False), MixUp(), CutMix(), [RandAugment(), MixUp(), CutMix()]],
    ids=str,
)  # fmt: skip
def test_batches_keep_their_shape_their_range_and_labels_that_sum_to_one(augment):
    plain = batches_of(None)
    found = batches_of(augment)
    assert [len(x) for x, _, _ in found] == [16, 16, 9]
    for (x, y, w), (x0, y0, w0) in zip(found, plain, strict=True):
        assert (x.dtype, x.shape, y.dtype, w.dtype) == (np.uint8, x0.shape, np.float32, np.float32)
        assert (y.shape, w.shape) == (y0.shape, w0.shape)
        np.testing.assert_allclose(y.sum(axis=1), 1, atol=1e-6)
        assert (y >= 0).all()
        np.testing.assert_allclose(w, 1, atol=1e-6)
    assert not same(found, plain)


def test_rand_augment_leaves_labels_and_weights_alone():
    for (_, y, w), (_, y0, w0) in zip(batches_of(RandAugment()), batches_of(None), strict=True):
        assert np.array_equal(y, y0)
        assert np.array_equal(w, w0)


def test_rand_augment_leaves_one_picture_in_eleven_as_it_is_and_changes_more_the_stronger_it_is():
    images = np.random.default_rng(0).integers(40, 200, (600, 20, 20, 3)).astype(np.float32)

    def change(**options):
        return np.abs(np.asarray(RandAugment(augmentations=1, **options)(images, (3, 4))) - images).mean(axis=(1, 2, 3))

    weak, strong = change(magnitude=0.1), change(magnitude=0.6)
    assert (strong == 0).mean() == pytest.approx(1 / 11, abs=0.04)
    assert strong.mean() > 1.5 * weak.mean()


def test_the_operations_are_those_of_keras_cv_in_its_order():
    names = [type(layer).__name__ for layer in _layers()]
    assert names == [
        "AutoContrast", "Equalization", "Solarization", "RandomColorDegeneration", "RandomContrast",
        "RandomBrightness", "RandomShear", "RandomShear", "RandomTranslation", "RandomTranslation",
    ]  # fmt: skip
    assert len(_operations(geometric=True)) == 10
    assert len(_operations(geometric=False)) == 6


@pytest.mark.parametrize("place", range(10))
def test_an_operation_gives_what_its_layer_gives_for_numbers_of_the_same_distribution(place):
    images = tf.constant(np.random.default_rng(0).integers(30, 190, (2000, 20, 20, 3)).astype(np.float32))
    numbers = _numbers(Draws(images, (1, 2)), 0.4)
    ours = np.asarray(tf.function(_operations(geometric=True)[place])(images, numbers))
    import keras_cv

    layer = keras_cv.layers.RandAugment.get_standard_policy((0, 255), 0.4, 0.15, seed=1)[place]
    theirs = np.asarray(layer(images))

    def figures(changed):
        moved = changed - np.asarray(images)
        return [moved.mean(), moved.std(), np.abs(moved).mean(axis=(1, 2, 3)).std()]

    assert figures(ours) == pytest.approx(figures(theirs), rel=0.06, abs=8)


def test_mix_up_weighs_labels_as_it_weighs_pixels():
    images, count = np.random.default_rng(0).uniform(0, 255, (200, 5, 6, 3)).astype(np.float32), 200
    x, y, w = mixed(MIXES["MixUp"], images, np.eye(count, dtype=np.float32))
    np.testing.assert_allclose(x, np.einsum("ij,jhwc->ihwc", y, images), atol=1e-3)
    assert ((y > 0).sum(axis=1) <= 2).all()
    np.testing.assert_allclose(w, 1, atol=1e-6)
    kept = np.diag(y)[(y > 0).sum(axis=1) == 2]
    assert (len(kept), kept.mean(), kept.std()) == (pytest.approx(count, abs=5), pytest.approx(0.5, abs=0.07),
                                                    pytest.approx(0.29, abs=0.05))  # fmt: skip


def test_cut_mix_weighs_labels_by_the_area_that_is_seen():
    count, (height, width) = 300, (12, 17)
    x, y, w = mixed(CutMix(), levels(count, (height, width)), np.eye(count, dtype=np.float32))
    seen = (x[..., 0].reshape(count, -1, 1) == np.arange(count)).mean(axis=1)
    np.testing.assert_allclose(y, seen, atol=1e-6)
    at_the_border = 0
    for index, picture in enumerate(x[..., 0]):
        rows, columns = np.nonzero(picture != index)
        if len(rows):
            assert len(rows) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1), "one rectangle"
            at_the_border += (
                rows.min() == 0 or columns.min() == 0 or rows.max() == height - 1 or columns.max() == width - 1
            )
    assert at_the_border > count / 3, "so the share of the whole rectangle, as keras_cv takes it, would be another"
    np.testing.assert_allclose(w, 1, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("mix", MIXES.values(), ids=MIXES)
def test_the_loss_of_a_mixed_picture_is_that_of_the_two_in_their_shares_with_class_weights_too(mix, smoothing):
    count, random = 60, np.random.default_rng(1)
    labels = np.eye(4, dtype=np.float32)[random.integers(0, 4, count)]
    weights = np.array([0.5, 2.0, 1.3, 0.8], np.float32)[labels.argmax(axis=1)]
    scores = random.dirichlet(np.ones(4), count).astype(np.float32)
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=smoothing, reduction=None)
    _, y, w = mixed(mix, levels(count), labels, weights)
    shares = shares_of(mix, count)
    np.testing.assert_allclose(w, shares @ weights, rtol=1e-5)
    np.testing.assert_allclose(y.sum(axis=1), 1, atol=1e-6)
    of_each = np.array([[float(loss(truth[None], score[None])[0]) for truth in labels] for score in scores])
    np.testing.assert_allclose(w * np.asarray(loss(y, scores)), (shares * of_each) @ weights, rtol=1e-4)


@pytest.mark.parametrize("mix", [*MIXES.values(), MixUp(0.001), CutMix(0.001), MixUp(50.0)], ids=str)
def test_every_share_is_a_number(mix):
    labels = np.eye(2, dtype=np.float32)[np.arange(3000) % 2]
    x, y, w = mixed(mix, levels(3000, (2, 2)), labels)
    assert all(np.isfinite(one).all() for one in (x, y, w))
    np.testing.assert_allclose(y.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("augment", [RandAugment(), MixUp(), CutMix()], ids=str)
def test_a_batch_of_one_picture_works_and_has_its_own_label(augment):
    for (x, y, w), (x0, y0, _) in zip(batches_of(augment, batch_size=1), batches_of(None, batch_size=1), strict=True):
        assert len(x) == 1
        np.testing.assert_allclose(y, y0, atol=1e-6)
        np.testing.assert_allclose(w, 1, atol=1e-6)
        if not isinstance(augment, RandAugment):
            assert np.array_equal(x, x0)


def test_a_picture_alone_in_its_batch_is_another_in_each_epoch():
    one = dataclasses.replace(SPLITS, train=part(1))
    found = [batches_of(RandAugment(), epoch=epoch, splits=one)[0][0] for epoch in range(6)]
    assert len({x.tobytes() for x in found}) > 3


# -------------------------------------------------------------------------------------------- it follows from the seed


@pytest.mark.parametrize("augment", [RandAugment(), MixUp(), [Views(RandAugment(), 2), CutMix()]], ids=str)
def test_a_batch_follows_from_seed_phase_and_epoch_and_from_nothing_that_was_drawn_before(augment):
    first = batches_of(augment, epoch=3, seed=(5, 1))
    batches_of(augment, epoch=0, seed=(5, 1))
    tf.random.uniform(()), np.random.random()
    assert same(first, batches_of(augment, epoch=3, seed=(5, 1)))
    for other in ({"epoch": 2, "seed": (5, 1)}, {"epoch": 3, "seed": (5, 0)}, {"epoch": 3, "seed": (6, 1)}):
        assert not same(first, batches_of(augment, **other))


def test_the_pictures_of_a_batch_and_the_batches_of_an_epoch_are_changed_each_in_its_own_way():
    even = Split(np.full((32, 16, 20, 3), 100, np.uint8), np.arange(32) % 3, SPLITS.train.names[:32], ())
    even.examples[:, :8] = 160
    found = batches_of(RandAugment(), splits=dataclasses.replace(SPLITS, train=even))
    assert len({x.tobytes() for batch, _, _ in found for x in batch}) > 20
    assert found[0][0].tobytes() != found[1][0].tobytes()


WAYS = ("rand_augment", "mix_up", "cut_mix", "views_and_both")


@on_each_backend
def test_the_same_seed_gives_the_same_batches_twice_and_under_every_backend(facts_of, backend):
    facts = facts_of(backend)
    assert facts["backend"] == backend
    for name in WAYS:
        once, twice = facts[name]
        assert once == twice == facts_of("tensorflow")[name][0]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_batches_in_two_processes(facts_of):
    assert [facts_of("")[name] for name in WAYS] == [facts_of("tensorflow")[name] for name in WAYS]


@on_each_backend
def test_keras_is_as_it_was_after_keras_cv_was_loaded(facts_of, backend):
    facts = facts_of(backend)
    assert facts["undisturbed"]
    assert facts["other_seed"] != facts["rand_augment"][0]
    assert np.isfinite(facts["losses"]).all()


@pytest.fixture(scope="session")
def facts_of():
    """A function from a backend to its facts; "" for TensorFlow's once more, in another process."""
    return cache(lambda backend: facts_from("augment_facts.py", backend=backend or "tensorflow")[0])


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["deterministic", "mixed precision"])
def test_rand_augment_gives_the_same_with_deterministic_operations_and_under_mixed_precision(setting):
    code = """
        import hashlib, sys
        from kt.base import backend
        backend.start(mixed_precision=sys.argv[1] == "mixed precision")
        import numpy as np, tensorflow as tf
        from kt import RandAugment
        if sys.argv[1] == "deterministic":
            tf.config.experimental.enable_op_determinism()
        images = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3)).astype(np.float32)
        print(hashlib.sha256(np.asarray(RandAugment()(images, (1, 2)))).hexdigest())
    """
    code = "\n".join(line[8:] for line in code.splitlines())
    done = subprocess.run([sys.executable, "-c", code, setting], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1000:]
    images = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3)).astype(np.float32)
    assert done.stdout.split()[-1] == hashlib.sha256(np.asarray(RandAugment()(images, (1, 2)))).hexdigest()


def test_recipes_with_augmentation_load_without_anything_heavy():
    code = "import kt, sys; kt.RandAugment(), kt.MixUp(), kt.Views(kt.RandAugment()); " + (
        "print([name for name in ('numpy', 'tensorflow', 'keras', 'keras_cv') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "[]"


# ------------------------------------------------------------------------------------------ views, the cache and probes


def test_views_by_rand_augment_are_made_once_and_go_with_the_cache(capfd):
    recipe = recipe_of(Views(RandAugment(), views=3), HEAD)
    built = built_for(recipe)
    freeze.frozen(built.backbone)
    work = Engine(built, recipe, SPLITS).work(0)
    assert work.train.shape == (3 * 41, 4)
    assert capfd.readouterr().err.count("computed once") == 1
    views, again, others = (all_views(plan_of(recipe.augment), SPLITS.train.examples, seed=seed) for seed in (0, 0, 1))
    assert not np.array_equal(views[:41], views[41:82])
    assert np.array_equal(views, again)
    assert not np.array_equal(views, others)


@pytest.mark.parametrize("augment", [MixUp(), RandAugment(), [Views(RandAugment(), views=2), MixUp()]], ids=str)
def test_what_changes_pictures_in_every_epoch_trains_on_pixels_and_says_so(augment, capfd):
    _, results = trained(recipe_of(augment, HEAD))
    assert results[0].inputs == "pixels"
    said = capfd.readouterr().err
    name = "RandAugment" if isinstance(augment, RandAugment) else "MixUp"
    assert f"{name} changes the pictures in every epoch; every epoch computes all layers" in said


def test_without_the_cache_and_where_everything_trains_nothing_is_said_of_it(capfd):
    trained(recipe_of(MixUp(), HEAD), cached=False)
    trained(recipe_of(MixUp(), ALL))
    assert "every epoch computes" not in capfd.readouterr().err


def test_mixing_acts_on_the_views_of_each_epoch():
    augment = [Views(RandAugment(magnitude=0.8), views=2), MixUp()]
    views = all_views(plan_of(augment), SPLITS.train.examples, seed=0)
    order, work = Order(41, 16, seed=(0, 0), views=2), Work(None, views, SPLITS.validation.examples)
    rows = training_batches(order, work, SPLITS.train.labels, recipe=recipe_of(MixUp()), classes=3)
    assert same(batches_of(augment), [tuple(np.asarray(one) for one in row) for row in rows])


def test_a_linear_probe_takes_pictures_as_they_are_and_says_so(capfd):
    _, results = trained(recipe_of(MixUp(), LinearProbe(C=0.1), ALL))
    said = capfd.readouterr().err
    assert "phase probe: MixUp left out, since a linear probe is solved once and has no epochs" in said
    assert [one.inputs for one in results] == ["stored outputs of pool", "pixels"]
    plain, _ = trained(recipe_of(None, LinearProbe(C=0.1)))
    mixed_in, _ = trained(recipe_of(MixUp(), LinearProbe(C=0.1)))
    for one, other in zip(plain.model.get_weights(), mixed_in.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_feature_augmentation_goes_with_views():
    recipe = recipe_of([Views(RandAugment(), views=2), FeatureAugmentation()], HEAD)
    _, results = trained(recipe)
    assert results[0].inputs == "stored outputs of pool"


def test_training_with_mixed_labels_learns_and_twice_the_same(capfd):
    recipe = recipe_of(
        [RandAugment(), CutMix()], dataclasses.replace(ALL, epochs=6, lr=2e-2),
        head=Classifier(dropout=0, label_smoothing=0.1), class_weight="balanced",
    )  # fmt: skip
    (one, results), (other, again) = trained(recipe), trained(recipe)
    assert results[0].history == again[0].history
    for some, others in zip(one.model.get_weights(), other.model.get_weights(), strict=True):
        assert np.array_equal(some, others)
    assert max(results[0].history["val_accuracy"]) > 0.6


def own(images, seed):
    """A function of one's own that asks for a seed."""
    return images + tf.random.stateless_uniform(tf.shape(images), seed, -20.0, 20.0)


def swapped(images, labels, weights, seed):
    """One that changes labels."""
    del seed
    return images[::-1], labels[::-1], weights[::-1]


def test_a_function_of_ones_own_gets_what_it_asks_for():
    assert same(batches_of(own), batches_of(own))
    assert not same(batches_of(own), batches_of(own, epoch=1))
    turned = batches_of(swapped)
    assert all(np.array_equal(y, y0[::-1]) for (_, y, _), (_, y0, _) in zip(turned, batches_of(None), strict=True))
    fixed = partial(tf.image.stateless_random_brightness, max_delta=20.0, seed=(1, 2))
    assert len(batches_of(fixed)) == 3


# ------------------------------------------------------------------------------------------------ recipes and mistakes


def test_a_recipe_with_parts_is_described_and_set_part_by_part():
    recipe = recipe_of([Views(RandAugment(), views=4), MixUp()])
    assert json.loads(json.dumps(describe(recipe)["augment"])) == [
        {"kind": "Views", "augment": {"kind": "RandAugment", "augmentations": 2, "magnitude": 0.3, "geometric": True},
         "views": 4},
        {"kind": "MixUp", "alpha": 0.2},
    ]  # fmt: skip
    changed = override(
        recipe, ["augment.MixUp.alpha=0.4", "augment.Views.views=2", "augment.Views.augment.magnitude=0.5"]
    )
    assert changed.augment == [Views(RandAugment(magnitude=0.5), views=2), MixUp(0.4)]
    assert recipe.augment == [Views(RandAugment(), views=4), MixUp()]
    assert override(recipe_of(CutMix()), ["augment.alpha=0.5"]).augment == CutMix(0.5)
    assert override(recipe, ["augment=none"]).augment is None
    assert (copies_of(recipe.augment), copies_of(None), copies_of(MixUp())) == (4, 1, 1)


@pytest.mark.parametrize(
    ("augment", "setting", "message"),
    [
        (MixUp(), "augment.alpha=0", r"MixUp: alpha must be above 0, such as 0\.2, not 0"),
        (MixUp(), "augment.alfa=1", r"MixUp has no 'alfa'\. Did you mean 'alpha'"),
        ([MixUp()], "augment.alpha=1", r"Cannot set 'augment\.alpha': 'augment' has no fields of its own"),
        ([MixUp()], "augment.Mixup.alpha=1", r"the list has no 'Mixup'\. Did you mean 'MixUp'"),
        ([MixUp(), MixUp()], "augment.MixUp.alpha=1", r"the list has 'MixUp' twice; change it in the recipe file"),
        (Views(RandAugment()), "augment.augment.magnitude=2", r"magnitude is a strength from 0 to 1, not 2"),
        (MixUp(), "augment=MixUp", r"Cannot set 'augment': it is a function; change it in the recipe file"),
    ],
)
def test_a_setting_that_can_not_be_is_told(augment, setting, message):
    with pytest.raises(RecipeError, match=message):
        override(recipe_of(augment), [setting])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandAugment(0), r"augmentations must be from 1 to 10 operations a picture, not 0"),
        (lambda: RandAugment(2.5), r"augmentations must be an integer, not 2\.5"),
        (lambda: RandAugment(magnitude=9), r"magnitude is a strength from 0 to 1, not 9"),
        (lambda: RandAugment(geometric="no"), r"geometric must be true or false, not 'no'"),
        (lambda: MixUp(0), r"MixUp: alpha must be above 0, such as 0\.2, not 0"),
        (lambda: CutMix(-1.0), r"CutMix: alpha must be above 0"),
        (lambda: MixUp(float("nan")), r"alpha must be a number, not nan"),
        (lambda: Views(MixUp()), r"MixUp mixes the labels of pictures.*augment=\[Views\(\.\.\.\), MixUp\(\.\.\.\)\]"),
        (lambda: recipe_of([MixUp(), 3]), r"augment must be a function or a list of functions or None"),
        (lambda: recipe_of([MixUp]), r"augment must be a function or a list of functions or None"),
        (lambda: plan_of([MixUp(), Views(RandAugment())]), r"Views makes its copies before training"),
        (lambda: plan_of([Views(RandAugment()), Views(RandAugment())]), r"it comes first in the list, and once"),
        (lambda: plan_of([FeatureAugmentation(), FeatureAugmentation()]), r"stands in the list twice"),
        (lambda: plan_of([FeatureAugmentation(), MixUp()]), r"none are stored of pictures that MixUp changes in every"),
    ],
)  # fmt: skip
def test_augmentation_that_can_not_be_is_told(make, message):
    with pytest.raises(RecipeError, match=message):
        make()


@dataclasses.dataclass(frozen=True)
class Sized:
    """A source that says its size, so that a recipe can be tried out on nothing."""

    image_size: tuple[int, int] = (16, 20)

    def __call__(self):
        return SPLITS


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ([RandAugment(), MixUp(), CutMix()], None),
        ([Views(own), swapped], None),
        (lambda images, labels, weights, seed: (images, labels[:, :1], weights), r"labels of shape \(2, 1\)"),
        (lambda images, labels, weights, seed: images, r"augment fails: "),
        ([MixUp(), Views(own)], r"Views makes its copies before training"),
    ],
)  # fmt: skip
def test_augmentation_is_tried_before_pictures_are_read(augment, message):
    recipe = dataclasses.replace(recipe_of(augment), data=Sized())
    if message is None:
        return rehearse(recipe)
    with pytest.raises(RecipeError, match=message):
        rehearse(recipe)
    return None


def test_seeds_are_whole_numbers_of_int32():
    seeds = {seed_of(1, 2, batch) for batch in range(1000)}
    assert len(seeds) == 1000
    assert all(-(2**31) <= number < 2**31 for seed in seeds for number in seed)
