"""AdaptedProbe: a linear classifier that fits another domain, whose examples have no labels, in the head."""

import dataclasses
import re
from dataclasses import dataclass, field

import numpy as np
import pytest
from test_probe import built_of, deep, pooled
from test_train import HEAD, SPLITS, part

from kt import AdaptedProbe, Classifier, LinearProbe, Recipe, linear, training
from kt.adaptation import methods
from kt.data.splits import Part
from kt.errors import RecipeError
from kt.network import model

AWAY = part(9, 7)
DOMAINS = dataclasses.replace(SPLITS, streams={"target": Part(AWAY.examples, tuple(map(str, range(len(AWAY)))))})


@dataclass(frozen=True)
class Turned:
    """The classifier of the source with its classes the other way round, so that it is wrong on the source."""

    name: str = "turned"
    got: list = field(default_factory=list)

    def fit(self, source, labels, target, *, classes, groups=None, balanced=False, seed=0):
        self.got.append((source, labels, target, groups))
        solved = linear.fit(source, labels, classes=classes, groups=groups, seed=seed)
        return dataclasses.replace(solved, weights=solved.weights[:, ::-1], bias=solved.bias[::-1])


def recipe_of(*phases):
    return Recipe(lambda: DOMAINS, deep, Classifier(dropout=0.0), phases, weights="none")


def trained(recipe):
    training.seed_everything(recipe.seed)
    built = built_of(recipe)
    return built, *training.train(built, recipe, DOMAINS)


@pytest.mark.parametrize("depths", ["top", ["block_1", "top"]])
def test_the_method_gets_the_features_of_both_domains_and_its_classifier_is_the_head(depths):
    method = Turned()
    built, results, _ = trained(recipe_of(AdaptedProbe(method=method, features=depths)))
    source, labels, target, groups = method.got[0]
    np.testing.assert_allclose(source, pooled(built, SPLITS.train.examples), atol=1e-5)
    np.testing.assert_allclose(target, pooled(built, AWAY.examples), atol=1e-5)
    assert labels.tolist() == SPLITS.train.labels.tolist() and groups == SPLITS.train.groups
    expected = method.fit(source, labels, target, classes=2, groups=groups, seed=0)
    np.testing.assert_allclose(model.predict(built.model, AWAY.examples), expected.scores(target), atol=1e-3)
    assert results[0].probe["classifier"] == "turned"


def test_what_is_adapted_is_kept_though_it_is_worse_on_the_source():
    built, results, best = trained(recipe_of(LinearProbe(), AdaptedProbe(method=Turned())))
    assert results[1].best_val_loss > results[0].best_val_loss
    assert best.phase == "adapted" and best.val_loss == results[1].best_val_loss
    assert [(result.adapted_to, result.gain) for result in results] == [(None, None), ("target", None)]
    assert model.predict(built.model, SPLITS.test.examples).argmax(1).tolist() == (1 - SPLITS.test.labels).tolist()


def test_data_without_the_other_domain_are_told():
    recipe = recipe_of(AdaptedProbe(method=Turned()))
    with pytest.raises(RecipeError, match="A step wants pictures of 'target', and the data has train"):
        training.train(built_of(recipe), recipe, SPLITS)


@pytest.mark.parametrize("method", [None, Turned, "coral", HEAD])
def test_a_method_that_cannot_adapt_is_told(method):
    with pytest.raises(RecipeError, match=r"AdaptedProbe 'adapted': method is .*; expected how to adapt") as told:
        AdaptedProbe(method=method)
    assert re.search(r"such as kt\.adaptation\.methods\.(\w+)\(\)", str(told.value))[1] in methods.__all__


@pytest.mark.parametrize("setting", [{"classifier": "svm"}, {"C": 0.1}])
def test_a_setting_that_the_method_would_not_get_is_refused(setting):
    with pytest.raises(RecipeError, match="'adapted': its method chooses classifier and C; leave them out"):
        AdaptedProbe(method=methods.LinearTransport(), **setting)
