"""Shot: the backbone's top moves towards another domain without labels, and the classifier stays."""

import dataclasses

import keras
import numpy as np
import pytest
from conftest import facts_from, on_each_backend
from test_adapted import AWAY, DOMAINS
from test_batch_norm import recipe_of, trained
from test_probe import built_of
from test_train import part

from kt import AdaptiveBatchNorm, LinearProbe, Phase, Shot, training
from kt.data.splits import Part
from kt.errors import RecipeError, TrainingError
from kt.freeze import frozen, last_blocks
from kt.network import model
from kt.parts.objectives.information import entropy_and_diversity
from kt.training.shot import pseudo_labels


def values(logits):
    return [float(term) for term in entropy_and_diversity(np.asarray(logits, np.float32))]


def test_the_terms_of_sure_even_and_single_scores_are_what_they_have_to_be():
    sure = np.eye(3) * 200
    assert values(sure) == pytest.approx([0, np.log(3)], abs=1e-6)
    assert values(np.zeros((4, 3))) == pytest.approx([np.log(3), np.log(3)], abs=1e-6)
    assert values(sure[[0, 0, 0]]) == pytest.approx([0, 0], abs=1e-6)
    assert values(np.full((2, 3), 1e30)) == pytest.approx([np.log(3)] * 2)
    random = np.random.default_rng(0).normal(size=(9, 4))
    scores = np.exp(random) / np.exp(random).sum(1, keepdims=True)
    by_hand = [-(scores * np.log(scores)).sum(1).mean(), -(scores.mean(0) * np.log(scores.mean(0))).sum()]
    assert values(random) == pytest.approx(by_hand, rel=1e-5)


def test_a_pseudo_label_is_the_nearest_centroid_whatever_the_classifier_said_of_one_example():
    random = np.random.default_rng(0)
    features = np.repeat([[4.0, 0], [0, 4]], 10, axis=0) + random.normal(0, 0.1, (20, 2))
    scores = np.where(np.arange(20)[:, None] < 10, [0.8, 0.2], [0.2, 0.8])
    scores[3], scores[15] = [0.1, 0.9], [0.9, 0.1]
    np.testing.assert_array_equal(pseudo_labels(features, scores), [0] * 10 + [1] * 10)
    np.testing.assert_array_equal(pseudo_labels(9 * features, scores), [0] * 10 + [1] * 10)


def test_a_class_that_is_nearest_to_nothing_keeps_its_centroid_and_features_of_zero_do_no_harm():
    features = np.array([[1.0, 0], [1, 0.1], [0, 0]])
    labels = pseudo_labels(features, np.array([[0.9, 0.1, 0], [0.8, 0.2, 0], [0.4, 0.6, 0]]))
    assert set(labels.tolist()) <= {0, 1, 2} and len(labels) == 3


def shot(**settings):
    return Shot(**{"trainable": last_blocks(1), "epochs": 2, "lr": 1e-2, **settings})


def test_the_classifier_and_frozen_layers_stay_and_the_top_moves():
    built, results, best = trained(recipe_of(LinearProbe(), shot()))
    before, *_ = trained(recipe_of(LinearProbe()))
    changed = {
        "/".join(ours.path.split("/")[-2:])
        for ours, theirs in zip(built.model.weights, before.model.weights, strict=True)
        if not np.array_equal(ours, theirs)
    }
    assert changed == {"block_3_conv/kernel", "block_3_conv/bias"}, changed
    assert best.phase == "shot" and best.epoch == 2
    told = results[1]
    assert (told.adapted_to, told.gain, told.lr, told.epochs_run, told.best_epoch) == ("target", None, 1e-2, 2, 2)
    assert told.trainable_parameters == sum(
        weight.size for weight in before.backbone.get_layer("block_3_conv").get_weights()
    )
    assert len(told.history["shot"]) == len(told.history["val_loss"]) == 2
    assert told.best_val_loss == told.history["val_loss"][-1]


def test_no_label_of_the_training_split_matters_to_the_step():
    weights = []
    for labels in (DOMAINS.train.labels, 1 - DOMAINS.train.labels):
        training.seed_everything(0)
        recipe = recipe_of(_Start(), shot())
        built = built_of(recipe)
        own = dataclasses.replace(DOMAINS.train, labels=labels)
        training.train(built, recipe, dataclasses.replace(DOMAINS, train=own))
        weights.append(built.model.get_weights())
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


class _Start:
    """A step that leaves the model as it is, so that the next goes on from weights that are there."""

    name = "start"

    def trainable(self, backbone):
        backbone.trainable = False

    def train(self, session):
        figures = session.measured()
        session.offer(figures)
        return session.result({name: [value] for name, value in figures.items()})


def test_asking_twice_gives_the_same_and_a_step_that_was_killed_begins_again(tmp_path):
    recipe = recipe_of(LinearProbe(), shot())
    built, *_ = trained(recipe, steps=tmp_path)
    for file in (tmp_path / "2-shot").iterdir():
        file.unlink()
    again, *_ = trained(recipe, steps=tmp_path)
    for ours, theirs in zip(built.model.get_weights(), again.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_shifted_domain_is_answered_better_and_without_diversity_all_ends_in_one_class():
    away = part(40, 7)
    brighter = np.clip(away.examples.astype(int) + 25, 0, 255).astype(np.uint8)
    shifted = dataclasses.replace(DOMAINS, streams={"target": Part(brighter, away.names)})
    right, classes = [], []
    for phases in (
        [LinearProbe()],
        [LinearProbe(), shot(epochs=10, lr=3e-3)],
        [LinearProbe(), shot(epochs=10, lr=3e-3, weight=0.0, diversity=0.0)],
    ):
        training.seed_everything(0)
        recipe = recipe_of(*phases)
        built = built_of(recipe)
        training.train(built, recipe, shifted)
        answers = model.predict(built.model, brighter).argmax(axis=1)
        right.append(np.mean(answers == away.labels))
        classes.append(len(set(answers.tolist())))
    assert right[1] > right[0]
    assert classes[1:] == [2, 1]


def test_flags_of_the_head_are_restored():
    built, *_ = trained(recipe_of(LinearProbe(), shot()))
    assert built.model.get_layer("scores").trainable


def test_steps_after_it_train_the_head_again():
    built, results, best = trained(recipe_of(LinearProbe(), shot(), Phase("more", frozen, epochs=1, lr=1e-2)))
    assert results[2].trainable_parameters > 0
    assert best.phase == "more"
    assert np.isfinite(model.predict(built.model, AWAY.examples)).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"lr": 0.0}, "lr must be above 0"),
        ({"weight": -1.0}, "weight must be 0 or more"),
        ({"diversity": -0.1}, "diversity must be 0 or more"),
        ({"stream": "train"}, "stream is 'train', which has labels"),
        ({"trainable": last_blocks}, "trainable"),
        ({"name": "1"}, "begins with a letter"),
    ],
)
def test_settings_that_cannot_be_are_told(settings, message):
    with pytest.raises(RecipeError, match=message):
        shot(**settings)


def test_a_recipe_that_has_no_classifier_yet_and_a_step_that_trains_nothing_are_told():
    for phases in ([shot()], [AdaptiveBatchNorm(), shot()]):
        with pytest.raises(RecipeError, match="'shot' keeps the classifier, and no step before it has trained one"):
            recipe_of(*phases)
    recipe = recipe_of(LinearProbe(), shot(trainable=frozen))
    with pytest.raises(RecipeError, match="its trainable freezes all of the backbone"):
        training.check_phases(recipe, built_of(recipe))


def test_a_loss_that_is_no_number_is_told():
    lost = shot(optimizer=lambda lr: keras.optimizers.SGD(lr * float("nan")))
    with pytest.raises(TrainingError, match="Shot 'shot': the loss is nan in epoch 1; take a lower lr"):
        trained(recipe_of(LinearProbe(), lost))


@on_each_backend
def test_on_every_backend_diversity_keeps_classes_apart_and_the_gradient_is_the_differences(backend):
    told, _ = facts_from("unlabelled_facts.py", backend=backend)
    assert told["backend"] == backend
    assert told["furthest"] < 1e-5
    assert told["gradient"] < 2e-3
    assert told["classes"]["without"] == 1
    assert told["classes"]["with"] == 2
