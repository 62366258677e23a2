"""Backbones: each family's preprocessing, ImageNet weights that classify right, and local files that must fit."""

import importlib
import inspect
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import keras
import matplotlib
import numpy as np
import pytest
import skimage
import sklearn
import tensorflow as tf
from PIL import Image

from kt import backbones
from kt.backbones.build import Pretrained, build_backbone, known_name
from kt.backbones.catalogue import entry_named
from kt.backbones.preprocessing import (
    AS_THEY_ARE,
    CAFFE,
    EFFICIENTNET_FILE,
    IN_THE_GRAPH,
    LITE,
    PREPROCESSING_OF,
    PREPROCESSINGS,
    SCALE,
    TORCH,
    preprocess,
)
from kt.errors import RecipeError, WeightsError

CONSTRUCTORS = sorted(
    name
    for name, thing in vars(keras.applications).items()
    if callable(thing) and not inspect.ismodule(thing) and "include_top" in inspect.signature(thing).parameters
)

SKIMAGE = Path(skimage.__file__).parent / "data"
SKLEARN = Path(sklearn.__file__).parent / "datasets" / "images"
MATPLOTLIB = Path(matplotlib.__file__).parent / "mpl-data" / "sample_data"

# What is on the photo, as indices of ImageNet's 1,000 classes; the names are in a file that Keras would download.
# More than one index where ImageNet splits finer than the photo shows, or (motorcycle) has only the two nearest kinds.
PHOTOS = [
    (SKIMAGE / "coffee.png", {967}),  # espresso
    (SKIMAGE / "camera.png", {872}),  # tripod, a man looks through a camera on it
    (SKIMAGE / "chelsea.png", {281, 282, 285}),  # a cat: tabby, tiger cat, Egyptian cat
    (SKIMAGE / "rocket.jpg", {657, 744}),  # missile, projectile
    (SKIMAGE / "motorcycle_left.png", {665, 670}),  # moped, motor scooter
    (SKLEARN / "china.jpg", {698}),  # palace
    (MATPLOTLIB / "grace_hopper.jpg", {652}),  # military uniform
]


@pytest.fixture(scope="session")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Pretrained:
    """MobileNetV2 at 224 px with its weights from the real chain, in a Keras home of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
        patch.delenv("KT_OFFLINE", raising=False)
        return build_backbone(keras.applications.MobileNetV2, "imagenet", shape=(224, 224, 3))


@pytest.fixture(scope="session")
def small() -> Callable[..., keras.Model]:
    """The smallest MobileNet, with random weights and so with numbers of its own at each call."""
    return partial(keras.applications.MobileNet, alpha=0.25)


def same_weights(left: keras.Model, right: keras.Model, *, count: int | None = None) -> bool:
    pairs = list(zip(left.get_weights(), right.get_weights()[:count], strict=True))
    return all(np.array_equal(a, b) for a, b in pairs)


def photo(path: Path) -> Any:
    return np.asarray(Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR), "float32")


def preprocessor(name: str) -> keras.Model:
    x = keras.Input((4, 5, 3))
    return keras.Model(x, preprocess(x, name))


def test_every_constructor_of_keras_applications_is_in_the_table() -> None:
    of_pictures = set(backbones.__all__) - {"RowNetwork"}
    assert sorted(PREPROCESSING_OF) == sorted([*CONSTRUCTORS, *of_pictures])
    assert len(CONSTRUCTORS) == 40
    assert set(PREPROCESSING_OF.values()) == {IN_THE_GRAPH, SCALE, CAFFE, TORCH, LITE}


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_preprocessing_is_what_the_family_itself_does(name: str) -> None:
    family = importlib.import_module(getattr(keras.applications, name).__module__)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 4, 5, 3)).astype("float32")
    ours = preprocessor(PREPROCESSING_OF[name]).predict(pixels, verbose=0)
    np.testing.assert_allclose(ours, family.preprocess_input(pixels.copy()), atol=1e-4)


@pytest.mark.parametrize("name", [name for name, kind in PREPROCESSING_OF.items() if kind == IN_THE_GRAPH][::7])
def test_a_family_said_to_have_it_in_the_graph_has_it(name: str) -> None:
    """The first layers with a scale or a mean come before the first convolution."""
    kinds = [
        type(layer).__name__ for layer in getattr(keras.applications, name)(include_top=False, weights=None).layers
    ]
    assert {"Rescaling", "Normalization"} & set(kinds[:4])


def test_an_efficientnet_file_gets_the_rescaling_that_keras_adds_only_for_imagenet() -> None:
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 4, 5, 3)).astype("float32")
    graph = keras.Sequential(
        [
            keras.Input((4, 5, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Normalization(mean=mean, variance=std),
        ]
    )
    expected = graph.predict(pixels, verbose=0) / np.sqrt(np.float32(std))
    ours = graph.predict(preprocessor(EFFICIENTNET_FILE).predict(pixels, verbose=0), verbose=0)
    np.testing.assert_allclose(ours, expected, atol=1e-4)


@pytest.mark.slow
def test_a_saved_preprocessing_loads_without_kt(tmp_path: Path) -> None:
    for number, name in enumerate(PREPROCESSINGS):
        preprocessor(name).save(tmp_path / f"{number}.keras")
    code = "import keras, sys, pathlib; [keras.models.load_model(p) for p in pathlib.Path('.').glob('*.keras')];"
    done = subprocess.run([sys.executable, "-c", code + "assert 'kt' not in sys.modules"], cwd=tmp_path, check=False)
    assert done.returncode == 0
    assert len(list(tmp_path.glob("*.keras"))) == len(PREPROCESSINGS)


def test_mobilenet_v2_says_where_its_weights_are_from(imagenet: Pretrained) -> None:
    entry = entry_named("mobilenet_v2_imagenet")
    assert imagenet.preprocessing == SCALE
    assert imagenet.source.origin in {"cache", "package index", "Keras download"}
    assert (imagenet.source.name, imagenet.source.sha256) == (entry.name, entry.sha256)
    assert Path(str(imagenet.source.file)).name == entry.file
    assert "224 px" in imagenet.source.note
    assert imagenet.model.output_shape == (None, 7, 7, 1280)


def test_mobilenet_v2_has_the_very_weights_that_keras_would_load(imagenet: Pretrained) -> None:
    theirs = keras.applications.MobileNetV2(weights=None)
    theirs.load_weights(imagenet.source.file)
    assert len(theirs.get_weights()) == len(imagenet.model.get_weights()) + 2
    assert same_weights(imagenet.model, theirs, count=-2)


@pytest.fixture(scope="session")
def classifier(imagenet: Pretrained) -> keras.Model:
    """Pixels in, ImageNet's classes out: kt's preprocessing and backbone, and the file's own last layer."""
    with h5py.File(imagenet.source.file) as file:
        arrays: list[Any] = []
        file.visititems(lambda _, thing: arrays.append(thing) if isinstance(thing, h5py.Dataset) else None)
        kernel = next(array[()] for array in arrays if array.shape == (1280, 1000))
        bias = next(array[()] for array in arrays if array.shape == (1000,))
    pixels = keras.Input((224, 224, 3))
    features = imagenet.model(preprocess(pixels, imagenet.preprocessing))
    logits = keras.layers.Dense(1000, name="logits")
    model = keras.Model(pixels, logits(keras.layers.GlobalAveragePooling2D()(features)))
    logits.set_weights([kernel, bias])
    return model


@pytest.mark.parametrize(("path", "right"), PHOTOS, ids=[path.stem for path, _ in PHOTOS])
def test_mobilenet_v2_sees_what_is_on_a_real_photo(classifier: keras.Model, path: Path, right: set[int]) -> None:
    assert int(classifier.predict(photo(path)[None], verbose=0).argmax()) in right


def test_another_picture_size_gets_the_same_weights(imagenet: Pretrained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(Path(str(imagenet.source.file)).parent.parent))
    monkeypatch.setenv("KT_OFFLINE", "1")
    wide = build_backbone(keras.applications.MobileNetV2, "imagenet", shape=(96, 128, 3))
    assert wide.source.origin == "cache"
    assert wide.model.output_shape == (None, 3, 4, 1280)
    assert same_weights(wide.model, imagenet.model)


@pytest.mark.parametrize(
    ("name", "preprocessing", "channels"),
    [
        ("EfficientNetB0", IN_THE_GRAPH, 1280),
        ("ResNet50", CAFFE, 2048),
        ("MobileNetV3Small", IN_THE_GRAPH, 576),
        ("DenseNet121", TORCH, 1024),
    ],
)
@pytest.mark.parametrize("weights", [None, "none"])
def test_a_backbone_without_weights_gives_a_feature_map(
    name: str, preprocessing: str, channels: int, weights: str | None
) -> None:
    built = build_backbone(getattr(keras.applications, name), weights, shape=(64, 96, 3))
    assert built.model.input_shape == (None, 64, 96, 3)
    assert built.model.output_shape == (None, 2, 3, channels)
    assert built.preprocessing == preprocessing
    assert (built.source.origin, built.source.file, built.source.sha256) == ("none (random)", None, None)


def test_a_picture_that_is_too_small_is_a_mistake_in_the_recipe() -> None:
    with pytest.raises(RecipeError, match=r"InceptionV3 cannot take pictures of 64x64 pixels: .* at least 75x75"):
        build_backbone(keras.applications.InceptionV3, None, shape=(64, 64, 3))


def test_too_small_is_said_before_anything_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(RecipeError, match="at least 32x32"):
        build_backbone(keras.applications.MobileNetV2, "imagenet", shape=(16, 16, 3))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", ["plain.h5", "plain.weights.h5", "plain.keras"])
@pytest.mark.parametrize("include_top", [True, False])
def test_a_local_file_gives_its_weights_with_or_without_a_top(
    small: Callable[..., keras.Model], tmp_path: Path, ending: str, include_top: bool
) -> None:
    saved = small(include_top=include_top, weights=None, input_shape=(64, 64, 3), classes=7 if include_top else 1000)
    path = tmp_path / ending
    saved.save_weights(path) if ending.endswith(".weights.h5") else saved.save(path)
    built = build_backbone(small, str(path), shape=(96, 96, 3))
    assert same_weights(built.model, saved, count=-2 if include_top else None)
    assert built.preprocessing == SCALE
    assert (built.source.origin, built.source.file) == ("file", str(path))
    assert len(str(built.source.sha256)) == 64


@pytest.mark.parametrize("name", ["EfficientNetB0", "MobileNetV3Small", "ConvNeXtTiny", "DenseNet121"])
@pytest.mark.slow
def test_a_file_with_top_gives_every_family_the_features_it_had(name: str, tmp_path: Path) -> None:
    constructor = getattr(keras.applications, name)
    saved = constructor(weights=None, input_shape=(64, 64, 3), classes=5)
    saved.save(tmp_path / "saved.h5")
    built = build_backbone(constructor, str(tmp_path / "saved.h5"), shape=(64, 64, 3))
    count = len(built.model.get_weights())
    for ours, theirs in zip(built.model.get_weights(), saved.get_weights()[:count], strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("mean", "expected"), [([0.485, 0.456, 0.406], EFFICIENTNET_FILE), ([0, 0, 0], IN_THE_GRAPH)])
def test_an_efficientnet_file_is_preprocessed_as_it_was_normalised(
    mean: list[float], expected: str, tmp_path: Path
) -> None:
    saved = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(32, 32, 3))
    layer = next(layer for layer in saved.layers if isinstance(layer, keras.layers.Normalization))
    layer.set_weights([np.reshape(mean, layer.weights[0].shape), *layer.get_weights()[1:]])
    saved.save(tmp_path / "saved.h5")
    built = build_backbone(keras.applications.EfficientNetB0, str(tmp_path / "saved.h5"), shape=(32, 32, 3))
    assert built.preprocessing == expected
    loaded = next(layer for layer in built.model.layers if isinstance(layer, keras.layers.Normalization))
    seen = keras.ops.convert_to_numpy(loaded(np.zeros((1, 32, 32, 3), "float32")))
    np.testing.assert_allclose(seen[0, 0, 0], -np.float32(mean), atol=1e-5)


@pytest.mark.parametrize("ending", ["other.h5", "other.weights.h5", "other.keras"])
def test_a_file_of_another_backbone_never_loads(small: Callable[..., keras.Model], tmp_path: Path, ending: str) -> None:
    other = keras.applications.MobileNet(include_top=False, weights=None, input_shape=(64, 64, 3), alpha=0.5)
    other.save_weights(tmp_path / ending) if ending.endswith(".weights.h5") else other.save(tmp_path / ending)
    with pytest.raises(WeightsError, match=r"does not fit .*conv1") as caught:
        build_backbone(small, str(tmp_path / ending), shape=(64, 64, 3))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", ["deeper.h5", "deeper.weights.h5", "deeper.keras"])
def test_a_file_that_holds_more_layers_than_a_top_never_loads_in_part(
    small: Callable[..., keras.Model], tmp_path: Path, ending: str
) -> None:
    base = small(include_top=False, weights=None, input_shape=(64, 64, 3))
    x = base.output
    for _ in range(4):
        x = keras.layers.Dense(8)(x)
    deeper = keras.Model(base.input, x)
    deeper.save_weights(tmp_path / ending) if ending.endswith(".weights.h5") else deeper.save(tmp_path / ending)
    with pytest.raises(WeightsError, match=r"the file has 58 layers with weights, the backbone without its top 54"):
        build_backbone(small, str(tmp_path / ending), shape=(64, 64, 3))


def test_a_file_with_layers_missing_never_loads_in_part(small: Callable[..., keras.Model], tmp_path: Path) -> None:
    base = small(include_top=False, weights=None, input_shape=(64, 64, 3))
    keras.Model(base.input, base.layers[20].output).save(tmp_path / "short.h5")
    with pytest.raises(WeightsError, match="layers with weights, the backbone without its top 54"):
        build_backbone(small, str(tmp_path / "short.h5"), shape=(64, 64, 3))


def test_files_that_are_no_weights_are_refused_in_one_line(small: Callable[..., keras.Model], tmp_path: Path) -> None:
    saved = small(include_top=False, weights=None, input_shape=(64, 64, 3))
    saved.save(tmp_path / "whole.h5")
    whole = (tmp_path / "whole.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.weights.h5").write_text("not weights")
    (tmp_path / "empty.keras").write_bytes(b"")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["numbers"] = np.zeros(3)
    with zipfile.ZipFile(tmp_path / "foreign.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    for name in ["cut.h5", "text.weights.h5", "empty.keras", "foreign.h5", "foreign.keras"]:
        with pytest.raises(WeightsError, match=name) as caught:
            build_backbone(small, str(tmp_path / name), shape=(64, 64, 3))
        assert "\n" not in str(caught.value)


def test_a_file_that_points_into_other_files_is_refused(small: Callable[..., keras.Model], tmp_path: Path) -> None:
    saved = small(include_top=False, weights=None, input_shape=(64, 64, 3))
    saved.save(tmp_path / "whole.h5")
    with h5py.File(tmp_path / "whole.h5", "a") as file:
        del file["model_weights/conv1"]
        file["model_weights/conv1"] = h5py.ExternalLink("/etc/passwd", "/conv1")
    with pytest.raises(WeightsError, match=r"a link at 'model_weights/conv1'"):
        build_backbone(small, str(tmp_path / "whole.h5"), shape=(64, 64, 3))
    with h5py.File(tmp_path / "whole.h5", "a") as file:
        del file["model_weights/conv1"]
        file.create_dataset("model_weights/conv1", (4,), "u1", external=[("/etc/passwd", 0, 4)])
    with pytest.raises(WeightsError, match=r"keeps the data of 'model_weights/conv1' in another file"):
        build_backbone(small, str(tmp_path / "whole.h5"), shape=(64, 64, 3))


def test_the_configuration_in_a_keras_file_is_never_read(small: Callable[..., keras.Model], tmp_path: Path) -> None:
    saved = small(include_top=False, weights=None, input_shape=(64, 64, 3))
    saved.save(tmp_path / "good.keras")
    with zipfile.ZipFile(tmp_path / "good.keras") as good, zipfile.ZipFile(tmp_path / "odd.keras", "w") as odd:
        odd.writestr("config.json", '{"class_name": "__lambda__", "module": "os", "config": {"system": "exit"}}')
        odd.writestr("model.weights.h5", good.read("model.weights.h5"))
    assert same_weights(build_backbone(small, str(tmp_path / "odd.keras"), shape=(64, 64, 3)).model, saved)


# ------------------------------------------------------------------------------------------- whole models as weights


def transferred(base: keras.Model, *, flip: bool = False, hidden: int = 0) -> keras.Model:
    """A whole model as Keras's guide to transfer learning makes it: the base is one layer of it."""
    x = inputs = keras.Input((64, 64, 3))
    if flip:
        x = keras.layers.RandomFlip("horizontal")(x)
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(x)
    x = keras.layers.GlobalAveragePooling2D()(base(x, training=False))
    for _ in range(hidden):
        x = keras.layers.BatchNormalization()(keras.layers.Dense(8)(x))
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Dropout(0.2)(x)))


def scrambled(model: keras.Model) -> keras.Model:
    """The model with other weights than any constructor gives it."""
    random = np.random.default_rng(1)
    model.set_weights([random.uniform(0.1, 0.2, weight.shape) for weight in model.get_weights()])
    return model


@pytest.mark.parametrize("ending", ["whole.h5", "whole.weights.h5", "whole.keras"])
@pytest.mark.parametrize("trainable", [True, False], ids=["fine-tuned", "frozen"])
def test_the_backbone_inside_a_whole_model_gives_its_weights(
    small: Callable[..., keras.Model], tmp_path: Path, ending: str, trainable: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    base = scrambled(small(include_top=False, weights=None, input_shape=(64, 64, 3)))
    base.trainable = trainable
    whole, path = transferred(base, flip=True, hidden=2), tmp_path / ending
    whole.save_weights(path) if ending.endswith(".weights.h5") else whole.save(path)
    built = build_backbone(small, str(path), shape=(96, 96, 3))
    assert same_weights(built.model, base)
    assert built.preprocessing == SCALE
    assert re.search(rf"weights: all 54 layers of .* are found in {re.escape(base.name)} in ", capsys.readouterr().err)


@pytest.mark.parametrize("ending", ["whole.h5", "whole.keras"])
def test_a_sequential_model_and_one_inside_another_give_theirs(
    small: Callable[..., keras.Model], tmp_path: Path, ending: str
) -> None:
    base = scrambled(small(include_top=False, weights=None, input_shape=(64, 64, 3)))
    inner = keras.Sequential([keras.Input((64, 64, 3)), base, keras.layers.GlobalAveragePooling2D()])
    outer = keras.Sequential([keras.Input((64, 64, 3)), inner, keras.layers.Dense(3)])
    for model in (inner, outer):
        model.save(tmp_path / ending)
        assert same_weights(build_backbone(small, str(tmp_path / ending), shape=(64, 64, 3)).model, base)


def test_an_optimizer_s_numbers_are_not_taken_for_weights(small: Callable[..., keras.Model], tmp_path: Path) -> None:
    base = scrambled(small(include_top=False, weights=None, input_shape=(64, 64, 3)))
    whole = transferred(base)
    whole.compile("adam", "mse")
    whole.fit(np.zeros((2, 64, 64, 3)), np.zeros((2, 3)), verbose=0)
    for ending in ("trained.h5", "trained.keras"):
        whole.save(tmp_path / ending)
        assert same_weights(build_backbone(small, str(tmp_path / ending), shape=(64, 64, 3)).model, base)
    whole.export(tmp_path / "trained", verbose=False)
    assert same_weights(build_backbone(small, str(tmp_path / "trained"), shape=(64, 64, 3)).model, base)


@pytest.mark.parametrize("nested", [True, False])
def test_a_saved_model_folder_gives_its_weights(
    small: Callable[..., keras.Model], tmp_path: Path, nested: bool
) -> None:
    base = scrambled(small(include_top=False, weights=None, input_shape=(64, 64, 3)))
    head = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(base.output))
    whole = transferred(base) if nested else keras.Model(base.input, head)
    whole.export(tmp_path / "exported", verbose=False)
    built = build_backbone(small, str(tmp_path / "exported"), shape=(64, 64, 3))
    assert same_weights(built.model, base)
    assert (built.source.origin, built.source.name) == ("file", "exported") and len(str(built.source.sha256)) == 64


class _Legacy(tf.Module):
    """Variables in a SavedModel as Keras 2 names them: the layer's name, then the variable's."""

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        self.layer_with_weights = [
            [
                tf.Variable(array, name=f"{layer.name}/{weight.name}")
                for weight, array in zip(layer.weights, layer.get_weights(), strict=True)
            ]
            for layer in model.layers
        ]


def test_a_saved_model_by_names_alone_gives_its_weights(small: Callable[..., keras.Model], tmp_path: Path) -> None:
    base = scrambled(small(include_top=False, weights=None, input_shape=(64, 64, 3)))
    tf.saved_model.save(_Legacy(base), str(tmp_path / "legacy"))
    assert same_weights(build_backbone(small, str(tmp_path / "legacy"), shape=(64, 64, 3)).model, base)


@pytest.mark.parametrize("ending", ["other.h5", "other.keras", "other"])
def test_another_backbone_inside_a_whole_model_is_told_with_what_was_found(
    small: Callable[..., keras.Model], tmp_path: Path, ending: str
) -> None:
    wider = keras.applications.MobileNet(include_top=False, weights=None, input_shape=(64, 64, 3), alpha=0.5)
    whole = transferred(wider)
    whole.save(tmp_path / ending) if "." in ending else whole.export(tmp_path / ending, verbose=False)
    told = r"all 54 layers of the backbone were expected by name and shape; .*'conv1' has shapes"
    with pytest.raises(WeightsError, match=told) as caught:
        build_backbone(small, str(tmp_path / ending), shape=(64, 64, 3))
    assert "\n" not in str(caught.value)


def test_a_deeper_network_with_the_same_names_is_not_taken_for_the_smaller(
    small: Callable[..., keras.Model], tmp_path: Path
) -> None:
    base = small(include_top=False, weights=None, input_shape=(64, 64, 3))
    deeper = keras.Model(base.input, keras.layers.Conv2D(4, 1, name="one_more")(base.output))
    for ending in ("deeper.h5", "deeper.keras"):
        transferred(deeper).save(tmp_path / ending)
        with pytest.raises(WeightsError, match="more layers than a top has"):
            build_backbone(small, str(tmp_path / ending), shape=(64, 64, 3))


def test_the_configuration_of_a_whole_model_is_never_read(small: Callable[..., keras.Model], tmp_path: Path) -> None:
    base = scrambled(small(include_top=False, weights=None, input_shape=(64, 64, 3)))
    transferred(base).save(tmp_path / "good.keras")
    with zipfile.ZipFile(tmp_path / "good.keras") as good, zipfile.ZipFile(tmp_path / "odd.keras", "w") as odd:
        odd.writestr("config.json", '{"class_name": "__lambda__", "module": "os", "config": {"system": "exit"}}')
        odd.writestr("model.weights.h5", good.read("model.weights.h5"))
    assert same_weights(build_backbone(small, str(tmp_path / "odd.keras"), shape=(64, 64, 3)).model, base)


def test_a_folder_that_is_no_saved_model_and_a_damaged_one_are_one_line(
    small: Callable[..., keras.Model], tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(WeightsError, match="photos' is a folder and no SavedModel"):
        build_backbone(small, str(tmp_path / "photos"), shape=(64, 64, 3))
    damaged = tmp_path / "damaged"
    (damaged / "variables").mkdir(parents=True)
    (damaged / "saved_model.pb").write_bytes(b"x")
    (damaged / "variables" / "variables.index").write_bytes(b"no checkpoint")
    with pytest.raises(WeightsError, match="damaged is no Keras weights file that can be read") as caught:
        build_backbone(small, str(damaged), shape=(64, 64, 3))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("weights", ["imagnet", "/no/such/file.h5"])
def test_weights_that_are_no_file_end_with_the_choices(weights: str) -> None:
    with pytest.raises(WeightsError, match=rf"weights='{weights}' is neither 'imagenet' nor .* Choices: "):
        build_backbone(keras.applications.MobileNetV2, weights, shape=(64, 64, 3))


def own(include_top: bool, weights: str | None, input_shape: tuple[int, int, int]) -> keras.Model:
    x = keras.Input(input_shape)
    return keras.Model(x, keras.layers.Conv2D(4, 3)(x), name=f"own_{weights}")


def test_a_backbone_of_one_s_own_is_called_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    built = build_backbone(own, "imagenet", shape=(8, 9, 3))
    assert built.model.name == "own_imagenet"
    assert built.model.output_shape == (None, 6, 7, 4)
    assert (built.preprocessing, built.source.origin) == (AS_THEY_ARE, "constructor")
    assert known_name(own) is None


def test_a_backbone_of_one_s_own_says_what_it_wants_to_see() -> None:
    @partial
    def mine(include_top: bool, weights: str | None, input_shape: tuple[int, int, int]) -> keras.Model:
        return own(include_top, weights, input_shape)

    mine.preprocessing = TORCH  # type: ignore[attr-defined]
    assert build_backbone(mine, None, shape=(8, 8, 3)).preprocessing == TORCH
    mine.preprocessing = "scale -1..2"  # type: ignore[attr-defined]
    with pytest.raises(RecipeError, match=r"'scale -1..2', which kt does not know. Did you mean 'scale -1..1'"):
        build_backbone(mine, None, shape=(8, 8, 3))


def test_a_backbone_that_gives_no_feature_map_is_a_mistake_in_the_recipe() -> None:
    with pytest.raises(RecipeError, match="feature map"):
        build_backbone(partial(keras.applications.MobileNet, pooling="avg"), None, shape=(32, 32, 3))


def test_a_partial_cannot_undo_the_preprocessing() -> None:
    bare = partial(keras.applications.MobileNetV3Small, include_preprocessing=False)
    with pytest.raises(RecipeError, match="include_preprocessing"):
        build_backbone(bare, None, shape=(32, 32, 3))


def test_a_partial_never_gets_the_weights_of_the_plain_backbone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))  # Keras reads it only when imported
    monkeypatch.setenv("KT_OFFLINE", "1")
    with pytest.raises(WeightsError, match="Keras's download"):
        build_backbone(partial(keras.applications.MobileNetV2, alpha=0.35), "imagenet", shape=(96, 96, 3))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_weights_and_the_preprocessing_are_the_same_under_every_backend(
    imagenet: Pretrained, backend: str, tmp_path: Path
) -> None:
    pytest.importorskip(backend)
    pixels = photo(PHOTOS[0][0])[None]
    np.save(tmp_path / "pixels.npy", pixels)
    code = """
import keras, numpy as np
from kt.backbones.build import build_backbone
from kt.backbones.preprocessing import preprocess
found = build_backbone(keras.applications.MobileNetV2, "imagenet", shape=(224, 224, 3))
x = keras.Input((224, 224, 3))
model = keras.Model(x, found.model(preprocess(x, found.preprocessing)))
np.save("features.npy", model.predict(np.load("pixels.npy"), verbose=0))
"""
    environment = os.environ | {
        "KERAS_BACKEND": backend,
        "KERAS_HOME": str(Path(str(imagenet.source.file)).parent.parent),
        "KT_OFFLINE": "1",
    }
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True)
    x = keras.Input((224, 224, 3))
    ours = keras.Model(x, imagenet.model(preprocess(x, imagenet.preprocessing))).predict(pixels, verbose=0)
    np.testing.assert_allclose(np.load(tmp_path / "features.npy"), ours, atol=1e-3)
