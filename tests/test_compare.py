"""`kt compare`: the paired test, the learning curves, the strategies as recipes, and what it writes."""

import dataclasses
import json
import math
import re
from datetime import UTC, datetime
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import REPOSITORY, TINY_RECIPE, make_folder
from sklearn.isotonic import IsotonicRegression

from kt.base import few
from kt.data.splits import Split, Splits
from kt.errors import DataError, RecipeError, WeightsError
from kt.freeze import from_scratch, top_share
from kt.heads.classification.measure import evaluate
from kt.network.model import build, predict
from kt.recipe import Phase, Recipe, load
from kt.report.comparison import comparison_page, points, sentences
from kt.runs.origin import Origin
from kt.strategy.compare import compare, training
from kt.strategy.compare.comparison import Comparison
from kt.strategy.compare.cost import Cost, Fitting, Sizes
from kt.strategy.compare.plan import make, seconds
from kt.strategy.compare.results import cautions, comparison_results
from kt.strategy.compare.training import lengthened, subset
from kt.strategy.paired import Estimate, Resamples, ironed, match
from kt.strategy.strategies import TITLES, strategies
from kt.training import seed_everything, train

DOCS = (REPOSITORY / "docs" / "compare.md").read_text(encoding="utf-8")
TRANSFERRING = TINY_RECIPE.replace('weights="none"', 'weights="own"')


# --------------------------------------------------------------------------------------------------- the paired test


def right_or_wrong(chance, *, seeds=3, random):
    """For each picture and seed whether a model was right: `chance` `[N]` is how easy each picture is."""
    return random.random((len(chance), seeds)) < chance[:, None]


def singles(number):
    return [str(i) for i in range(number)]


def test_balanced_accuracy_is_the_mean_over_seeds_of_what_evaluate_says():
    random = np.random.default_rng(0)
    labels = random.integers(3, size=50)
    scores = random.dirichlet(np.ones(3), size=(2, 50))
    right = np.stack([one.argmax(axis=1) == labels for one in scores], axis=1)
    expected = [evaluate(one, labels, "abc", resamples=0)["balanced_accuracy"] for one in scores]
    found = Resamples(labels, singles(50), seeds=2).balanced_accuracy(right)
    assert found.value == pytest.approx(np.mean(expected))
    assert found.interval[0] < found.value < found.interval[1]


def test_the_interval_of_one_seed_s_model_is_that_of_evaluate():
    random = np.random.default_rng(1)
    labels, groups = np.repeat([0, 1], 60), [str(i // 6) for i in range(120)]
    scores = random.dirichlet(np.ones(2), size=120)
    found = Resamples(labels, groups, seeds=1).balanced_accuracy((scores.argmax(axis=1) == labels)[:, None])
    expected = evaluate(scores, labels, "ab", groups=groups, resamples=2000)["intervals"]["balanced_accuracy"]
    assert found.interval == pytest.approx(expected, abs=0.015)


def test_what_is_hard_for_both_cancels_out_of_their_difference():
    random = np.random.default_rng(2)
    labels = np.repeat([0, 1], 100)
    easy = random.random(200) < 0.6
    one = np.repeat(easy[:, None], 3, axis=1)
    other = one.copy()
    other[np.flatnonzero(~easy)[:20]] = True
    draws = Resamples(labels, singles(200), seeds=3)
    first, second = draws.balanced_accuracy(one), draws.balanced_accuracy(other)
    paired = second.minus(first)
    assert paired.value == pytest.approx(0.1, abs=0.02)
    apart = first.interval[1] - first.interval[0]
    assert paired.interval[1] - paired.interval[0] < 0.7 * apart
    assert paired.verdict() == "positive" and paired.p_value() < 0.01
    assert first.minus(second).verdict() == "negative"


def test_a_model_against_itself_is_no_gain():
    labels = np.repeat([0, 1], 20)
    right = np.random.default_rng(0).random((40, 3)) < 0.7
    draws = Resamples(labels, singles(40), seeds=3)
    same = draws.balanced_accuracy(right).minus(draws.balanced_accuracy(right))
    assert (same.value, same.interval, same.verdict(), same.p_value()) == (0.0, [0.0, 0.0], "none", 1.0)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_spread_over_seeds_is_that_of_their_mean(seeds):
    """Where all pictures behave alike, only seeds vary: the variance of a mean is the seeds' own over their number."""
    labels = np.repeat([0, 1], 100)
    right = np.zeros((200, seeds), bool)
    for seed in range(seeds):
        right[: 100 - 10 * seed, seed] = right[100 : 200 - 10 * seed, seed] = True
    of_seeds = right.mean(axis=0)
    together = [str(label) for label in labels]  # one group a class: pictures show no spread at all
    draws = Resamples(labels, together, seeds=seeds, resamples=20_000).balanced_accuracy(right).draws
    assert draws.var() == pytest.approx(of_seeds.var(ddof=1) / seeds, rel=0.05)


def test_frames_of_one_thing_count_as_one_thing():
    random = np.random.default_rng(3)
    labels, groups = np.repeat([0, 1], 100), [str(i // 10) for i in range(200)]
    known = np.repeat(random.random(20) < 0.7, 10)
    right = np.repeat(known[:, None], 2, axis=1)
    width = [np.ptp(Resamples(labels, of, seeds=2).balanced_accuracy(right).interval) for of in (groups, singles(200))]
    assert width[0] > 2 * width[1]


@pytest.mark.parametrize(("of_a_picture", "least", "most"), [(0.95, 2, 20), (0.6, 0, 10)])
def test_where_nothing_differs_a_verdict_is_seldom_given(of_a_picture, least, most):
    """Two strategies that are equally good, each with pictures of its own that it can tell.

    Where every seed tells the same ones, chance is wrong in about 5 of 100; where seeds differ too, less often.
    """
    random, wrong = np.random.default_rng(4), 0
    labels = np.repeat([0, 1, 2], 40)
    for _ in range(200):
        draws = Resamples(labels, singles(120), seeds=3, resamples=400)
        pair = []
        for _ in range(2):
            chance = np.where(random.random(120) < 0.7, of_a_picture, 1 - of_a_picture)
            pair.append(draws.balanced_accuracy(right_or_wrong(chance, random=random)))
        wrong += pair[0].minus(pair[1]).verdict() != "none"
    assert least <= wrong <= most


# -------------------------------------------------------------------------------------------------- learning curves


def sure(value):
    """An estimate without spread."""
    return Estimate(value, np.full(50, float(value)))


def test_a_target_on_the_curve_is_found_between_two_points_on_a_logarithmic_axis():
    found = match([10, 100, 1000], [sure(0.5), sure(0.7), sure(0.9)], sure(0.8))
    assert found.relation == "about"
    assert found.pictures == pytest.approx(math.sqrt(100 * 1000))
    assert [found.low, found.high] == pytest.approx([found.pictures] * 2)


def test_a_target_off_the_curve_is_said_to_be_off():
    curve = [sure(0.6), sure(0.8)]
    above, below = match([20, 200], curve, sure(0.95)), match([20, 200], curve, sure(0.5))
    assert (above.relation, above.pictures, above.low, above.high) == ("more than", 200, None, None)
    assert (below.relation, below.pictures, below.carried_on) == ("fewer than", 20, None)
    assert match([20, 200], curve, sure(0.6)).as_json() == {
        "relation": "about", "pictures": 20, "interval": [20, 20], "carried_on": None,
    }  # fmt: skip


def test_a_power_law_is_carried_on_as_far_as_ten_times_the_pictures():
    sizes = [50, 100, 200, 400]
    curve = [sure(1 - 2 * size**-0.5) for size in sizes]
    assert match(sizes, curve, sure(1 - 2 * 1000**-0.5)).carried_on == pytest.approx(1000)
    assert match(sizes, curve, sure(1 - 2 * 5000**-0.5)).carried_on is None
    assert match(sizes, curve, sure(1.0)).carried_on is None
    flat = match(sizes, [sure(0.7)] * 4, sure(0.8))
    assert (flat.relation, flat.carried_on) == ("more than", None)


def test_curves_are_ironed_out_as_scikit_learn_does_it():
    curves = np.random.default_rng(0).random((50, 5))
    expected = [IsotonicRegression().fit_transform(range(5), curve) for curve in curves]
    assert ironed(curves) == pytest.approx(np.array(expected))


def test_a_dip_in_the_curve_is_ironed_out():
    assert match([10, 20, 40], [sure(0.5), sure(0.4), sure(0.9)], sure(0.44)).relation == "fewer than"


def test_the_interval_of_the_pictures_comes_from_the_draws_and_may_be_open():
    random = np.random.default_rng(0)
    curve = [Estimate(value, value + random.normal(0, 0.05, 500)) for value in (0.5, 0.7, 0.8)]
    found = match([10, 100, 1000], curve, Estimate(0.78, 0.78 + random.normal(0, 0.05, 500)))
    assert found.relation == "about" and found.low < found.pictures and found.high is None


# --------------------------------------------------------------------------------------------------- the strategies


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """The tiny recipe with weights to transfer, in a folder of its own with 45 pictures."""
    monkeypatch.chdir(tmp_path)
    make_folder(tmp_path / "pictures", {"red": 15, "green": 15, "blue": 15})
    (tmp_path / "tiny.py").write_text(TRANSFERRING, encoding="utf-8")
    return load(Path("tiny.py")).recipe


def test_each_strategy_trains_for_as_many_epochs_and_keeps_the_rest_of_the_recipe(tiny):
    named = strategies(tiny)
    assert list(named) == [name for name in TITLES if name in named]
    assert {"scratch", "frozen", "fine_tune_top", "fine_tune_all"} <= set(named)
    for name, recipe in named.items():
        epochs = [phase.epochs for phase in recipe.phases if isinstance(phase, Phase)]
        assert sum(epochs) in (0, 6), name
        assert recipe.weights == ("none" if name == "scratch" else "own")
        assert dataclasses.replace(recipe, phases=tiny.phases, weights="own") == tiny
    asked = strategies(tiny, epochs=9, scratch_epochs=30)
    assert [phase.epochs for phase in asked["fine_tune_top"].phases] == [4, 5]
    assert [phase.epochs for phase in asked["scratch"].phases] == [30]
    with pytest.raises(RecipeError, match=r"Strategies need at least 2 epochs, one for the head .* not 1"):
        strategies(tiny, epochs=1)


def network(blocks):
    """Convolutions with BatchNorm, as many blocks as asked for."""
    x = inputs = keras.Input((16, 16, 3))
    for block in range(1, blocks + 1):
        x = keras.layers.Conv2D(4, 1, name=f"block_{block}_conv")(x)
        x = keras.layers.BatchNormalization(name=f"block_{block}_bn")(x)
    return keras.Model(inputs, x)


def test_from_scratch_trains_all_with_statistics_that_follow_soon():
    model = network(2)
    from_scratch(model)
    assert len(model.trainable_weights) == 8
    assert [layer.momentum for layer in model.layers if "bn" in layer.name] == [0.9, 0.9]


@pytest.mark.parametrize(("blocks", "first"), [(2, "block_2_conv"), (7, "block_6_conv")])
def test_the_top_is_the_last_quarter_of_the_blocks(blocks, first):
    model = network(blocks)
    top_share(0.25)(model)
    training = [layer.name for layer in model.layers if layer.trainable_weights]
    assert training[0] == first and not any("bn" in name for name in training)


def some_splits(count=40, classes=2):
    labels = np.arange(count) % classes
    names = tuple(map(str, range(count)))
    part = Split(np.zeros((count, 8, 8, 3), np.uint8), labels.astype(np.int64), names, names)
    return Splits(part, part, part, ("a", "b"), 8, "nowhere", "0" * 64)


def test_a_share_of_the_pictures_holds_each_class_and_what_a_smaller_share_holds():
    splits = some_splits()
    small, large = (subset(splits, share, seed=1).train for share in (0.25, 0.5))
    assert (len(small), len(large)) == (10, 20)
    assert np.bincount(small.labels).tolist() == [5, 5]
    assert set(small.names) < set(large.names)
    assert subset(splits, 0.25, seed=2).train.names != small.names
    assert np.bincount(subset(splits, 0.01, seed=1).train.labels).tolist() == [2, 2]


def test_fewer_pictures_get_more_epochs_by_the_square_root(tiny):
    assert [phase.epochs for phase in lengthened(tiny, 0.25).phases] == [8, 4]
    assert [phase.epochs for phase in lengthened(tiny, 0.1).phases] == [13, 7]


# ------------------------------------------------------------------------------------------------------- comparing


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Scratch and frozen features of the tiny recipe, two seeds, with a curve of two points."""
    folder = tmp_path_factory.mktemp("compared")
    make_folder(folder / "pictures", {"red": 15, "green": 15, "blue": 15})
    (folder / "tiny.py").write_text(
        TRANSFERRING.replace('"pictures"', repr(str(folder / "pictures"))), encoding="utf-8"
    )
    recipe = load(folder / "tiny.py").recipe
    named = {name: one for name, one in strategies(recipe).items() if name in ("scratch", "frozen")}
    out = folder / "runs" / "tiny" / "compare" / "now"
    return named, out, compare(named, out, seeds=(3, 4), titles=TITLES, shares=(0.5,))


def test_what_is_written_is_what_is_returned(compared):
    _, out, results = compared
    assert json.loads((out / "compare.json").read_text(encoding="utf-8")) == json.loads(json.dumps(results))
    assert results["finished"] and results["seeds"] == [3, 4]


def test_each_row_has_its_figure_its_interval_and_its_seconds(compared):
    _, _, results = compared
    scratch, frozen = results["strategies"]
    assert [row["name"] for row in results["strategies"]] == ["scratch", "frozen"]
    for row in results["strategies"]:
        assert row["balanced_accuracy"] == pytest.approx(np.mean([run["balanced_accuracy"] for run in row["runs"]]))
        assert row["interval"][0] <= row["balanced_accuracy"] <= row["interval"][1]
        assert row["seconds"] > 0 and row["error"] is None
        assert [run["seed"] for run in row["runs"]] == [3, 4]
    assert scratch["against_scratch"] is None
    against = frozen["against_scratch"]
    assert against["balanced_accuracy"] == pytest.approx(frozen["balanced_accuracy"] - scratch["balanced_accuracy"])


def test_the_gain_is_that_of_the_best_on_validation_and_has_both_curves(compared):
    _, _, results = compared
    gain = results["transfer_gain"]
    assert gain["strategy"] == results["best"] == "frozen"
    assert results["verdict"] == gain["verdict"] in ("positive", "none", "negative", "no evidence")
    assert {point["strategy"] for point in results["curves"]} == {"scratch", "frozen"}
    sizes = sorted({point["pictures"] for point in results["curves"]})
    assert sizes[1] == gain["pictures"] == results["data"]["pictures"]["train"] and sizes[0] < sizes[1]
    for needs in (gain["scratch_needs"], gain["strategy_needs"]):
        assert needs["relation"] in ("about", "more than", "fewer than") and needs["pictures"] > 0


def test_a_row_is_what_the_public_steps_give(compared):
    named, _, results = compared
    recipe = dataclasses.replace(named["frozen"], seed=4)
    seed_everything(4)
    splits = recipe.data()
    seed_everything(4)
    built = build(recipe, kind=splits.kind, num_classes=3)
    train(built, recipe, splits)
    scores = predict(built.model, splits.test.examples)
    expected = evaluate(scores, splits.test.labels, splits.classes, resamples=0)
    (run,) = [run for run in results["strategies"][1]["runs"] if run["seed"] == 4]
    assert run["balanced_accuracy"] == expected["balanced_accuracy"]
    assert run["log_loss"] == pytest.approx(expected["log_loss"], abs=1e-5)


def test_the_page_holds_the_table_the_verdict_and_both_charts_and_nothing_from_elsewhere(compared):
    _, out, results = compared
    page = (out / "compare.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 2
    for row in results["strategies"]:
        assert f"<td>{row['balanced_accuracy']:.3f}</td>" in page
    assert sentences(results)[0] in page.replace("&lt;", "<")
    assert not re.search(r"(src|href)=\"(?!#)|@import|url\((?!#)", page)
    assert "Not finished" not in page


def test_the_documentation_explains_each_key_and_strategy(compared):
    _, _, results = compared
    for key in [*results, *results["strategies"][0], *results["transfer_gain"], *results["strategies"][0]["runs"][0]]:
        assert re.search(rf"[`.]{key}[`.]", DOCS.replace("[]", "")), key
    for name in TITLES:
        assert f"`{name}`" in DOCS


def test_an_interrupted_comparison_leaves_what_it_has(tiny, tmp_path, monkeypatch):
    turns, real = [], training.train

    def interrupted(*arguments, **options):
        turns.append(arguments)
        if len(turns) == 4:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(training, "train", interrupted)
    named = {name: one for name, one in strategies(tiny, epochs=2).items() if name in ("scratch", "frozen")}
    with pytest.raises(KeyboardInterrupt):
        compare(named, tmp_path / "out", seeds=(0, 1), shares=())
    results = json.loads((tmp_path / "out" / "compare.json").read_text(encoding="utf-8"))
    assert not results["finished"] and results["seeds"] == [0]
    assert [len(row["runs"]) for row in results["strategies"]] == [2, 1]
    assert results["strategies"][1]["balanced_accuracy"] is not None
    assert "Not finished" in (tmp_path / "out" / "compare.html").read_text(encoding="utf-8")


def test_a_strategy_that_diverges_is_told_and_the_others_go_on(tiny, tmp_path):
    named = strategies(tiny, epochs=2)
    nonsense = dataclasses.replace(named["frozen"].phases[0], schedule=lambda lr, steps: float("nan"))
    named = {"scratch": named["scratch"], "frozen": dataclasses.replace(named["frozen"], phases=[nonsense])}
    results = compare(named, tmp_path / "out", seeds=(0, 1))
    scratch, frozen = results["strategies"]
    assert "loss became nan" in frozen["error"] and frozen["balanced_accuracy"] is None
    assert len(scratch["runs"]) == 2 and scratch["balanced_accuracy"] is not None
    assert results["verdict"] is None and results["finished"]
    assert any(note.startswith("frozen, seed 0, failed: The loss became nan") for note in results["notes"])
    assert sentences(results) == [
        "No verdict: that takes scratch and one other strategy, each trained with every seed."
    ]
    assert "loss became nan" in (tmp_path / "out" / "compare.html").read_text(encoding="utf-8")


# -------------------------------------------------------------------------------------------------------- bad input


def recipe_of(splits, **changes):
    given = {"weights": "own", **changes}
    return Recipe(
        data=lambda: splits,
        backbone=lambda include_top, weights, input_shape: network(1),
        head=load(REPOSITORY / "recipes" / "features_only.py").recipe.head,
        phases=[Phase("all", from_scratch, epochs=2, lr=1e-3)],
        **given,
    )


def test_one_seed_is_too_few_and_the_same_twice_is_one(tmp_path):
    named = strategies(recipe_of(some_splits()))
    with pytest.raises(RecipeError, match="at least 2 seeds: one training says nothing of chance"):
        compare(named, tmp_path, seeds=(0,))
    with pytest.raises(RecipeError, match="Seeds must differ, and these don't: 1, 1"):
        compare(named, tmp_path, seeds=(1, 1))


@pytest.mark.parametrize("weights", ["none", None])
def test_without_weights_there_is_nothing_to_transfer(weights, tmp_path):
    named = strategies(recipe_of(some_splits(), weights=weights))
    with pytest.raises(RecipeError, match=r"there is nothing to transfer .* --set weights=imagenet"):
        compare(named, tmp_path)


def test_a_test_split_with_one_class_alone_is_refused(tmp_path):
    splits = some_splits()
    lonely = dataclasses.replace(splits.test, labels=np.zeros_like(splits.test.labels))
    named = strategies(recipe_of(dataclasses.replace(splits, test=lonely)))
    with pytest.raises(DataError, match="The test split has pictures of 'a' alone"):
        compare(named, tmp_path)


def test_a_class_that_test_lacks_is_told(tmp_path, tiny):
    splits = tiny.data()
    less = splits.test.take(np.flatnonzero(splits.test.labels != 0))
    noted = dataclasses.replace(splits, test=less, notes=("test has no picture of blue",))
    named = {"frozen": dataclasses.replace(strategies(tiny, epochs=2)["frozen"], data=lambda: noted)}
    results = compare(named, tmp_path / "out", seeds=(0, 1))
    assert "test has no picture of blue" in results["notes"]
    assert 0 <= results["strategies"][0]["balanced_accuracy"] <= 1


def test_weights_that_are_not_at_hand_are_told_before_anything_trains(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "train", lambda *arguments, **options: pytest.fail("something trains"))
    recipe = dataclasses.replace(
        recipe_of(some_splits()), backbone=keras.applications.MobileNetV2, weights=str(tmp_path / "absent.h5")
    )
    big = dataclasses.replace(some_splits().train, examples=np.zeros((40, 32, 32, 3), np.uint8))
    splits = dataclasses.replace(some_splits(), train=big, validation=big, test=big)
    named = {name: dataclasses.replace(one, data=lambda: splits) for name, one in strategies(recipe).items()}
    with pytest.raises(WeightsError, match=r"absent\.h5' is neither 'imagenet' nor None nor a file that exists"):
        compare(named, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_few_things_in_test_are_cautioned_about():
    splits = some_splits()
    part = dataclasses.replace(splits.test, groups=tuple(str(i % 4) for i in range(40)))
    told = few.caution_on_test(part.things(2), splits.classes, grouped=part.grouped)
    assert "show only 2 things: the true uncertainty is larger" in told


@pytest.mark.parametrize(
    ("epochs", "verdict", "noted"), [(6, "positive", True), (6, "none", False), (200, "positive", False)]
)
def test_a_gain_over_a_scratch_of_few_steps_is_cautioned_about(epochs, verdict, noted, tmp_path):
    splits = some_splits()
    named = strategies(recipe_of(splits), scratch_epochs=epochs)
    done = Comparison(named, TITLES, splits, (0, 1), Origin("x"), tmp_path, datetime.now(UTC))
    found = cautions(done, {"verdict": verdict})
    assert bool(found) == noted
    assert not noted or ("scratch had 30 steps" in found[0] and "--scratch-epochs 200 gives it 1,000" in found[0])


# --------------------------------------------------------------------------------------------------------- a budget

SIZES = Sizes(train=2500, validation=400, test=600, batch_size=32)


def slow(**changes):
    """The costs of scratch, of frozen features and of fine-tuning everything, where a step of all takes 2 seconds."""
    step = changes.get("step", 2.0)
    return {
        "scratch": Cost(8.0, (Fitting(10, step),), answer=0.02),
        "frozen": Cost(5.0, (Fitting(10, 0.01),), encode=0.02, answer=0.02),
        "fine_tune_all": Cost(12.0, (Fitting(5, 0.01), Fitting(5, step)), answer=0.02),
    }


def planned(costs, *, budget, spent=60.0, seeds=3, shares=(0.05, 0.1, 0.25, 0.5)):
    plan = make(costs, SIZES, classes=4, seeds=seeds, shares=shares, budget=budget, spent=spent)
    assert seconds(plan, costs) + spent <= budget
    return plan


def test_with_time_enough_nothing_is_cut():
    plan = planned(slow(), budget=1e6)
    assert (plan.names, plan.seeds, plan.sizes, plan.scratch_epochs) == (tuple(slow()), 3, SIZES, 10)
    assert plan.shares == (0.05, 0.1, 0.25, 0.5) and plan.cut == ()


def test_points_of_the_curves_are_cut_before_seeds_and_seeds_before_pictures():
    whole = seconds(planned(slow(), budget=1e6), slow())
    fewer_points = planned(slow(), budget=60 + 0.8 * whole / 0.85)
    assert len(fewer_points.shares) in (1, 2, 3) and fewer_points.seeds == 3 and fewer_points.sizes == SIZES
    assert any(line.startswith("learning curves of ") for line in fewer_points.cut)
    fewer_seeds = planned(slow(), budget=60 + 0.3 * whole / 0.85)
    assert fewer_seeds.shares == () and fewer_seeds.seeds == 2 and fewer_seeds.sizes == SIZES
    assert fewer_seeds.cut == ("no learning curves", "2 seeds of 3")
    fewer_pictures = planned(slow(), budget=60 + 0.1 * whole / 0.85)
    assert fewer_pictures.seeds == 2 and 200 <= fewer_pictures.sizes.train < 2500
    assert fewer_pictures.scratch_epochs == 10 and fewer_pictures.names == tuple(slow())
    assert fewer_pictures.sizes.validation >= 300 and fewer_pictures.sizes.test >= 300
    assert f"{fewer_pictures.sizes.train:,} of 2,500 training pictures" in fewer_pictures.cut


def test_epochs_of_scratch_are_cut_before_ways_and_scratch_goes_last():
    least = planned(slow(step=10.0), budget=900)
    assert least.sizes.train == 200 and least.scratch_epochs < 10
    assert f"scratch for {least.scratch_epochs} of 10 epochs" in least.cut
    gone = planned(slow(step=60.0), budget=900)
    assert "frozen" in gone.names and "fine_tune_all" not in gone.names
    assert any(line.startswith("without ") and "fine_tune_all" in line for line in gone.cut)
    alone = planned(slow(step=1e4), budget=900)
    assert alone.names == ("frozen",) and alone.scratch_epochs is None


def test_a_budget_that_is_too_small_for_anything_is_one_line():
    with pytest.raises(RecipeError, match=r"budget of 1 min 30 s is too small to compare anything: .* --budget \d+m"):
        make(slow(), SIZES, classes=4, seeds=3, shares=(), budget=90.0, spent=80.0)


def test_a_set_of_any_size_is_planned_to_end_in_time():
    for step in (0.01, 0.3, 2.0):
        for pictures in (100, 2_500, 100_000, 1_000_000):
            sizes = Sizes(pictures, pictures // 6, pictures // 4, 32)
            costs = slow(step=step)
            plan = make(costs, sizes, classes=4, seeds=3, shares=(0.1, 0.5), budget=900.0, spent=100.0)
            assert seconds(plan, costs) <= 800
            assert plan.seeds >= 2


def test_it_is_said_what_will_be_trained_and_for_how_long_and_what_was_cut(tiny, kt_ends):
    code, out, err = kt_ends(
        "compare", "tiny.py", "--only", "scratch,frozen", "--seeds", "2", "--epochs", "2", "--no-curve"
    )
    assert code == 0, err
    before = err[: err.index("seed 0 (1 of 2)")]
    assert "timing a few steps of 2 ways" in before
    assert "from scratch: 2 epochs, 8 steps, about " in before
    assert re.search(r"to train: 2 ways x 2 seeds on \d+ pictures: about .* of the budget of 15 min 00 s", before)
    assert "of work left" in err
    (told,) = [json.loads(file.read_text()) for file in Path("runs").rglob("compare.json")]
    plan = told["plan"]
    assert plan["budget_seconds"] == 900 and plan["cut"] == [] and plan["estimated_seconds"] > 0
    assert [(row["name"], row["epochs"], row["steps"]) for row in plan["strategies"]] == [
        ("scratch", 2, 8), ("frozen", 2, 8),
    ]  # fmt: skip
    assert "cut to fit" not in out


def test_a_budget_cuts_what_does_not_fit_and_says_so_in_table_page_and_json(tiny, tmp_path, kt_ends, monkeypatch):
    # As on a machine whose steps take half a second; trained is at this machine's pace, which ends long before.
    costs = {"scratch": Cost(1.0, (Fitting(20_000, 0.5),)), "frozen": Cost(1.0, (Fitting(2, 0.1),))}
    monkeypatch.setattr("kt.strategy.compare.schedule.measure", lambda *_, **__: costs)
    code, out, err = kt_ends("compare", "tiny.py", "--only", "scratch,frozen", "--epochs", "2",
                             "--scratch-epochs", "20000", "--budget", "100s")  # fmt: skip
    assert code == 0, err
    (file,) = Path("runs").rglob("compare.json")
    told = json.loads(file.read_text())
    assert told["plan"]["cut"] and told["seeds"] == told["seeds"][:2]
    assert "cut to fit the budget of 1 min 40 s: no learning curves; 2 seeds of 3; scratch for " in out
    assert "Cut to fit: no learning curves" in file.with_suffix(".html").read_text()
    assert told["plan"]["estimated_seconds"] < 100


@pytest.mark.parametrize("budget", ["0m", "soon", "1s"])
def test_a_budget_that_is_nothing_or_no_time_is_one_line_and_leaves_nothing(budget, tiny, kt_ends):
    code, out, err = kt_ends("compare", "tiny.py", "--only", "scratch,frozen", "--budget", budget)
    assert (code, out) == (2, "")
    assert "budget" in err.splitlines()[-1] and "Traceback" not in err
    assert not list(Path("runs").rglob("compare.json"))


def test_training_ends_at_the_budget_even_where_the_estimate_was_wrong(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("kt.strategy.compare.schedule.measure", lambda named, *_, **__: {
        name: Cost(0.0, (Fitting(6, 0.0),)) for name in named
    })  # fmt: skip
    named = {name: one for name, one in strategies(tiny, epochs=100_000).items() if name in ("scratch", "frozen")}
    results = compare(named, tmp_path / "out", seeds=(0, 1), shares=(), budget=15.0)
    assert results["verdict"] is None and results["finished"]
    assert any("the budget was spent" in note for note in results["notes"])
    assert "the budget was spent" in (tmp_path / "out" / "compare.html").read_text()


@pytest.mark.parametrize(
    ("steps", "verdict"), [(10, "no evidence"), (299, "no evidence"), (300, "positive"), (5000, "positive")]
)
def test_a_scratch_of_few_steps_is_no_evidence_for_transfer(steps, verdict, tmp_path):
    splits = some_splits()
    named = strategies(recipe_of(splits), scratch_epochs=steps)
    splits = dataclasses.replace(splits, batch_size=40)
    done = Comparison(named, TITLES, splits, (0, 1), Origin("x"), tmp_path, datetime.now(UTC))
    for name, right in (("scratch", False), ("frozen", True)):
        done.trained += [a_model(name, seed, len(splits.train), right=right) for seed in (0, 1)]
    done.failed = {name: "" for name in named if name not in ("scratch", "frozen")}
    told = comparison_results(done, finished=True)
    assert told["verdict"] == told["transfer_gain"]["verdict"] == verdict
    rows = {row["name"]: row for row in told["strategies"]}
    assert rows["frozen"]["against_scratch"]["verdict"] == verdict
    head = sentences(told)[0]
    if verdict == "positive":
        assert head.startswith("Positive transfer: ")
    else:
        assert head.startswith(f"No evidence: scratch had only {steps} steps, too few to learn in.")
        assert "ositive transfer" not in " ".join(sentences(told)) + comparison_page(told)


def a_model(name, seed, pictures, *, right):
    figures = {"balanced_accuracy": float(right), "accuracy": float(right), "log_loss": 0.5}
    told = np.arange(pictures) % 7 < (7 if right else 3)
    return training.TrainedStrategy(name, seed, pictures, 1.0, {}, None, 10, figures, figures, told)


# -------------------------------------------------------------------------------------------------- the command line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "scrach"], "There is no strategy 'scrach'. Did you mean 'scratch'?"),
        (["--only", "frozen,fine-tune-tops"], "no strategy 'fine_tune_tops'. Did you mean 'fine_tune_top'?"),
        (["--seeds", "1"], "An interval needs at least 2 seeds"),
        (["--seeds", "two"], "'two' is neither a number of seeds nor a list such as 0,1,2."),
        (["--seeds", "3,3"], "Seeds must differ"),
        (["--epochs", "1"], "1 is not in the range x>=2"),
        (["--set", "weights=none"], "there is nothing to transfer"),
    ],
)
def test_what_cannot_be_compared_is_one_line_and_leaves_nothing(arguments, message, tiny, kt_ends):
    code, out, err = kt_ends("compare", "tiny.py", *arguments)
    assert (code, out) == (2, "")
    assert message in err and "Traceback" not in err
    assert not list(Path("runs").rglob("compare.json"))


def test_a_folder_with_one_class_is_refused(tiny, kt_ends, tmp_path):
    make_folder(tmp_path / "one", {"red": 5})
    code, _, err = kt_ends("compare", "tiny.py", "--data", "one")
    assert code == 3 and "At least two classes are needed, and there is only one, 'red'" in err


def test_a_table_of_pictures_is_compared_as_a_folder_is(tiny, kt_ends, tmp_path):
    make_folder(tmp_path / "photos", {"red": 24, "blue": 24})
    rows = [f"{file.relative_to(tmp_path)};{file.parent.name}" for file in sorted((tmp_path / "photos").rglob("*.png"))]
    (tmp_path / "photos.csv").write_text("\n".join(["file;kind", *rows]), encoding="utf-8")
    asked = ("compare", "tiny.py", "--data", "photos.csv", "--only", "frozen,probe", "--seeds", "2", "--epochs", "2")
    code, out, err = kt_ends(*asked, "--no-curve")
    assert code == 0, err
    page = Path(out.splitlines()[-1].removeprefix("page: "))
    results = json.loads(page.with_name("compare.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in results["strategies"] if not row["error"]] == ["frozen", "probe"]
    assert sum(results["data"]["pictures"].values()) == len(rows) == 48


def test_the_command_prints_a_table_a_verdict_and_the_page(tiny, kt_ends):
    asked = ("compare", "tiny.py", "--only", "layer-wise,scratch", "--only", "probe", "--seeds", "2", "--seed", "5")
    code, out, err = kt_ends(*asked, "--epochs", "2", "--no-curve")
    assert code == 0, err
    lines = out.splitlines()
    assert max(len(line) for line in lines if re.match(r" (strategy|from scratch|l)", line)) <= 80
    assert re.search(r"^ from scratch +0\.\d{3} \(0\.\d{3} to [01]\.\d{3}\)", out, re.MULTILINE)
    assert re.search(r"^ linear probe( \*)? +\d\.\d{3} ", out, re.MULTILINE)
    assert re.search(r"^ layer-wise rates( \*)? +\d\.\d{3} ", out, re.MULTILINE)
    assert re.search(r"(linear probe|layer-wise rates) against scratch [\u2212+]?\d+\.\d points", out)
    page = Path(lines[-1].removeprefix("page: "))
    assert page.is_file() and page.name == "compare.html"
    results = json.loads(page.with_name("compare.json").read_text(encoding="utf-8"))
    assert results["seeds"] == [5, 6] and results["curves"] == []
    assert results["recipe"]["name"] == "tiny"


# ----------------------------------------------------------------------------------------------------- in words


@pytest.mark.parametrize(("value", "text"), [(0.031, "+3.1"), (-0.2, "\u221220.0"), (0.0001, "0.0"), (None, "\u2013")])
def test_a_difference_is_told_in_points(value, text):
    assert points(value) == text


def told(**changes):
    gain = {
        "strategy": "probe", "balanced_accuracy": 0.1, "interval": [0.05, 0.15], "p_value": 0.0005,
        "verdict": "positive", "pictures": 100, "strategy_needs": None,
        "scratch_needs": {"relation": "about", "pictures": 60, "interval": [40, None], "carried_on": None},
    }  # fmt: skip
    return sentences(
        {
            "transfer_gain": {**gain, **changes},
            "strategies": [{"name": "probe", "title": "linear probe"}],
            "data": {"pictures": {"test": 50}, "things": {"test": 10}},
            "seeds": [0, 1, 2],
        }
    )


def test_the_verdict_is_told_in_sentences():
    assert told() == [
        "Positive transfer: linear probe against scratch +10.0 points of balanced accuracy (95% interval +5.0 to "
        "+15.0; p < 0.001).",
        "Chosen among the strategies on validation; measured on 50 test pictures of 10 things, 3 seeds.",
        "Scratch needs about 60 pictures (40 to more than measured) to do what linear probe does with 100.",
    ]
    more = {"relation": "more than", "pictures": 100, "interval": [None, None], "carried_on": 450}
    assert told(scratch_needs=more)[-1] == (
        "Scratch needs more than 100 pictures to do what linear probe does with 100; if its curve goes on as a power "
        "law, about 450."
    )
    assert told(verdict="none", p_value=0.2)[0].startswith("No gain that these test pictures show: linear probe")
    assert told(verdict="negative")[0].startswith("Negative transfer: linear probe")


def test_names_from_a_recipe_are_text_on_the_page(compared):
    _, _, results = compared
    hostile = {**results, "recipe": {**results["recipe"], "name": "<script>x</script>"}}
    assert "<script>x" not in comparison_page(hostile)
