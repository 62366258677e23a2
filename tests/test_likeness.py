"""kt.learnability.likeness: whether the test examples look like those of train, as far as features tell."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from conftest import make_folder
from PIL import Image, ImageEnhance
from test_scarcity import PROBE_RECIPE

from kt.kinds.pictures.kind import Pictures
from kt.learnability import Scarcity
from kt.learnability.features import Known
from kt.learnability.likeness import ALARM, LISTED, Likeness, likeness

CENTRES = np.random.default_rng(5).normal(0, 2, (3, 8))


def drawn(counts, *, seed, moved=0.0, frames=1):
    """Features of three classes; frames: how many examples show one thing, and differ by a tenth of the spread."""
    random = np.random.default_rng(seed)
    labels = np.repeat([0, 1, 2], counts)
    things = CENTRES[labels] + random.normal(0, 1, (len(labels), 8)) + moved
    rows = np.repeat(things, frames, axis=0) + random.normal(0, 0.1, (frames * len(labels), 8)) * (frames > 1)
    groups = np.repeat([f"thing {place}" for place in range(len(labels))], frames)
    return Known(rows.astype(np.float32), np.repeat(labels, frames), groups)


def compared(known, test):
    return likeness(known, test, [f"test {place}" for place in range(len(test.labels))], seed=0)


def test_of_random_splits_no_more_than_the_promised_share_is_said_to_differ():
    found = [compared(drawn((14, 14, 14), seed=2 * seed), drawn((7, 7, 7), seed=2 * seed + 1)) for seed in range(40)]
    assert ALARM == 0.01
    assert {each.test for each in found} == {21} and all(20 <= each.train <= 42 for each in found)
    assert sum(each.verdict == "differ" for each in found) <= 3, "more would come by chance once in 1,500 times"
    # A little below 0.5: what is held out pulls the means of the rest the other way.
    assert 0.35 < np.mean([each.auc for each in found]) < 0.55


def test_test_pictures_that_look_otherwise_are_found_and_the_furthest_are_named():
    test = drawn((20, 20, 20), seed=2, moved=1.0)
    test.features[7] += 30
    found = compared(drawn((40, 40, 40), seed=1), test)
    assert found.verdict == "differ" and found.p <= ALARM
    assert 0.6 < found.interval[0] < found.auc < found.interval[1]
    assert found.most_unlike[0] == "test 7" and len(found.most_unlike) == LISTED
    warning = found.warning(Pictures((8, 8)))
    assert warning.startswith(f"the test pictures look otherwise than the training pictures: {'a classifier'}")
    assert f"AUC {found.auc:.2f}" in warning


def test_other_shares_of_the_classes_alone_are_no_difference():
    found = compared(drawn((60, 60, 10), seed=1), drawn((5, 25, 40), seed=2))
    assert found.verdict == "alike" and found.warning(Pictures((8, 8))) == ""
    assert found.train == found.test and 35 <= found.test <= 45, "of each class as many on both sides"
    assert found.most_unlike == ()


@pytest.mark.parametrize(("moved", "large"), [(0.6, False), (4.0, True)])
def test_a_difference_is_large_if_a_classifier_is_nearly_always_right(moved, large):
    found = compared(drawn((40, 40, 40), seed=1), drawn((20, 20, 20), seed=2, moved=moved))
    assert found.differ and found.large == large, found.auc


def test_frames_of_one_thing_count_once():
    """With a hundred frames of three things each side differs for sure, and nothing follows from it."""
    found = compared(drawn((1, 1, 1), seed=1, frames=100), drawn((1, 1, 1), seed=2, frames=100))
    assert (found.verdict, found.p, found.auc, found.train, found.test) == ("too few to tell", None, None, 3, 3)
    many = compared(drawn((20, 20, 20), seed=1, frames=5), drawn((20, 20, 20), seed=2, frames=5))
    assert many.verdict == "alike" and 50 <= many.test <= many.train <= 60


def test_no_label_of_test_is_used():
    known, test = drawn((40, 40, 40), seed=1), drawn((20, 20, 20), seed=2, moved=1.0)
    assert compared(known, test) == compared(known, replace(test, labels=np.zeros_like(test.labels)))


def test_a_run_whose_test_was_photographed_in_the_dark_says_so_and_is_less_sure(tmp_path, kt_ends, monkeypatch):
    make_folder(tmp_path / "all", {"red": 64, "green": 64})
    for label in ("red", "green"):
        for number, file in enumerate(sorted((tmp_path / "all" / label).iterdir())):
            place = tmp_path / "pictures" / ("test" if number < 24 else "train") / label / file.name
            place.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(file) as picture:
                (ImageEnhance.Brightness(picture).enhance(0.2) if number < 24 else picture).save(place)
    (tmp_path / "tiny.py").write_text(PROBE_RECIPE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    code, _, err = kt_ends("run", "tiny.py", "--set", "export=")
    report = json.loads((tmp_path / "runs" / "tiny" / "LATEST" / "report.json").read_text(encoding="utf-8"))
    assert code == 0 and "the test pictures look otherwise than the training pictures" in err
    assert report["likeness"]["verdict"] == "differ" and report["likeness"]["auc"] > 0.9
    assert report["calibration"]["raised"] == report["calibration"]["temperature"] == 1.25
    assert any("look otherwise" in note for note in report["notes"])
    assert set(report["likeness"]["most_unlike"]) <= {
        f"test/{label}/{n:03d}.png" for label in ("red", "green") for n in range(24)
    }


def test_it_is_the_same_after_json():
    for test in (drawn((20, 20, 20), seed=2, moved=1.0), drawn((1, 1, 1), seed=2)):
        found = compared(drawn((40, 40, 40), seed=1), test)
        assert Likeness.from_json(json.loads(json.dumps(asdict(found)))) == found


def test_what_an_earlier_kt_kept_has_no_comparison():
    told = asdict(Scarcity(few_pictures=("few",)))
    del told["likeness"]
    assert Scarcity.from_json(told) == Scarcity(few_pictures=("few",))
