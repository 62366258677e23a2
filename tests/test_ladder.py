"""The ladder and the search: what they try, by what they choose, what they tell, and when they stop."""

import dataclasses
import json
import signal
import subprocess
import sys

import numpy as np
import pytest
from conftest import PHOTOS, REPOSITORY, TINY_RECIPE, make_folder

from kt import LayerwiseDecay
from kt.base.extras import install
from kt.errors import DataError
from kt.freeze import everything, from_block, frozen
from kt.recipe import load
from kt.strategy.goal import Goal
from kt.strategy.validation import check_validation


def tiny(folder):
    """The tiny recipe on pictures of its own, and its splits."""
    make_folder(folder / "pictures", {"red": 20, "green": 20, "blue": 20})
    (folder / "tiny.py").write_text(TINY_RECIPE, encoding="utf-8")
    recipe = load(folder / "tiny.py").recipe
    data = dataclasses.replace(recipe.data, root=str(folder / "pictures"))
    return dataclasses.replace(recipe, data=data), data()


@pytest.fixture(scope="module")
def easy(tmp_path_factory):
    return tiny(tmp_path_factory.mktemp("easy"))


def climb(recipe, splits, folder, goal=None):
    from kt.strategy.ladder import Ladder

    return Ladder(goal or Goal())(recipe, splits, out=folder, cached=True)


def rows_of(trained):
    return {row["name"]: row for row in trained.told["ladder"]}


def fine_tune(recipe, **changes):
    """The recipe with another second phase."""
    return dataclasses.replace(recipe, phases=[recipe.phases[0], dataclasses.replace(recipe.phases[1], **changes)])


# --------------------------------------------------------------------------------------------------------- the rungs


def test_more_and_more_of_the_backbone_trains(easy):
    from kt.strategy.ladder.rungs import deeper

    recipe, _ = easy
    blocks = ["expanded_conv", *(f"block_{number}" for number in range(1, 17))]
    rungs = deeper(recipe, recipe.phases[1], blocks)
    assert [rung.name for rung in rungs] == ["top_blocks", "more_blocks", "whole_network"]
    assert [rung.recipe.phases[0].trainable for rung in rungs] == [
        from_block("block_15"), from_block("block_11"), everything,
    ]  # fmt: skip
    assert [rung.share for rung in rungs] == [2 / 17, 6 / 17, 1.0]
    assert [rung.recipe.phases[0].layer_rates for rung in rungs] == [None, None, LayerwiseDecay(0.8)]
    assert all(len(rung.recipe.phases) == 1 and rung.recipe.phases[0].lr == 1e-3 for rung in rungs)


def test_a_recipe_s_own_probe_is_the_first_rung(easy):
    from kt import LinearProbe
    from kt.strategy.ladder.depth import first_rung
    from kt.strategy.validation import new_model

    recipe, splits = easy
    own = dataclasses.replace(recipe, phases=[LinearProbe("svm", features="all", name="mine"), recipe.phases[1]])
    first, depths = first_rung(own, splits, new_model(recipe, splits))
    assert first.recipe.phases == [LinearProbe("svm", features="all", name="probe")]
    assert depths == []


def test_a_backbone_of_few_or_unknown_blocks_has_fewer_rungs(easy):
    from kt.strategy.ladder.rungs import deeper

    recipe, _ = easy
    assert [rung.name for rung in deeper(recipe, recipe.phases[1], ["stem", "one", "two"])] == [
        "top_blocks", "whole_network",
    ]  # fmt: skip
    assert [rung.name for rung in deeper(recipe, recipe.phases[1], [])] == ["whole_network"]


def test_the_next_backbones_are_those_of_the_catalogue_where_imagenet_is_asked_for(easy, monkeypatch):
    import keras

    from kt.strategy.ladder.rungs import other_backbones

    recipe, _ = easy
    assert other_backbones(recipe) == [], "random weights were asked for"
    pretrained = dataclasses.replace(recipe, backbone=keras.applications.MobileNetV2, weights="imagenet")
    assert {name for name, _ in other_backbones(pretrained)} == {f"EfficientNetLite{size}" for size in range(3)}
    monkeypatch.setenv("KT_OFFLINE", "1")
    monkeypatch.setenv("KERAS_HOME", "/nowhere")
    assert other_backbones(pretrained) == [], "nothing is at hand, and nothing may be fetched"


def test_another_backbone_is_tuned_as_deep_as_the_one_that_won(easy):
    import keras

    from kt.strategy.ladder.rungs import deeper, on_another, probe_rung

    recipe, _ = easy
    step = deeper(recipe, recipe.phases[1], [str(number) for number in range(18)])[1]
    rung = on_another(probe_rung(recipe, "top"), step, "MobileNetV2", keras.applications.MobileNetV2)
    backbone = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(32, 32, 3))
    rung.recipe.phases[-1].trainable(backbone)
    first = next(layer.name for layer in backbone.layers if layer.trainable)
    assert first == "block_11_expand", "a third of 18 blocks"
    lower = probe_rung(recipe, "block_1")
    (only,) = on_another(lower, lower, "MobileNetV2", keras.applications.MobileNetV2).recipe.phases
    assert only.features == "top", "where the probe won, another backbone is probed too, which has no such block"


# ---------------------------------------------------------------------------------------------------------- the climb


@pytest.fixture(scope="module")
def climbed(easy, tmp_path_factory):
    return climb(*easy, tmp_path_factory.mktemp("climbed"), Goal("log_loss", 1e-9))


def test_it_gives_the_rung_that_is_best_on_validation_with_its_weights(easy, climbed):
    from kt.strategy.validation import standing

    recipe, splits = easy
    rows = climbed.told["ladder"]
    assert [row["name"] for row in rows] == ["probe", "top_blocks", "whole_network"]
    (won,) = [row for row in rows if row["won"]]
    assert won == min(rows, key=lambda row: row["figure"])
    assert standing(climbed.built, splits, Goal("log_loss"), seed=recipe.seed).figure == won["figure"]
    assert climbed.phases[-1].name == won["name"] == climbed.recipe.phases[-1].name
    assert [phase.name for phase in climbed.phases] == [phase.name for phase in climbed.recipe.phases]
    assert all(row["verdict"] and row["seconds"] > 0 for row in rows)


def test_a_target_that_is_not_reached_is_told_with_what_was(climbed):
    assert climbed.told["goal"] == {
        "metric": "log_loss", "target": 1e-9, "budget_seconds": None, "reached": False, "ended": "no rung was left",
    }  # fmt: skip
    note = climbed.told["notes"][0]
    assert note.startswith("target not reached: log loss 1e-09 was asked for, and its upper end is ")


def test_each_rung_begins_with_the_best_weights_so_far(easy, tmp_path):
    recipe, splits = easy
    trained = climb(fine_tune(recipe, lr=1e-30, epochs=1), splits, tmp_path, Goal("log_loss"))
    probe, *others = trained.told["ladder"]
    assert [row["figure"] for row in others] == pytest.approx([probe["figure"]] * 2, rel=1e-4)


def test_a_target_that_is_reached_ends_the_climb(easy, tmp_path):
    recipe, splits = easy
    trained = climb(recipe, splits, tmp_path, Goal("balanced_accuracy", 0.2))
    rows = rows_of(trained)
    assert rows["probe"]["verdict"] == "won: the only one that was tried"
    for name in ("top_blocks", "whole_network"):
        assert rows[name]["verdict"] == "not needed: the target was reached before"
    assert trained.told["goal"]["reached"] is True
    assert "probe won, balanced accuracy " in trained.told["notes"][0]


def test_a_rung_whose_loss_is_no_number_is_told_and_the_best_so_far_wins(easy, tmp_path):
    recipe, splits = easy
    import keras

    diverging = fine_tune(recipe, lr=99.0, epochs=20, optimizer=lambda rate: keras.optimizers.SGD(rate * 1e9))
    trained = climb(diverging, splits, tmp_path)
    rows = rows_of(trained)
    assert rows["probe"]["won"]
    assert rows["top_blocks"]["figure"] is None
    assert rows["top_blocks"]["verdict"].startswith("failed: ") and "loss became" in rows["top_blocks"]["verdict"]
    assert np.isfinite(trained.built.model.predict(splits.test.examples, verbose=0)).all()


def test_where_the_top_has_lost_the_colours_the_probe_stands_lower(easy, tmp_path):
    import keras

    from kt.strategy.ladder.depth import choose_depth

    def grey(include_top, weights, input_shape):
        inputs = keras.Input(input_shape)
        x = keras.layers.Conv2D(8, 3, strides=2, activation="relu", name="block_1_conv")(inputs)
        x = keras.layers.Conv2D(8, 3, strides=2, activation="relu", name="block_2_conv")(x)
        x = keras.layers.Conv2D(4, 1, kernel_initializer="zeros", bias_initializer="ones", name="block_3_conv")(x)
        return keras.Model(inputs, x, name="grey")

    grey.preprocessing = "scale -1..1"
    recipe, splits = easy
    recipe = dataclasses.replace(recipe, backbone=grey)
    chosen, *others = choose_depth(recipe, splits)
    assert chosen.features in ("block_1", "block_2", "all")
    assert {depth.features: depth.log_loss for depth in others}["top"] == float("inf")
    trained = climb(recipe, splits, tmp_path, Goal(seconds=0.001))
    assert trained.told["depths"][0]["features"] == chosen.features
    assert trained.told["ladder"][0]["figure"] > 0.6


def test_where_a_class_has_one_thing_no_depth_is_surely_better_than_the_top(easy, monkeypatch):
    from kt.strategy.ladder import depth

    recipe, splits = easy
    train = splits.train
    one = dataclasses.replace(train, groups=tuple("one" if label == 0 else name for label, name in
                                                  zip(train.labels, train.groups, strict=True)))  # fmt: skip
    monkeypatch.setattr(depth, "_log_loss", lambda name, *_: {"top": 0.9}.get(name, 0.1))
    chosen, *others = depth.choose_depth(recipe, dataclasses.replace(splits, train=one))
    assert chosen.features == "top"
    assert others


def test_a_head_that_no_probe_fits_is_trained_first_however_little_time_there_is(easy, tmp_path):
    from kt import Classifier

    recipe, splits = easy
    trained = climb(dataclasses.replace(recipe, head=Classifier(hidden=8)), splits, tmp_path, Goal(seconds=0.001))
    rows = rows_of(trained)
    assert list(rows) == ["train_head", "top_blocks", "whole_network"]
    assert rows["train_head"]["won"], "there would be no model without the first rung"
    assert rows["top_blocks"]["figure"] is None
    assert rows["top_blocks"]["verdict"].startswith("not begun: it would take about ")
    assert trained.told["goal"]["ended"] == "the budget was spent"
    assert trained.recipe.phases[0].trainable == frozen


def test_validation_that_lacks_a_class_cannot_judge(easy, tmp_path):
    recipe, splits = easy
    part = splits.validation.take(np.flatnonzero(splits.validation.labels != 1))
    with pytest.raises(DataError, match=r"Validation has no picture of 'green'.*--set data.validation=0.2"):
        climb(recipe, dataclasses.replace(splits, validation=part), tmp_path)


def test_a_small_validation_split_is_called_so_with_what_it_can_prove(easy):
    _, splits = easy
    (note,) = check_validation(splits)
    assert "it shows 3 things of 'blue'" in note
    assert "may be as low as 0.29" in note, "Clopper and Pearson's interval of 3 of 3 begins at 0.292"


# ---------------------------------------------------------------------------------------------------------- the search


def search(recipe, splits, folder, *, trials, goal=None):
    pytest.importorskip("optuna")
    from kt.strategy.search import Search

    return Search(trials, goal or Goal())(recipe, splits, out=folder, cached=True)


def test_a_search_tries_the_recipe_and_changes_of_it_and_gives_the_best(easy, tmp_path):
    from kt.strategy.validation import standing

    recipe, splits = easy
    trained = search(recipe, splits, tmp_path, trials=3)
    rows = trained.told["search"]
    assert [row["name"] for row in rows] == ["as written", "trial 1", "trial 2", "trial 3"]
    assert (rows[0]["lr"], rows[0]["blocks"], rows[0]["dropout"]) == (None, None, None)
    for row in rows[1:]:
        assert 1e-3 / 30 <= row["lr"] <= 1e-3 * 30 and row["blocks"] in (1, 2, 3) and 0 <= row["dropout"] <= 0.6
    (won,) = [row for row in rows if row["won"]]
    assert won == max(rows, key=lambda row: row["figure"])
    assert standing(trained.built, splits, Goal(), seed=recipe.seed).figure == won["figure"]
    if won["lr"] is not None:
        assert (trained.recipe.phases[1].lr, trained.recipe.head.dropout) == (won["lr"], won["dropout"])
    assert trained.told["goal"]["ended"] == "all trials were made"


@pytest.mark.slow
def test_the_same_seed_searches_the_same_way(easy, tmp_path):
    recipe, splits = easy
    shorter = dataclasses.replace(recipe, phases=[dataclasses.replace(phase, epochs=1) for phase in recipe.phases])
    once, twice = (search(shorter, splits, tmp_path / name, trials=2) for name in ("once", "twice"))
    tried = [[{**row, "seconds": 0} for row in each.told["search"]] for each in (once, twice)]
    assert tried[0] == tried[1]


def test_a_search_ends_with_its_budget_or_its_target(easy, tmp_path):
    recipe, splits = easy
    out_of_time = search(recipe, splits, tmp_path, trials=5, goal=Goal(seconds=0.001))
    assert len(out_of_time.told["search"]) == 1
    assert out_of_time.told["goal"]["ended"] == "the budget was spent after 0 of 5 trials"
    done = search(recipe, splits, tmp_path, trials=5, goal=Goal("log_loss", 50.0))
    assert (len(done.told["search"]), done.told["goal"]["reached"]) == (1, True)


# ---------------------------------------------------------------------------------------------------- the command line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--goal", "balanced_acuracy=0.9"], "no metric 'balanced_acuracy'. Did you mean 'balanced_accuracy'?"),
        (["--goal", "accuracy=95"], "it is a share from 0 to 1, such as 0.95, not 95."),
        (["--budget", "soon"], "write a time with its unit, such as 90s, 30m or 2h."),
        (["--budget", "0m"], "nothing can be done in no time"),
        (["--search", "0"], "Invalid value for '--search'"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_loaded(options, message, kt_ends):
    code, out, err = kt_ends("run", "nothing.py", *options)
    assert (code, out) == (2, "")
    assert message in err


def test_a_recipe_that_runs_by_itself_cannot_be_climbed(tmp_path, kt_ends):
    (tmp_path / "own.py").write_text(TINY_RECIPE + "\n\ndef run(recipe, out):\n    return {}\n", encoding="utf-8")
    code, _, err = kt_ends("run", tmp_path / "own.py", "--budget", "1m")
    assert code == 2
    assert "own.py runs by itself, so --goal, --budget and --search can't reach its training." in err


def test_without_optuna_a_search_names_the_extra(tmp_path, kt_ends, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    code, _, err = kt_ends("run", tmp_path / "any.py", "--search", "3")
    assert (code, err) == (7, f"error: --search needs Optuna: {install('search')}\n")


def test_a_climb_ends_as_a_run_does_tested_once_exported_and_reported(tmp_path, kt_here):
    make_folder(tmp_path / "pictures", {"red": 20, "green": 20})
    (tmp_path / "tiny.py").write_text(TINY_RECIPE, encoding="utf-8")
    done = kt_here("run", "tiny.py", "--goal", "accuracy=1", "--budget", "1h", "--set", "export=tflite", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "runs/tiny/LATEST/report.json").read_text())
    assert [row["name"] for row in results["ladder"]] == ["probe", "top_blocks", "whole_network"]
    assert results["goal"]["target"] == 1.0
    assert results["test"]["images"] == 8
    assert results["released_to"] == "saved_models/tiny/1"
    assert results["notes"][0] in done.stdout
    assert any("validation is small" in note for note in results["notes"])
    assert "What was tried" in (tmp_path / "runs/tiny/LATEST/report.html").read_text()


@pytest.mark.slow
def test_an_interrupted_climb_leaves_nothing_half_done(tmp_path, kt_here):
    make_folder(tmp_path / "pictures", {"red": 20, "green": 20})
    (tmp_path / "tiny.py").write_text(TINY_RECIPE, encoding="utf-8")
    # A shell starts what it puts in the background with SIGINT ignored, and that is inherited, by this test run too.
    listening = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    # No budget: with one, a rung of so many epochs would not be begun.
    goal = ["--goal", "balanced_accuracy=0.99"]
    command = [sys.executable, "-c", f"{listening}from kt.cli import main; main()", "run", "tiny.py", *goal]
    with subprocess.Popen(
        [*command, "--set", "fine_tune.epochs=10000"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as running:
        for line in running.stderr:
            if line.startswith("phase top_blocks"):
                running.send_signal(signal.SIGINT)
                break
        rest = running.stderr.read()
    assert running.returncode == 130, rest
    assert rest.splitlines()[-1] == "error: interrupted"
    assert not (tmp_path / "saved_models").exists() and not (tmp_path / "runs/tiny/LATEST").exists()
    again = kt_here("run", "tiny.py", "--budget", "1s", "--set", "export=", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "damaged" not in again.stderr


@pytest.mark.slow
@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the real photos do not lie beside this checkout")
def test_on_real_photos_the_ladder_comes_well_above_chance(tmp_path, kt_here):
    from test_real_photos import every_nth

    every_nth("bean_leaves", 6, tmp_path / "beans")
    done = kt_here(
        "run", str(REPOSITORY / "recipes/apples.py"), "--data", "beans", "--budget", "2h", "--json", "--set", "export=",
        "--set", "data.image_size=96x96", "--set", "fine_tune.epochs=2", cwd=tmp_path, KT_OFFLINE="1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    names = [row["name"] for row in results["ladder"]]
    assert names[:4] == ["probe", "top_blocks", "more_blocks", "whole_network"]
    (won,) = (row for row in results["ladder"] if row["won"])
    # A rung of another backbone, whose weights may be at hand, bears that backbone's name.
    assert won["name"] in (results["phases"][-1]["name"], won["backbone"])
    assert results["test"]["balanced_accuracy"] > 0.6
    assert any(depth["features"] == "top" for depth in results["depths"])
