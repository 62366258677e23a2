"""A near-duplicate is the same photograph again, and never another picture from the same place."""

import io
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance

from kt import Classifier, Phase, Recipe
from kt.data import Folder, Splits
from kt.freeze import frozen
from kt.recipe import override

SIZE = (48, 48)


def scene(seed: int, side: int = 96) -> Image.Image:
    """A smooth picture that no other seed comes near."""
    small = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), np.uint8)
    return Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)


def with_noise(image: Image.Image, seed: int, levels: float = 4) -> Image.Image:
    noise = np.random.default_rng(seed).normal(0, levels, (*image.size[::-1], 3))
    return Image.fromarray(np.clip(np.round(np.asarray(image) + noise), 0, 255).astype(np.uint8))


def save(image: Image.Image, file: Path, **options: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file, **options)


def load(root: Path, **fields: object) -> Splits:
    return Folder(root, image_size=SIZE, **fields)()  # type: ignore[arg-type]


def split_of(splits: Splits) -> dict[str, str]:
    return {name: split for split, part in splits.parts().items() for name in part.names}


def said(splits: Splits) -> str:
    return "\n".join(splits.notes)


def fixed_camera(root: Path, *, states: int = 2, count: int = 20, lamp: int = 7) -> None:
    """One scene with a lamp of another colour in each class, and the noise of a sensor."""
    colours = [(50, 50, 50), (240, 50, 50), (50, 240, 50), (50, 50, 240)]
    for state in range(states):
        image = scene(1)
        ImageDraw.Draw(image).ellipse([60, 60, 60 + lamp, 60 + lamp], fill=colours[state])
        for index in range(count):
            save(with_noise(image, 100 * state + index), root / f"state{state}" / f"{index:02d}.png")


# --------------------------------------------------------------------------------- a camera that stands still


@pytest.mark.parametrize("states", [2, 3, 4])
@pytest.mark.parametrize("lamp", [3, 7, 20])
def test_pictures_that_differ_in_a_lamp_are_all_pictures_of_their_own(tmp_path: Path, states: int, lamp: int) -> None:
    fixed_camera(tmp_path, states=states, lamp=lamp)
    splits = load(tmp_path)
    assert sum(map(len, splits.parts().values())) == 20 * states
    assert all(len(set(part.groups)) == len(part) for part in splits.parts().values())
    assert splits.notes == ()


def test_before_such_a_camera_exact_copies_are_copies_all_the_same(tmp_path: Path) -> None:
    fixed_camera(tmp_path)
    for index in range(6):
        (tmp_path / "state1" / f"{index}-copy.png").write_bytes((tmp_path / "state1" / f"0{index}.png").read_bytes())
    for seed in range(3):
        where = split_of(load(tmp_path, seed=seed))
        assert all(where[f"state1/0{index}.png"] == where[f"state1/{index}-copy.png"] for index in range(6))


@pytest.mark.parametrize("change", ["needle", "tick", "words"])
def test_small_differences_that_are_the_matter_keep_pictures_apart(tmp_path: Path, change: str) -> None:
    random = np.random.default_rng(0)
    for label in range(2):
        for index in range(15):
            image = Image.new("RGB", (96, 96), (240, 240, 235))
            draw = ImageDraw.Draw(image)
            draw.rectangle([4, 4, 91, 91], outline=(90, 90, 90), width=2)
            if change == "needle":
                angle = np.pi * (label + 0.05 + 0.9 * index / 15) / 2
                draw.line([48, 48, 48 + 40 * np.cos(angle), 48 - 40 * np.sin(angle)], fill=(200, 0, 0), width=2)
            elif change == "tick":
                draw.line([*random.integers(10, 50, 4).tolist()], fill=(20, 20, 90), width=2)
                draw.line([20 + 40 * label, 70, 24 + 40 * label, 76, 30 + 40 * label, 66], fill=(0, 0, 0), width=2)
            else:
                draw.text((20, 40), f"{'ok' if label else 'no'} {index * 37:03d}", fill=(0, 0, 0))
            save(with_noise(image, 100 * label + index, 1), tmp_path / f"class{label}" / f"{index}.jpg", quality=92)
    splits = load(tmp_path)
    assert sum(map(len, splits.parts().values())) == 30
    assert len({group for part in splits.parts().values() for group in part.groups}) >= 25


def test_plain_and_faint_pictures_of_different_things_are_pictures_of_their_own(tmp_path: Path) -> None:
    for index in range(20):
        grey = np.full((48, 48, 3), 100 + index % 2, np.uint8)
        save(with_noise(Image.fromarray(grey), index, 1), tmp_path / f"plain{index % 2}" / f"{index}.png")
        strong = np.asarray(scene(index, 48)).astype(float)
        faint = Image.fromarray(np.round(100 + (strong - 128) * 0.06).astype(np.uint8))
        save(faint, tmp_path / "faint" / f"{index}.png")
    splits = load(tmp_path)
    assert len({group for part in splits.parts().values() for group in part.groups}) == 40


# --------------------------------------------------------------------------------- the same photograph


def changed(image: Image.Image, way: str) -> bytes:
    """The picture saved again as JPEG, in one of the ways in which copies come about."""
    quality, size, light = {
        "poor": (50, 1.0, 1.0),
        "half": (85, 0.5, 1.0),
        "double": (85, 2.0, 1.0),
        "brighter": (85, 1.0, 1.05),
        "darker": (85, 1.0, 0.95),
        "all": (60, 0.6, 1.05),
    }[way]
    side = round(image.width * size)
    scaled = ImageEnhance.Brightness(image).enhance(light).resize((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    scaled.save(file, "JPEG", quality=quality)
    return file.getvalue()


@pytest.mark.parametrize("way", ["poor", "half", "double", "brighter", "darker", "all"])
def test_a_photograph_again_stays_in_the_split_of_the_first(tmp_path: Path, way: str) -> None:
    for index in range(40):
        save(with_noise(scene(index), index, 2), tmp_path / "ab"[index % 2] / f"{index}.png")
        if index < 20:
            (tmp_path / "ab"[index % 2] / f"{index}-again.jpg").write_bytes(changed(scene(index), way))
    splits = load(tmp_path)
    where = split_of(splits)
    assert all(where[f"{'ab'[i % 2]}/{i}.png"] == where[f"{'ab'[i % 2]}/{i}-again.jpg"] for i in range(20))
    assert len({group for part in splits.parts().values() for group in part.groups}) == 40
    assert "40 pictures are nearly the same as another" in said(splits)
    assert "such as a/0-again.jpg and a/0.png; those stay in one split (near_duplicates=False" in said(splits)


def test_a_photograph_again_in_test_leaves_train(tmp_path: Path) -> None:
    for index in range(30):
        label = "ab"[index % 2]
        save(scene(index), tmp_path / "train" / label / f"{index}.png")
        save(scene(1000 + index), tmp_path / "test" / label / f"{index}.png")
    for index in range(4):
        (tmp_path / "test" / "ab"[index % 2] / f"again{index}.jpg").write_bytes(changed(scene(index), "brighter"))
    splits = load(tmp_path)
    assert not {f"train/{'ab'[index % 2]}/{index}.png" for index in range(4)} & set(split_of(splits))
    assert "left out of train: 4 that a later split has too" in said(splits)


def test_frames_of_one_scene_stay_together_where_there_are_many_scenes(tmp_path: Path) -> None:
    for index in range(72):
        save(with_noise(scene(index // 4), index), tmp_path / "ab"[index // 4 % 2] / f"scene{index // 4}-{index}.png")
    where: dict[str, set[str]] = {}
    for name, split in split_of(load(tmp_path)).items():
        where.setdefault(name.split("-")[0], set()).add(split)
    assert len(where) == 18
    assert all(len(found) == 1 for found in where.values())


def test_likeness_does_not_reach_by_way_of_a_third(tmp_path: Path) -> None:
    first, last = (np.asarray(scene(seed)).astype(float) for seed in (1, 2))
    for step in range(60):
        blend = first + (last - first) * step / 59
        save(Image.fromarray(np.round(blend).astype(np.uint8)), tmp_path / "turning" / f"{step:02d}.png")
        save(scene(100 + step), tmp_path / "other" / f"{step:02d}.png")
    splits = load(tmp_path)
    turning = {name: g for p in splits.parts().values() for name, g in zip(p.names, p.groups, strict=True)}
    assert turning["turning/00.png"] != turning["turning/59.png"]
    assert sum(map(len, splits.parts().values())) >= 100


# --------------------------------------------------------------------------------- the measure doubts itself


def test_where_copies_would_leave_a_class_too_few_exact_ones_alone_count_and_advice_is_given(tmp_path: Path) -> None:
    for index in range(40):
        label = "ab"[index % 2]
        save(with_noise(scene(index % 4), index), tmp_path / label / f"{index}.png")
    splits = load(tmp_path)
    assert sum(map(len, splits.parts().values())) == 40
    assert "taken as copies, would leave too few of class 'a' to split, so exact copies alone" in said(splits)
    assert "near_duplicates=False" in said(splits)
    assert "group_by" in said(splits)


def test_where_nearly_alike_pictures_have_different_labels_the_measure_is_not_used(tmp_path: Path) -> None:
    for index in range(40):
        save(with_noise(scene(index // 2), index), tmp_path / "ab"[index % 2] / f"{index:02d}.png")
    splits = load(tmp_path)
    assert "20 of 20 pairs of nearly alike pictures have different labels, such as a/00.png and b/01.png" in said(
        splits
    )
    assert sum(map(len, splits.parts().values())) == 40


def test_where_nearly_everything_is_alike_the_measure_is_not_used(tmp_path: Path) -> None:
    for label in "ab":
        for index in range(360):
            save(with_noise(scene(index % 3, 16), index, 2), tmp_path / label / f"{index:03d}.bmp")
    splits = Folder(tmp_path, image_size=(16, 16))()
    assert "most pictures are nearly alike to many others, so exact copies alone are taken as copies" in said(splits)
    assert sum(map(len, splits.parts().values())) == 720


def test_the_switch_takes_exact_copies_alone_and_can_be_set_for_one_run(tmp_path: Path) -> None:
    for index in range(20):
        label = "ab"[index % 2]
        save(scene(index), tmp_path / label / f"{index}.png")
        (tmp_path / label / f"{index}-again.jpg").write_bytes(changed(scene(index), "half"))
    recipe = Recipe(
        data=Folder(tmp_path, image_size=SIZE),
        backbone=keras.applications.MobileNetV2,
        head=Classifier(),
        phases=[Phase("train", frozen, epochs=1, lr=1e-3)],
        export=[],
    )
    assert len(set(recipe.data().train.groups)) < len(recipe.data().train)
    splits = override(recipe, ["data.near_duplicates=false"]).data()
    assert len(set(splits.train.groups)) == len(splits.train)
    assert splits.notes == ()
