"""Checks that ask a network, of very many pictures: some at a time, none twice, and what was not looked at is said."""

import hashlib
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from kt.checkup import by_features, of_files
from kt.checkup.by_features import RUN, ByFeatures, SeenByNetwork, runs_of
from kt.checkup.features import Features, features_of, probe_network
from kt.checkup.of_files import features_of_files
from kt.checkup.things import find_things
from kt.data.items import Item
from kt.data.reading import read_pictures
from kt.errors import DataError
from kt.frozen.store import Store
from kt.kinds.pictures.kind import Pictures

SIZE = (32, 32)


def tiny(include_top, weights, input_shape):
    inputs = x = keras.Input(input_shape)
    for block in (1, 2):
        x = keras.layers.Conv2D(4 * block, 3, padding="same", activation="relu", name=f"block_{block}_conv")(x)
    return keras.Model(inputs, x, name="tiny")


tiny.preprocessing = "scale -1..1"


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return probe_network(Pictures(SIZE), backbone=tiny, weights="none")


@pytest.fixture
def files(tmp_path: Path, monkeypatch) -> list[Path]:
    monkeypatch.setenv("KT_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(of_files, "AT_ONCE", 4)
    random = np.random.default_rng(0)
    (tmp_path / "a").mkdir()
    made = [tmp_path / "a" / f"{number:02d}.png" for number in range(22)]
    for file in made:
        Image.fromarray(random.integers(0, 256, (20, 30, 3), np.uint8)).save(file)
    return made


def asked_of(network, files: list[Path], place: Path | None, **changes):
    items = [Item(file, "a", file.name, group=file.name) for file in files]
    contents = [hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else "0" * 64 for file in files]
    given = {"image_size": SIZE, "deep": [False] * len(files), "place": place} | changes
    return features_of_files(network, items, contents, **given)


def no_reading(*_given, **_named):
    raise AssertionError("a picture was decoded")


# ------------------------------------------------------------------------------------------------------------ features


def test_they_are_those_of_the_pixels_and_the_next_time_no_picture_is_decoded(network, files, tmp_path, monkeypatch):
    found = asked_of(network, files, tmp_path / "known")
    items = [Item(file, "a", file.name, group=file.name) for file in files]
    (expected,) = features_of(network, [read_pictures(items, SIZE).pixels])
    np.testing.assert_array_equal(found.features.all(), expected.all())
    assert found.features.depths == expected.depths
    assert found.places.tolist() == list(range(22))
    monkeypatch.setattr(of_files, "read_pictures", no_reading)
    renamed = [file.rename(file.with_name(f"x{file.name}")) for file in files]
    again = asked_of(network, renamed[::-1], tmp_path / "known")
    np.testing.assert_array_equal(again.features.all(), expected.all()[::-1])
    assert asked_of(network, renamed, tmp_path / "known").key == found.key != again.key


def test_those_of_very_many_pictures_lie_apart_from_those_of_other_sets(network, files, tmp_path, monkeypatch):
    asked_of(network, files[:5], tmp_path / "few")
    monkeypatch.setattr(of_files, "MANY", 10)
    asked_of(network, files, tmp_path / "many")
    monkeypatch.setattr(of_files, "read_pictures", no_reading)
    assert len(asked_of(network, files, tmp_path / "many").places) == 22
    folders = sorted((tmp_path / "cache" / "features").iterdir())
    assert [folder.name[40:] for folder in folders] == ["", "-many"]
    assert [sum(len(np.load(file)) for file in folder.glob("*.npy")) for folder in folders] == [5, 22]


def test_what_was_done_before_an_interruption_is_kept(network, files, tmp_path, monkeypatch):
    read: list[str] = []

    def counted(items, *given, **named):
        read.extend(item.name for item in items)
        if len(read) > 12:
            raise KeyboardInterrupt
        return read_pictures(items, *given, **named)

    monkeypatch.setattr(of_files, "read_pictures", counted)
    with pytest.raises(KeyboardInterrupt):
        asked_of(network, files, tmp_path / "known")
    read.clear()
    monkeypatch.setattr(
        of_files, "read_pictures", lambda *a, **n: (read.extend(i.name for i in a[0]), read_pictures(*a, **n))[1]
    )
    found = asked_of(network, files, tmp_path / "known")
    assert len(found.places) == 22
    assert 0 < len(read) < 22
    assert "00.png" not in read


def test_files_that_vanish_have_no_features_and_the_others_do(network, files, tmp_path):
    whole = asked_of(network, files, None).features.all()
    for number in (0, 1, 2, 3, 9):
        files[number].unlink()
    found = asked_of(network, files, tmp_path / "known")
    left = [number for number in range(22) if number not in (0, 1, 2, 3, 9)]
    assert found.places.tolist() == left
    np.testing.assert_array_equal(found.features.all(), whole[left])
    for file in files:
        file.unlink(missing_ok=True)
    with pytest.raises(DataError, match="can be read any more"):
        asked_of(network, files, None)


def test_a_full_disk_means_that_features_are_held_in_memory(network, files, tmp_path, monkeypatch, capsys):
    expected = asked_of(network, files, None).features.all()
    monkeypatch.setenv("KT_HOME", str(tmp_path / "other"))
    writer = Store.writer

    def full(self, count):
        if self.on_disk:
            raise OSError(28, "No space left on device")
        return writer(self, count)

    monkeypatch.setattr(Store, "writer", full)
    found = asked_of(network, files, tmp_path / "known")
    np.testing.assert_array_equal(found.features.all(), expected)
    assert "not kept for the next time: No space left on device" in capsys.readouterr().err


def test_pictures_of_16_bits_are_scaled_by_the_range_of_all_of_them(network, files, tmp_path, monkeypatch):
    random = np.random.default_rng(1)
    for number, file in enumerate(files):
        Image.fromarray(random.integers(0, 200 * (number + 1), (20, 30), np.uint16)).save(file)
    items = [Item(file, "a", file.name, group=file.name) for file in files]
    (expected,) = features_of(network, [read_pictures(items, SIZE).pixels])
    deep = [True] * len(files)
    found = asked_of(network, files, tmp_path / "known", deep=deep)
    np.testing.assert_array_equal(found.features.all(), expected.all())
    monkeypatch.setattr(of_files, "read_pictures", no_reading)
    monkeypatch.setattr(of_files, "value_range_among", no_reading)
    again = asked_of(network, files, tmp_path / "known", deep=deep)
    np.testing.assert_array_equal(again.features.all(), expected.all())


# ------------------------------------------------------------------------------------------------------------- answers


def a_set(number: int, *, seed: int = 0) -> SeenByNetwork:
    """Features of three classes, in which each picture has a twin that follows it by name; one label in 50 is wrong."""
    random = np.random.default_rng(seed)
    labels = (np.arange(number) // 2) % 3
    centres = random.normal(0, 1, (3, 40))
    things = centres[labels] + random.normal(0, 0.4, (number // 2, 40)).repeat(2, axis=0)
    rows = np.maximum(0, 3 + things + random.normal(0, 0.03, (number, 40))).astype(np.float32)
    given = labels.copy()
    given[::50] = (given[::50] + 1) % 3
    names = [f"{place:05d}.jpg" for place in range(number)]
    return SeenByNetwork(
        Features(rows, (("all", 30), ("top", 10))),
        given,
        [str(place) for place in range(number)],
        names,
        [None] * number,
        np.full(number, np.nan),
        ("a", "b", "c"),
        (1.0,),
        Pictures(SIZE),
        seed,
    )


def kinds(found: ByFeatures) -> set[str]:
    return {finding.kind for finding in found.findings}


def test_runs_are_whole_and_follow_each_other_by_name():
    names = [f"{place:05d}" for place in np.random.default_rng(0).permutation(1000)]
    some = runs_of(names, most=5 * RUN, seed=0)
    assert 4 * RUN < len(some) <= 5 * RUN
    assert len(set(some.tolist())) == len(some)
    in_order = np.sort(np.array([int(names[place]) for place in some]))
    assert (np.diff(in_order) == 1).mean() > 0.95  # all but the gaps between the runs
    assert runs_of(names, most=1000, seed=0).tolist() == list(range(1000))


def test_of_more_pictures_than_are_compared_runs_are_and_that_is_said(monkeypatch):
    data = a_set(600)
    whole = data.answers("", None)
    assert "group" in kinds(whole)
    assert whole.left_out == ()
    monkeypatch.setattr(by_features, "COMPARED", 3 * RUN)
    part = data.answers("", None)
    assert "group" in kinds(part)
    (said,) = part.left_out
    assert said.startswith("groups among 4")
    assert "of 600 pictures" in said
    assert len([each for each in part.findings if each.kind == "group"]) < len(
        [each for each in whole.findings if each.kind == "group"]
    )


def test_labels_of_parts_are_judged_as_those_of_the_whole(monkeypatch):
    data = replace(a_set(1200), groups=[str(place // 2) for place in range(1200)])
    wrong = {f"{place:05d}.jpg" for place in range(0, 1200, 50)}

    def listed() -> set[str]:
        return {each.items[0] for each in data.answers("", None).findings if each.kind == "label_error"}

    whole = listed()
    assert len(whole & wrong) >= 0.9 * len(wrong)
    monkeypatch.setattr(by_features, "CELLS", 1200)
    parts = listed()
    assert len(parts & wrong) >= 0.8 * len(wrong)
    assert len(parts - wrong) <= 3


def test_answers_are_kept_until_anything_changes_that_they_depend_on(tmp_path, monkeypatch):
    data, calls = a_set(400), []
    monkeypatch.setattr(
        by_features, "find_things", lambda *given, **named: (calls.append(1), find_things(*given, **named))[1]
    )
    first = data.answers(data.key("network"), tmp_path)
    assert data.answers(data.key("network"), tmp_path) == first
    assert len(calls) == 1
    for changed in (
        replace(data, labels=(data.labels + 1) % 3),
        replace(data, names=[f"x{name}" for name in data.names]),
        replace(data, groups=["0", *data.groups[:-1]]),
        replace(data, seed=1),
    ):
        assert changed.key("network") != data.key("network")
    assert data.key("other") != data.key("network")
    assert data.key("") == ""
