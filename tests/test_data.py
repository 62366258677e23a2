"""Folders, tables and tensorflow-datasets become splits: nothing lost without a word, and nothing in two splits."""

import io
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from kt.data import Folder, Splits, Table, Tfds
from kt.data import splits as splits_of_data
from kt.data.items import Item
from kt.data.reading import read_pictures
from kt.data.sources import tfds as sources
from kt.errors import DataError, EnvironmentProblem, RecipeError

SIZE = (32, 32)


def picture(seed: int, side: int = 48) -> Image.Image:
    """A smooth picture that no other seed comes near."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)


def write(file: Path, seed: int) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    picture(seed).save(file)
    return file


def make(root: Path, counts: dict[str, int], *, first: int = 0) -> Path:
    """`counts` pictures in each folder below `root`, every one different."""
    seed = first
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            write(root / folder / f"{folder.replace('/', '_')}_{index:03d}.png", seed)
            seed += 1
    return root


def load(root: Path, **fields: object) -> Splits:
    return Folder(root, image_size=SIZE, **{"validation": 0.2, "test": 0.2, **fields})()  # type: ignore[arg-type]


def names(splits: Splits) -> dict[str, set[str]]:
    return {split: set(part.names) for split, part in splits.parts().items()}


def split_of(splits: Splits) -> dict[str, str]:
    return {name: split for split, part in splits.parts().items() for name in part.names}


def per_class(splits: Splits, split: str) -> dict[str, int]:
    return dict(Counter(splits.classes[label] for label in splits.parts()[split].labels))


def said(splits: Splits) -> str:
    return "\n".join(splits.notes)


# ------------------------------------------------------------------------------------------------ layouts


def test_one_folder_a_class_gives_sorted_classes_and_pictures_that_belong_to_their_labels(tmp_path: Path) -> None:
    splits = load(make(tmp_path, {"rust": 10, "healthy": 10, "Scab": 10}))
    assert splits.classes == ("Scab", "healthy", "rust")
    assert sum(map(len, splits.parts().values())) == 30
    for part in splits.parts().values():
        assert part.files is not None
        assert [splits.classes[label] for label in part.labels] == [name.split("/")[0] for name in part.names]
        assert [file.relative_to(tmp_path).as_posix() for file in part.files] == list(part.names)
        for pixels, file in zip(part.examples, part.files, strict=True):
            assert np.abs(pixels.astype(int) - np.asarray(Image.open(file).resize(SIZE))).mean() < 4
    assert splits.kind.image_size == SIZE
    assert splits.train.examples.dtype == np.uint8


def test_given_train_and_test_are_kept_and_validation_is_drawn_from_train(tmp_path: Path) -> None:
    splits = load(make(tmp_path, {"train/a": 10, "train/b": 10, "test/a": 3, "test/b": 4}))
    assert {name.split("/")[0] for name in splits.test.names} == {"test"}
    assert len(splits.test) == 7
    assert {name.split("/")[0] for name in (*splits.train.names, *splits.validation.names)} == {"train"}
    assert per_class(splits, "validation") == {"a": 2, "b": 2}


@pytest.mark.parametrize("validation", ["validation", "val", "valid", "Val"])
def test_given_splits_by_any_of_their_names_are_kept_as_they_are(tmp_path: Path, validation: str) -> None:
    counts = {"train/a": 3, "train/b": 3, f"{validation}/a": 2, f"{validation}/b": 1, "test/a": 1, "test/b": 2}
    splits = load(make(tmp_path, counts))
    assert [len(part) for part in splits.parts().values()] == [6, 3, 3]
    assert {name.split("/")[0] for name in splits.validation.names} == {validation}


def test_two_folders_for_one_split_are_refused(tmp_path: Path) -> None:
    make(tmp_path, {"train/a": 3, "train/b": 3, "val/a": 2, "valid/a": 2})
    with pytest.raises(DataError, match=r"has val/ and valid/ for one split, validation: .*Rename or merge"):
        load(tmp_path)


def test_classes_that_happen_to_be_called_like_a_split_are_classes(tmp_path: Path) -> None:
    assert load(make(tmp_path, {"train": 5, "bus": 5})).classes == ("bus", "train")


def test_sub_folders_of_a_class_belong_to_it(tmp_path: Path) -> None:
    splits = load(make(tmp_path, {"a/monday": 3, "a/tuesday/late": 3, "b": 6}))
    assert splits.classes == ("a", "b")
    assert sum(name.startswith("a/") for part in splits.parts().values() for name in part.names) == 6


def test_hidden_files_and_folders_are_left_out_and_upper_case_suffixes_are_not(tmp_path: Path) -> None:
    make(tmp_path, {"a": 6, "b": 6, ".git": 2, "a/.thumbnails": 3})
    (tmp_path / "a" / "._a.jpg").write_bytes(b"rubbish of a Mac")
    (tmp_path / "a" / "a_000.png").rename(tmp_path / "a" / "A_000.PNG")
    splits = load(tmp_path)
    assert splits.classes == ("a", "b")
    assert "a/A_000.PNG" in split_of(splits)
    assert len(split_of(splits)) == 12
    assert splits.skipped == ()
    assert splits.notes == ()


def test_links_to_files_and_class_folders_are_followed(tmp_path: Path) -> None:
    store = make(tmp_path / "store", {"x": 6, "y": 3})
    root = make(tmp_path / "root", {"a": 3})
    (root / "b").symlink_to(store / "x")
    for file in (store / "y").iterdir():
        (root / "a" / f"linked_{file.name}").symlink_to(file)
    splits = load(root)
    assert Counter(name.split("/")[0] for name in split_of(splits)) == {"a": 6, "b": 6}


def test_names_in_any_script_work(tmp_path: Path) -> None:
    root = make(tmp_path / "Äpfel und 🍎", {"schön": 5, "腐った": 5, "with space": 5})
    splits = load(root)
    assert splits.classes == ("schön", "with space", "腐った")
    assert "腐った/腐った_000.png" in split_of(splits)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda root: root / "nowhere", r"nowhere: no such folder; expected a folder with one sub-folder a class"),
        (lambda root: write(root / "one.png", 0), r"one\.png: it is a file; expected a folder"),
        (lambda root: root, r"No class in .*: expected one sub-folder a class"),
        (lambda root: write(root / "one.png", 0).parent, r"1 pictures lie in it directly; expected one sub-folder"),
        (lambda root: make(root, {"only": 5}), r"At least two classes are needed, and there is only one, 'only'"),
        (lambda root: make(root, {"train/a": 3, "train/b": 3, "test/": 0}), r"No class in .*test"),
    ],
)
def test_a_folder_without_classes_says_what_is_wrong(
    tmp_path: Path, build: Callable[[Path], Path], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(build(tmp_path))


def test_a_class_folder_without_pictures_is_named(tmp_path: Path) -> None:
    make(tmp_path, {"a": 5, "b": 5, "notes": 0})
    (tmp_path / "notes" / "today.txt").touch()
    splits = load(tmp_path)
    assert splits.classes == ("a", "b")
    assert "notes/ has no pictures and is no class" in said(splits)


def test_files_of_kinds_that_are_not_read_are_counted_and_named(tmp_path: Path) -> None:
    make(tmp_path, {"a": 5, "b": 5})
    for name in ("a/1.svg", "b/2.SVG", "b/notes.txt"):
        (tmp_path / name).touch()
    expected = "left out, for they are no pictures that kt reads: 2 .svg (a/1.svg), 1 .txt (b/notes.txt)"
    assert said(load(tmp_path)) == expected


def test_a_class_in_test_that_train_lacks_is_an_error(tmp_path: Path) -> None:
    make(tmp_path, {"train/a": 5, "train/b": 5, "test/a": 2, "test/b": 2, "test/c": 2})
    with pytest.raises(DataError, match=r"Class 'c' has no picture in train of folder "):
        load(tmp_path)


def test_a_class_that_test_lacks_is_a_note(tmp_path: Path) -> None:
    splits = load(make(tmp_path, {"train/a": 5, "train/b": 5, "test/a": 2}))
    assert "test has no picture of b" in said(splits)


# ------------------------------------------------------------------------------------------------ what can't be read


def test_a_file_that_cannot_be_read_is_named_counted_and_skipped(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path, {"a": 8, "b": 8})
    (tmp_path / "a" / "broken.jpg").write_bytes(b"not a picture")
    (tmp_path / "b" / "empty.png").touch()
    (tmp_path / "b" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    whole = (tmp_path / "a" / "a_000.png").read_bytes()
    (tmp_path / "a" / "cut.png").write_bytes(whole[: len(whole) // 2])
    splits = load(tmp_path)
    reasons = {skipped.name: skipped.reason for skipped in splits.skipped}
    assert set(reasons) == {"a/broken.jpg", "a/cut.png", "b/empty.png", "b/gone.png"}
    assert reasons["b/gone.png"] == "no such file (a link that leads nowhere)"
    assert all(reasons.values())
    assert "4 files could not be read and were skipped" in said(splits)
    assert "skipped a/broken.jpg: not a JPEG, PNG" in capfd.readouterr().err
    assert len(split_of(splits)) == 16
    for part in splits.parts().values():  # skipping must not shift pictures against labels
        assert [splits.classes[label] for label in part.labels] == [name[0] for name in part.names]


def test_a_class_of_which_nothing_can_be_read_is_an_error(tmp_path: Path) -> None:
    make(tmp_path, {"a": 5, "b": 5, "c": 0})
    (tmp_path / "c" / "broken.jpg").write_bytes(b"no")
    with pytest.raises(DataError, match=r"Class 'c' has no picture that can be read in folder "):
        load(tmp_path)


def test_nothing_readable_at_all_is_an_error_with_the_first_reason(tmp_path: Path) -> None:
    for name in ("a/1.jpg", "b/2.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"None of 2 pictures can be read; the first, a/1\.jpg: an empty file"):
        load(tmp_path)


# ------------------------------------------------------------------------------------------------ the drawn split


def test_the_split_is_stratified_and_takes_the_shares_that_are_asked_for(tmp_path: Path) -> None:
    splits = load(make(tmp_path, {"a": 40, "b": 20, "c": 10}), validation=0.1, test=0.3)
    assert per_class(splits, "test") == {"a": 12, "b": 6, "c": 3}
    assert per_class(splits, "validation") == {"a": 4, "b": 2, "c": 1}
    assert per_class(splits, "train") == {"a": 24, "b": 12, "c": 6}


def test_every_class_is_in_every_split_even_with_three_pictures(tmp_path: Path) -> None:
    splits = load(make(tmp_path, {"many": 30, "few": 3}), validation=0.01, test=0.01)
    for split in ("train", "validation", "test"):
        assert set(per_class(splits, split)) == {"many", "few"}


def test_the_same_seed_draws_the_same_and_another_seed_something_else(tmp_path: Path) -> None:
    root = make(tmp_path, {"a": 20, "b": 20})
    once, again, other = load(root), load(root), load(root, seed=1)
    assert names(once) == names(again)
    assert once.digest == again.digest
    assert names(once) != names(other)
    assert once.digest != other.digest


def test_the_order_in_which_the_file_system_lists_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make(tmp_path, {"a": 12, "b": 12, "c/deep": 6})
    before = load(root)
    shuffled(monkeypatch)
    after = load(root)
    assert names(after) == names(before)
    assert after.train.names == before.train.names
    assert after.digest == before.digest


def shuffled(monkeypatch: pytest.MonkeyPatch) -> None:
    def disordered(original: Callable[..., Iterable[Path]]) -> Callable[..., Iterator[Path]]:
        def listing(*arguments: object) -> Iterator[Path]:
            found = list(original(*arguments))
            random.Random(7).shuffle(found)
            return iter(found)

        return listing

    monkeypatch.setattr(Path, "iterdir", disordered(Path.iterdir))
    monkeypatch.setattr(Path, "rglob", disordered(Path.rglob))


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"a": 9, "b": 2}, r"Class 'b' has 2 independent pictures, and 3 are needed for train, test, validation"),
        (
            {"train/a": 9, "train/b": 1, "test/a": 1, "test/b": 1},
            r"Class 'b' has 1 .* 2 are needed for train, validation",
        ),
    ],
)
def test_too_few_pictures_names_the_class_and_the_count(tmp_path: Path, counts: dict[str, int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(make(tmp_path, counts))


# ------------------------------------------------------------------------------------------------ groups


def test_files_whose_names_agree_up_to_two_underscores_stay_together(tmp_path: Path) -> None:
    for index in range(60):
        write(tmp_path / "ab"[index % 2] / f"apple_{index // 6}__angle_{index}.png", index)
    splits = load(tmp_path)
    where = [{(name[0], name.split("__")[0]) for name in part} for part in names(splits).values()]
    assert not where[0] & where[1]
    assert not where[0] & where[2]
    assert not where[1] & where[2]
    assert all(where)
    assert len(set(splits.test.groups)) < len(splits.test)


def test_the_same_name_in_two_classes_or_given_splits_is_two_things(tmp_path: Path) -> None:
    seed = 0
    for folder in ("train/a", "train/b", "test/a", "test/b"):
        for index in range(4):
            write(tmp_path / folder / f"{index}.png", seed := seed + 1)
    splits = load(tmp_path)
    assert len(split_of(splits)) == 16
    assert said(splits) == ""


def test_another_share_of_validation_leaves_the_drawn_test_pictures_as_they_are(tmp_path: Path) -> None:
    make(tmp_path, {"a": 30, "b": 50})
    tests = {frozenset(load(tmp_path, validation=share).test.names) for share in (0.05, 0.15, 0.3)}
    assert len(tests) == 1


def plant(file: Path) -> str:
    return file.stem.split("-")[0]


def test_a_group_function_of_ones_own_holds_across_classes(tmp_path: Path) -> None:
    for index in range(80):  # every plant has healthy and sick leaves
        write(tmp_path / ("healthy", "sick")[index % 2] / f"plant{index // 4}-{index}.png", index)
    for seed in range(5):
        splits = load(tmp_path, group=plant, seed=seed)
        plants = [{name.split("/")[1].split("-")[0] for name in part} for part in names(splits).values()]
        assert sum(map(len, plants)) == 20
        assert len(splits.test) == len(splits.validation) == 16  # and the shares stay what was asked for
        assert set(per_class(splits, "test")) == {"healthy", "sick"}


def test_a_group_in_two_given_splits_leaves_the_earlier_one(tmp_path: Path) -> None:
    counts = {"train/a": 6, "train/b": 6, "test/a": 2, "test/b": 2}
    make(tmp_path, counts)
    write(tmp_path / "train" / "a" / "leak-1.png", 900)
    write(tmp_path / "test" / "a" / "leak-2.png", 901)
    splits = load(tmp_path, group=plant)
    assert "test/a/leak-2.png" in splits.test.names
    assert "train/a/leak-1.png" not in split_of(splits)
    assert "left out of train: 1 that a later split has too" in said(splits)


def test_a_validation_whose_things_are_those_of_train_is_drawn_anew(tmp_path: Path) -> None:
    for index in range(120):  # frames of 12 things, every fifth of which was dealt to validation
        thing, part = index // 10, "validation" if index % 5 == 0 else "train"
        write(tmp_path / part / "ab"[thing % 2] / f"thing{thing}-{index}.png", 1000 + index)
    make(tmp_path, {"test/a": 4, "test/b": 4})
    splits = load(tmp_path, group=plant)

    things = {name: {one.split("/")[2].split("-")[0] for one in part} for name, part in names(splits).items()}
    assert not things["train"] & things["validation"]
    assert len(splits.train) + len(splits.validation) == 120
    assert set(per_class(splits, "train")) == set(per_class(splits, "validation")) == {"a", "b"}
    assert len(splits.test) == 8
    assert "96 of 96 pictures of train show what validation shows too" in said(splits)


def test_a_group_larger_than_a_share_does_not_empty_train(tmp_path: Path) -> None:
    make(tmp_path, {"b": 20})
    for index in range(20):
        write(tmp_path / "a" / (f"big__{index}.png" if index < 14 else f"{index}.png"), 500 + index)
    for seed in range(6):
        assert per_class(load(tmp_path, seed=seed, group_by="prefix"), "train")["a"] >= 14


# ------------------------------------------------------------------------------------------------ near-duplicates


def copies(root: Path, *, folders: tuple[str, ...], count: int) -> None:
    """Each of `count` pictures as it is, as a copy, saved again as a poor JPEG, at half and at double size."""
    for index in range(count):
        image = picture(1000 + index, side=96)
        for place, folder in enumerate(folders):
            (root / folder).mkdir(parents=True, exist_ok=True)
            stem = root / folder / f"thing{index}-{place}"
            if place % 5 == 0:
                image.save(stem.with_suffix(".png"))
            elif place % 5 == 1:
                shutil.copy(root / folders[0] / f"thing{index}-0.png", stem.with_suffix(".png"))
            elif place % 5 == 2:
                image.save(stem.with_suffix(".jpg"), quality=50)
            else:
                side = 48 if place % 5 == 3 else 192
                image.resize((side, side), Image.Resampling.LANCZOS).save(stem.with_suffix(".jpg"), quality=85)


def test_copies_saved_again_or_scaled_never_straddle_a_drawn_split(tmp_path: Path) -> None:
    copies(tmp_path, folders=("a",) * 5, count=10)
    make(tmp_path, {"b": 20})
    for seed in range(3):
        where: dict[str, set[str]] = {}
        for name, split in split_of(load(tmp_path, seed=seed)).items():
            if name.startswith("a/"):
                where.setdefault(name.split("-")[0], set()).add(split)
        assert len(where) == 10
        assert all(len(found) == 1 for found in where.values())


def test_copies_in_given_splits_leave_the_earlier_one_and_are_told(tmp_path: Path) -> None:
    make(tmp_path, {"train/a": 6, "train/b": 6, "val/a": 2, "val/b": 2, "test/a": 2, "test/b": 2})
    copies(tmp_path, folders=("test/a", "train/a", "train/a", "val/a", "train/a"), count=3)
    splits = load(tmp_path)
    where = split_of(splits)
    assert {name for name in where if "thing" in name} == {f"test/a/thing{index}-0.png" for index in range(3)}
    assert "left out of train: 9 that" in said(splits)
    assert "left out of validation: 3 that" in said(splits)


def test_a_validation_drawn_from_train_holds_nothing_of_a_given_test(tmp_path: Path) -> None:
    make(tmp_path, {"train/a": 10, "train/b": 10, "test/b": 2})
    copies(tmp_path, folders=("test/a", "train/a"), count=4)
    splits = load(tmp_path)
    assert not any("thing" in name for name in (*splits.train.names, *splits.validation.names))
    assert per_class(splits, "validation") == {"a": 2, "b": 2}


def test_a_class_that_train_has_only_in_copies_of_test_is_told_before_the_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path, {"train/b": 6, "test/b": 2, "val/a": 2, "val/b": 2})
    copies(tmp_path, folders=("test/a", "train/a"), count=2)
    with pytest.raises(DataError, match="Class 'a' has no picture in train"):
        load(tmp_path)
    assert "left out of train: 2 that" in capfd.readouterr().err


def test_one_picture_under_two_labels_is_told_and_stays_in_one_split(tmp_path: Path) -> None:
    make(tmp_path, {"a": 8, "b": 8})
    write(tmp_path / "a" / "twice_a.png", 777)
    write(tmp_path / "b" / "twice_b.png", 777)
    splits = load(tmp_path)
    assert "1 picture looks the same as one with another label, such as b/twice_b.png and a/twice_a.png" in said(splits)
    where = split_of(splits)
    assert where["a/twice_a.png"] == where["b/twice_b.png"]


# ------------------------------------------------------------------------------------------------ digest, memory


def test_the_digest_knows_content_label_and_split_and_nothing_of_the_place(tmp_path: Path) -> None:
    counts = {"train/a": 4, "train/b": 4, "val/a": 2, "val/b": 2, "test/a": 2, "test/b": 2}
    here = load(make(tmp_path / "here", counts)).digest
    assert here == load(make(tmp_path / "elsewhere" / "deep", counts)).digest
    assert len(here) == 64

    changed = make(tmp_path / "content", counts)
    write(changed / "train" / "a" / "train_a_000.png", 999)
    relabelled = make(tmp_path / "label", counts)
    (relabelled / "train/a/train_a_000.png").rename(relabelled / "train/b/from_a.png")
    moved = make(tmp_path / "split", counts)
    (moved / "val/a/val_a_000.png").rename(moved / "train/a/from_val.png")
    digests = {here, load(changed).digest, load(relabelled).digest, load(moved).digest}
    assert len(digests) == 4


def test_pictures_that_are_taken_from_a_split_bring_all_that_is_known_of_them(tmp_path: Path) -> None:
    whole = load(make(tmp_path, {"a": 8, "b": 8})).train
    some = whole.take(np.array([7, 0, 3]))
    assert len(some) == 3
    assert some.files is not None and whole.files is not None
    for index, place in enumerate((7, 0, 3)):
        assert np.array_equal(some.examples[index], whole.examples[place])
        assert (some.labels[index], some.names[index]) == (whole.labels[place], whole.names[place])
        assert (some.groups[index], some.files[index]) == (whole.groups[place], whole.files[place])


def test_pictures_beyond_the_memory_budget_are_mapped_and_everything_stays_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make(tmp_path, {"a": 8, "b": 8})
    in_memory = load(root)
    monkeypatch.setattr(splits_of_data, "MEMORY_BUDGET", 5000)
    mapped = load(root)
    assert isinstance(mapped.train.examples, np.memmap)
    assert isinstance(mapped.train.take(np.arange(4)).examples, np.memmap)
    assert not isinstance(in_memory.train.examples, np.memmap)
    assert mapped.digest == in_memory.digest
    for one, other in zip(mapped.parts().values(), in_memory.parts().values(), strict=True):
        assert np.array_equal(one.examples, other.examples)
        assert np.array_equal(one.labels, other.labels)
        assert (one.names, one.groups, one.files) == (other.names, other.groups, other.files)


def test_no_room_for_mapped_pictures_is_told_instead_of_killing_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits_of_data, "MEMORY_BUDGET", 5000)
    monkeypatch.setattr(splits_of_data.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1000))
    items = [Item(lambda: np.zeros((9, 9, 3), np.uint8), "a", str(index), group=str(index)) for index in range(5)]
    with pytest.raises(EnvironmentProblem, match=r"5 pictures of 32x32 need .* GiB in .*Set TMPDIR"):
        read_pictures(items, SIZE)


def test_an_interrupt_while_reading_does_not_wait_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    read_so_far = []

    def slow() -> np.ndarray:
        read_so_far.append(1)
        time.sleep(0.02)
        return np.zeros((9, 9, 3), np.uint8)

    def interrupted(_bar: object, _steps: int = 1, _note: str = "") -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kt.base.console.Bar.advance", interrupted)
    items = [Item(slow, "a", str(index), group=str(index)) for index in range(2000)]
    with pytest.raises(KeyboardInterrupt):
        read_pictures(items, SIZE)
    assert len(read_so_far) < 2000


@pytest.mark.parametrize("source", [Folder, Table, Tfds])
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image_size": (4, 224)}, "image_size must be from 8 to 4096 pixels a side, not 4x224"),
        ({"image_size": (224, 5000)}, "image_size must be from 8 to 4096"),
        ({"image_size": 224}, "image_size must be"),
        ({"batch_size": 0}, "batch_size must be from 1 to 65536, not 0"),
        ({"validation": 0.0}, "validation is a share of the pictures between 0 and 1, such as 0.2, not 0.0"),
        ({"test": 1.5}, "test is a share"),
        ({"validation": 0.5, "test": 0.5}, "leave nothing to train on"),
        ({"seed": "x"}, "seed must be"),
    ],
)
def test_wrong_fields_are_found_before_any_data_is_read(source: type, fields: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        source("somewhere", **fields)


# ------------------------------------------------------------------------------------------------ tables


def table(root: Path, *lines: str, header: str = "path,label", encoding: str = "utf-8") -> Path:
    file = root / "table.csv"
    file.write_text("\n".join([header, *lines]) + "\n", encoding=encoding)
    return file


def read_table(file: Path, **fields: object) -> Splits:
    return Table(file, image_size=SIZE, **fields)()  # type: ignore[arg-type]


def rows(root: Path, count: int = 6, *, absolute: bool = False) -> list[str]:
    files = [write(root / "pictures" / f"{index}.png", index) for index in range(2 * count)]
    return [f"{file if absolute else file.relative_to(root)},{'ab'[i % 2]}" for i, file in enumerate(files)]


@pytest.mark.parametrize("absolute", [False, True])
def test_a_table_reads_paths_relative_to_itself_or_absolute(
    tmp_path: Path, absolute: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    splits = read_table(table(tmp_path, *rows(tmp_path, absolute=absolute)))
    assert splits.classes == ("a", "b")
    assert len(split_of(splits)) == 12
    assert splits.origin.startswith("table ")


def test_a_table_may_give_splits_and_groups(tmp_path: Path) -> None:
    lines = rows(tmp_path, 8)
    split = ["train"] * 12 + ["Test"] * 2 + ["val"] * 2
    given = [f"{line},{name}" for line, name in zip(lines, split, strict=True)]
    splits = read_table(table(tmp_path, *given, header="path,label,split"))
    assert [len(part) for part in splits.parts().values()] == [12, 2, 2]

    grouped = [f"{line},plant{index // 4}" for index, line in enumerate(lines)]
    splits = read_table(table(tmp_path, *grouped, header="path,label,group"))
    plants = [{int(Path(name).stem) // 4 for name in part} for part in names(splits).values()]
    assert sum(map(len, plants)) == 4


def test_a_byte_order_mark_and_spaces_around_cells_do_no_harm(tmp_path: Path) -> None:
    lines = [line.replace(",", " , ") for line in rows(tmp_path)]
    splits = read_table(table(tmp_path, *lines, "", header="path, label", encoding="utf-8-sig"))
    assert splits.classes == ("a", "b")


@pytest.mark.parametrize(
    ("header", "line", "message"),
    [
        ("path,when,where", "x.png,a,b", r"table\.csv has no column 'label', .* its columns are: path, when, where"),
        ("path,label,split", "pictures/0.png,a,tran", r"table\.csv:2: unknown split 'tran'\. Did you mean 'train'\?"),
        ("path,label", "pictures/0.png,", r"table\.csv: no row has a label; line 2"),
        ("path,label", "pictures/0.png", r"table\.csv: no row has a label; line 2"),
        ("path,label", ",a", r"table\.csv:2: the path is missing"),
        ("path,label", "a picture, of two.png,a", r"table\.csv:2: more cells than columns; put a cell with a comma"),
        ("path,label", "", r"At least two classes are needed, and there is none in table "),
    ],
)
def test_a_mistake_in_a_table_is_told_with_its_line(tmp_path: Path, header: str, line: str, message: str) -> None:
    rows(tmp_path)
    with pytest.raises(DataError, match=message):
        read_table(table(tmp_path, line, header=header))


def test_an_empty_cell_far_down_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"table\.csv:14: the path is missing"):
        read_table(table(tmp_path, *rows(tmp_path), ",a"))


def test_missing_and_impossible_files_of_a_table_are_named_and_skipped(tmp_path: Path) -> None:
    splits = read_table(table(tmp_path, *rows(tmp_path), "gone.png,a", "pictures,b", "nul\0.png,a", "/dev/zero,b"))
    assert {skipped.name: skipped.reason for skipped in splits.skipped} == {
        "gone.png": "no such file",
        "pictures": "not a file (a folder)",
        "nul\0.png": "no such file",
        "/dev/zero": "not a file (a device)",
    }


def test_a_table_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Cannot read the table .*nowhere\.csv: no such file"):
        read_table(tmp_path / "nowhere.csv")
    with pytest.raises(DataError, match="Cannot read the table"):
        read_table(tmp_path)


def test_random_bytes_as_a_table_are_an_error_of_data(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    for seed in range(40):
        file.write_bytes((b"path,label\n" if seed % 2 else b"") + random.Random(seed).randbytes(200))
        with pytest.raises(DataError):
            read_table(file)


# ------------------------------------------------------------------------------------------------ tensorflow-datasets


class KtPictures(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A tiny set that is prepared without a network: 12 pictures to train, 4 to test, and 2 without a public label."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        features = {"image": tfds.features.Image(), "label": tfds.features.ClassLabel(names=["zebra", "ant"])}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, object]:
        return {"train": self._generate_examples(0, 12), "test": self._generate_examples(100, 104)}

    def _generate_examples(self, first: int, last: int) -> Iterator[tuple[int, dict[str, object]]]:
        for seed in range(first, last):
            buffer = io.BytesIO()
            picture(seed).save(buffer, "PNG")
            buffer.seek(0)
            yield seed, {"image": buffer, "label": seed % 2}


class KtTinySet(KtPictures):
    """The plain case."""


class KtUnlabelledSet(KtPictures):
    """Its test has no labels."""

    def _generate_examples(self, first: int, last: int) -> Iterator[tuple[int, dict[str, object]]]:
        for seed, example in super()._generate_examples(first, last):
            yield seed, {**example, "label": -1 if first else example["label"]}


class KtTestOnlySet(KtPictures):
    """It has no train."""

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, object]:
        return {"test": self._generate_examples(100, 104)}


class KtTextSet(KtPictures):
    """No pictures in it."""

    def _info(self) -> tfds.core.DatasetInfo:
        features = {"text": tfds.features.Text(), "label": tfds.features.ClassLabel(num_classes=2)}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _generate_examples(self, first: int, last: int) -> Iterator[tuple[int, dict[str, object]]]:
        for seed in range(first, last):
            yield seed, {"text": "hello", "label": 0}


class KtFailingSet(KtPictures):
    """Its source is gone."""

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, object]:
        raise OSError("404:\nno such\nfile")


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory for data sets, and no network."""
    directory = tmp_path / "tfds"
    directory.mkdir()
    monkeypatch.setenv("TFDS_DATA_DIR", str(directory))
    monkeypatch.setenv("KT_OFFLINE", "1")
    return directory


def prepare(builder: type[KtPictures], directory: Path) -> Path:
    made = builder(data_dir=directory)
    made.download_and_prepare()
    return Path(made.data_dir)


def read_set(name: str, **fields: object) -> Splits:
    return Tfds(name, image_size=SIZE, **fields)()  # type: ignore[arg-type]


def test_a_prepared_set_is_read_without_a_network_and_its_splits_are_kept(offline: Path) -> None:
    prepare(KtTinySet, offline)
    splits = read_set("kt_tiny_set")
    assert splits.classes == ("ant", "zebra")
    assert len(splits.test) == 4
    assert len(splits.train) + len(splits.validation) == 12
    assert splits.origin == "tensorflow-datasets kt_tiny_set/1.0.0"
    assert splits.train.files is None
    expected = {np.asarray(picture(seed).resize(SIZE)).mean().round(): seed % 2 for seed in range(100, 104)}
    found = {
        pixels.mean().round(): 1 - label for pixels, label in zip(splits.test.examples, splits.test.labels, strict=True)
    }
    assert found == expected  # names ["zebra", "ant"] are sorted, so their numbers swap
    assert read_set("kt_tiny_set").digest == splits.digest


def test_a_set_may_be_cut_to_some_pictures_of_each_split(offline: Path) -> None:
    prepare(KtTinySet, offline)
    splits = read_set("kt_tiny_set", limit=10)
    assert len(splits.train) + len(splits.validation) == 10
    with pytest.raises(RecipeError, match="limit must be at least 1 picture of each split, not 0"):
        read_set("kt_tiny_set", limit=0)


def test_pictures_whose_label_is_not_public_are_left_out_and_test_is_drawn_instead(offline: Path) -> None:
    prepare(KtUnlabelledSet, offline)
    splits = read_set("kt_unlabelled_set")
    assert {name.split("/")[0] for name in splits.test.names} == {"train"}
    assert sum(map(len, splits.parts().values())) == 12


def test_a_set_without_train_or_without_pictures_is_refused(offline: Path) -> None:
    prepare(KtTestOnlySet, offline)
    prepare(KtTextSet, offline)
    with pytest.raises(DataError, match="kt_test_only_set has no split 'train'; it has: test"):
        read_set("kt_test_only_set")
    with pytest.raises(DataError, match=r"kt_text_set is not a set for image classification.*it has: .*text"):
        read_set("kt_text_set")


def test_a_set_that_lost_files_says_which_and_what_to_delete(offline: Path) -> None:
    folder = prepare(KtTinySet, offline)
    lost = next(folder.glob("*train*tfrecord*"))
    lost.unlink()
    with pytest.raises(DataError, match=f"lacks {lost}; delete {folder}, and it will be prepared again"):
        read_set("kt_tiny_set")


def test_what_a_broken_off_preparation_left_is_not_taken_for_the_set(offline: Path) -> None:
    (offline / "kt_tiny_set" / "incomplete.ABC_1.0.0").mkdir(parents=True)
    with pytest.raises(DataError, match="'kt_tiny_set' is not prepared on this machine"):
        read_set("kt_tiny_set")
    (offline / "kt_tiny_set" / "1.0.0").mkdir()
    with pytest.raises(DataError, match="kt_tiny_set"):
        read_set("kt_tiny_set")


@pytest.mark.parametrize("name", ["tf_flower", "mnits"])
def test_an_unknown_set_gets_a_hint(offline: Path, name: str) -> None:
    with pytest.raises(DataError, match=rf"has no set '{name}'\. Did you mean '(tf_flowers|mnist)'\?"):
        read_set(name)


@pytest.mark.parametrize("name", ["", "../secrets", "huggingface:beans", "https://example.org/x", "a b"])
def test_what_is_no_name_is_told(offline: Path, name: str) -> None:
    with pytest.raises(DataError, match="is no name of tensorflow-datasets, such as tf_flowers"):
        read_set(name)


def test_a_version_or_config_that_does_not_exist_is_told(offline: Path) -> None:
    with pytest.raises(
        DataError, match=r"can't open 'tf_flowers:9\.9\.9': Dataset tf_flowers cannot be loaded at version"
    ):
        read_set("tf_flowers:9.9.9")
    with pytest.raises(DataError, match=r"can't open 'tf_flowers/nope': BuilderConfig nope not found"):
        read_set("tf_flowers/nope")


def in_one_line(name: str) -> str:
    with pytest.raises(DataError) as caught:
        read_set(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_offline_and_not_prepared_ends_in_one_line_at_once(offline: Path) -> None:
    message = in_one_line("tf_flowers")
    assert "'tf_flowers' is not prepared on this machine and can't be downloaded (KT_OFFLINE is set)" in message
    assert "TFDS_DATA_DIR" in message
    assert "--data FOLDER" in message


@pytest.mark.parametrize("value", ["", "0", "false", "FALSE", "no", "Off", " 0 "])
def test_a_kt_offline_that_says_no_lets_sets_be_fetched(
    offline: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("KT_OFFLINE", value)
    monkeypatch.setattr(sources, "_unreachable", lambda: "the network was asked")
    assert "can't be downloaded (the network was asked)" in in_one_line("tf_flowers")


@pytest.mark.parametrize("value", ["1", "true", "yes", "on", "maybe"])
def test_any_other_kt_offline_keeps_sets_from_being_fetched(
    offline: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("KT_OFFLINE", value)
    assert "can't be downloaded (KT_OFFLINE is set)" in in_one_line("tf_flowers")


def test_a_network_that_answers_nothing_is_given_up_within_seconds(
    offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> list[object]:
        threading.Event().wait(30)
        raise OSError

    monkeypatch.delenv("KT_OFFLINE")
    monkeypatch.setattr(socket, "getaddrinfo", never)  # a name server that is silent knows no time limit
    message = in_one_line("tf_flowers")
    assert "no network: no answer in 5 s" in message


def test_a_proxy_that_refuses_is_told(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.delenv("KT_OFFLINE")
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, address)
    message = in_one_line("tf_flowers")
    assert "no network: [Errno" in message


def test_a_set_that_cannot_be_prepared_says_why_in_one_line(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_require_network", lambda _: None)
    message = in_one_line("kt_failing_set")
    assert message == "kt_failing_set could not be prepared: 404: no such file"


def test_a_folder_is_read_without_the_seconds_that_tensorflow_datasets_takes_to_load():
    code = "import sys, kt.data; print('tensorflow_datasets' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
