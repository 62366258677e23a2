"""Two domains as one set of data: labels of the source to learn from, the target's for the figures at the end alone."""

from pathlib import Path

import numpy as np
import pytest
from conftest import make_folder
from PIL import Image, ImageOps

from kt.data import Domains, Folder, Records, Split, Unlabelled
from kt.errors import DataError, RecipeError
from kt.recipe import load
from kt.runs import exports as from_run
from kt.testing import check_source

REPOSITORY = Path(__file__).parent.parent


def folder(root, counts, **settings):
    return Folder(make_folder(root, counts), image_size=(16, 16), batch_size=8, **settings)


def mirror(root):
    for file in root.rglob("*.png"):
        with Image.open(file) as picture:
            ImageOps.mirror(picture).save(file)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A source, and a target whose pictures are mirrored, so that none is in both."""
    root = tmp_path_factory.mktemp("places")
    source = folder(root / "source", {"red": 20, "green": 20})
    target = folder(root / "target", {"red": 12, "green": 12})
    mirror(root / "target")
    return source, target


def test_the_target_s_labels_are_in_its_test_split_alone(places):
    source, target = places
    splits, own, away = Domains(source, target)(), source(), target()
    assert (splits.classes, splits.kind) == (own.classes, own.kind)
    np.testing.assert_array_equal(splits.train.examples, own.train.examples)
    np.testing.assert_array_equal(splits.validation.labels, own.validation.labels)
    np.testing.assert_array_equal(splits.test.examples, away.test.examples)
    np.testing.assert_array_equal(splits.test.labels, away.test.labels)
    part = splits.streams["target"]
    assert part.labels is None and len(part) == len(away.train) + len(away.validation)
    np.testing.assert_array_equal(part.examples[: len(away.train)], away.train.examples)
    assert "the test split is the target's, " in " ".join(splits.facts)
    check_source(Domains(source, target))


def test_without_labels_the_target_is_a_stream_and_test_is_the_source_s(places, capfd):
    source, target = places
    (target.root / "notes.txt").write_text("no picture")
    (target.root / "red" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for given in (str(target.root), Unlabelled(target.root)):
        splits = Domains(source, given)()
        assert len(splits.streams["target"]) == 24
        np.testing.assert_array_equal(splits.test.examples, source().test.examples)
        told = capfd.readouterr().err
        assert "its figures say nothing about the target" in told
        assert "broken.png" in told and "1 of 25 pictures" in told
    (target.root / "red" / "broken.png").unlink()


def test_exports_are_calibrated_and_compared_on_the_target_s_pictures_too_whose_labels_nobody_has(places):
    source, target = places
    splits = Domains(source, str(target.root))()
    examples, labels = from_run._learned_from(splits)
    own, there = len(splits.train), splits.streams["target"].examples
    assert len(examples) == own + len(there)
    assert labels[:8].tolist()[1::2] == [from_run.UNLABELLED] * 4 and min(labels[:8:2]) >= 0, "they take turns"
    assert {each.tobytes() for each in examples[labels == from_run.UNLABELLED]} == {each.tobytes() for each in there}
    np.testing.assert_array_equal(from_run._learned_from(source())[1], from_run.representative(splits.train).labels)


def test_classes_of_the_target_are_the_source_s_in_any_spelling_and_in_its_order(tmp_path):
    source = folder(tmp_path / "a", {"red": 20, "green": 20, "blue": 20})
    target = folder(tmp_path / "b", {"blue": 8, "red": 8})
    for label in ("blue", "red"):
        (tmp_path / "b" / label).rename(tmp_path / "b" / f" {label.upper()}")
    mirror(tmp_path / "b")
    splits = Domains(source, target)()
    assert splits.classes == ("blue", "green", "red")
    assert set(splits.test.labels.tolist()) == {0, 2}
    assert any("the target has no picture of green" in fact for fact in splits.facts)


def test_a_picture_of_both_domains_is_left_out_of_the_source(tmp_path):
    source, target = folder(tmp_path / "a", {"red": 20, "green": 20}), folder(tmp_path / "b", {"red": 4, "green": 4})
    splits = Domains(source, target)()
    learned = {example.tobytes() for part in (splits.train, splits.validation) for example in part.examples}
    seen = {example.tobytes() for example in [*splits.streams["target"].examples, *splits.test.examples]}
    assert not learned & seen
    assert any("of the source are in the target too" in note for note in splits.notes)
    with pytest.raises(DataError, match="hold the same pictures: nothing is left"):
        Domains(source, source)()


def test_domains_that_do_not_go_together_are_told(tmp_path, places):
    source, _ = places
    other = Folder(make_folder(tmp_path / "a", {"red": 8, "green": 8}), image_size=(24, 16))
    with pytest.raises(DataError, match="16x16 px, and the target pictures, 24x16 px"):
        Domains(source, other)()
    with pytest.raises(DataError, match="The target has the class 'blue', which the source lacks; the source has"):
        Domains(source, folder(tmp_path / "b", {"blue": 8, "green": 8}))()
    with pytest.raises(DataError, match=r"There is no .*nowhere; expected pictures without labels"):
        Domains(source, tmp_path / "nowhere")()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"There are no pictures that can be read in .*empty"):
        Domains(source, tmp_path / "empty")()
    with pytest.raises(RecipeError, match="target must be a data source, Unlabelled"):
        Domains(source, 5)


def test_rows_of_tables_are_domains_too(tmp_path):
    def table(name, shift):
        kinds = [("red", "good"), ("green", "bad")]
        rows = [f"{shift + place / 7:.3f},{','.join(kinds[place % 2])}" for place in range(40)]
        (tmp_path / name).write_text("\n".join(["width,colour,label", *rows]))
        return tmp_path / name

    source = Records(table("a.csv", 0))
    splits = Domains(source, table("b.csv", 100))()
    assert splits.streams["target"].examples.shape == (40, 2)
    assert splits.streams["target"].examples[0, 0] == 100


def test_the_other_camera_of_the_recipe_sees_the_same_things_otherwise_and_always_the_same():
    camera = type(load(REPOSITORY / "recipes" / "apples_adapted.py").recipe.data.target)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype(np.uint8)
    drawn = Split(pixels, np.array([0, 1, 0]), ("a", "b", "c"), ("a", "b", "c"))
    seen = camera()._photographed(drawn, 0)
    assert seen.examples.dtype == np.uint8 and seen.labels.tolist() == [0, 1, 0] and seen.names == drawn.names
    means = seen.examples.mean(axis=(0, 1, 2))
    assert means[2] < 0.7 * means[0] and means[0] < 0.9 * pixels.mean(), "yellow and dark"
    np.testing.assert_array_equal(seen.examples, camera()._photographed(drawn, 0).examples)
    plain = camera(yellow=0.0, dark=1.0, blur=0.0, noise=0.0)._photographed(drawn, 0)
    assert np.abs(plain.examples.astype(int) - pixels).max() <= 1
