"""How folders are laid out: splits by other names, wrappers, classes that vanish, and what lies beside them."""

import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kt.cli.new import count_pictures
from kt.data import Folder, Splits
from kt.errors import DataError

SIZE = (16, 16)


def make(root: Path, counts: dict[str, int], *, first: int = 0) -> Path:
    """`counts` pictures in each folder below `root`, no two alike."""
    seed = first
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            small = np.random.default_rng(seed := seed + 1).integers(0, 256, (6, 6, 3), np.uint8)
            image = Image.fromarray(small).resize((24, 24), Image.Resampling.BICUBIC)
            image.save(root / folder / f"{index:03d}.png")
    return root


def load(root: Path, **fields: object) -> Splits:
    return Folder(root, image_size=SIZE, **fields)()  # type: ignore[arg-type]


def tops(splits: Splits) -> dict[str, set[str]]:
    """The outermost folders that each split's pictures come from."""
    return {name: {one.split("/")[0] for one in part.names} for name, part in splits.parts().items()}


def facts(splits: Splits) -> str:
    return "\n".join(splits.facts)


def notes(splits: Splits) -> str:
    return "\n".join(splits.notes)


def classes_in(*splits: str, count: int = 6) -> dict[str, int]:
    return {f"{split}/{label}": count for split in splits for label in ("cat", "dog")}


# ------------------------------------------------------------------------------------------------ splits


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Training", "Testing"),
        ("train_images", "test_images"),
        ("seg_train", "seg_test"),
        ("01_train", "02_holdout"),
        ("images-train", "images-test"),
        ("trn", "tst"),
        ("TRAIN", "EVAL"),
    ],
)
def test_train_and_test_by_other_names_are_splits_and_no_classes(tmp_path: Path, train: str, test: str) -> None:
    splits = load(make(tmp_path, classes_in(train, test)))
    assert splits.classes == ("cat", "dog")
    assert tops(splits) == {"train": {train}, "validation": {train}, "test": {test}}
    assert facts(splits) == f"splits: {train}/ is train, {test}/ is test; validation is drawn from train"


def test_dev_is_validation_and_test_is_drawn_from_train(tmp_path: Path) -> None:
    splits = load(make(tmp_path, classes_in("train", "dev")))
    assert tops(splits) == {"train": {"train"}, "validation": {"dev"}, "test": {"train"}}
    assert facts(splits) == "splits: train/ is train, dev/ is validation; test is drawn from train"


def test_evaluation_beside_a_test_is_validation(tmp_path: Path) -> None:
    splits = load(make(tmp_path, classes_in("train", "eval", "test", count=3)))
    assert tops(splits) == {"train": {"train"}, "validation": {"eval"}, "test": {"test"}}


def test_splits_below_each_class_are_taken_too(tmp_path: Path) -> None:
    splits = load(make(tmp_path, {f"{label}/{part}": 5 for label in ("cat", "dog") for part in ("Train", "test")}))
    assert splits.classes == ("cat", "dog")
    assert {name.split("/")[1] for name in splits.test.names} == {"test"}
    assert {name.split("/")[1] for name in (*splits.train.names, *splits.validation.names)} == {"Train"}


def test_splits_below_some_classes_alone_are_an_error(tmp_path: Path) -> None:
    make(tmp_path, {"cat/train": 4, "cat/test": 4, "dog/train": 4, "dog/test": 4, "cow": 4})
    with pytest.raises(DataError, match=r"hold splits and cow/ does not: cat/\{test/, train/\}, cow/ \(4 pictures\)"):
        load(tmp_path)


def test_each_split_may_have_a_wrapper_of_its_own(tmp_path: Path) -> None:
    splits = load(make(tmp_path, classes_in("seg_train/seg_train", "seg_test/seg_test")))
    assert splits.classes == ("cat", "dog")
    assert tops(splits)["test"] == {"seg_test"}


def test_a_test_without_class_folders_is_told_and_test_is_drawn(tmp_path: Path) -> None:
    splits = load(make(tmp_path, {**classes_in("train"), "test": 7}))
    assert tops(splits)["test"] == {"train"}
    assert "test/ holds 7 pictures and no class folders, so nothing says what they show; it is not read" in notes(
        splits
    )


def test_what_lies_beside_splits_and_classes_is_counted_and_told(tmp_path: Path) -> None:
    splits = load(make(tmp_path, {**classes_in("train", "test"), "unlabelled": 5, "train": 2}))
    assert "unlabelled/ lies beside the splits and is not read (5 pictures)" in notes(splits)
    assert "2 pictures lie beside the class folders and are not read" in notes(splits)
    assert sum(map(len, splits.parts().values())) == 24


def test_two_folders_for_one_split_are_an_error_that_shows_them(tmp_path: Path) -> None:
    make(tmp_path, classes_in("train", "val", "dev", count=2))
    message = r"has dev/ and val/ for one split, validation: dev/\{cat/, dog/\}, .*at most one each of train/"
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_splits_without_class_folders_are_never_trained_as_classes(tmp_path: Path) -> None:
    make(tmp_path, {"Training": 6, "Testing": 6})
    with pytest.raises(DataError, match=r"Testing/ and Training/ of .* named like splits, and have no class folders"):
        load(tmp_path)


@pytest.mark.parametrize(
    "outer",
    [
        ("batch1", "batch2"),
        ("fold_0", "fold_1", "fold_2"),
        ("2021", "2022"),
        ("site A", "site B"),
        ("0", "1"),
        ("summer", "winter"),
        ("train", "extra"),
        ("val", "test"),
    ],
)
def test_folders_that_each_hold_all_classes_are_an_error_and_no_classes(tmp_path: Path, outer: tuple[str, ...]) -> None:
    root = make(tmp_path, classes_in(*outer, count=3))
    for read in (load, count_pictures):
        with pytest.raises(DataError, match=r"not clear which folders .*\{cat/, dog/\}.*Name splits train/.*group_by"):
            read(root)


@pytest.mark.parametrize("inner", [("2021", "2022"), ("plant_00", "plant_01"), ("front", "side"), ("part1", "part2")])
def test_folders_below_classes_that_sort_or_count_leave_the_outer_ones_classes(
    tmp_path: Path, inner: tuple[str, ...]
) -> None:
    splits = load(make(tmp_path, {f"{label}/{name}": 4 for label in ("healthy", "sick") for name in inner}))
    assert splits.classes == ("healthy", "sick")


def test_group_by_says_that_the_outer_folders_are_the_classes(tmp_path: Path) -> None:
    make(tmp_path, {f"{label}/{name}": 4 for label in ("healthy", "sick") for name in ("leaf", "stem", "root")})
    with pytest.raises(DataError, match="not clear"):
        load(tmp_path)
    for group_by in ("none", "folder"):
        assert load(tmp_path, group_by=group_by).classes == ("healthy", "sick")


def test_a_train_is_a_vehicle_where_it_holds_pictures(tmp_path: Path) -> None:
    assert load(make(tmp_path, {"train": 5, "bus": 5, "car/test": 5})).classes == ("bus", "car", "train")


def test_classes_that_test_lacks_are_told_and_those_that_train_lacks_are_an_error(tmp_path: Path) -> None:
    splits = load(make(tmp_path / "less", {"Train/a": 5, "Train/b": 5, "Test/a": 2}))
    assert "test has no picture of b" in notes(splits)
    make(tmp_path / "more", {"train/a": 5, "train/b": 5, "test/a": 2, "test/c": 2, "test/d": 2})
    with pytest.raises(DataError, match=r"2 classes, 'c', 'd', have no picture in train"):
        load(tmp_path / "more")


# ------------------------------------------------------------------------------------------------ wrappers, classes


def test_wrappers_are_gone_through_and_told(tmp_path: Path) -> None:
    make(tmp_path, {"dataset/dataset/cat": 5, "dataset/dataset/dog": 5, "__MACOSX/dataset/cat": 5})
    (tmp_path / "licence.txt").touch()
    splits = load(tmp_path)
    assert splits.classes == ("cat", "dog")
    assert "dataset/dataset/ is read, since no pictures lie beside it" in facts(splits)
    assert "1 .txt (licence.txt)" in notes(splits)
    assert count_pictures(tmp_path) == {"cat": 5, "dog": 5}


def test_pictures_beside_class_folders_are_counted_and_told(tmp_path: Path) -> None:
    make(tmp_path, {"a": 5, "b": 5})
    (tmp_path / "x.png").write_bytes((tmp_path / "a" / "000.png").read_bytes())
    expected = "1 picture lies beside the class folders and is not read, for want of a class: x.png"
    assert expected in notes(load(tmp_path))


def test_all_classes_without_pictures_are_named_at_once(tmp_path: Path) -> None:
    make(tmp_path, {"a": 5, "b": 5, "c": 0, "d": 0, "notes": 0})
    (tmp_path / "d" / "drawing.svg").write_text("<svg/>")
    (tmp_path / "notes" / "today.txt").write_text("-")
    for read in (load, count_pictures):
        with pytest.raises(DataError, match=r"2 classes of .* have no picture: c/ \(empty\), d/ \(1 file"):
            read(tmp_path)


def test_all_classes_of_which_nothing_can_be_read_are_named_at_once(tmp_path: Path) -> None:
    make(tmp_path, {"a": 5, "b": 5, "c": 0, "d": 0})
    for name in ("c", "d"):
        (tmp_path / name / "page.jpg").write_text("<html>")
    with pytest.raises(DataError, match=r"2 classes, 'c', 'd', have no picture that can be read .*; the first, c/page"):
        load(tmp_path)


def test_all_classes_that_are_too_small_are_named_at_once(tmp_path: Path) -> None:
    make(tmp_path, {"a": 9, "b": 2, "c": 1})
    message = "2 classes have too few independent pictures: 'b' 2, 'c' 1; 3 are needed for train, test"
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_spellings_of_one_class_are_merged_and_told_with_how_to_have_two(tmp_path: Path) -> None:
    make(tmp_path, {"healthy": 6, "Healthy": 4, "rust": 6})
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("this file system does not tell case apart")
    splits = load(tmp_path)
    assert splits.classes == ("healthy", "rust")
    assert "'Healthy' and 'healthy' are taken as one class, 'healthy'; rename a folder if they are two" in notes(splits)
    assert count_pictures(tmp_path) == {"healthy": 10, "rust": 6}


def test_the_two_ways_to_write_an_accent_are_one_class_over_splits(tmp_path: Path) -> None:
    forms = {form: unicodedata.normalize(form, "pêche") for form in ("NFC", "NFD")}
    make(tmp_path, {f"train/{forms['NFD']}": 5, "train/b": 5, f"test/{forms['NFC']}": 3, "test/b": 3})
    splits = load(tmp_path)
    assert splits.classes == ("b", forms["NFC"])
    assert Counter(splits.test.labels.tolist()) == {0: 3, 1: 3}
