import hashlib
import os
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pytest

from kt.base.cache import cache_home
from kt.errors import EnvironmentProblem, RecipeError
from kt.samples.apples import collection
from kt.samples.apples.collection import CLASSES, COUNTS, KNOWN, UNSEEN, VARIETIES, apples
from kt.samples.apples.render import DEFECTS, draw_apple
from kt.samples.apples.source import Apples

HASHED = """
import hashlib
from kt.samples.apples.source import apples
print(hashlib.sha256(b"".join(apple.drawn(3).tobytes() for apple in apples("train")[:4])).hexdigest())
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A cache of its own."""
    monkeypatch.setenv("KT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def few(home, monkeypatch):
    """Twenty pictures instead of 600, in a cache of their own."""
    for split, count in {"train": 10, "validation": 4, "test": 6}.items():
        monkeypatch.setitem(collection.COUNTS, split, count)
    return home


def records(home, seed=0):
    folder = home / "tfds" / "kt_apples" / f"seed_{seed}"
    return sorted(folder.glob("*/*.tfrecord*"))


@pytest.mark.parametrize("variety", KNOWN + UNSEEN, ids=lambda variety: variety.name)
def test_a_seed_gives_the_same_bytes_again_and_another_seed_another_apple(variety):
    picture = draw_apple(7, variety, "rot")
    assert picture.shape == (256, 256, 3) and picture.dtype == np.uint8
    assert np.array_equal(picture, draw_apple(7, variety, "rot"))
    assert np.abs(picture.astype(int) - draw_apple(8, variety, "rot")).mean() > 5


def test_what_a_killed_rendering_left_is_removed_after_a_day(few):
    place = few / "tfds" / "kt_apples" / "seed_0"
    for name, age in (("old", 2 * 86400), ("new", 60)):
        left = place / f"incomplete.{name}_1.0.0"
        left.mkdir(parents=True)
        os.utime(left, (time.time() - age,) * 2)
    Apples(image_size=(32, 32))()
    assert [path.name for path in place.glob("incomplete*")] == ["incomplete.new_1.0.0"]


def test_another_process_draws_the_same_bytes():
    here = hashlib.sha256(b"".join(apple.drawn(3).tobytes() for apple in apples("train")[:4])).hexdigest()
    there = subprocess.run([sys.executable, "-c", HASHED], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_changes_the_apple_and_nothing_but_a_part_of_it(defect):
    for seed in range(6):
        sound, spoilt = draw_apple(seed, KNOWN[seed], None).astype(int), draw_apple(seed, KNOWN[seed], defect)
        changed = (np.abs(sound - spoilt).max(axis=-1) > 24).mean()
        assert 0.0005 < changed < 0.4, f"seed {seed}: {changed:.4f} of the picture"


def test_an_apple_stands_out_from_the_picture_in_every_pose():
    for seed in range(12):
        red, green, blue = np.moveaxis(draw_apple(seed, KNOWN[7], None).astype(int), -1, 0)
        assert ((red > 1.5 * green) & (red > 1.5 * blue)).mean() > 0.1, f"seed {seed}"


def test_classes_are_sorted_and_balanced_and_every_defect_is_in_every_split():
    assert list(CLASSES) == sorted(CLASSES)
    for split, count in COUNTS.items():
        plan = apples(split)
        assert Counter(apple.label for apple in plan) == {"bad": count // 2, "good": count // 2}
        defects = Counter(apple.defect for apple in plan if apple.defect)
        assert set(defects) == set(DEFECTS) and max(defects.values()) == min(defects.values())


def test_test_holds_only_varieties_that_train_never_sees():
    seen = {split: {apple.variety.name for apple in apples(split)} for split in COUNTS}
    assert not seen["test"] & (seen["train"] | seen["validation"])
    assert seen["validation"] < seen["train"]
    assert seen == {split: {variety.name for variety in varieties} for split, varieties in VARIETIES.items()}


def test_good_and_bad_hold_the_same_varieties():
    for split in COUNTS:
        names = Counter((apple.label, apple.variety.name) for apple in apples(split))
        assert all(names["bad", variety.name] == names["good", variety.name] for variety in VARIETIES[split])


def test_the_splits_say_that_they_are_rendered_and_what_each_picture_is(few):
    splits = Apples(image_size=(48, 64), batch_size=5)()
    assert splits.rendered and "rendered by kt" in splits.origin and "not photos" in splits.origin
    assert splits.batch_size == 5 and splits.kind.image_size == (48, 64) and splits.classes == ("bad", "good")
    assert [len(part) for part in splits.parts().values()] == [10, 4, 6]
    for split, part in splits.parts().items():
        for name, label in zip(part.names, part.labels, strict=True):
            assert name.startswith(f"{split}/{splits.classes[label]}/")
            assert name.endswith(")") == (splits.classes[label] == "bad")
        assert part.groups == part.names and part.files is None and part.examples.dtype == np.uint8
    every = [name for part in splits.parts().values() for name in part.names]
    assert len(set(every)) == len(every)


def test_what_is_read_back_is_what_was_drawn(few):
    train = Apples(image_size=(256, 256))().train
    drawn = [apple.drawn(0) for apple in apples("train")]
    assert np.array_equal(train.examples, np.stack(drawn))
    assert train.names[1].endswith(f"({apples('train')[1].defect})")


def test_the_pictures_are_rendered_once_and_read_afterwards(few, capfd):
    first = Apples(image_size=(32, 32))()
    said = capfd.readouterr()
    assert said.err.count("rendering 20 apples") == 1
    assert "tfds" not in said.out and not said.out
    stamps = [path.stat().st_mtime_ns for path in records(few)]
    second = Apples(image_size=(32, 32))()
    assert "rendering" not in capfd.readouterr().err
    assert [path.stat().st_mtime_ns for path in records(few)] == stamps and len(stamps) == 3
    assert second.digest == first.digest


def test_the_digest_is_of_the_pictures_and_not_of_the_size_they_are_read_at(few):
    small, large, other = Apples(image_size=(32, 32))(), Apples(image_size=(64, 64))(), Apples(seed=1)()
    assert small.digest == large.digest != other.digest
    assert records(few, seed=0) and records(few, seed=1)


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "missing", "no metadata"])
def test_a_damaged_set_is_rendered_again_and_said_so(few, capfd, damage):
    whole = Apples(image_size=(32, 32))()
    victim = records(few)[0]
    content = victim.read_bytes()
    if damage == "missing":
        victim.unlink()
    elif damage == "no metadata":
        (victim.parent / "dataset_info.json").write_text("{")
    else:
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]
        victim.write_bytes({"truncated": content[:middle], "empty": b"", "flipped": flipped}[damage])
    capfd.readouterr()
    again = Apples(image_size=(32, 32))()
    said = capfd.readouterr().err
    assert "are damaged" in said and "rendering them again" in said
    assert again.digest == whole.digest
    assert Apples(image_size=(32, 32))().digest == whole.digest and "damaged" not in capfd.readouterr().err


def test_an_interrupted_rendering_leaves_nothing_that_is_taken_for_the_set(few, monkeypatch):
    drawn = collection.Apple.drawn

    def interrupted(apple, seed):
        if apple.split == "test":
            raise KeyboardInterrupt
        return drawn(apple, seed)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(collection.Apple, "drawn", interrupted)
        Apples(image_size=(32, 32))()
    assert not records(few)
    assert len(Apples(image_size=(32, 32))().test) == 6


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image_size": (0, 224)}, "image_size must be from 8"),
        ({"image_size": (224, 224, 3)}, "image_size"),
        ({"batch_size": 0}, "batch_size must be from 1"),
        ({"batch_size": "32"}, "batch_size"),
        ({"seed": -1}, "seed must be 0 or more, not -1"),
        ({"seed": 1.5}, "seed"),
    ],
)
def test_fields_that_cannot_be_right_are_refused_before_anything_is_drawn(fields, message):
    with pytest.raises(RecipeError, match=message):
        Apples(**fields)


def test_kt_home_is_made_where_the_user_says(home):
    assert cache_home() == home and home.is_dir()


def test_a_cache_that_cannot_be_made_is_one_clear_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KT_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(EnvironmentProblem, match=r"can't use its cache directory .*Set KT_HOME"):
        Apples()()


def test_a_cache_that_cannot_be_written_to_is_one_clear_line(few):
    few.mkdir()
    (few / "tfds").write_text("in the way")
    with pytest.raises(EnvironmentProblem, match=r"can't be written to .*Set KT_HOME"):
        Apples()()


@pytest.mark.slow
def test_a_color_histogram_does_not_tell_good_from_bad(home):
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import balanced_accuracy_score

    def histograms(pixels):
        bins = (pixels // 32).astype(int) @ np.array([64, 8, 1])
        return np.stack([np.bincount(image.ravel(), minlength=512) for image in bins])

    splits = Apples()()
    assert {split: len(part) for split, part in splits.parts().items()} == COUNTS
    forest = RandomForestClassifier(300, random_state=0).fit(histograms(splits.train.examples), splits.train.labels)
    guessed = forest.predict(histograms(splits.test.examples))
    assert balanced_accuracy_score(splits.test.labels, guessed) < 0.75
