"""Pictures of one thing stay in one split: by folders, by names, by a pattern; and only where those name things."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kt.data import Folder, Splits, Table
from kt.errors import DataError, RecipeError
from kt.runs.exports import record

SIZE = (16, 16)


def make(root: Path, names: list[str]) -> Path:
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
        Image.fromarray(small).resize((24, 24), Image.Resampling.BICUBIC).save(root / name)
    return root


def load(root: Path, **fields: object) -> Splits:
    return Folder(root, image_size=SIZE, **fields)()  # type: ignore[arg-type]


def split_of(splits: Splits) -> dict[str, str]:
    return {name: split for split, part in splits.parts().items() for name in part.names}


def together(splits: Splits, thing: object) -> bool:
    """Whether all pictures of each thing, a function of their names, are in one split."""
    where: dict[str, set[str]] = {}
    for name, split in split_of(splits).items():
        where.setdefault(thing(name), set()).add(split)  # type: ignore[operator]
    return all(len(found) == 1 for found in where.values())


def things(splits: Splits) -> int:
    return len({group for part in splits.parts().values() for group in part.groups})


def written(splits: Splits, run: Path) -> dict[str, str]:
    """The group of each picture, as the run's splits.csv has it."""
    record(run, splits, None)
    with (run / "splits.csv").open(encoding="utf-8", newline="") as file:
        return {row["name"]: row["group"] for row in csv.DictReader(file)}


PLANTS = [f"{label}/plant_{index:02d}/{view}.png" for label in "ab" for index in range(8) for view in ("front", "side")]


def test_a_folder_within_a_class_is_one_thing_and_in_one_split(tmp_path: Path) -> None:
    make(tmp_path, PLANTS)
    for seed in range(3):
        splits = load(tmp_path, seed=seed)
        assert splits.classes == ("a", "b")
        assert len(split_of(splits)) == 32
        assert things(splits) == 16
        assert together(splits, lambda name: name.rsplit("/", 1)[0])
    (fact,) = splits.facts
    assert fact.startswith("16 things in 32 pictures by a folder within a class, such as a/plant_00/front.png")
    assert 'group_by="none" takes each picture for itself' in fact


def test_folders_of_one_picture_with_the_same_file_name_are_all_things_of_their_own(tmp_path: Path) -> None:
    splits = load(make(tmp_path, [f"{label}/plant_{index}/leaf.png" for label in "ab" for index in range(8)]))
    assert things(splits) == 16
    assert splits.facts == ()


def test_things_below_folders_that_only_sort_are_found(tmp_path: Path) -> None:
    names = [
        f"{label}/{year}/plant_{index}/{view}.png"
        for label in "ab"
        for year in (2021, 2022)
        for index in range(4)
        for view in "xy"
    ]
    splits = load(make(tmp_path, names))
    assert things(splits) == 16
    assert together(splits, lambda name: name.rsplit("/", 1)[0])


def test_the_same_thing_under_each_of_several_views_stays_together(tmp_path: Path) -> None:
    names = [f"{label}/{view}/plant_{index}.png" for label in "ab" for view in ("front", "side") for index in range(8)]
    splits = load(make(tmp_path, names))
    assert things(splits) == 16
    assert together(splits, lambda name: name[0] + name.rsplit("/", 1)[1])


@pytest.mark.parametrize("folders", [("2021", "2022", "2023", "2024"), ("part1", "part2", "part3"), ("all",)])
def test_folders_that_only_sort_are_no_things_and_stop_nothing(tmp_path: Path, folders: tuple[str, ...]) -> None:
    names = [f"{label}/{folder}/{index}.png" for label in "ab" for folder in folders for index in range(8)]
    splits = load(make(tmp_path, names))
    assert things(splits) == len(names)
    assert "each picture is a thing of its own: folders within a class, such as a/" in splits.facts[0]
    assert 'group_by="folder"' in splits.facts[0]


def test_one_prefix_for_all_pictures_of_a_class_is_no_thing(tmp_path: Path) -> None:
    splits = load(make(tmp_path, [f"{label}/IMG__{index:04d}.png" for label in "ab" for index in range(10)]))
    assert things(splits) == 20
    assert splits.facts == (
        'each picture is a thing of its own: "IMG" before the __ of a/IMG__0000.png names none, for class a has 1 of '
        'them; group_by="prefix" keeps such pictures in one split',
    )


def test_prefixes_of_which_each_class_has_several_are_things(tmp_path: Path) -> None:
    names = [f"{label}/apple_{index}__{angle}.png" for label in "ab" for index in range(5) for angle in (0, 30)]
    splits = load(make(tmp_path, names))
    assert things(splits) == 10
    assert "by what their names have before __, such as a/apple_0__0.png and apple_0__30.png" in splits.facts[0]
    assert things(load(tmp_path, group_by="none")) == 20


def test_a_regular_expression_names_things_over_classes(tmp_path: Path) -> None:
    names = [f"{label}/{index:02d}-plant{index // 2}.png" for label in "ab" for index in range(16)]
    splits = load(make(tmp_path, names), group_by=r"(plant\d+)")
    assert things(splits) == 8
    assert together(splits, lambda name: name.split("-")[1])
    with pytest.raises(DataError, match=r"is found in no path, such as a/00-plant0\.png"):
        load(tmp_path, group_by="(apple)")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"group_by": "plant"},
            r"group_by 'plant' has no group in parentheses; expected auto, folder, prefix",
        ),
        ({"group_by": "(plant"}, r"group_by '\(plant' is no regular expression"),
        ({"group_by": "folder", "group": str}, "give one of them"),
    ],
)
def test_a_group_by_that_cannot_be_right_is_told_before_data_are_read(fields: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Folder("photos", **fields)


def test_two_things_a_class_are_too_few_to_split_by_and_that_is_told(tmp_path: Path) -> None:
    names = [f"{label}/plant_{plant}/{index}.png" for label in "ab" for plant in range(2) for index in range(8)]
    splits = load(make(tmp_path, names))
    assert things(splits) == 32
    assert "for class a has 2 of them" in splits.facts[0]
    with pytest.raises(DataError, match=r"2 classes have too few independent pictures .*'a' 2 of 16, 'b' 2 of 16"):
        load(tmp_path, group_by="folder")


# ------------------------------------------------------------------------------------------------- names in a run


@pytest.mark.parametrize(
    ("fields", "thing"),
    [
        ({}, lambda name: name.rsplit("/", 1)[0]),
        ({"group_by": r"(plant_\d+)"}, lambda name: name.split("/")[1]),
        ({"group": lambda file: f"box {file.parent.name[-1]}"}, lambda name: f"box {name.split('/')[1][-1]}"),
        ({"group_by": "none"}, lambda name: name),
    ],
)
def test_a_group_is_written_under_the_name_that_its_folder_pattern_or_function_gives(
    tmp_path: Path, fields: dict, thing: Callable[[str], str]
) -> None:
    splits = load(make(tmp_path / "photos", PLANTS), **fields)
    assert written(splits, tmp_path / "run") == {name: thing(name) for name in PLANTS}


def test_a_group_is_written_as_the_column_of_a_table_has_it(tmp_path: Path) -> None:
    make(tmp_path, PLANTS)
    called = {name: f"Beet {index // 4}" for index, name in enumerate(PLANTS)} | {PLANTS[0]: "", PLANTS[1]: "=1+1"}
    rows = [f"{name},{name[0]},{group}" for name, group in called.items()]
    (tmp_path / "table.csv").write_text("\n".join(["path,label,group", *rows]), encoding="utf-8")
    found = written(Table(tmp_path / "table.csv", image_size=SIZE)(), tmp_path / "run")
    # A picture without a group stands for itself; what a spreadsheet would take for a formula gets a `./` in front.
    assert found == called | {PLANTS[0]: PLANTS[0], PLANTS[1]: "./=1+1"}


def test_groups_that_copies_join_are_written_under_the_first_name_that_a_person_gave(tmp_path: Path) -> None:
    photos = make(tmp_path / "photos", PLANTS)
    shutil.copy(photos / "a/plant_03/front.png", photos / "a/plant_02/front.png")
    shutil.copy(photos / "b/plant_05/side.png", photos / "b/alone.png")
    found = written(load(photos), tmp_path / "run")
    assert {found[f"a/plant_0{plant}/{view}.png"] for plant in (2, 3) for view in ("front", "side")} == {"a/plant_02"}
    assert {found[name] for name in ("b/alone.png", "b/plant_05/side.png", "b/plant_05/front.png")} == {"b/plant_05"}


def test_two_groups_never_share_a_name(tmp_path: Path) -> None:
    make(tmp_path, PLANTS)
    # The picture without a group is called by its path, as the group of another is.
    rows = [
        f"{name},{name[0]},{'' if name == PLANTS[0] else PLANTS[0] if name == PLANTS[8] else name}" for name in PLANTS
    ]
    (tmp_path / "table.csv").write_text("\n".join(["path,label,group", *rows]), encoding="utf-8")
    found = written(Table(tmp_path / "table.csv", image_size=SIZE)(), tmp_path / "run")
    assert (found[PLANTS[8]], found[PLANTS[0]]) == (PLANTS[0], f"{PLANTS[0]} (2)")
