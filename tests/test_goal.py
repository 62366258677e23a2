"""What --goal and --budget may say, and when a target is reached."""

import pytest

from kt.base.metrics import HEADLINES, TARGETS
from kt.errors import RecipeError
from kt.strategy.goal import Goal, goal


def test_each_headline_is_a_target_or_refused_with_the_reason():
    for name in TARGETS:
        assert goal(f"{name}=0.5", None).metric == name
    assert set(HEADLINES) - set(TARGETS) == {"calibration_error"}
    with pytest.raises(RecipeError, match=r"a model that knows nothing can be well calibrated.*take log_loss"):
        goal("calibration_error=0.1", None)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1.5h", 5400), (" 5 m ", 300), ("0.5s", 0.5)]
)
def test_a_budget_is_a_number_with_a_unit(text, seconds):
    assert goal(None, text) == Goal("balanced_accuracy", None, seconds)


@pytest.mark.parametrize("text", ["", "30", "m", "30 minutes", "-5m", "1h30m", "nan s", "1e3s", "infs"])
def test_a_budget_that_is_no_time_is_refused_with_examples(text):
    with pytest.raises(RecipeError, match=r"--budget .*write a time with its unit, such as 90s, 30m or 2h"):
        goal(None, text)


@pytest.mark.parametrize("text", ["0s", "0m", "0.0h"])
def test_a_budget_of_nothing_is_refused(text):
    with pytest.raises(RecipeError, match="nothing can be done in no time"):
        goal(None, text)


def test_a_target_is_a_metric_and_a_value():
    assert goal("balanced_accuracy=0.95", "30m") == Goal("balanced_accuracy", 0.95, 1800)
    assert goal(" roc_auc = 1 ", None) == Goal("roc_auc", 1.0, None)
    assert goal("log_loss=1.2", None).value == 1.2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.95", "write it as METRIC=VALUE, such as balanced_accuracy=0.95"),
        ("balanced_acuracy=0.95", "no metric 'balanced_acuracy'. Did you mean 'balanced_accuracy'?"),
        ("=0.95", "no metric ''"),
        ("accuracy=high", "'high' is no number"),
        ("accuracy=", "'' is no number"),
        ("accuracy=95", "a share from 0 to 1, such as 0.95, not 95"),
        ("accuracy=0", "a share from 0 to 1"),
        ("accuracy=-0.5", "a share from 0 to 1"),
        ("accuracy=nan", "a share from 0 to 1"),
        ("log_loss=0", "must be above 0"),
        ("log_loss=inf", "must be above 0"),
    ],
)
def test_a_target_that_cannot_be_is_refused_with_what_can(text, message):
    with pytest.raises(RecipeError, match=message.replace("?", r"\?")):
        goal(text, None)


def test_the_worse_end_of_the_interval_decides():
    accuracy, loss = Goal("accuracy", 0.9), Goal("log_loss", 0.3)
    assert accuracy.reached([0.9, 0.99]) and not accuracy.reached([0.89, 0.99])
    assert loss.reached([0.1, 0.3]) and not loss.reached([0.1, 0.31])
    assert not Goal("accuracy").reached([1.0, 1.0]), "without a target there is nothing to reach"


def test_less_loss_is_better_and_ahead():
    assert Goal("log_loss").better(0.2, 0.3) and not Goal("log_loss").better(0.3, 0.3)
    assert Goal("accuracy").better(0.3, 0.2) and not Goal("accuracy").better(0.3, 0.3)
    assert Goal("log_loss").ahead(0.2, 0.3) == pytest.approx(0.1)
    assert Goal("accuracy").ahead(0.2, 0.3) == pytest.approx(-0.1)
