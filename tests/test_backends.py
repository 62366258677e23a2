"""Freezing is true and training is the same on every backend: facts gathered in one child process a backend."""

from functools import cache

import pytest
from conftest import facts_from, installed, on_each_backend

BATCH_NORM = ("beta", "gamma", "moving_mean", "moving_variance")


@pytest.fixture(scope="session")
def facts_of(tmp_path_factory):
    """A function from a backend to its facts; TensorFlow goes first, since it makes the weights that all start from."""
    weights = tmp_path_factory.mktemp("facts") / "weights.npz"

    @cache
    def facts(backend):
        if backend != "tensorflow":
            facts("tensorflow")
        return facts_from("backend_facts.py", str(weights), backend=backend)[0]

    return facts


@on_each_backend
def test_a_frozen_backbone_keeps_every_weight_and_every_batch_norm_statistic_bit_for_bit(facts_of, backend):
    facts = facts_of(backend)
    assert facts["backend"] == backend
    assert facts["frozen_moves"] == ["scores/bias", "scores/kernel"]


@on_each_backend
def test_each_phase_moves_only_what_its_flags_allow(facts_of, backend):
    facts = facts_of(backend)
    assert {path.split("/")[0] for path in facts["last_block_moves"]} == {"block_2_conv", "scores"}
    assert {path.split("/")[0] for path in facts["everything_moves"]} == {"block_1_conv", "block_2_conv", "scores"}


@on_each_backend
def test_batch_norm_trains_only_where_it_is_asked_for(facts_of, backend):
    facts = facts_of(backend)
    assert not any(path.endswith(BATCH_NORM) for path in facts["everything_moves"])
    moved = {path.split("/")[1] for path in facts["with_batch_norm_moves"] if "_bn/" in path}
    assert moved == set(BATCH_NORM)


@on_each_backend
def test_dropout_inside_a_frozen_backbone_does_not_fire(facts_of, backend):
    facts = facts_of(backend)
    assert facts["spread_without_kt"] > 0, "Keras stops it by itself now: kt.freeze.inference_where_frozen can go"
    assert facts["spread_frozen"] == 0


@on_each_backend
def test_dropout_inside_blocks_that_train_does_fire(facts_of, backend):
    assert facts_of(backend)["spread_trained"] > 0


@on_each_backend
def test_training_on_stored_outputs_of_frozen_layers_gives_the_weights_of_ordinary_training(facts_of, backend):
    assert facts_of(backend)["cached_and_ordinary"] == pytest.approx({"head": 0, "last block": 0}, abs=1e-5)


@pytest.mark.parametrize("backend", [installed("jax"), installed("torch")])
def test_first_epoch_losses_agree_with_tensorflow(facts_of, backend):
    ours, reference = facts_of(backend)["first_losses"], facts_of("tensorflow")["first_losses"]
    for phase in ("head", "block"):
        assert ours[phase] == pytest.approx(reference[phase], abs=1e-3)
