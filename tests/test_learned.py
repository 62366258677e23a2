"""What has learned nothing is not released; whether training was worth it is said where validation bears it."""

import json

import numpy as np
import pytest
from conftest import TINY_RECIPE, draw, make_folder

from kt.base.chance import mean_and_interval
from kt.export.learned import learned
from kt.heads.classification.measure import evaluate
from kt.kinds.pictures.kind import Pictures

SMALL = TINY_RECIPE.replace("    tolerance=0.2,", '    tolerance=0.2,\n    export=["saved_model"],')
ONE_ANSWER = SMALL.replace("Classifier(dropout=0.1)", "OneAnswer()").replace(
    "recipe = Recipe(",
    """@dataclass(frozen=True)
class OneAnswer(Classifier):
    def __call__(self, features, num_classes):
        x = keras.layers.GlobalAveragePooling2D()(features)
        scores = keras.layers.Dense(num_classes, kernel_initializer="zeros", trainable=False)(x)
        return keras.layers.Softmax()(keras.layers.Rescaling(1.0, offset=[0.0, 1.0])(scores))


recipe = Recipe(""",
).replace("import keras\n", "from dataclasses import dataclass\n\nimport keras\n", 1)  # fmt: skip


def answers(right, wrong, *, classes=2, groups=None):
    """The figures of a model that is right on the first `right` pictures of each class, and wrong on the others."""
    labels = np.tile(np.arange(classes), right + wrong)
    said = np.where(np.arange(len(labels)) < classes * right, labels, (labels + 1) % classes)
    scores = np.where(np.eye(classes)[said] > 0, 0.9, 0.1 / (classes - 1))
    return evaluate(scores, labels, [str(label) for label in range(classes)], groups=groups)


@pytest.mark.parametrize(
    ("right", "wrong", "verdict"),
    [
        (50, 50, "no"),
        (30, 70, "no"),
        (65, 35, "yes"),
        (95, 5, "yes"),
        (12, 0, "yes"),
        (2, 2, "unknown"),
        (4, 3, "unknown"),
    ],
)
def test_what_is_not_better_than_chance_has_learned_nothing_where_there_are_pictures_to_tell(right, wrong, verdict):
    found = learned(answers(right, wrong), [right + wrong] * 2, nouns=Pictures)
    assert found.verdict == verdict
    assert found.chance == 0.5
    assert found.withheld is (verdict == "no")


def test_many_classes_have_a_lower_chance():
    assert learned(answers(30, 70, classes=10), [100] * 10, nouns=Pictures).verdict == "yes"
    assert learned(answers(10, 90, classes=10), [100] * 10, nouns=Pictures).verdict == "no"


def test_frames_of_few_things_cannot_tell():
    groups = [str(i % 4) for i in range(200)]
    assert learned(answers(50, 50, groups=groups), [2, 2], nouns=Pictures).verdict == "unknown"


def test_one_answer_for_all_is_no_learning_however_few_the_pictures():
    scores = np.tile([0.8, 0.2], (6, 1))
    test = evaluate(scores, [0, 0, 0, 1, 1, 1], ["red", "green"])
    found = learned(test, [3, 3], nouns=Pictures)
    assert found.verdict == "no"
    assert "every test picture was answered with 'red'" in found.reason
    assert learned(test, [3, 3], nouns=Pictures, force=True).withheld is False


def test_test_pictures_of_one_class_cannot_tell():
    test = evaluate(np.tile([0.8, 0.2], (6, 1)), [0] * 6, ["red", "green"])
    assert learned(test, [6, 0], nouns=Pictures).verdict == "unknown"


def test_the_interval_of_a_mean_holds_it_as_often_as_it_says_and_counts_things():
    random, held = np.random.default_rng(0), 0
    for _ in range(1000):
        _, (low, high) = mean_and_interval(random.normal(0.3, 1, 20), [str(i) for i in range(20)])
        held += low <= 0.3 <= high
    assert 930 < held < 970
    values = np.repeat(random.normal(0, 1, 10), 10)
    single, grouped = (mean_and_interval(values, [str(i // step) for i in range(100)])[1] for step in (1, 10))
    assert np.ptp(grouped) > 2 * np.ptp(single)
    assert np.ptp(mean_and_interval(values, [str(i) for i in range(100)], looks=10)[1]) > np.ptp(single)
    assert mean_and_interval(values, ["one"] * 100) is None


# ---------------------------------------------------------------------------------------------- on the command line


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def report_in(place):
    return json.loads((place / "runs/tiny/LATEST/report.json").read_text())


def test_a_model_that_answers_all_with_one_class_is_reported_and_not_released_unless_forced(place, kt_ends):
    make_folder(place / "pictures", {"red": 40, "green": 40})
    (place / "tiny.py").write_text(ONE_ANSWER)
    code, _, err = kt_ends("run", "tiny.py", "--no-cache")
    assert code == 6
    assert "error: Every test picture was answered with 'red'" in err and "--force" in err
    told = report_in(place)
    assert told["released_to"] is None and told["learned"]["verdict"] == "no"
    assert [(one["released"], one["reason"]) for one in told["artifacts"]] == [(False, "the model has learned nothing")]
    assert not (place / "saved_models").exists()
    page = (place / "runs/tiny/LATEST/report.html").read_text()
    assert "Nothing was released" in page and "The model has learned nothing." in page


@pytest.mark.slow
def test_an_export_of_what_has_learned_nothing_needs_force_too(place, kt_ends):
    make_folder(place / "pictures", {"red": 40, "green": 40})
    (place / "tiny.py").write_text(ONE_ANSWER.replace('["saved_model"]', "[]"))
    code, out, err = kt_ends("run", "tiny.py", "--no-cache")
    assert code == 0, err
    code, _, err = kt_ends("export", "runs/tiny/LATEST", "--format", "saved_model")
    assert code == 6 and "every test picture was answered with 'red'" in err.lower()
    assert not (place / "saved_models").exists()
    code, out, err = kt_ends("export", "runs/tiny/LATEST", "--format", "saved_model", "--force")
    assert code == 0, err
    assert (place / "saved_models/tiny/1/kt.json").is_file()
    code, out, err = kt_ends("run", "tiny.py", "--no-cache", "--force", "--set", "export=saved_model")
    assert code == 0, err
    assert (place / "saved_models/tiny/2/kt.json").is_file()
    assert "every test picture was answered with 'red'" in out


@pytest.mark.slow
def test_labels_drawn_by_lot_are_not_released(place, kt_ends):
    for label, first in (("left", 0), ("right", 1000)):
        (place / "pictures" / label).mkdir(parents=True)
        for index in range(150):
            draw("red", first + index).save(place / "pictures" / label / f"{index:03d}.png")
    (place / "tiny.py").write_text(SMALL)
    code, _, err = kt_ends("run", "tiny.py")
    told = report_in(place)
    low, high = told["test"]["intervals"]["balanced_accuracy"]
    assert low <= 0.5 and high < 0.75, "a seed whose chance is not too lucky"
    assert code == 6
    assert "where chance is 0.500. Nothing was released" in err
    assert told["released_to"] is None


def test_too_few_test_pictures_to_know_are_said_and_released(place, kt_ends):
    make_folder(place / "pictures", {"red": 10, "green": 10})
    (place / "tiny.py").write_text(SMALL)
    code, out, err = kt_ends("run", "tiny.py", "--set", "data.test=0.15", "--set", "train_head.epochs=20")
    told = report_in(place)
    assert code == 0, err
    assert told["learned"]["verdict"] == "unknown"
    assert "2 test pictures are too few to know whether the model has learned" in out
    assert told["released_to"]


def test_training_that_loses_what_the_backbone_knew_is_warned_of(place, kt_ends):
    make_folder(place / "pictures", {"red": 60, "green": 60})
    (place / "tiny.py").write_text(SMALL.replace('["saved_model"]', "[]"))
    code, out, err = kt_ends(
        "run", "tiny.py", "--set", "train_head.lr=1e-7", "--set", "fine_tune.lr=1e-7", "--seed", "1"
    )
    assert code == 0, err
    warning = "the trained model is far below a linear probe on the same backbone"
    assert warning in out
    assert any(warning in one for one in report_in(place)["warnings"])
    assert warning in (place / "runs/tiny/LATEST/report.html").read_text()


def test_a_last_phase_that_changes_next_to_nothing_is_not_called_a_help(place, kt_ends):
    make_folder(place / "pictures", {"red": 40, "green": 40})
    (place / "tiny.py").write_text(SMALL.replace('["saved_model"]', "[]"))
    code, out, err = kt_ends(
        "run", "tiny.py", "--set", "train_head.epochs=2", "--set", "train_head.lr=1e-3", "--set", "fine_tune.lr=1e-7"
    )
    assert code == 0, err
    told = report_in(place)
    gain = told["phases"][1]["gain"]
    assert told["phases"][0]["gain"] is None
    page = (place / "runs/tiny/LATEST/report.html").read_text()
    if told["best"]["phase"] == "fine_tune":
        assert abs(gain["log_loss"]) < 0.01
        assert gain["images"] == sum(told["data"]["counts"]["validation"].values())
    assert "fine_tune helped" not in page and "fine_tune helped" not in out


def test_a_last_phase_that_learns_what_the_first_did_not_helped(place, kt_ends):
    make_folder(place / "pictures", {"red": 60, "green": 60})
    (place / "tiny.py").write_text(SMALL.replace('["saved_model"]', "[]"))
    code, out, err = kt_ends("run", "tiny.py", "--set", "train_head.lr=1e-6", "--set", "fine_tune.lr=3e-2",
                             "--set", "fine_tune.epochs=6")  # fmt: skip
    assert code == 0, err
    low, high = report_in(place)["phases"][1]["gain"]["interval"]
    assert 0 < low < high
    assert "fine_tune helped" in out
    assert "fine_tune helped" in (place / "runs/tiny/LATEST/report.html").read_text()


def test_a_recipe_that_exports_nothing_has_nothing_to_withhold(place, kt_ends):
    make_folder(place / "pictures", {"red": 40, "green": 40})
    (place / "tiny.py").write_text(ONE_ANSWER.replace('["saved_model"]', "[]"))
    code, out, err = kt_ends("run", "tiny.py", "--no-cache")
    assert code == 0, err
    assert "every test picture was answered with 'red'" in out
