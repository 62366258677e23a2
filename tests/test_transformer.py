"""A transformer of two inputs, tokens and a padding mask: freezing, rates by depth, cut and cache see its blocks."""

import re

import keras
import numpy as np
import pytest

from kt import LayerwiseDecay, Phase, freeze, graph
from kt.frozen import encoder as encoders
from kt.frozen.cut import Cut, Uncut, encoder, find_cut, tail
from kt.network.model import Built
from kt.training.layer_rates import rates_of

TOKENS, WIDTH, BLOCKS = 12, 8, 3


def transformer():
    """Random weights; each block attends under the mask, and has a dense part."""
    tokens = keras.Input((TOKENS,), dtype="int32", name="tokens")
    mask = keras.Input((TOKENS,), dtype="bool", name="mask")
    places = keras.layers.Embedding(TOKENS, WIDTH, name="places")(keras.ops.arange(TOKENS)[None] + 0 * tokens)
    x = keras.layers.Add(name="embedded")([keras.layers.Embedding(50, WIDTH, name="words")(tokens), places])
    seen = keras.ops.expand_dims(mask, 1)
    for block in range(BLOCKS):
        name = f"layer_{block}"
        attention = keras.layers.MultiHeadAttention(2, 4, name=f"{name}_attention")
        x = keras.layers.Add(name=f"{name}_attended")([x, attention(x, x, attention_mask=seen)])
        x = keras.layers.LayerNormalization(name=f"{name}_norm")(x)
        inner = keras.layers.Dense(16, activation="gelu", name=f"{name}_wide")(x)
        inner = keras.layers.Dense(WIDTH, name=f"{name}_narrow")(inner)
        x = keras.layers.Add(name=f"{name}_out")([x, inner])
    model = keras.Model([tokens, mask], x, name="tiny_transformer")
    graph.tell_blocks(model, lambda layer: (told := re.match(r"layer_\d+", layer)) and told[0])
    return model


@pytest.fixture
def built():
    keras.utils.set_random_seed(0)
    backbone = transformer()
    inputs = [keras.Input(one.shape[1:], dtype=one.dtype, name=one.name) for one in backbone.inputs]
    features = backbone(inputs)
    pooled = keras.layers.GlobalAveragePooling1D(name="pool")(features)
    scores = keras.layers.Dense(2, activation="softmax", name="scores")(pooled)
    return Built(keras.Model(inputs, scores), backbone, None, inputs, features)


def examples(count=9):
    random = np.random.default_rng(0)
    lengths = random.integers(3, TOKENS + 1, count)
    mask = np.arange(TOKENS) < lengths[:, None]
    return random.integers(1, 50, (count, TOKENS)).astype(np.int32) * mask, mask


def test_its_blocks_are_seen_though_the_mask_goes_past_them(built):
    assert [block.name for block in freeze.blocks(built.backbone)][-BLOCKS:] == ["layer_0", "layer_1", "layer_2"]
    for block in freeze.blocks(built.backbone)[-BLOCKS:]:
        assert {layer.name.partition("_")[0] for layer in block.layers} == {"layer"}


def test_the_last_block_trains_alone_and_rates_fall_with_depth(built):
    with freeze.under(freeze.last_blocks(1), built.backbone):
        training = {leaf.name for leaf in graph.leaves(built.backbone) if leaf.trainable_weights}
        assert training == {"layer_2_attention", "layer_2_norm", "layer_2_wide", "layer_2_narrow"}
    phase = Phase("tune", freeze.everything, epochs=1, lr=0.1, layer_rates=LayerwiseDecay(0.5))
    with freeze.under(phase.trainable, built.backbone):
        rates = {rate.block: rate.lr for rate in rates_of(phase, built.model, built.backbone)}
    assert rates["head"] == pytest.approx(0.1)
    assert rates["layer_2"] == pytest.approx(0.05)
    assert rates["layer_0"] == pytest.approx(0.0125)


def test_it_is_cut_before_what_trains_with_the_mask_beside_and_both_parts_are_the_whole(built):
    cut = find_cut(built, freeze.moving(freeze.last_blocks(1), built.backbone))
    assert isinstance(cut, Cut)
    assert "layer_1_out" in cut.name
    assert len(cut.tensors) == 2  # what the block gives, and the mask
    activations = np.concatenate(
        [np.asarray(one, np.float32).reshape(9, -1) for one in encoder(built, [cut])([*examples()])], axis=1
    )
    answers = np.asarray(tail(built, cut)(activations))
    np.testing.assert_allclose(answers, np.asarray(built.model([*examples()])), atol=1e-6)


def test_its_frozen_part_is_computed_once(built, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("KT_HOME", str(tmp_path))
    cut = find_cut(built, freeze.moving(freeze.last_blocks(2), built.backbone))
    [first] = encoders.Encoder(built).activations([examples()], cut)
    assert "computed once for 9 examples" in capfd.readouterr().err
    [again] = encoders.Encoder(built).activations([examples()], cut)
    assert "at hand" in capfd.readouterr().err
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(tail(built, cut)(first), built.model([*examples()]), atol=1e-6)


def test_a_mask_that_keras_hands_on_by_itself_keeps_a_model_whole():
    tokens = keras.Input((TOKENS,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(50, WIDTH, mask_zero=True, name="block_0_words")(tokens)
    x = keras.layers.Dense(WIDTH, name="block_1_dense")(x)
    backbone = keras.Model(tokens, x, name="masked")
    inputs = keras.Input((TOKENS,), dtype="int32")
    features = backbone(inputs)
    scores = keras.layers.Dense(2, activation="softmax")(keras.layers.GlobalAveragePooling1D()(features))
    built = Built(keras.Model(inputs, scores), backbone, None, inputs, features)
    cut = find_cut(built, freeze.moving(freeze.from_block("block_1"), backbone))
    assert isinstance(cut, Uncut)
    assert "hands a mask on" in cut.reason
