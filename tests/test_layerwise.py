"""Rates by depth: each layer's step size on every backend, what is refused, and that what is saved can be loaded."""

import math
import re
from functools import cache

import keras
import numpy as np
import pytest
from conftest import REPOSITORY, facts_from, on_each_backend
from facts.pictures import dark_and_light

from kt import Classifier, LayerwiseDecay, Phase, Recipe, freeze, graph, training
from kt.errors import RecipeError
from kt.kinds.pictures.kind import Pictures
from kt.network import model
from kt.recipe import describe, load, override
from kt.training.layer_rates import highest_rate, optimizer_of, rates_of

HALVED = {
    "block_1_conv": 1 / 64,
    "block_2_conv": 1 / 32,
    "block_3_conv": 1 / 16,
    "block_4_conv": 1 / 8,
    "scores": 1 / 4,
}
LAST_TWO = {layer: HALVED[layer] for layer in ("block_3_conv", "block_4_conv", "scores")}
EXPECTED = {
    "no layer_rates": dict.fromkeys(HALVED, 1 / 4),
    "all blocks": HALVED,
    # lr times (block + 1) / blocks, block_2 twice lr: no shape that an order by size could give.
    "a plain function": dict(zip(HALVED, (0.1, 0.5, 0.2, 0.25, 0.3), strict=True)),
    "behind a border": LAST_TWO,
    "the same on pixels": LAST_TWO,
    "the head alone": {"scores": 1 / 4},
    "with a schedule": HALVED,
    "with loss scaling": HALVED,
}


@pytest.fixture(scope="module")
def facts_of():
    @cache
    def facts(backend):
        return facts_from("step_sizes.py", backend=backend)[0]

    return facts


@on_each_backend
@pytest.mark.parametrize("case", EXPECTED)
def test_each_layer_steps_by_its_own_rate_times_its_gradient(facts_of, backend, case):
    facts = facts_of(backend)
    assert facts["backend"] == backend
    assert facts[case]["rates"] == pytest.approx(EXPECTED[case], rel=1e-5)
    assert facts[case]["spread"] < 1e-4, "weights of one layer step by different rates"


@on_each_backend
def test_a_result_tells_the_rate_of_each_block_and_each_epoch_the_highest(facts_of, backend):
    head_alone, blocks = facts_of(backend)["trained"]
    assert head_alone["rates"] == pytest.approx({"head": 0.1})
    assert blocks["rates"] == pytest.approx({"block_3": 0.025, "block_4": 0.05, "head": 0.1})
    cosine = [0.05 * (1 + math.cos(math.pi * step / 4)) for step in (1, 2, 3, 4)]
    assert blocks["lr"] == pytest.approx(cosine, abs=1e-6)


# ------------------------------------------------------------------------------------------------- what is refused


def two_blocks(include_top, weights, input_shape):
    del include_top, weights
    inputs = x = keras.Input(input_shape)
    for block in (1, 2):
        x = keras.layers.Conv2D(4, 3, name=f"block_{block}_conv")(x)
    return keras.Model(inputs, x, name="two_blocks")


two_blocks.preprocessing = "scale -1..1"


def recipe_of(*phases, backbone=two_blocks, head=None):
    return Recipe(lambda: None, backbone, head or Classifier(), phases, export=(), weights="none")


def whole(layer_rates, *, trainable=freeze.everything, optimizer=None):
    return Phase("fine_tune", trainable, epochs=1, lr=1e-2, optimizer=optimizer, layer_rates=layer_rates)


def built_of(phase, **parts):
    return model.build(recipe_of(phase, **parts), kind=Pictures((12, 12)), num_classes=2)


@pytest.mark.parametrize(
    ("layer_rates", "message"),
    [
        (lambda block, blocks: -0.5, r"layer_rates\(1, 3\), for block_1, gives -0\.5; expected a factor of lr above 0"),
        (lambda block, blocks: 0.0, r"gives 0\.0; .*What is not to train, trainable freezes"),
        (lambda block, blocks: float("nan"), r"gives nan; expected a factor of lr above 0"),
        (lambda block, blocks: float("inf"), r"gives inf; expected"),
        (lambda block, blocks: 1.0 if block < blocks else -1, r"layer_rates\(3, 3\), for head, gives -1; expected"),
        (lambda block, blocks: None, r"must give a number, a factor of lr, not None"),
        (lambda block, blocks: "half", r"must give a number, a factor of lr, not 'half'"),
        (lambda depth: depth, r"for block_1, fails with TypeError: .*takes 1 positional argument"),
        (lambda block, blocks: 1 / (blocks - 3), r"fails with ZeroDivisionError: division by zero"),
    ],
)
def test_what_is_no_rate_is_told_with_its_block_before_any_training(layer_rates, message):
    recipe = recipe_of(whole(layer_rates))
    with pytest.raises(RecipeError, match=rf"Phase 'fine_tune': .*{message}"):
        training.check_phases(recipe, built_of(recipe.phases[0]))


@pytest.mark.parametrize("decay", [0.0, -0.5, 1.1])
def test_a_decay_is_above_zero_and_at_most_one(decay):
    with pytest.raises(RecipeError, match=rf"decay is above 0 and at most 1, such as 0\.8, not {decay}"):
        LayerwiseDecay(decay)


@pytest.mark.parametrize("decay", [float("nan"), "0.8", None])
def test_a_decay_is_a_number(decay):
    with pytest.raises(RecipeError, match=r"LayerwiseDecay: decay must be a number, not"):
        LayerwiseDecay(decay)


def test_layer_rates_is_a_function_and_no_number():
    with pytest.raises(RecipeError, match=r"Phase: layer_rates must be a function or None, not 0\.8"):
        whole(0.8)
    with pytest.raises(RecipeError, match=r"not the class LayerwiseDecay; write LayerwiseDecay\(\.\.\.\)"):
        whole(LayerwiseDecay)


class Unreadable(keras.Model):
    """A subclassed model: no graph, so no blocks."""

    def __init__(self):
        super().__init__(name="unreadable")
        self.convolution = keras.layers.Conv2D(4, 3)

    def call(self, inputs):
        return self.convolution(inputs)


def unreadable(include_top, weights, input_shape):
    del include_top, weights
    made = Unreadable()
    made(keras.Input(input_shape))
    return made


unreadable.preprocessing = "scale -1..1"


def test_a_backbone_without_blocks_is_told_and_its_head_alone_may_train():
    phase = whole(LayerwiseDecay())
    recipe = recipe_of(phase, backbone=unreadable)
    built = built_of(phase, backbone=unreadable)
    with pytest.raises(RecipeError, match=r"layer_rates needs blocks, and unreadable is not a functional model"):
        training.check_phases(recipe, built)
    freeze.frozen(built.backbone)
    (rate,) = rates_of(phase, built.model, built.backbone)
    assert (rate.block, rate.lr) == ("head", 1e-2)


def test_an_optimizer_that_is_made_once_only_is_told():
    one = keras.optimizers.SGD(0.1)
    phase = whole(LayerwiseDecay(), optimizer=lambda rate: one)
    built = built_of(phase)
    with pytest.raises(RecipeError, match=r"optimizer gives the same object at each call.*make a new one"):
        optimizer_of(phase, built.model, built.backbone, steps=1)


def test_two_weights_of_one_name_in_blocks_of_different_rates_are_told():
    class Namesake(Classifier):
        def __call__(self, features, num_classes):
            return super().__call__(keras.layers.Conv2D(4, 1, name="block_1_conv")(features), num_classes)

    phase = whole(LayerwiseDecay())
    built = built_of(phase, head=Namesake())
    with pytest.raises(RecipeError, match=r"block_1 and head both have a weight 'block_1_conv/kernel'.*another name"):
        optimizer_of(phase, built.model, built.backbone, steps=1)


# ------------------------------------------------------------------------------------------------------ depth


def test_depth_counts_all_blocks_of_mobilenet_whichever_train():
    backbone = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(32, 32, 3))
    outputs = Classifier()(backbone.output, 2)
    network = keras.Model(backbone.input, outputs)
    phase = whole(LayerwiseDecay(0.5), trainable=freeze.last_blocks(3))
    phase.trainable(backbone)
    found = {rate.block: rate.lr for rate in rates_of(phase, network, backbone)}
    assert found == pytest.approx({"block_14": 1e-2 / 8, "block_15": 1e-2 / 4, "block_16": 1e-2 / 2, "head": 1e-2})
    freeze.everything(backbone)
    everything = rates_of(phase, network, backbone)
    assert len(everything) == 19
    assert everything[0].block == "stem"
    assert everything[0].lr == pytest.approx(1e-2 * 0.5**18)


def test_blocks_that_share_a_rate_share_an_optimizer():
    phase = whole(lambda block, blocks: 0.1 if block < blocks else 1.0)
    built = built_of(phase)
    made = optimizer_of(phase, built.model, built.backbone, steps=1)
    assert len(made.optimizers) == 2
    assert highest_rate(made) == pytest.approx(1e-2)


# ------------------------------------------------------------------------------------------------------ replicas


def test_gradients_are_summed_over_several_replicas_and_not_over_one():
    facts, _ = facts_from("replicas.py", backend="tensorflow")
    # Of the weight w = 1, the mean of (w x)^2 over x = 1 and 3 has the gradient 10; a step at 0.1 ends at 0 everywhere.
    assert facts["one"] == {"weights": pytest.approx([0.0], abs=1e-6), "summed": False}
    assert facts["two"] == {"weights": pytest.approx([0.0, 0.0], abs=1e-6), "summed": True}


# ------------------------------------------------------------------------------------------- beside all the rest


def test_a_phase_with_rates_by_depth_is_set_and_described_as_others_are():
    recipe = recipe_of(whole(LayerwiseDecay(0.7)))
    changed = override(recipe, ["fine_tune.lr=3e-6"])
    assert changed.phases[0].lr == 3e-6
    assert changed.phases[0].layer_rates == LayerwiseDecay(0.7)
    assert describe(changed)["phases"][0]["layer_rates"] == {"kind": "LayerwiseDecay", "decay": 0.7}
    assert override(recipe, ["fine_tune.layer_rates=none"]).phases[0].layer_rates is None
    with pytest.raises(RecipeError, match=r"Cannot set 'fine_tune\.layer_rates': it is a function"):
        override(recipe, ["fine_tune.layer_rates=0.5"])


SPLITS = dark_and_light(16, 8, 8, size=(12, 12))


def test_a_model_that_trained_with_rates_by_depth_is_saved_and_loaded_with_its_optimizer(tmp_path):
    phase = whole(LayerwiseDecay(0.5))
    recipe = recipe_of(phase)
    built = built_of(phase)
    training.train(built, recipe, SPLITS)
    assert isinstance(built.model.optimizer, keras.optimizers.MultiOptimizer)
    built.model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert highest_rate(loaded.optimizer) == pytest.approx(1e-2)
    assert {round(float(one.learning_rate), 6) for one in loaded.optimizer.optimizers} == {0.01, 0.005, 0.0025}
    assert np.array_equal(loaded.predict(SPLITS.test.examples), built.model.predict(SPLITS.test.examples))


# ----------------------------------------------------------------------------------------------- documentation


def blocks_of(page):
    text = (REPOSITORY / "docs" / "strategies" / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("layer-wise-rates.md", ["train_head", "fine_tune"]),
        ("gradual-unfreezing.md", ["train_head", "unfreeze_1", "unfreeze_2", "unfreeze_4"]),
    ],
)
def test_the_documented_recipes_load_and_fit_their_backbone(tmp_path, page, names):
    file = tmp_path / "mushrooms.py"
    file.write_text(blocks_of(page)[0], encoding="utf-8")
    recipe = load(file).recipe
    assert [phase.name for phase in recipe.phases] == names
    plain = override(recipe, ["weights=none"])
    training.check_phases(plain, model.build(plain, kind=Pictures((64, 64)), num_classes=2))


def test_the_documented_factors_are_true():
    names = {}
    exec(blocks_of("layer-wise-rates.md")[1], names)
    assert [names["gentle_below"](block, 18) for block in (0, 9, 18)] == pytest.approx([0.1, 0.55, 1.0])
    assert [LayerwiseDecay(0.8)(block, 18) for block in (18, 17, 16, 0)] == pytest.approx(
        [1, 0.8, 0.64, 0.018], abs=1e-4
    )


# ------------------------------------------------------------------------------------------ gradual unfreezing


def test_gradual_unfreezing_trains_more_blocks_in_each_phase():
    phases = freeze.gradual_unfreezing((1, 2, "all"), epochs=3, lr=1e-4, patience=2, layer_rates=LayerwiseDecay(0.5))
    assert [phase.name for phase in phases] == ["unfreeze_1", "unfreeze_2", "unfreeze_all"]
    assert {(phase.epochs, phase.lr, phase.patience) for phase in phases} == {(3, 1e-4, 2)}
    assert {phase.layer_rates for phase in phases} == {LayerwiseDecay(0.5)}
    backbone = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(32, 32, 3))
    first = []
    for phase in phases:
        phase.trainable(backbone)
        moving = [block.name for block in freeze.blocks(backbone) if _trains(block)]
        first.append((moving[0], len(moving)))
    assert first == [("block_16", 1), ("block_15", 2), ("stem", 18)]


def _trains(block):
    return any(leaf.trainable_weights for layer in block.layers for leaf in graph.leaves(layer))


def test_gradual_unfreezing_stands_behind_a_phase_for_the_head_and_passes_over_the_pictures_once(capsys):
    phases = [Phase("train_head", freeze.frozen, 1, 1e-2), *freeze.gradual_unfreezing((1, 2), epochs=1, lr=1e-2)]
    recipe = override(recipe_of(*phases), ["unfreeze_2.lr=2e-2"])
    built = built_of(phases[0])
    results, _ = training.train(built, recipe, SPLITS)
    assert [(result.name, result.first_trainable, result.lr) for result in results] == [
        ("train_head", "head", 1e-2), ("unfreeze_1", "block_2", 1e-2), ("unfreeze_2", "block_1", 2e-2)
    ]  # fmt: skip
    assert capsys.readouterr().err.count("frozen layers: computed once") == 1


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ((), r"blocks is empty; write how many"),
        ((2, 1), r"each phase must train more blocks than the one before, not \(2, 1\)"),
        ((1, 1), r"each phase must train more blocks"),
        ((0, 1), r"blocks are numbers from 1 on"),
        (("all", 3), r"blocks are numbers from 1 on, and \"all\" at the end"),
        ((1, "most"), r"blocks are numbers from 1 on"),
        ((1.5,), r"blocks are numbers from 1 on"),
    ],
)
def test_steps_that_do_not_rise_are_told(blocks, message):
    with pytest.raises(RecipeError, match=message):
        freeze.gradual_unfreezing(blocks, epochs=1, lr=1e-4)


def test_more_blocks_than_there_are_is_told_before_any_training():
    recipe = recipe_of(*freeze.gradual_unfreezing((1, 9), epochs=1, lr=1e-4))
    with pytest.raises(RecipeError, match=r"last_blocks\(9\): two_blocks has 3 blocks; use everything for all"):
        training.check_phases(recipe, built_of(recipe.phases[0]))
