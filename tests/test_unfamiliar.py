"""Whether a model knows what is unlike anything it learned from: the scores, their limit, and what travels with it."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.covariance import ledoit_wolf
from unmoved import CLASSES, PARTS, SIZE, built_for, carried_by, pictures, reloaded, small

from kt import Classifier, LinearProbe, Phase, Recipe, freeze
from kt.base.stages import Stage, whole
from kt.data.splits import Split, Splits
from kt.errors import DataError
from kt.export import gate
from kt.export.artifact import open_artifact
from kt.export.formats.format import Details
from kt.export.formats.keras_file import KerasFile
from kt.export.formats.saved_model import SavedModel, says_unfamiliar
from kt.export.sample import keep_sample, kept_sample
from kt.familiar import FEWEST, FROZEN, OWN, PREFIX, Carried, Familiarity, FeaturePlace, as_rows, limit_of
from kt.familiar.nearest import near_distances, unit
from kt.familiar.scores import Nearest, Projection, RelativeMahalanobis, VirtualLogit, least_confidence
from kt.frozen.store import hashes
from kt.frozen.unmoved import Unmoved, feature_model
from kt.kinds.pictures.kind import Pictures
from kt.network import model as network
from kt.runs.familiar import fit_familiarity, kept_familiarity


def features(count, width=12, *, seed=0, shift=0.0):
    return np.random.default_rng(seed).normal(shift, 1.0, (count, width)) ** 2


# -------------------------------------------------------------------------------------------------------------- scores


@pytest.mark.parametrize("neighbours", [1, 3, 100])
def test_the_distance_is_that_to_the_kth_nearest_of_all_pairs(neighbours):
    known, new = features(20), features(7, seed=1)
    one, other = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (new, known))
    pairs = np.sort(np.linalg.norm(one[:, None] - other[None], axis=2), axis=1)
    expected = pairs[:, min(neighbours, 20) - 1]
    np.testing.assert_allclose(Nearest.fit(known, neighbours=neighbours)(new), expected, atol=1e-6)
    np.testing.assert_allclose(near_distances(new, unit(known), neighbours=neighbours)[1], expected, atol=1e-6)


def test_in_few_directions_what_lies_outside_of_them_makes_an_example_farther():
    known = np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
    score = Nearest.fit(known, neighbours=1, most=2)
    assert score.directions.shape == (4, 2)
    new = np.array([[2.0, 0, 0, 0], [1.0, 0, 1.0, 0], [0, 0, 0, 3.0], [0, 0, 0, 0]])
    np.testing.assert_allclose(score(new), [0, np.sqrt(2 - np.sqrt(2)), np.sqrt(2), np.sqrt(2)], atol=1e-7)


def test_the_relative_mahalanobis_distance_is_that_of_the_paper():
    rows, labels = features(60, 5), np.arange(60) % 3
    new = features(9, 5, seed=1)
    means = np.stack([rows[labels == label].mean(axis=0) for label in range(3)])
    own = np.linalg.inv(ledoit_wolf(rows - means[labels], assume_centered=True)[0])
    middle = rows.mean(axis=0)
    whole_inverse = np.linalg.inv(ledoit_wolf(rows - middle, assume_centered=True)[0])

    def squared(row, mean, inverse):
        return float((row - mean) @ inverse @ (row - mean))

    near = [min(squared(row, mean, own) for mean in means) for row in new]
    of_all = [squared(row, middle, whole_inverse) for row in new]
    score = RelativeMahalanobis.fit(rows, labels)
    np.testing.assert_allclose(score(new), np.subtract(near, of_all), rtol=1e-8)
    np.testing.assert_allclose(replace(score, relative=False)(new), near, rtol=1e-8)


def test_the_virtual_logit_is_that_of_the_paper():
    random = np.random.default_rng(0)
    rows, weights, bias = features(50, 8), random.normal(size=(8, 3)), random.normal(size=3)
    new = features(6, 8, seed=1)
    origin = -np.linalg.pinv(weights.T) @ bias
    centred = rows - origin
    values, vectors = np.linalg.eigh(centred.T @ centred)
    outside = vectors[:, np.argsort(values)[: 8 - 3]]
    logits = rows @ weights + bias
    factor = logits.max(axis=1).mean() / np.linalg.norm(centred @ outside, axis=1).mean()
    virtual = factor * np.linalg.norm((new - origin) @ outside, axis=1)
    expected = virtual - np.log(np.exp(new @ weights + bias).sum(axis=1))
    np.testing.assert_allclose(VirtualLogit.fit(rows, weights, bias, dimensions=3)(new), expected, rtol=1e-7)


def test_the_least_confidence_is_what_the_highest_score_lacks():
    np.testing.assert_allclose(least_confidence([[0.7, 0.3], [0.2, 0.8]]), [0.3, 0.2])


def test_a_projection_keeps_the_directions_of_the_largest_variance():
    rows = features(40, 6) * [9, 1, 1, 1, 5, 1]
    inside = Projection.fit(rows, most=2)(rows)
    values = np.linalg.eigvalsh(np.cov(rows.T, bias=True))[::-1]
    np.testing.assert_allclose(inside.var(axis=0), values[:2], rtol=1e-8)


@pytest.mark.parametrize("score", [Nearest.fit, Projection.fit, RelativeMahalanobis.fit])
def test_features_that_are_no_numbers_and_those_that_are_no_table_are_refused(score):
    how = {Nearest.fit: {"neighbours": 1}, Projection.fit: {"most": 2}}.get(score, {"labels": [0, 1]})
    with pytest.raises(DataError, match="not finite"):
        score([[1.0, np.nan], [1.0, 2.0]], **how)
    with pytest.raises(DataError, match=r"\[examples, features\], not \[2\]"):
        score([1.0, 2.0], **how)


# --------------------------------------------------------------------------------------------------------------- limit


def test_of_a_hundred_examples_of_their_own_five_are_above_the_limit():
    limit = limit_of(np.arange(100.0), [str(place) for place in range(100)])
    assert limit is not None
    assert (limit.value, limit.rate, limit.examples, limit.independent) == (95.0, 0.05, 100, 100)
    assert (np.arange(100.0) <= limit.value).sum() / 101 >= 0.95 > (np.arange(100.0) < limit.value).sum() / 101


def test_a_group_of_many_pictures_counts_as_one():
    scores = np.concatenate([np.full(500, 9.0), np.arange(39.0)])
    groups = ["frames"] * 500 + [str(place) for place in range(39)]
    limit = limit_of(scores, groups)
    assert limit is not None and limit.independent == 40
    assert limit.value == 37.0, "39 of 40 groups are at most that, and the 500 frames are only one of them"


def test_with_few_groups_the_promise_is_smaller_and_with_fewer_there_is_no_limit():
    names = [str(place) for place in range(FEWEST)]
    limit = limit_of(np.arange(float(FEWEST)), names)
    assert limit is not None and limit.rate == pytest.approx(1 / (FEWEST + 1)) and limit.value == FEWEST - 1
    assert limit_of(np.arange(FEWEST - 1.0), names[1:]) is None
    assert limit_of([], []) is None


def test_the_promise_holds_for_new_groups():
    random, called = np.random.default_rng(0), []
    for _ in range(2000):
        sizes = random.integers(1, 6, 31)
        groups = np.repeat(np.arange(31), sizes)
        scores = random.normal(size=31)[groups] + 0.5 * random.normal(size=len(groups))
        new = groups == 30
        limit = limit_of(scores[~new], groups[~new].astype(str).tolist())
        assert limit is not None
        called.append(np.mean(scores[new] > limit.value))
    assert 0.02 < np.mean(called) <= 0.055


def test_the_promise_holds_where_known_examples_are_held_out_in_turn():
    """Sixty things of four pictures each: a score fitted on a picture itself would set far too low a limit."""
    random, called = np.random.default_rng(1), []

    def drawn(things):
        centres = np.repeat(random.normal(1.0, 0.5, (things, 40)), 4, axis=0)
        return centres + random.normal(0, 0.2, centres.shape), [str(place) for place in np.repeat(range(things), 4)]

    for _ in range(40):
        (known, groups), (held_out, others), (new, _) = drawn(60), drawn(3), drawn(50)
        found = Familiarity.fit(known, held_out, others, known_groups=groups)
        assert found.limit is not None and found.limit.independent == 63 and found.limit.examples == 4 * 63
        called.append(found.unfamiliar(found(new)).mean())
    assert 0.01 < np.mean(called) <= 0.06


def test_one_known_group_is_not_held_out():
    random = np.random.default_rng(0)
    known, held_out = random.random((5, 4)), random.random((12, 4))
    found = Familiarity.fit(known, held_out, [str(place) for place in range(12)], known_groups=["one"] * 5)
    assert found.limit is not None and found.limit.independent == 12


# -------------------------------------------------------------------------------------------------- where in the model


@pytest.mark.parametrize("case", PARTS)
def test_features_are_those_of_the_last_place_that_no_phase_has_trained(case):
    trainable, weights, part, width, backbone = PARTS[case]
    built, recipe = built_for(trainable, weights)
    unmoved = Unmoved(built, built.model, recipe)
    place = unmoved.place
    assert place is not None and (place.part, place.last, place.backbone) == (part, width, backbone)
    assert FeaturePlace.from_json(json.loads(json.dumps(place.to_json()))) == place
    given, (rows,) = pictures(), unmoved([pictures()])
    maps = keras.tree.flatten(feature_model(built.model, place)(given, training=False))[0].numpy()
    np.testing.assert_allclose(rows, maps.reshape(len(maps), -1, width).mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(Unmoved(built, built.model, recipe, cached=False)([given])[0], rows, atol=1e-5)


def test_a_phase_whose_weights_were_not_kept_has_moved_nothing():
    built, recipe = built_for(freeze.everything, "imagenet")
    assert Unmoved(built, built.model, recipe, kept="fine_tune").place.part == OWN
    assert Unmoved(built, built.model, recipe, kept="train_head").place.part == FROZEN


@pytest.mark.parametrize("cached", [True, False])
def test_of_a_model_that_takes_features_of_several_depths_one_place_is_compared(cached):
    for phases, part, layers, width in (
        ([LinearProbe(features="all")], FROZEN, None, 12),
        (
            [LinearProbe(features="all"), Phase("top", freeze.last_blocks(1), epochs=1, lr=1e-3)],
            PREFIX,
            "block_2_relu",
            8,
        ),
    ):
        recipe = Recipe(lambda: None, small, Classifier(), phases)
        built = network.build(replace(recipe, weights="none"), kind=Pictures(SIZE), num_classes=2)
        assert len(built.taps) > 1
        unmoved = Unmoved(built, built.model, recipe, cached=cached)
        place, (rows,) = unmoved.place, unmoved([pictures(5)])
        assert (place.part, rows.shape) == (part, (5, width)) and layers in (None, *place.layers)
        outputs = keras.tree.flatten(feature_model(built.model, place)(pictures(5), training=False))
        columns = [np.asarray(output).reshape(5, -1, output.shape[-1]).mean(axis=1) for output in outputs]
        np.testing.assert_allclose(np.concatenate(columns, axis=1)[:, -width:], rows, atol=1e-5)


@pytest.mark.parametrize("case", PARTS)
def test_a_saved_model_says_it_as_the_trained_model_does_and_its_scores_stay_the_same(case, tmp_path):
    trainable, weights, *_ = PARTS[case]
    built, recipe = built_for(trainable, weights)
    carried = carried_by(built, recipe)
    model = reloaded(built.model, tmp_path / "m.keras")
    details = Details("tiny", CLASSES)
    without, with_it = (
        open_artifact(SavedModel().make(model, tmp_path / name, details=replace(details, familiar=familiar)))
        for name, familiar in (("without", None), ("with", carried))
    )
    given = pictures(20, seed=1)
    answers, plain = with_it.answers(given), without.answers(given)
    np.testing.assert_array_equal(answers.scores, plain.scores)
    assert plain.unfamiliarity is None and plain.unfamiliar is None and not without.says_unfamiliar
    expected = carried.familiarity(Unmoved(built, built.model, recipe)([given])[0])
    assert answers.unfamiliarity.dtype == np.float32 and answers.unfamiliarity.shape == (20,)
    np.testing.assert_allclose(answers.unfamiliarity, expected, atol=1e-3)
    assert answers.unfamiliar.dtype == bool and with_it.says_unfamiliar
    np.testing.assert_array_equal(answers.unfamiliar, answers.unfamiliarity > carried.familiarity.limit.value)
    seen, again = with_it.features_and_answers(given)
    np.testing.assert_array_equal(again.unfamiliarity, answers.unfamiliarity)
    np.testing.assert_array_equal(seen, without.features_and_scores(given)[0])
    assert says_unfamiliar(tmp_path / "with" / "saved_model")
    assert not says_unfamiliar(tmp_path / "without" / "saved_model")


def test_every_signature_gives_both_outputs_for_each_picture(tmp_path):
    built, recipe = built_for(freeze.frozen, "imagenet")
    path = SavedModel().make(
        reloaded(built.model, tmp_path / "m.keras"), tmp_path,
        details=Details("tiny", CLASSES, familiar=carried_by(built, recipe)),
    )  # fmt: skip
    loaded = tf.saved_model.load(str(path))
    for name in ("serving_default", "pixels", "features"):
        shapes = loaded.signatures[name].structured_outputs
        assert (shapes["unfamiliarity"].dtype, shapes["unfamiliarity"].shape.as_list()) == (tf.float32, [None])
        assert (shapes["unfamiliar"].dtype, shapes["unfamiliar"].shape.as_list()) == (tf.bool, [None])


def test_without_a_limit_the_distance_is_given_and_nothing_is_called_unfamiliar(tmp_path):
    built, recipe = built_for(freeze.frozen, "imagenet")
    carried = carried_by(built, recipe, held_out=FEWEST - 1)
    assert carried.familiarity.limit is None
    model = reloaded(built.model, tmp_path / "m.keras")
    path = SavedModel().make(model, tmp_path, details=Details("tiny", CLASSES, familiar=carried))
    answers = open_artifact(path).answers(pictures(3))
    assert answers.unfamiliarity is not None and answers.unfamiliar is None and not says_unfamiliar(path)


# ---------------------------------------------------------------------------------------------------------------- gate


def test_the_gate_refuses_another_unfamiliarity_than_the_trained_model_s(tmp_path):
    built, recipe = built_for(freeze.frozen, "imagenet")
    carried = carried_by(built, recipe)
    model = reloaded(built.model, tmp_path / "m.keras")
    artifact = open_artifact(SavedModel().make(model, tmp_path, details=Details("t", CLASSES, familiar=carried)))
    given = pictures(20, seed=1)
    plain = open_artifact(KerasFile().make(model, tmp_path, details=Details("t", CLASSES)))

    def judged(artifact, familiar, pixels=given):
        return gate.judge_artifact(
            artifact, plain.scores(pixels), labels=np.zeros(len(pixels), np.int64), pixels=pixels, classes=CLASSES,
            exact=True, nouns=Pictures(SIZE), familiar=familiar, timed=False,
        )  # fmt: skip

    passed = judged(artifact, carried)
    assert passed.released and 0 <= passed.unfamiliarity_difference < 1e-3
    assert judged(plain, carried).released, "a format that gives scores alone"
    assert judged(plain, carried).unfamiliarity_difference is None
    off = replace(carried, checked={name: distance + 0.1 for name, distance in carried.checked.items()})
    assert "its unfamiliarity differs by 0.1 from the trained model's" in judged(artifact, off).reason
    assert "no test images to check its unfamiliarity on" in judged(artifact, carried, pictures(20, seed=9)).reason
    limit = replace(carried.familiarity.limit, value=carried.familiarity.limit.value / 2)
    other = replace(carried, familiarity=replace(carried.familiarity, limit=limit))
    assert "is not what is above the limit" in judged(artifact, other).reason


def test_what_a_run_keeps_is_what_was_fitted(tmp_path):
    built, recipe = built_for(freeze.frozen, "imagenet")
    carried = carried_by(built, recipe)
    checked = {
        "hashes": as_rows(list(carried.checked)), "distances": np.array([*carried.checked.values()]),
    }  # fmt: skip
    Stage(tmp_path, "key").keep(
        {**carried.familiarity.told(), "place": carried.place.to_json()},
        fitted=carried.familiarity.arrays(), checked=checked,
    )  # fmt: skip
    again = Carried.of(whole(tmp_path))
    assert again.place == carried.place and again.checked == carried.checked
    assert again.familiarity.limit == carried.familiarity.limit
    np.testing.assert_array_equal(again.familiarity(features(5)), carried.familiarity(features(5)))


# ---------------------------------------------------------------------------------------------------------------- a run


def test_a_run_tells_its_limit_and_its_false_alarms_and_its_release_carries_them(ran, kt_ends):
    told = json.loads((ran.folder / "runs" / "tiny" / "LATEST" / "report.json").read_text())["unfamiliar"]
    assert told["score"] == "nearest" and told["known"] > 0 and told["features"]["count"] > 0
    code, out, err = kt_ends("predict", ran.folder / "saved_models" / "tiny", ran.folder / "pictures" / "red", "--json")
    rows = [row for line in out.splitlines() if "error" not in (row := json.loads(line))]
    assert code == 0 and rows, err
    assert all(row["unfamiliarity"] >= 0 for row in rows)
    if told["threshold"] is None:
        assert "independent" in told["why"] and all(row["unfamiliar"] is None for row in rows)
    else:
        assert [row["unfamiliar"] for row in rows] == [row["unfamiliarity"] > told["threshold"] for row in rows]


def test_where_everything_trained_few_validation_pictures_set_no_limit_and_the_run_says_why(tmp_path, capsys):
    built, recipe = built_for(freeze.everything, "imagenet")
    report = fit_familiarity(
        tmp_path, built, built.model, recipe, splits(validation=9), kept_phase="fine_tune", key="a", cached=True
    )
    assert report["threshold"] is None and report["test"] is None and report["held_out_independent"] == 9
    assert "there are 9 independent held-out pictures, and 10 are needed" in report["why"]
    assert "no answer will be called unfamiliar" in capsys.readouterr().err
    assert kept_familiarity(tmp_path) is not None


def test_of_frozen_features_training_pictures_set_the_limit_too(tmp_path):
    built, recipe = built_for(freeze.frozen, "imagenet")
    report = fit_familiarity(
        tmp_path, built, built.model, recipe, splits(validation=9), kept_phase="fine_tune", key="a", cached=True
    )
    assert report["threshold"] is not None and report["why"] == ""
    assert report["held_out"] == report["held_out_independent"] == 30 + 9


def test_a_run_that_goes_on_takes_what_it_has_kept_and_counts_its_false_alarms(tmp_path):
    built, recipe = built_for(freeze.frozen, "imagenet")
    how = {"kept_phase": "fine_tune", "key": "a", "cached": True}
    report = fit_familiarity(tmp_path, built, built.model, recipe, splits(validation=40), **how)
    test = report["test"]
    assert report["known"] == 30 and report["rate"] == 0.05 and test["examples"] == 20
    assert test["share"] == test["called"] / 20 and test["interval"][0] <= test["share"] <= test["interval"][1]
    assert fit_familiarity(tmp_path, None, None, recipe, splits(validation=40), **how) == report


def test_exports_can_be_checked_on_the_test_pictures_that_a_run_keeps_of_many(tmp_path, monkeypatch):
    monkeypatch.setattr("kt.runs.familiar.MOST_TEST", 23)
    built, recipe = built_for(freeze.frozen, "imagenet")
    of_many = splits(validation=20, test=300)
    how = {"kept_phase": "fine_tune", "key": "a", "cached": True}
    report = fit_familiarity(tmp_path, built, built.model, recipe, of_many, **how)
    assert report["test"]["examples"] == 23
    keep_sample(tmp_path, of_many)
    sample = kept_sample(tmp_path, into=tmp_path / "work").splits.test.examples
    checked = Carried.of(whole(kept_familiarity(tmp_path))).checked
    assert len(sample) == 200 and set(hashes(sample)) <= set(checked)


def splits(*, validation, test=20):
    def part(count, seed):
        names = tuple(str(place) for place in range(count))
        return Split(pictures(count, seed), np.arange(count) % 2, names, names)

    return Splits(part(30, 0), part(validation, 5), part(test, 1), CLASSES, 8, "made", "digest", kind=Pictures(SIZE))
