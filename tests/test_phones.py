"""Released `.tflite` files as phones take them: MediaPipe Tasks answers as kt does, and reads all of their metadata."""

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import PHOTOS, REPOSITORY
from PIL import Image
from tensorflow.lite.tools import flatbuffer_utils

from kt.errors import ReleaseError
from kt.export import ArtifactResult, ExportJob, export, release
from kt.export.about import About, read_translation
from kt.export.artifact import open_artifact
from kt.export.formats.format import Details
from kt.export.formats.tflite import VARIANTS, TFLite
from kt.export.metadata import UNRELEASED, embed, stamp
from kt.kinds.pictures.images import read_rgb, resize
from kt.kinds.pictures.kind import Pictures

CLASSES = ("bad", "good")
SIZE = (48, 40)
ABOUT = About(
    description="Good apples from bad ones",
    author="Obsthof Müller",
    license="CC BY 4.0",
    translations={"de": ("schlecht", "gut"), "pt-BR": ("má", "boa")},
)


def photos(split: str, *, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Real photos of apples at the model's size, spread over both classes, and their classes."""
    folder = PHOTOS / "apples" / split
    if not folder.is_dir():
        pytest.skip("the photos of apples are not here")
    files = [(file, index) for index, name in enumerate(CLASSES) for file in sorted((folder / name).iterdir())]
    chosen = [files[place] for place in np.linspace(0, len(files) - 1, most).astype(int)]
    return np.stack([resize(read_rgb(file), SIZE) for file, _ in chosen]), np.array([index for _, index in chosen])


def trained(pixels: np.ndarray, labels: np.ndarray) -> keras.Model:
    """A small network that has learnt something of the photos in a few seconds."""
    keras.utils.set_random_seed(3)
    given = keras.Input((*SIZE, 3), dtype="uint8", name="pixels")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(given)
    for filters in (8, 16, 24):
        x = keras.layers.Conv2D(filters, 3, strides=2)(x)
        x = keras.layers.ReLU(max_value=6.0)(x)
    x = keras.layers.Dense(len(CLASSES), activation="softmax")(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(given, x)
    model.compile(optimizer=keras.optimizers.Adam(5e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(pixels, labels, epochs=4, batch_size=32, verbose=0)
    return model


@dataclass(frozen=True)
class Released:
    """A version that was made from photos once for the tests."""

    version: Path
    results: tuple[ArtifactResult, ...]
    pixels: np.ndarray

    def file(self, variant: str) -> Path:
        return self.version / f"apples_{variant}.tflite"


@pytest.fixture(scope="module")
def released(tmp_path_factory) -> Released:
    folder = tmp_path_factory.mktemp("phones")
    train_pixels, train_labels = photos("train", most=600)
    pixels, labels = photos("test", most=120)
    trained(train_pixels, train_labels).save(folder / "model.keras")
    for name, array in {"pixels": pixels, "labels": labels, "representative": train_pixels[::6]}.items():
        np.save(folder / f"{name}.npy", array)
    job = ExportJob(
        model_file=folder / "model.keras",
        directory=folder / "artifacts",
        name="apples",
        classes=CLASSES,
        test_pixels=folder / "pixels.npy",
        labels=folder / "labels.npy",
        representative=folder / "representative.npy",
        formats=("tflite",),
        tolerance=0.1,
        about=ABOUT,
    )
    results = export(job)
    version = release(results, name="apples", saved_models=folder / "saved_models", card={})
    assert version is not None
    return Released(version, results, pixels)


def mediapipe(part: str):
    return pytest.importorskip(f"mediapipe{part}", reason="MediaPipe, of the test extra, is not here")


def classifier(file: Path, **options):
    tasks = mediapipe(".tasks.python")
    base = tasks.BaseOptions(model_asset_path=str(file))
    return tasks.vision.ImageClassifier.create_from_options(
        tasks.vision.ImageClassifierOptions(base_options=base, **options)
    )


def answer(asked, pixels: np.ndarray, *, turned: int = 0):
    """MediaPipe's categories for one picture, the best first."""
    image = mediapipe("").Image(image_format=mediapipe("").ImageFormat.SRGB, data=np.ascontiguousarray(pixels))
    options = mediapipe(".tasks.python.vision.core.image_processing_options").ImageProcessingOptions
    return asked.classify(image, options(rotation_degrees=turned)).classifications[0].categories


def in_order(categories) -> np.ndarray:
    return np.array([category.score for category in sorted(categories, key=lambda category: category.index)])


def metadata(file: Path):
    """All of a file's metadata through MediaPipe's reader of the schema."""
    reader = mediapipe(".tasks.metadata.metadata_schema_py_generated")
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(file.read_bytes()))
    (buffer,) = [entry.buffer for entry in model.metadata if entry.name == b"TFLITE_METADATA"]
    data = bytes(model.buffers[buffer].data)
    assert reader.ModelMetadata.ModelMetadataBufferHasIdentifier(data, 0)
    return reader.ModelMetadataT.InitFromObj(reader.ModelMetadata.GetRootAsModelMetadata(data, 0))


# -------------------------------------------------------------------------------------------- MediaPipe's classifier


@pytest.mark.parametrize("variant", VARIANTS)
def test_mediapipe_gives_real_photos_the_scores_and_labels_that_kt_gives(released, variant):
    artifact = open_artifact(released.file(variant))
    expected = artifact.scores(released.pixels)
    assert len(expected) >= 50 and len(set(expected.argmax(axis=1))) == 2, "else the comparison would show little"
    with classifier(released.file(variant)) as asked:
        answers = [answer(asked, image) for image in released.pixels]
    np.testing.assert_allclose([in_order(categories) for categories in answers], expected, atol=1e-5)
    sure = np.ptp(expected, axis=1) > 1e-3  # int8 can score both classes the same; then either may come first
    assert sure.mean() > 0.95
    labels = [artifact.classes[index] for index in expected.argmax(axis=1)]
    assert [a[0].category_name for a, kept in zip(answers, sure, strict=True) if kept] == [
        label for label, kept in zip(labels, sure, strict=True) if kept
    ]


@pytest.mark.parametrize("gentler", [{"float_share": 0.5}, {"dynamic": True}], ids=["partly in float", "dynamic range"])
def test_mediapipe_runs_an_int8_file_that_was_made_more_gently(released, gentler, tmp_path):
    folder = released.results[0].path.parent.parent
    model = keras.saving.load_model(folder / "model.keras", compile=False)
    details = Details("gentle", CLASSES, representative=folder / "representative.npy")
    made = TFLite("int8", **gentler).make(model, tmp_path, details=details)
    expected = open_artifact(made).scores(released.pixels[:50])
    with classifier(made) as asked:
        answers = [in_order(answer(asked, image)) for image in released.pixels[:50]]
    np.testing.assert_allclose(answers, expected, atol=1e-5)


def test_the_small_network_has_learnt_something_and_all_three_files_were_released(released):
    assert [result.format for result in released.results if result.released] == [f"tflite_{v}" for v in VARIANTS]
    assert released.results[0].balanced_accuracy > 0.6


def test_mediapipe_shows_the_class_names_of_the_language_that_is_asked_for(released):
    for locale, names in {"de": ("schlecht", "gut"), "pt-BR": ("má", "boa"), "fr": (None, None)}.items():
        with classifier(released.file("int8"), display_names_locale=locale) as asked:
            categories = sorted(answer(asked, released.pixels[0]), key=lambda category: category.index)
        assert tuple(category.category_name for category in categories) == CLASSES
        assert tuple(category.display_name or None for category in categories) == names


def test_mediapipe_leaves_out_what_scores_below_the_threshold_in_the_file(released, tmp_path):
    content = released.file("float32").read_bytes()
    plain = tmp_path / "threshold.tflite"
    plain.write_bytes(described(content, About(score_threshold=0.5)))
    with classifier(plain) as asked, classifier(plain, score_threshold=1e-9) as lower:
        assert {len(answer(asked, image)) for image in released.pixels[:20]} == {1}
        assert {len(answer(lower, image)) for image in released.pixels[:20]} == {2}


def test_mediapipe_stretches_a_picture_to_the_models_size_as_kt_does(released):
    image = released.pixels[7]
    with classifier(released.file("float32")) as asked:
        upright = in_order(answer(asked, image))
        wide, tall = np.repeat(image, 2, axis=1), np.repeat(image, 3, axis=0)
        for stretched in (wide, tall):  # neither cut nor bordered, each of which would change the scores
            np.testing.assert_allclose(in_order(answer(asked, stretched)), upright, atol=1e-5)
        bordered = np.pad(image, ((0, 0), (20, 20), (0, 0)))
        assert np.abs(in_order(answer(asked, bordered)) - upright).max() > 1e-3


def test_mediapipe_takes_single_pixels_of_a_large_picture_where_kt_takes_their_mean(released):
    large = np.random.default_rng(0).integers(0, 256, (8 * SIZE[0], 8 * SIZE[1], 3)).astype(np.uint8)
    artifact = open_artifact(released.file("float32"))
    with classifier(released.file("float32")) as asked:
        given = in_order(answer(asked, large))
    np.testing.assert_allclose(given, artifact.scores(large[::8, ::8][None])[0], atol=1e-5)
    assert np.abs(given - artifact.scores(resize(large, SIZE)[None])[0]).max() > 1e-3


def test_mediapipe_turns_a_picture_clockwise_by_the_degrees_it_is_told(released):
    image = released.pixels[7]
    with classifier(released.file("float32")) as asked:
        lying = np.rot90(image)  # a quarter turn anticlockwise, as a sensor gives it
        upright, turned, left = (in_order(answer(asked, *a)) for a in ((image,), (lying,), (lying,)))
        turned = in_order(answer(asked, lying, turned=90))
    assert np.abs(turned - upright).max() < np.abs(left - upright).max()


def test_mediapipe_for_python_turns_a_file_upright_by_its_exif_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying, to be turned clockwise
    Image.new("RGB", (40, 24)).save(tmp_path / "lying.jpg", exif=exif)
    image = mediapipe("").Image.create_from_file(str(tmp_path / "lying.jpg"))
    assert (image.width, image.height) == (24, 40)


# ------------------------------------------------------------------------------------------------- what the file tells


@pytest.mark.parametrize("variant", VARIANTS)
def test_another_reader_finds_every_field_that_the_page_on_phones_names(released, variant):
    told = metadata(released.file(variant))
    assert (told.name, told.description) == (b"apples", ABOUT.description.encode())
    assert (told.author, told.license) == (ABOUT.author.encode(), ABOUT.license.encode())
    assert (told.version, told.minParserVersion) == (b"1", b"1.0.0")
    (graph,) = told.subgraphMetadata
    (pixels,), (scores,) = graph.inputTensorMetadata, graph.outputTensorMetadata
    assert (pixels.name, scores.name) == (b"pixels", b"scores")
    assert pixels.description == b"A picture in RGB, 40 wide and 48 high, with levels from 0 to 255."
    image = pixels.content.contentProperties
    assert (image.colorSpace, image.defaultSize.width, image.defaultSize.height) == (1, 40, 48)
    (normalisation,) = pixels.processUnits
    assert (normalisation.options.mean, normalisation.options.std) == ([0.0], [1.0])
    assert (pixels.stats.min, pixels.stats.max, scores.stats.min, scores.stats.max) == ([0.0], [255.0], [0.0], [1.0])
    assert type(scores.content.contentProperties).__name__ == "FeaturePropertiesT"
    assert scores.processUnits is None, "no threshold unless one was asked for"
    files = [(file.name, file.locale, file.type) for file in scores.associatedFiles]
    assert files == [
        (b"labels.txt", None, 2),
        (b"labels_de.txt", b"de", 2),
        (b"labels_pt-BR.txt", b"pt-BR", 2),
    ]


def test_the_labels_of_each_language_lie_in_the_file_and_kt_reads_the_classes(released):
    with zipfile.ZipFile(released.file("int8")) as archive:
        assert archive.read("labels_de.txt").decode() == "schlecht\ngut\n"
        assert archive.read("labels_pt-BR.txt").decode() == "má\nboa\n"
    assert open_artifact(released.file("int8")).classes == CLASSES


def described(content: bytes, about: About, *, classes: tuple[str, ...] = CLASSES) -> bytes:
    """The model of a file without what it told, told anew."""
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    model.metadata = [entry for entry in model.metadata if entry.name != b"TFLITE_METADATA"]
    bare = bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    return embed(bare, name="apples", classes=classes, kind=Pictures(SIZE), about=about)


def test_what_is_not_known_is_left_out_of_the_file(released, tmp_path):
    (tmp_path / "plain.tflite").write_bytes(described(released.file("int8").read_bytes(), About()))
    told = metadata(tmp_path / "plain.tflite")
    assert (told.description, told.author, told.license) == (None, None, None)
    (file,) = told.subgraphMetadata[0].outputTensorMetadata[0].associatedFiles
    assert (file.name, file.locale) == (b"labels.txt", None)


def test_a_threshold_is_told_as_a_process_unit_of_the_scores(released, tmp_path):
    content = described(released.file("int8").read_bytes(), About(score_threshold=0.25))
    (tmp_path / "threshold.tflite").write_bytes(content)
    told = metadata(tmp_path / "threshold.tflite")
    (unit,) = told.subgraphMetadata[0].outputTensorMetadata[0].processUnits
    assert (unit.optionsType, unit.options.globalScoreThreshold) == (3, 0.25)


# ------------------------------------------------------------------------------------------------------- the version


def test_a_file_that_is_not_released_says_so_and_differs_in_its_version_only(released):
    for result in released.results:
        before, after = result.path.read_bytes(), (released.version / result.path.name).read_bytes()
        assert metadata(result.path).version == UNRELEASED.encode()
        assert len(before) == len(after)
        assert sum(a != b for a, b in zip(before, after, strict=True)) <= 4, "a length, a digit and a zero"


def test_each_version_of_a_model_is_told_by_its_number_even_the_hundredth(released, tmp_path):
    (tmp_path / "apples" / "99").mkdir(parents=True)
    version = release(released.results, name="apples", saved_models=tmp_path, card={})
    assert version == tmp_path / "apples" / "100"
    file = version / "apples_int8.tflite"
    assert metadata(file).version == b"100"
    with classifier(file) as asked:
        assert len(answer(asked, released.pixels[0])) == 2
    assert open_artifact(file).classes == CLASSES


def test_a_version_that_another_run_took_first_is_written_over(released, tmp_path):
    file = tmp_path / "again.tflite"
    file.write_bytes(released.results[0].path.read_bytes())
    for number in (9, 10, 7):
        stamp(file, number)
        assert metadata(file).version == str(number).encode()


def test_files_that_kt_did_not_describe_keep_every_byte(released, tmp_path):
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(released.file("int8").read_bytes()))
    model.metadata = None
    file = tmp_path / "own.tflite"
    file.write_bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    before = file.read_bytes()
    stamp(file, 3)
    assert file.read_bytes() == before


# --------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("about", "message"),
    [
        (
            {"translations": {"de": ("gut",)}},
            r"The labels in 'de' must be 2 lines in the order bad, good; there are 1\.",
        ),
        ({"translations": {"de": ("gut", "")}}, r"must be 2 lines .*; there are 1 and an empty one\."),
    ],
)
def test_a_translation_that_does_not_fit_the_classes_is_refused_before_any_work(about, message, tmp_path):
    with pytest.raises(ReleaseError, match=message):
        ExportJob(tmp_path, tmp_path, "x", CLASSES, tmp_path, tmp_path, about=About(**about))


@pytest.mark.parametrize("locale", ["", "german!", "DE", "de_AT", "../de", "de="])
def test_what_is_no_locale_is_refused(locale):
    with pytest.raises(ReleaseError, match="is no locale; write it as 'de' or 'pt-BR'"):
        About(translations={locale: CLASSES})


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.5, float("nan")])
def test_a_threshold_that_cannot_be_is_refused(threshold):
    with pytest.raises(ReleaseError, match="A score threshold is above 0 and at most 1"):
        About(score_threshold=threshold)


def test_labels_in_another_language_are_read_from_a_text_file(tmp_path):
    (tmp_path / "de.txt").write_bytes("\ufeffschlecht\r\ngut\r\n".encode())
    assert read_translation(f"de={tmp_path / 'de.txt'}") == ("de", ("schlecht", "gut"))
    for wrong in ("de", "=de.txt", "de="):
        with pytest.raises(ReleaseError, match=r"write it as de=labels_de\.txt"):
            read_translation(wrong)
    with pytest.raises(ReleaseError, match=r"Cannot read the labels in .*absent\.txt: No such file"):
        read_translation(f"de={tmp_path / 'absent.txt'}")
    (tmp_path / "latin.txt").write_bytes("grün\n".encode("latin-1"))
    with pytest.raises(ReleaseError, match="it is not UTF-8 text"):
        read_translation(f"de={tmp_path / 'latin.txt'}")


def test_a_recipe_tells_author_and_licence_without_being_run(tmp_path):
    file = tmp_path / "recipe.py"
    file.write_text(
        '"""Good apples from bad ones.\n\nMore."""\n__author__ = "Me"\n__license__ = "CC0"\nraise RuntimeError\n',
        encoding="utf-8",
    )
    assert About.of_recipe(file) == About("Good apples from bad ones.", "Me", "CC0")
    file.write_text("recipe = 1\n__author__ = str(recipe)\n", encoding="utf-8")
    assert About.of_recipe(file) == About()
    assert About.of_recipe(None) == About.of_recipe(tmp_path / "absent.py") == About()


# ---------------------------------------------------------------------------------------- a whole network of ImageNet


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_mediapipe_and_kt_agree_on_mobilenet_v2_with_its_thousand_classes(tmp_path, variant):
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5"
    weights, folder = Path.home() / ".keras" / "models" / name, PHOTOS / "clothing" / "test"
    if not weights.is_file() or not folder.is_dir():
        pytest.skip("the weights or the photos are not here")
    network = keras.applications.MobileNetV2(weights=str(weights))
    given = keras.Input((224, 224, 3), dtype="uint8", name="pixels")
    model = keras.Model(given, network(keras.layers.Rescaling(1 / 127.5, offset=-1.0)(given)))
    files = sorted(folder.rglob("*.jpg"))
    pixels = np.stack([resize(read_rgb(file), (224, 224)) for file in files[:: len(files) // 60][:60]])
    np.save(tmp_path / "pixels.npy", pixels)
    classes = tuple(f"class {index}" for index in range(1000))
    details = Details("mobilenet", classes, representative=tmp_path / "pixels.npy")
    made = TFLite(variant).make(model, tmp_path, details=details)
    expected = open_artifact(made).scores(pixels)
    assert len(set(expected.argmax(axis=1))) > 10
    with classifier(made) as asked:
        answers = [answer(asked, image) for image in pixels]
    np.testing.assert_allclose([in_order(categories) for categories in answers], expected, atol=1e-5)
    best = expected[range(len(expected)), [categories[0].index for categories in answers]]
    np.testing.assert_array_equal(best, expected.max(axis=1))


# -------------------------------------------------------------------------------------------------- the command line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--labels", "de"], "Cannot take labels from 'de': write it as de=labels_de.txt."),
        (["--labels", "de=absent.txt"], "Cannot read the labels in absent.txt: No such file or directory."),
        (["--labels", "German=pictures.txt"], "'German' is no locale; write it as 'de' or 'pt-BR'."),
        (["--labels", "de=pictures.txt"], "must be 3 lines in the order blue, green, red; there are 2."),
        (["--score-threshold", "50"], "A score threshold is above 0 and at most 1, such as 0.5, not 50.0."),
    ],
)
def test_kt_export_refuses_what_cannot_be_told_before_it_reads_a_picture(arguments, message, ran, kt_here):
    (ran.folder / "pictures.txt").write_text("rot\ngrün\n", encoding="utf-8")
    done = kt_here("export", "runs/tiny/LATEST", *arguments, cwd=ran.folder)
    assert (done.returncode, done.stdout) == (6, "")
    assert done.stderr.startswith("error: ") and done.stderr.endswith(f"{message}\n") and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_kt_export_tells_what_its_options_say_and_the_recipe_else(ran, tmp_path, kt_here):
    (tmp_path / "de.txt").write_text("blau\ngrün\nrot\n", encoding="utf-8")
    options = ["--labels", f"de={tmp_path / 'de.txt'}", "--author", "Me", "--score-threshold", "0.4"]
    saved = ["--saved-models", str(tmp_path), "--format", "tflite"]
    done = kt_here("export", "runs/tiny/LATEST", *options, *saved, cwd=ran.folder)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / "tiny" / "1" / "tiny_float32.tflite") as archive:
        assert archive.read("labels_de.txt").decode() == "blau\ngrün\nrot\n"
    told = metadata(tmp_path / "tiny" / "1" / "tiny_float32.tflite")
    assert (told.author, told.license, told.version) == (b"Me", None, b"1")
    assert told.description == b"A tiny network on pictures of one's own, for the tests."
    (unit,) = told.subgraphMetadata[0].outputTensorMetadata[0].processUnits
    assert unit.options.globalScoreThreshold == pytest.approx(0.4)


# ---------------------------------------------------------------------------------------------------- docs/phones.md


def test_the_listings_for_apps_are_twenty_lines_at_most():
    page = (REPOSITORY / "docs" / "phones.md").read_text(encoding="utf-8")
    listings = dict(re.findall(r"```(kotlin|swift)\n(.*?)```", page, re.DOTALL))
    assert {language: text.count("\n") <= 20 for language, text in listings.items()} == {"kotlin": True, "swift": True}
