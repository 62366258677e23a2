"""Where a model looks: maps that tell the truth, what `kt explain` writes, and what a run keeps of it."""

import json
import shutil
from functools import cache

import keras
import numpy as np
import pytest
from conftest import draw, facts_from, on_each_backend
from PIL import Image

from kt.data.splits import Split, Splits
from kt.errors import DataError, ReleaseError
from kt.explain.curves import Removed, curves, removed
from kt.explain.drawing import overlay
from kt.explain.files import explain_files
from kt.explain.maps import Map, explained, grad_cam, layer_cam, occlusion
from kt.explain.models import open_model
from kt.explain.network import Explainable
from kt.export.artifact import keep_kind
from kt.export.formats.format import Details
from kt.export.formats.keras_file import KerasFile
from kt.export.formats.saved_model import SavedModel
from kt.export.formats.tflite import TFLite
from kt.kinds.rows.kind import Column, Rows
from kt.runs.explained import EACH, MOST, TRIED, drawn_at_random, explain_run, gallery
from kt.runs.shown_pictures import shown_pictures

SIDE, PATCH = 32, 10
CLASSES = ("nothing", "square")


def toy(count, *, seed):
    """Noise of any brightness; every other picture has a bright square on it. Pixels, labels, and where it is."""
    random = np.random.default_rng(seed)
    pixels = random.normal(random.uniform(70, 130, (count, 1, 1, 1)), 25, (count, SIDE, SIDE, 3))
    places = random.integers(0, SIDE - PATCH, (count, 2))
    for index in range(1, count, 2):
        row, column = places[index]
        pixels[index, row : row + PATCH, column : column + PATCH] = (230, 220, 40)
    return pixels.clip(0, 255).astype(np.uint8), np.arange(count) % 2, places


def small(classes=2):
    pixels = keras.Input((SIDE, SIDE, 3), dtype="uint8", name="pixels")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    x = keras.layers.Conv2D(8, 5, strides=2, padding="same", activation="relu", name="first")(x)
    x = keras.layers.Conv2D(12, 3, strides=2, padding="same", activation="relu", name="second")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(pixels, keras.layers.Dense(classes, activation="softmax", name="scores")(x))


@pytest.fixture(scope="module")
def trained():
    """A small network that has learned to see the square."""
    keras.utils.set_random_seed(0)
    model, (pixels, labels, _) = small(), toy(256, seed=0)
    model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
    model.fit(pixels, labels, batch_size=32, epochs=12, verbose=0)
    new, right, _ = toy(64, seed=1)
    assert (model.predict(new, verbose=0).argmax(axis=1) == right).mean() > 0.95
    return model


@pytest.fixture(scope="module")
def network(trained):
    return Explainable(trained)


def squares(count, *, seed):
    """Pictures that all have the square, and where it is."""
    pixels, _, places = toy(2 * count, seed=seed)
    return pixels[1::2], places[1::2]


def shuffled(model, *, seed):
    """The model with the numbers of each of its weights in another order."""
    random, copy = np.random.default_rng(seed), keras.models.clone_model(model)
    copy.set_weights([random.permutation(weight.ravel()).reshape(weight.shape) for weight in model.get_weights()])
    return copy


# ------------------------------------------------------------------------------------------------------------ the maps


@pytest.mark.parametrize("method", ["grad_cam", "layer_cam", "occlusion"])
def test_the_square_that_decides_is_where_the_map_points(network, method):
    pixels, places = squares(12, seed=2)
    for each, (row, column) in zip(explained(network, pixels, [1] * 12, method=method), places, strict=True):
        inside = np.zeros((SIDE, SIDE), bool)
        inside[max(0, row - 3) : row + PATCH + 3, max(0, column - 3) : column + PATCH + 3] = True
        down, across = np.unravel_index(each.values.argmax(), each.values.shape)
        assert inside[down, across], method
        assert each.values[inside].mean() > 2 * each.values[~inside].mean()
        assert each.points


def likeness(trained, method):
    """The mean correlation of maps with those of networks whose weights are shuffled."""
    pixels, _ = squares(8, seed=3)
    own, alike = explained(Explainable(trained), pixels, [1] * 8, method=method), []
    for seed in range(5):
        others = explained(Explainable(shuffled(trained, seed=seed)), pixels, [1] * 8, method=method)
        for one, other in zip(own, others, strict=True):
            flat = other.values.std() == 0
            alike.append(0.0 if flat else np.corrcoef(one.values.ravel(), other.values.ravel())[0, 1])
    return np.mean(alike)


def test_shuffled_weights_give_another_map_and_more_so_by_grad_cam(trained):
    """LayerCAM leaves out what speaks against the class, so it shows what any network reacts to: docs/explain.md."""
    by_grad_cam, by_layer_cam = likeness(trained, "grad_cam"), likeness(trained, "layer_cam")
    assert by_grad_cam < 0.5
    assert by_grad_cam < by_layer_cam < 0.95


def test_grad_cam_is_cam_in_closed_form_where_pooling_and_a_dense_layer_follow(trained, network):
    pixels, _, _ = toy(4, seed=4)
    maps = keras.Model(trained.inputs, trained.get_layer("second").output).predict(pixels, verbose=0)
    weights = trained.get_layer("scores").get_weights()[0]
    centred = weights - weights.mean(axis=1, keepdims=True)
    for each, own in zip(grad_cam(network, pixels, [1, 0, 1, 0]), maps, strict=True):
        cam = (own @ centred[:, each.label]).astype(np.float32)
        reference = Image.fromarray(cam).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(
            each.values, np.maximum(np.asarray(reference), 0) / SIDE**2, atol=1e-6 + 1e-4 * each.values.max()
        )


def test_the_shares_of_all_places_and_depths_add_up_to_the_logit():
    keras.utils.set_random_seed(1)
    pixels = keras.Input((SIDE, SIDE, 3), dtype="uint8", name="pixels")
    x = keras.layers.Rescaling(1 / 255)(pixels)
    maps = [x := keras.layers.Conv2D(6, 3, strides=2, activation="silu", name=f"conv_{i}")(x) for i in range(3)]
    pooled = [keras.layers.GlobalAveragePooling2D(name=f"tap_conv_{i}")(each) for i, each in enumerate(maps)]
    head = keras.layers.Dense(3, activation="softmax", name="scores")
    model = keras.Model(pixels, head(keras.layers.Concatenate()(pooled)))
    head.set_weights([head.get_weights()[0], np.array([1.0, -2.0, 0.5], np.float32)])
    network, given = Explainable(model), toy(5, seed=5)[0]
    assert network.depths == ("conv_0", "conv_1", "conv_2")
    found, scores = network.look(given)
    labels = np.array([0, 1, 2, 0, 1])
    slopes = network.slopes(found, labels)
    together = sum((own * slope).sum(axis=(1, 2, 3)) for own, slope in zip(found, slopes, strict=True))
    bias = np.array([1.0, -2.0, 0.5]) - np.mean([1.0, -2.0, 0.5])
    logits = np.log(scores)[np.arange(5), labels] - np.log(scores).mean(axis=1)
    np.testing.assert_allclose(together + bias[labels], logits, atol=1e-4)
    for each in grad_cam(network, given, labels.tolist()):
        assert [name for name, _ in each.depths] == ["conv_0", "conv_1", "conv_2"]
        assert sum(share for _, share in each.depths) == pytest.approx(1)


def test_what_changes_no_answer_changes_no_map(trained, network):
    pixels = toy(4, seed=6)[0]
    weights, bias = trained.get_layer("scores").get_weights()
    before = layer_cam(network, pixels, [0, 1, 0, 1]) + grad_cam(network, pixels, [0, 1, 0, 1])
    moved = keras.models.clone_model(trained)
    moved.set_weights(trained.get_weights())
    more = np.random.default_rng(0).normal(size=(len(weights), 1)).astype(np.float32)
    moved.get_layer("scores").set_weights([weights + more, bias + 3])
    other = Explainable(moved)
    after = layer_cam(other, pixels, [0, 1, 0, 1]) + grad_cam(other, pixels, [0, 1, 0, 1])
    for one, same in zip(before, after, strict=True):
        np.testing.assert_allclose(one.values, same.values, atol=1e-4 * one.values.max() + 1e-7)


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("method", ["grad_cam", "layer_cam", "occlusion"])
def test_a_uniform_picture_gives_no_false_certainty(network, method, level):
    pixels = np.full((1, SIDE, SIDE, 3), level, np.uint8)
    (drawn,) = explained(network, pixels, method=method)
    (without,) = removed(network.scores, pixels, [drawn])
    assert without is None or not without.decides
    assert without is None or without.in_words() == f"but the score stays {without.whole:.2f} without it"
    if method == "occlusion":
        assert drawn.half is None and drawn.in_words() == "no place speaks for it"


def test_a_score_that_rises_without_the_places_is_not_said_to_stay():
    assert Removed(whole=0.53, score=0.83, elsewhere=0.5).in_words() == "but the score rises to 0.83 without it"
    assert Removed(whole=0.53, score=0.53, elsewhere=0.5).in_words() == "but the score stays 0.53 without it"


def test_a_map_says_how_much_of_the_picture_it_needs_and_where_that_lies():
    def mapped(values):
        return Map(np.asarray(values, np.float32), 0, np.ones(1, np.float32))

    even, corner, none = np.ones((9, 9)), np.zeros((9, 9)), np.zeros((9, 9))
    corner[7, 8] = 1.0
    assert (mapped(even).half, mapped(even).points, mapped(even).place) == (0.5, False, "")
    assert mapped(corner).half == pytest.approx(1 / 81)
    assert mapped(corner).place == "bottom right"
    assert mapped(none).half is None
    assert mapped(np.pad(np.ones((1, 1)), 4)).place == "centre"
    assert "it points at no place" in mapped(even).in_words()


def test_only_maps_that_the_head_reads_are_explained():
    inputs = keras.Input((SIDE, SIDE, 3), dtype="uint8")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    flat = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))
    maps, _ = Explainable(flat).look(toy(1, seed=0)[0])
    assert maps[0].shape == (1, SIDE, SIDE, 3)  # the pixels themselves, which are a map too
    beside = keras.Input((4,))
    inputs = keras.Input((4,))
    rows = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(inputs))
    with pytest.raises(ReleaseError, match="otherwise than by maps"):
        Explainable(rows)
    with pytest.raises(ReleaseError, match="no functional model"):
        Explainable(Unread())
    del beside


class Unread(keras.Model):
    """A model without a graph."""


FAMILIES = ["MobileNetV3Small", "EfficientNetB0", "ResNet50V2", "VGG16", "DenseNet121", "Xception", "ConvNeXtTiny"]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["MobileNetV2", *FAMILIES])
def test_a_backbone_of_keras_applications_is_explained_at_its_last_map(family):
    backbone = getattr(keras.applications, family)(include_top=False, weights=None, input_shape=(96, 96, 3))
    inputs = keras.Input((96, 96, 3), dtype="uint8")
    x = backbone(keras.ops.cast(inputs, "float32"))
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))
    network = Explainable(model)
    assert network.depths == ("top",)
    (drawn,) = grad_cam(network, np.random.default_rng(0).integers(0, 255, (1, 96, 96, 3)).astype(np.uint8))
    assert drawn.values.shape == (96, 96)
    assert network.look(np.zeros((1, 96, 96, 3), np.uint8))[0][0].shape[1:] == backbone.output_shape[1:]


# ------------------------------------------------------------------------------------------- do they tell the truth


def test_deletion_and_insertion_tell_a_true_map_from_a_random_one(network):
    pixels, _ = squares(16, seed=7)
    true = curves(network.scores, pixels, grad_cam(network, pixels, [1] * 16), seed=1)
    for curve in (true.deletion, true.insertion):
        assert curve.interval[0] > 0 and curve.gain > 0
        assert (curve.pictures, curve.groups) == (16, 16)
    random = np.random.default_rng(0)
    scores = network.scores(pixels)
    noise = [Map(np.kron(random.uniform(size=(8, 8)), np.ones((4, 4))).astype(np.float32), 1, own) for own in scores]
    chance = curves(network.scores, pixels, noise, seed=1)
    assert chance.deletion.interval[0] < true.deletion.gain
    assert abs(chance.deletion.gain) < true.deletion.gain / 2
    wrong = [Map(each.values.max() - each.values, 1, each.scores) for each in grad_cam(network, pixels, [1] * 16)]
    assert curves(network.scores, pixels, wrong, seed=1).deletion.gain < 0


def test_pictures_of_one_thing_count_once_in_the_interval(network):
    pixels, _ = squares(6, seed=8)
    maps = grad_cam(network, pixels, [1] * 6)
    assert curves(network.scores, pixels, maps, groups=["a"] * 6).deletion.interval is None
    assert curves(network.scores, pixels, maps, groups=[*"aabbcc"]).deletion.groups == 3


def test_without_its_places_the_score_falls_more_than_without_others(network):
    def unsure(pixels):
        """The network's scores at a temperature of 10, because half of a square is enough for it."""
        soft = network.scores(pixels) ** 0.1
        return soft / soft.sum(axis=1, keepdims=True)

    pixels, _ = squares(6, seed=9)
    for each in removed(unsure, pixels, occlusion(unsure, pixels, [1] * 6)):
        assert each.decides and each.score < each.elsewhere
        assert each.in_words().startswith("without it the score is 0.")
    sure = removed(network.scores, pixels, occlusion(network.scores, pixels, [1] * 6))
    stays = {each.in_words() for each in sure if each.whole - each.score < 0.001}
    assert stays == {"but the score stays 1.00 without it"}


@cache
def maps_on(backend):
    return facts_from("explain_facts.py", backend=backend)[0]


@on_each_backend
def test_maps_are_the_same_on_each_backend(backend):
    ours, reference = maps_on(backend), maps_on("tensorflow")
    assert ours["backend"] == backend
    for name in ("linear", "hidden", "depths"):
        assert ours[name]["depths"] == reference[name]["depths"]
        np.testing.assert_allclose(ours[name]["scores"], reference[name]["scores"], atol=1e-4)
        for method, maps in ours[name]["maps"].items():
            own, other = np.array(maps), np.array(reference[name]["maps"][method])
            assert other.max() > 0, (name, method)
            np.testing.assert_allclose(own, other, atol=2e-3 * other.max(), err_msg=f"{name} {method}")
    assert reference["linear"]["depths"] == ["top"]
    assert reference["depths"]["depths"][-1] == "top" and len(reference["depths"]["depths"]) > 1


# ---------------------------------------------------------------------------------------------------------- kt explain


@pytest.fixture(scope="module")
def release(trained, tmp_path_factory):
    """A version with a SavedModel and a TFLite file, and a `.keras` file elsewhere."""
    folder = tmp_path_factory.mktemp("models")
    details = Details("toy", CLASSES)
    SavedModel().make(trained, folder, details=details).rename(folder / "1")
    TFLite("float32").make(trained, folder / "1", details=details)
    KerasFile().make(trained, folder, details=details)
    return folder


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for index, pixels in enumerate(squares(3, seed=10)[0]):
        Image.fromarray(pixels).resize((64, 64)).save(folder / f"{index}.png")
    return folder


@pytest.mark.parametrize("name", ["toy.keras", "1", "1/toy_float32.tflite"])
def test_each_format_is_explained_and_those_without_gradients_by_occlusion(release, photos, tmp_path, name):
    model = open_model(release / name)
    done = explain_files(model, [photos], out=tmp_path / "out")
    assert done.method == ("grad_cam" if name == "toy.keras" else "occlusion")
    assert ("only a .keras file gives gradients" in done.note) == (name != "toy.keras")
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"index.html", "explained.json", *(each.overlay for each in done.pictures)}
    assert [each.label for each in done.pictures] == ["square"] * 3
    assert Image.open(tmp_path / "out" / done.pictures[0].overlay).size == (64, 64)
    facts = json.loads((tmp_path / "out" / "explained.json").read_text(encoding="utf-8"))
    assert [each["label"] for each in facts["pictures"]] == ["square"] * 3
    assert np.array(facts["pictures"][0]["map"]).shape == (16, 16)


def test_a_keras_file_in_a_release_goes_before_its_saved_model(release, tmp_path):
    version = shutil.copytree(release / "1", tmp_path / "both" / "2")
    shutil.copyfile(release / "toy.keras", version / "toy.keras")
    for path in (version, version.parent):
        assert open_model(path).path == version / "toy.keras"
    assert open_model(version / "toy_float32.tflite").network is None


def test_the_asked_class_is_explained_not_the_best_one(release, photos, tmp_path):
    done = explain_files(open_model(release / "toy.keras"), [photos], out=tmp_path / "out", label="nothing")
    assert {(each.label, each.predicted) for each in done.pictures} == {("nothing", "square")}
    with pytest.raises(DataError, match=r"no class 'cat'; it has: nothing, square"):
        explain_files(open_model(release / "toy.keras"), [photos], out=tmp_path / "other", label="cat")
    assert not (tmp_path / "other").exists()


def test_nothing_that_exists_is_overwritten_and_a_failure_leaves_nothing(release, photos, tmp_path):
    model = open_model(release / "toy.keras")
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match="kept exists already, and nothing in it is overwritten; name a new folder"):
        explain_files(model, [photos], out=kept)
    assert [path.name for path in kept.iterdir()] == ["mine.txt"]
    torn = tmp_path / "torn.jpg"
    torn.write_bytes(b"\xff\xd8\xff not a picture")
    with pytest.raises(DataError, match="None of 1 pictures could be read"):
        explain_files(model, [torn], out=tmp_path / "out")
    with pytest.raises(DataError, match="There is no file or folder"):
        explain_files(model, [tmp_path / "absent.jpg"], out=tmp_path / "out")
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_names_are_escaped_and_bad_pictures_stay_on_the_page_with_their_reason(release, photos, tmp_path):
    Image.open(photos / "0.png").save(photos / "<img src=x onerror=alert(1)>.png")
    (photos / "torn.jpg").write_bytes(b"\xff\xd8\xff not a picture")
    done = explain_files(open_model(release / "toy.keras"), [photos], out=tmp_path / "out")
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page and "&lt;img src=x onerror=alert(1)&gt;.png" in page
    assert [each.path.name for each in done.pictures if each.error] == ["torn.jpg"]
    assert "torn.jpg" in page
    assert all(set(each.overlay) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.=") for each in done.pictures)


def test_what_can_not_be_explained_ends_in_one_line(release, tmp_path):
    with pytest.raises(ReleaseError, match=r"can't be explained by layer_cam: only a .keras file gives gradients"):
        open_model(release / "1").method("layer_cam")
    with pytest.raises(ReleaseError, match="is no exported model"):
        open_model(tmp_path / "absent.keras")
    (tmp_path / "torn.keras").write_bytes(b"PK no zip")
    with pytest.raises(ReleaseError, match="cannot be opened; it may be damaged"):
        open_model(tmp_path / "torn.keras")
    rows = Rows((Column("width"), Column("height")))
    inputs = keras.Input(rows.shape, dtype=rows.dtype, name=rows.takes)
    features = rows.prepared(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(features))
    file = KerasFile().make(model, tmp_path, details=Details("rows", CLASSES, kind=rows))
    keep_kind(file, rows)
    with pytest.raises(DataError, match="a model of rows; kt explain is for models of pictures only"):
        open_model(file)


def test_an_overlay_shows_nothing_where_nothing_speaks_and_a_line_around_what_does():
    picture = np.full((40, 60, 3), 120, np.uint8)
    none = overlay(picture, Map(np.zeros((8, 8), np.float32), 0, np.ones(1, np.float32)))
    assert none.shape == picture.shape and len(np.unique(none)) == 1
    values = np.zeros((8, 8), np.float32)
    values[2:4, 2:4] = 1
    drawn = overlay(picture, Map(values, 0, np.ones(1, np.float32)))
    assert (drawn == 255).all(axis=2).any() and (drawn == 0).all(axis=2).any()
    red, blue = drawn[14, 21, 0], drawn[14, 21, 2]
    assert red > blue


# --------------------------------------------------------------------------------------------------------------- a run


def the_run(ran):
    (run,) = [path for path in (ran.folder / "runs" / "tiny").iterdir() if not path.is_symlink()]
    return run


def test_a_run_keeps_maps_of_right_and_wrong_pictures_and_its_page_shows_them(ran):
    told = ran.results["explained"]
    assert told["why"] == "" and 0 < len(told["pictures"]) <= MOST
    assert {each["label"] for each in told["pictures"]} == {"blue", "green", "red"}
    for way in ("deletion", "insertion"):
        curve = told["faithful"][way]
        assert len(curve["shares"]) == len(curve["by_map"]) == len(curve["at_random"])
        assert curve["interval"][0] <= curve["gain"] <= curve["interval"][1]
        assert curve["pictures"] <= TRIED
    run = the_run(ran)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert ">Where it looks</h2>" in page
    shown = json.loads((run / "shown.json").read_text(encoding="utf-8"))
    assert len(shown["looks"]) == len(told["pictures"])
    assert all(with_map in page for _, with_map in shown["looks"])


def test_kt_explain_of_a_run_writes_a_page_and_says_what_it_shows(ran, tmp_path, kt_here):
    draw("red", 500).save(tmp_path / "red.png")
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff not a picture")
    run = the_run(ran)
    done = kt_here("explain", str(run), "red.png", "torn.jpg", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    path, label, score, words = done.stdout.splitlines()[0].split("\t")
    assert (path, label) == ("red.png", "red") and 0 <= float(score) <= 1 and words
    assert done.stdout.splitlines()[-1] == "page: explained/index.html"
    assert "torn.jpg" in done.stderr
    again = kt_here("explain", str(run), "red.png", cwd=tmp_path)
    assert again.returncode == 3 and "explained exists already" in again.stderr
    as_json = kt_here(
        "explain", str(run / "artifacts" / "saved_model"), "red.png", "--json", "--out", "b", cwd=tmp_path
    )
    if as_json.returncode == 0:  # the exports of a released run have moved
        assert json.loads(as_json.stdout)["method"] == "occlusion"
    version = kt_here(
        "explain", str(ran.folder / "saved_models" / "tiny"), "red.png", "--json", "--out", "c", cwd=tmp_path
    )
    assert version.returncode == 0, version.stderr
    assert json.loads(version.stdout)["method"] == "occlusion"
    assert "has no gradients: only a .keras file gives gradients" in version.stderr


def test_without_pictures_kt_explain_takes_those_that_the_report_of_the_run_explains(ran, tmp_path, kt_here):
    done = kt_here("explain", str(the_run(ran)), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()[:-1]]
    told = ran.results["explained"]["pictures"]
    assert [(name, label, truth) for name, label, _, _, truth in lines] == [
        (each["name"], each["predicted"], each["label"]) for each in told
    ]
    facts = json.loads((tmp_path / "explained" / "explained.json").read_text(encoding="utf-8"))["pictures"]
    assert [each["truth"] for each in facts] == [each["label"] for each in told]
    assert [each["score"] for each in facts] == pytest.approx([each["score"] for each in told], abs=1e-3)
    page = (tmp_path / "explained" / "index.html").read_text(encoding="utf-8")
    wrong = sum(each["label"] != each["predicted"] for each in told)
    assert (page.count("; right"), page.count("; wrong, it is <b>")) == (len(told) - wrong, wrong)


def moved(run, folder, *, places, **changes):
    """The report and the splits of a run, whose pictures lie elsewhere."""
    folder.mkdir()
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    report["recipe"]["places"] = places
    (folder / "report.json").write_text(json.dumps({**report, **changes}), encoding="utf-8")
    shutil.copyfile(run / "splits.csv", folder / "splits.csv")
    return folder


def test_a_run_s_pictures_are_found_in_their_folder_or_zip_by_their_content(ran, tmp_path):
    run, pictures = the_run(ran), shutil.copytree(ran.folder / "pictures", tmp_path / "moved")
    told = [each["name"] for each in ran.results["explained"]["pictures"]]
    found = shown_pictures(moved(run, tmp_path / "a", places={"root": str(pictures)}))
    assert [each.file for each in found] == [pictures / name for name in told]
    shutil.make_archive(str(tmp_path / "pictures"), "zip", pictures)
    from_zip = shown_pictures(moved(run, tmp_path / "b", places={"root": str(tmp_path / "pictures.zip")}))
    assert [each.file.read_bytes() for each in from_zip] == [(pictures / name).read_bytes() for name in told]
    draw("red", 900).save(pictures / told[0])
    (pictures / told[1]).unlink()
    left = shown_pictures(tmp_path / "a")
    assert [each.file is None for each in left] == [True, True, *(False for _ in told[2:])]


@pytest.mark.parametrize(
    ("places", "changes", "message"),
    [
        ({"root": "/nowhere"}, {}, r"are not in /nowhere any more\. Name pictures: kt explain .* photo\.jpg"),
        ({}, {}, "lie in no files: they come from no folder and no table"),
        ({}, {"data": {"rendered": True}}, "lie in no files: kt drew them"),
        ({}, {"explained": None}, r"explains no pictures\. Name pictures"),
        ({}, {"explained": {"pictures": [3]}}, r"report\.json is damaged\. Name pictures"),
        ({}, {"explained": {"pictures": [], "why": "No map."}}, r"explains no pictures: No map\. Name pictures"),
    ],
)
def test_why_a_run_has_no_pictures_to_explain_is_one_line(ran, tmp_path, places, changes, message):
    with pytest.raises(DataError, match=message):
        shown_pictures(moved(the_run(ran), tmp_path / "run", places=places, **changes))


def test_without_pictures_a_release_is_refused_and_so_is_a_run_without_a_report(ran, tmp_path, kt_ends):
    code, _, said = kt_ends("explain", ran.folder / "saved_models" / "tiny")
    assert code == 2 and "Missing argument 'PICTURES...'; only a run has test pictures to explain." in said
    (tmp_path / "run").mkdir()
    shutil.copyfile(the_run(ran) / "run.json", tmp_path / "run" / "run.json")
    code, _, said = kt_ends("explain", tmp_path / "run")
    assert code == 3 and "has no report that says which pictures to explain. Name pictures" in said


def splits_of(labels, groups=None):
    pixels = np.random.default_rng(0).integers(0, 256, (len(labels), SIDE, SIDE, 3)).astype(np.uint8)
    names = tuple(f"{index}.png" for index in range(len(labels)))
    part = Split(pixels, np.asarray(labels), names, tuple(groups or names))
    classes = tuple(map(str, range(int(max(labels)) + 1)))
    return Splits(part, part, part, classes, 8, "made up", "-")


def test_the_gallery_has_right_and_wrong_pictures_of_each_class_and_one_of_each_thing():
    labels = [0] * 10 + [1] * 10
    part = splits_of(labels, groups=[f"thing {index // 2}" for index in range(20)]).test
    scores = np.full((20, 2), 0.5, np.float32)
    scores[:, 0] = [0.9, 0.9, 0.8, 0.8, 0.7, 0.7, 0.6, 0.6, 0.1, 0.2] + [0.1] * 10
    scores[:, 1] = 1 - scores[:, 0]
    places = gallery(scores, part, classes=2)
    assert [float(scores[place, 0]) for place in places[:3]] == pytest.approx([0.9, 0.7, 0.6])  # of 0.9, 0.8, 0.7, 0.6
    assert places[3] == 8  # the wrong one whose true class got the lowest score
    assert len({part.groups[place] for place in places}) == len(places) <= 2 * EACH * 2


def test_the_gallery_is_bounded_and_prefers_the_classes_that_are_recognised_worst():
    labels = list(np.repeat(np.arange(30), 4))
    part = splits_of(labels).test
    scores = np.eye(30, dtype=np.float32)[labels] * 0.9 + 0.003
    for index in range(0, 40, 2):  # half of the pictures of the first ten classes are wrong
        scores[index] = np.roll(scores[index], 1)
    places = gallery(scores, part, classes=30)
    assert len(places) <= MOST
    shown = {labels[place] for place in places}
    assert shown >= set(range(10)) and len(shown) == 12
    assert len(drawn_at_random(part, seed=0)) == TRIED


def test_a_model_that_can_not_be_explained_ends_no_run_and_the_report_says_why(tmp_path):
    splits = splits_of([0, 1] * 8)
    scores = np.full((16, 2), 0.5, np.float32)
    unread = explain_run(tmp_path, Unread(), splits, scores, ask=lambda pixels: scores, key="k", seed=0)
    assert "no functional model" in unread.told["why"] and unread.told["pictures"] == []

    def broken(pixels):
        raise ValueError("out of luck")

    failed = explain_run(tmp_path, small(), splits, scores, ask=broken, key="k", seed=0)
    assert failed.told["why"] == "It failed: out of luck"
    assert not (tmp_path / "explained").exists()


def test_a_run_that_goes_on_takes_the_maps_that_it_has(trained, tmp_path):
    splits = splits_of([0, 1] * 8)
    network = Explainable(trained)
    scores = network.scores(splits.test.examples)
    asked = []

    def ask(pixels):
        asked.append(len(pixels))
        return network.scores(pixels)

    first = explain_run(tmp_path, trained, splits, scores, ask=ask, key="k", seed=0)
    before = len(asked)
    again = explain_run(tmp_path, trained, splits, scores, ask=ask, key="k", seed=0)
    assert before and len(asked) == before
    assert json.dumps(again.told) == json.dumps(first.told) and again.addresses == first.addresses
    explain_run(tmp_path, trained, splits, scores, ask=ask, key="other", seed=0)
    assert len(asked) > before
