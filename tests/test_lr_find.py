"""The learning-rate range test: what it suggests on known curves, what it leaves alone, and what it refuses."""

import dataclasses
import json
import math

import keras
import numpy as np
import pytest
from conftest import TINY_RECIPE, make_folder
from facts.pictures import dark_and_light

from kt import Classifier, LayerwiseDecay, LinearProbe, Phase, Recipe, freeze
from kt.errors import RecipeError, TrainingError
from kt.kinds.pictures.kind import Pictures
from kt.network.model import build
from kt.recipe import load, override
from kt.strategy import lr_find as module
from kt.strategy.lr_find import Range, lr_find, range_test, smooth, suggestion
from kt.training import seed_everything, train

RATES = Range().rates()


def falling_at(rate, *, from_loss=1.0, to_loss=0.4, rising_at=1.0):
    """A loss that falls around one rate, and rises around another."""
    fall = 1 / (1 + (rate / RATES) ** 2)
    return from_loss - (from_loss - to_loss) * fall + 3 * from_loss / (1 + (rising_at / RATES) ** 3)


@pytest.mark.parametrize("rate", [1e-5, 1e-4, 3e-3])
def test_the_rate_where_the_loss_falls_fastest_is_suggested(rate):
    found, why = suggestion(RATES, smooth(falling_at(rate), Range()), 1.0)
    assert found == pytest.approx(rate, rel=0.35)
    assert why.startswith("where the loss falls fastest; it is lowest, 0.4")


def test_small_ups_and_downs_do_not_move_the_suggestion_by_much():
    noise = 1 + 0.03 * np.random.default_rng(0).standard_normal(len(RATES))
    found, _ = suggestion(RATES, smooth(falling_at(1e-3) * noise, Range()), 1.0)
    assert 3e-4 < found < 3e-3


@pytest.mark.parametrize(
    "losses", [np.ones(100), 1 + RATES, 1 - 0.01 * RATES / 10, falling_at(1e-3, to_loss=0.99)], ids=str
)
def test_where_no_rate_lowers_the_loss_none_is_suggested(losses):
    found, why = suggestion(RATES, smooth(losses, Range()), 1.0)
    assert found is None
    assert "at no rate does the loss fall by 2% of the 1 it begins with" in why


def test_smoothing_does_not_shift_the_curve():
    assert np.argmin(smooth(falling_at(1e-4, rising_at=1e-2), Range())) == pytest.approx(
        np.argmin(falling_at(1e-4, rising_at=1e-2)), abs=3
    )


def test_the_schedule_rises_by_equal_factors_from_the_lowest_rate_to_the_highest():
    over = Range(1e-5, 10, steps=30)
    schedule = over(10.0, 30)
    assert [float(schedule(step)) for step in range(30)] == pytest.approx(over.rates().tolist(), rel=1e-4)
    half = over(5.0, 30)  # a block at half the rate
    assert float(half(7)) == pytest.approx(over.rates()[7] / 2, rel=1e-4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((1e-3, 1e-5), r"must rise from above 0 to below 100, not from 0\.001 to 1e-05"),
        ((0.0, 1.0), r"not from 0 to 1"),
        ((1e-7, 1e3), r"not from 1e-07 to 1000"),
        ((float("nan"), 1.0), r"not from nan to 1"),
        ((1e-7, 10, 5), r"5 steps tell too little: at least 20 are needed, 100 are usual"),
    ],
)
def test_rates_that_do_not_rise_and_too_few_steps_are_told(values, message):
    with pytest.raises(RecipeError, match=message):
        Range(*values)


# ----------------------------------------------------------------------------------------------------- on a model


def tiny(include_top, weights, input_shape):
    del include_top, weights
    inputs = x = keras.Input(input_shape)
    for block in (1, 2):
        x = keras.layers.Conv2D(4, 3, activation="tanh", name=f"block_{block}_conv")(x)
        x = keras.layers.BatchNormalization(name=f"block_{block}_bn")(x)
    return keras.Model(inputs, x, name="tiny")


tiny.preprocessing = "scale -1..1"


# No test split at all: whoever looked at it would fail.
SPLITS = dataclasses.replace(dark_and_light(44, 20, 1, size=(12, 12), contrast=40), test=None)
PHASES = [
    Phase("train_head", freeze.frozen, epochs=3, lr=1e-2),
    Phase("fine_tune", freeze.last_blocks(1), epochs=2, lr=1e-3, layer_rates=LayerwiseDecay(0.5)),
]


def recipe_of(*phases, head=None):
    return Recipe(lambda: SPLITS, tiny, head or Classifier(dropout=0.1), phases, export=(), weights="none")


def test_the_weights_are_the_same_afterwards_bit_for_bit():
    recipe = recipe_of(*PHASES)
    built = build(recipe, kind=Pictures((12, 12)), num_classes=2)
    before = built.model.get_weights()
    found = range_test(built, recipe, SPLITS, index=1, over=Range(steps=30))
    assert all(np.array_equal(one, two) for one, two in zip(before, built.model.get_weights(), strict=True))
    assert found.losses[0] != found.losses[-1], "nothing trained"
    assert found.measured_on == 42  # of 44, for all batches have one size
    assert len(found.rates) == len(found.losses) == len(found.batch_losses)
    assert found.layer_rates


def test_twice_the_same_seed_gives_the_same_curve():
    recipe = recipe_of(PHASES[0])
    one, two = (lr_find(recipe, over=Range(steps=20)) for _ in range(2))
    assert one == two


def test_a_later_phase_starts_from_what_those_before_it_have_learned():
    recipe = recipe_of(dataclasses.replace(PHASES[0], epochs=8, lr=3e-2), PHASES[1])
    untrained = lr_find(recipe, phase="train_head", over=Range(steps=20))
    trained = lr_find(recipe, over=Range(steps=20))
    assert (untrained.phase, trained.phase) == ("train_head", "fine_tune")
    assert trained.first_loss < untrained.first_loss


def test_the_suggested_rate_trains_better_than_far_lower_and_far_higher_ones():
    recipe = recipe_of(PHASES[0])
    found = lr_find(recipe)
    losses = {}
    for factor in (0.01, 1.0, 1000.0):
        tried = override(recipe, [f"train_head.lr={min(found.suggested * factor, 99.0)}"])
        seed_everything(tried.seed)
        built = build(tried, kind=Pictures((12, 12)), num_classes=2)
        losses[factor] = train(built, tried, SPLITS)[1].val_loss
    assert min(losses, key=losses.get) == 1.0, losses


def test_a_phase_that_is_not_there_is_told_with_the_nearest():
    with pytest.raises(RecipeError, match=r"The recipe has no phase 'finetune'\. Did you mean 'fine_tune'\?"):
        lr_find(recipe_of(*PHASES), phase="finetune")


def test_a_linear_probe_has_no_rate_to_be_found():
    with pytest.raises(
        RecipeError, match=r"'probe' is a linear probe, which has no learning rate\. There is: fine_tune"
    ):
        lr_find(recipe_of(LinearProbe(), PHASES[1]), phase="probe")
    with pytest.raises(RecipeError, match=r"The recipe has no phase with a learning rate: a linear probe needs none"):
        lr_find(recipe_of(LinearProbe()))


def test_a_phase_behind_a_linear_probe_starts_from_it():
    one, two = (
        lr_find(recipe_of(*phases), over=Range(steps=20)) for phases in ([PHASES[1]], [LinearProbe(), PHASES[1]])
    )
    assert two.first_loss < one.first_loss


class NoNumber(Classifier):
    """A head whose loss is not a number."""

    def loss(self):
        return lambda truth, scores: keras.ops.sum(scores * truth, axis=-1) * float("nan")


def test_a_loss_that_is_no_number_from_the_start_is_told_as_no_fault_of_the_rate():
    with pytest.raises(TrainingError, match=r"loss in phase 'train_head' is nan before the first step, so no rate can"):
        lr_find(recipe_of(PHASES[0], head=NoNumber()))


def test_a_phase_that_diverges_at_once_is_told_with_where_to_begin():
    with pytest.raises(TrainingError, match=r"'train_head' diverges at once: the loss went from .* --from 2e-02"):
        lr_find(recipe_of(PHASES[0]), over=Range(lowest=20, highest=90))


def test_the_test_ends_where_the_loss_is_four_times_what_it_began_with(monkeypatch):
    values = iter([*[1.0] * 10, 0.9, 5.0, 1.0])
    monkeypatch.setattr(module, "_loss", lambda model, held_out: next(values))
    found = lr_find(recipe_of(PHASES[0]), over=Range(steps=20))
    assert found.diverged_at == found.rates[-1]
    assert found.losses == [*[1.0] * 9, 0.9, 5.0]
    assert len(found.smoothed) == 10, "the step at which it ended tells of no fall"


# ------------------------------------------------------------------------------------------------- the command line


@pytest.fixture
def tiny_folder(tmp_path, monkeypatch):
    make_folder(tmp_path / "pictures", {"red": 20, "green": 20})
    (tmp_path / "tiny.py").write_text(TINY_RECIPE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_kt_lr_find_prints_a_rate_and_how_to_apply_it_and_leaves_a_page(tiny_folder, kt_ends):
    code, out, err = kt_ends("lr-find", "tiny.py", "--phase", "train_head", "--seed", "3")
    assert code == 0, err
    first, second, third = out.splitlines()
    assert first.startswith("train_head.lr = ")
    assert ", where the loss falls fastest; it is lowest, " in first
    assert second.startswith("apply it: kt run tiny.py --seed 3 --set train_head.lr=")
    (folder,) = (tiny_folder / "runs" / "tiny" / "lr-find").iterdir()
    assert third == f"curve: {(folder / 'lr-find.html').relative_to(tiny_folder)}"
    assert sorted(path.name for path in folder.iterdir()) == [
        *("lr-find.html", "lr-find.json", "recipe.py", "run.json")
    ]
    assert sorted(path.name for path in (tiny_folder / "runs" / "tiny").iterdir()) == ["lr-find"]
    results = json.loads((folder / "lr-find.json").read_text())
    changed = override(load(tiny_folder / "tiny.py").recipe, [results["set"].removeprefix("--set ")])
    assert changed.phases[0].lr == results["suggested"]
    assert results["command"] == "kt lr-find tiny.py --phase train_head --seed 3"
    assert results["seed"] == 3
    page = (folder / "lr-find.html").read_text(encoding="utf-8")
    assert results["set"] in page
    assert "<svg" in page
    assert "NaN" not in page


def test_kt_lr_find_as_json_is_all_of_standard_output(tiny_folder, kt_ends):
    code, out, err = kt_ends("lr-find", "tiny.py", "--json", "--steps", "25", "--runs", "elsewhere")
    assert code == 0, err
    results = json.loads(out)
    (file,) = (tiny_folder / "elsewhere").rglob("lr-find.json")
    assert json.loads(file.read_text()) == results
    assert results["phase"] == "fine_tune"
    assert len(results["rates"]) == len(results["losses"]) <= 25
    assert all(value is None or math.isfinite(value) for value in results["losses"])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--phase", "finetune"], 2, "error: The recipe has no phase 'finetune'. Did you mean 'fine_tune'?"),
        (["--steps", "3"], 2, "error: 3 steps tell too little: at least 20 are needed, 100 are usual."),
        (["--from", "1", "--to", "0.1"], 2, "error: The rates must rise from above 0 to below 100, not from 1 to 0.1."),
    ],
)
def test_bad_input_of_kt_lr_find_is_one_line(tiny_folder, kt_ends, arguments, code, message):
    ended, out, err = kt_ends("lr-find", "tiny.py", *arguments)
    assert (ended, out, err.strip()) == (code, "", message)
    assert not (tiny_folder / "runs").exists()
