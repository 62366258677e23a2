"""Copies are named with how they are alike, which one to keep, and where they must not lie."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from kt.data import Folder
from kt.data.checks import copies
from kt.data.checks.copies import check_copies
from kt.data.checks.scan import scan
from kt.data.duplicates import Copies, find_copies
from kt.data.duplicates.align import align
from kt.data.duplicates.thumbnails import Thumbnails
from kt.data.duplicates.views import SIDE, TURNS, WINDOWS, transforms, turned, turned_transforms
from kt.findings import Finding

Change = Callable[[Image.Image], Image.Image]
Turn = Image.Transpose


def scene(seed: int, side: int = 128) -> Image.Image:
    """A picture with soft and hard edges that no other seed comes near."""
    random = np.random.default_rng(seed)
    small = random.integers(20, 200, (6, 6, 3), np.uint8)
    image = np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)).copy()
    for _ in range(6):
        top, left = random.integers(0, side - 20, 2)
        height, width = random.integers(8, side // 3, 2)
        image[top : top + height, left : left + width] = random.integers(20, 200, 3)
    return Image.fromarray(image).filter(ImageFilter.GaussianBlur(side / 100))  # no lens draws a harder edge


def cropped(image: Image.Image, *, left: float, top: float, share: float = 0.8) -> Image.Image:
    width, height = image.size
    x, y = round(left * width), round(top * height)
    return image.crop((x, y, x + round(share * width), y + round(share * height)))


def lighter(image: Image.Image, factor: float) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(factor)


def warmer(image: Image.Image) -> Image.Image:
    red, green, blue = image.split()
    return Image.merge("RGB", (red.point(lambda each: 1.2 * each), green, blue.point(lambda each: 0.8 * each)))


WAYS: dict[str, Change] = {
    "smaller": lambda image: image.resize((70, 60)),
    "larger": lambda image: image.resize((300, 260)),
    "top left": lambda image: cropped(image, left=0, top=0),
    "top right": lambda image: cropped(image, left=0.2, top=0),
    "bottom left": lambda image: cropped(image, left=0, top=0.2),
    "bottom right": lambda image: cropped(image, left=0.2, top=0.2),
    "centre": lambda image: cropped(image, left=0.1, top=0.1),
    "anywhere": lambda image: cropped(image, left=0.13, top=0.04),
    "one side": lambda image: image.crop((0, 0, round(0.85 * image.width), image.height)),
    "mirrored": lambda image: image.transpose(Turn.FLIP_LEFT_RIGHT),
    "upside down": lambda image: image.transpose(Turn.ROTATE_180),
    "mirrored top to bottom": lambda image: image.transpose(Turn.FLIP_TOP_BOTTOM),
    "turned": lambda image: image.transpose(Turn.ROTATE_90),
    "turned the other way": lambda image: image.transpose(Turn.ROTATE_270),
    "20% brighter": lambda image: lighter(image, 1.2),
    "20% darker": lambda image: lighter(image, 0.8),
    "40% darker": lambda image: lighter(image, 0.6),
    "40% brighter": lambda image: lighter(image, 1.4),
    "brighter by 50 levels": lambda image: image.point([min(255, level + 50) for level in range(256)] * 3),
    "more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.5),
    "gamma": lambda image: image.point([round(255 * (level / 255) ** 0.8) for level in range(256)] * 3),
    "paler": lambda image: ImageEnhance.Color(image).enhance(0.8),
    "warmer": warmer,
    "mirrored and cropped": lambda image: cropped(image.transpose(Turn.FLIP_LEFT_RIGHT), left=0.2, top=0),
    "cropped and brighter": lambda image: lighter(cropped(image, left=0, top=0.2), 1.2),
    "turned and darker": lambda image: lighter(image.transpose(Turn.ROTATE_90), 0.7),
    "mirrored and smaller": lambda image: image.transpose(Turn.FLIP_LEFT_RIGHT).resize((90, 90)),
}


def jpeg(image: Image.Image, quality: int = 85) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def put(root: Path, name: str, image: Image.Image | bytes) -> None:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(image if isinstance(image, bytes) else jpeg(image, 92))


def others(root: Path, count: int = 24, *, below: str = "") -> None:
    for index in range(count):
        put(root, f"{below}{'ab'[index % 2]}/{index:02d}.jpg", scene(index))


def findings(root: Path, *, split: bool = False) -> list[Finding]:
    files = sorted(file for file in root.rglob("*") if file.is_file())
    parts = [file.relative_to(root).parts for file in files]
    return check_copies(
        scan(files, root=root, workers=1),
        labels=[part[-2] for part in parts],
        splits=[part[0] for part in parts] if split else None,
    )


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KT_HOME", str(tmp_path / "cache"))


# --------------------------------------------------------------------------------- which pictures are copies


def thumbnails(images: list[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX)) for image in images])


@pytest.mark.parametrize("way", WAYS)
def test_a_photograph_altered_in_a_usual_way_is_found_and_nothing_else(way: str) -> None:
    count = 40
    first = [scene(seed) for seed in range(count)]
    again = [Image.open(io.BytesIO(jpeg(WAYS[way](image)))).convert("RGB") for image in first[:20]]
    copies = find_copies(thumbnails([*first, *again]), np.arange(count + 20) % 2)
    assert {tuple(pair) for pair in copies.pairs.tolist()} == {(index, count + index) for index in range(20)}
    assert (copies.near[:20] == copies.near[count:]).all()
    assert len(set(copies.near.tolist())) == count
    assert copies.ways.same.mean() >= 0.9
    assert len(copies.photographs_alone().pairs) == copies.ways.same.sum()


def test_pictures_of_any_size_are_compared_by_equal_areas() -> None:
    first = [scene(seed, 96) for seed in range(20)]
    pixels = np.stack(
        [np.asarray(image) for image in [*first, *(image.transpose(Turn.FLIP_LEFT_RIGHT) for image in first)]]
    )
    assert len(find_copies(pixels, np.zeros(40, np.int64)).pairs) == 20
    taken = Thumbnails(pixels, np.arange(40)).take(np.arange(40))
    assert np.allclose(taken[:20], taken[20:, :, ::-1], atol=1e-3)
    assert taken.mean() == pytest.approx(pixels.mean(), abs=0.1)


def test_only_chosen_rows_are_compared() -> None:
    pixels = thumbnails([scene(seed) for seed in (0, 1, 2, 0, 3, 1)])
    copies = find_copies(pixels, np.zeros(3, np.int64), rows=np.array([1, 4, 5]))
    assert copies.exact.tolist() == [0, 1, 0]


def test_the_transform_of_a_turned_picture_is_the_turned_transform() -> None:
    pictures = thumbnails([scene(seed) for seed in range(3)]).astype(np.float32)
    forms = turned_transforms(transforms(pictures, cropped=False)[:, 0])
    for turn in range(TURNS):
        assert np.allclose(forms[:, turn], transforms(turned(pictures, turn), cropped=False)[:, 0], atol=0.01)
    assert len({turned(pictures, turn).tobytes() for turn in range(TURNS)}) == TURNS


def test_the_transform_of_a_window_is_that_of_the_crop() -> None:
    image = scene(3, 640)
    whole = transforms(thumbnails([image]).astype(np.float32), cropped=True)[0]
    for number, (top, bottom, left, right) in enumerate(WINDOWS.tolist()):
        crop = image.crop((round(640 * left), round(640 * top), round(640 * right), round(640 * bottom)))
        own = transforms(thumbnails([crop]).astype(np.float32), cropped=False)[0, 0]
        assert np.abs(whole[number] - own).max() < 3


def test_a_crop_is_laid_where_it_was_cut() -> None:
    image = scene(5, 640)
    crop = image.crop((83, 51, 83 + 512, 51 + 512))
    aligned = align(*(thumbnails([each]).astype(np.float32) for each in (crop, image)), WINDOWS[20:21])
    assert np.allclose(aligned.window[0] * 640, [51, 563, 83, 595], atol=4)
    assert aligned.factor[0] == pytest.approx(1, abs=0.02)


def test_ways_say_how_a_pair_is_alike() -> None:
    images = [scene(seed) for seed in range(20)]
    altered = lighter(cropped(images[0].transpose(Turn.FLIP_LEFT_RIGHT), left=0.2, top=0.2), 0.8)
    ways = find_copies(thumbnails([altered, *images]), np.zeros(21, np.int64)).ways
    assert (ways.part_first.tolist(), ways.turn.tolist()) == ([True], [2])
    assert ways.factor[0] == pytest.approx(0.8, abs=0.02)
    assert ways.cropped.tolist() == [True]
    assert ways.plain.tolist() == [False]
    assert 0 < ways.score[0] < 1


def test_many_copies_of_one_picture_are_one_cluster() -> None:
    random = np.random.default_rng(0)
    first = thumbnails([scene(0)])[0].astype(float)
    again = [np.clip(first + random.normal(0, 2, first.shape), 0, 255).astype(np.uint8) for _ in range(60)]
    copies = find_copies(
        np.stack([*again, *thumbnails([scene(seed) for seed in range(1, 200)])]), np.zeros(259, np.int64)
    )
    assert len(set(copies.near[:60].tolist())) == 1
    assert len(set(copies.near.tolist())) == 200


def another_shot(image: Image.Image, by: float) -> Image.Image:
    """The picture, whose middle has turned like a ball by this share of the side. All around it stays."""
    pixels = np.asarray(image, np.float32)
    side = len(pixels)
    down, across = (np.mgrid[:side, :side] + 0.5) / side - 0.5
    from_column = np.mgrid[:side, :side][1] + by * side * np.sqrt(np.maximum(0, 1 - (down**2 + across**2) / 0.16))
    left = np.clip(from_column.astype(int), 0, side - 2)
    share = np.clip(from_column - left, 0, 1)[..., None]
    rows = np.arange(side)[:, None]
    return Image.fromarray(((1 - share) * pixels[rows, left] + share * pixels[rows, left + 1]).astype(np.uint8))


@pytest.mark.parametrize("by", [0.01, 0.015])
def test_two_shots_are_near_and_are_no_copies(by: float) -> None:
    first = [scene(seed) for seed in range(40)]
    again = [Image.open(io.BytesIO(jpeg(another_shot(image, by), 90))).convert("RGB") for image in first[:10]]
    copies = find_copies(thumbnails([*first, *again]), np.zeros(50, np.int64))
    assert {tuple(pair) for pair in copies.pairs.tolist()} == {(index, 40 + index) for index in range(10)}
    assert not copies.ways.same.any()
    assert len(set(copies.near.tolist())) == 40, "one split for both"
    photographs = copies.photographs_alone()
    assert len(set(photographs.near.tolist())) == 50
    assert not len(photographs.pairs)


def test_pictures_that_share_a_colour_and_nothing_else_are_no_copies() -> None:
    random = np.random.default_rng(0)
    leaves = [np.clip(random.normal((60, 140, 50), 3, (64, 64, 3)), 0, 255).astype(np.uint8) for _ in range(30)]
    assert not len(find_copies(np.stack(leaves), np.zeros(30, np.int64)).pairs)


# --------------------------------------------------------------------------------- what is said of them


def test_equal_bytes_and_equal_pixels_are_copies_and_the_largest_then_the_first_name_is_kept(tmp_path: Path) -> None:
    root = tmp_path / "data"
    others(root)
    data = jpeg(scene(100), 92)
    put(root, "a/z.jpg", data)
    put(root, "a/k.jpg", data)
    Image.open(io.BytesIO(data)).save(root / "a/same.png")
    (found,) = findings(root)
    assert (found.kind, found.severity, found.score) == ("copy", "warning", 1.0)
    assert found.items == ("a/k.jpg", "a/same.png", "a/z.jpg")
    assert found.words == "a/same.png (the same pixels) and a/z.jpg (the same bytes) are exact copies of a/k.jpg."
    assert [(fix.path, fix.action) for fix in found.fixes] == [("a/same.png", "leave_out"), ("a/z.jpg", "leave_out")]
    assert found.fixes[0].why == "the same picture as a/k.jpg"


@pytest.mark.parametrize(
    ("way", "how"),
    [
        ("smaller", "another size"),
        ("centre", "cropped"),
        ("mirrored", "mirrored"),
        ("turned", "turned by 90 degrees"),
        ("upside down", "turned upside down"),
        ("20% brighter", "brighter"),
        ("40% darker", "darker"),
        ("mirrored and cropped", "mirrored, cropped"),
        ("turned and darker", "turned by 90 degrees, darker"),
    ],
)
def test_a_near_copy_is_named_with_what_was_done_to_it(tmp_path: Path, way: str, how: str) -> None:
    root = tmp_path / "data"
    others(root)
    put(root, "a/new.jpg", jpeg(WAYS[way](scene(2))))
    (found,) = findings(root)
    assert (found.kind, found.severity) == ("near_copy", "note")
    assert found.items == ("a/02.jpg", "a/new.jpg")
    assert found.words == f"a/new.jpg ({how}) is nearly the same picture as a/02.jpg."
    assert [fix.path for fix in found.fixes] == ["a/new.jpg"]
    assert 0 < (found.score or 0) < 1
    assert found.figures["pictures"] == 2


def test_two_shots_are_proposed_as_a_group_and_none_is_left_out(tmp_path: Path) -> None:
    root = tmp_path / "data"
    others(root)
    put(root, "a/later.jpg", another_shot(scene(2), 0.015))
    put(root, "a/later_again.jpg", jpeg(another_shot(scene(2), 0.015), 60))
    copy, group = findings(root)
    assert (copy.kind, copy.items) == ("near_copy", ("a/later.jpg", "a/later_again.jpg"))
    assert (group.kind, group.severity) == ("group", "note")
    assert group.words == (
        "a/02.jpg, a/later.jpg and a/later_again.jpg seem to be shots of one thing, taken from nearly the same place."
    )
    assert {(fix.path, fix.action, fix.value) for fix in group.fixes} == {
        (name, "group", "shots-1") for name in ("a/02.jpg", "a/later.jpg", "a/later_again.jpg")
    }
    assert not group.certain


def test_two_shots_in_two_splits_are_a_warning_and_no_leak(tmp_path: Path) -> None:
    root = tmp_path / "data"
    others(root, below="train/")
    put(root, "test/a/later.jpg", another_shot(scene(2), 0.015))
    (found,) = findings(root, split=True)
    assert (found.kind, found.severity) == ("group", "warning")
    assert "and lie in train and test" in found.words


def test_a_picture_saved_again_is_said_to_be(tmp_path: Path) -> None:
    root = tmp_path / "data"
    others(root)
    put(root, "a/new.jpg", jpeg(scene(2), 40))
    assert findings(root)[0].words == "a/new.jpg (saved again) is nearly the same picture as a/02.jpg."


def test_the_larger_of_a_picture_and_its_crop_is_kept_whatever_its_name(tmp_path: Path) -> None:
    root = tmp_path / "data"
    others(root)
    put(root, "a/zz.jpg", scene(50, 256))
    put(root, "a/aa.jpg", lighter(cropped(scene(50, 256), left=0.2, top=0), 1.25))
    (found,) = findings(root)
    assert found.items == ("a/zz.jpg", "a/aa.jpg")
    assert "a/aa.jpg (cropped, brighter)" in found.words


def test_a_crop_that_was_made_larger_is_kept_and_the_other_has_more_around_it(tmp_path: Path) -> None:
    root = tmp_path / "data"
    others(root)
    put(root, "a/large.jpg", cropped(scene(50), left=0, top=0).resize((400, 400)))
    put(root, "a/whole.jpg", scene(50))
    assert findings(root)[0].words == "a/whole.jpg (with more around it) is nearly the same picture as a/large.jpg."


def test_a_copy_in_two_splits_is_a_leak_and_test_is_kept_whole(tmp_path: Path) -> None:
    root = tmp_path / "data"
    others(root, below="train/")
    others_of_test = [scene(1000 + index) for index in range(10)]
    for index, image in enumerate(others_of_test):
        put(root, f"test/{'ab'[index % 2]}/{index}.jpg", image)
    put(root, "test/a/leak.jpg", jpeg(WAYS["mirrored and cropped"](scene(4))))
    put(root, "test/a/leak2.jpg", jpeg(scene(4), 60))
    (found,) = findings(root, split=True)
    assert (found.kind, found.severity) == ("leak", "error")
    assert found.items[0] == "test/a/leak2.jpg"  # larger than the crop, and in the last split
    assert set(found.items) == {"test/a/leak.jpg", "test/a/leak2.jpg", "train/a/04.jpg"}
    assert [(fix.path, fix.action) for fix in found.fixes] == [("train/a/04.jpg", "leave_out")]
    assert found.words.endswith("are the same picture as test/a/leak2.jpg, and they lie in train and test.")
    assert "Leave it out of train" in found.advice


def test_a_copy_under_two_labels_is_a_conflict_and_all_of_it_is_left_out(tmp_path: Path) -> None:
    root = tmp_path / "data"
    others(root)
    put(root, "b/wrong.jpg", jpeg(WAYS["mirrored"](scene(2))))
    (found,) = findings(root)
    assert (found.kind, found.severity) == ("label_conflict", "error")
    assert found.words == "One picture has several labels: a/02.jpg (a) and b/wrong.jpg (b; mirrored)."
    assert {fix.path for fix in found.fixes} == {"a/02.jpg", "b/wrong.jpg"}


def test_where_many_alike_pictures_have_other_labels_nothing_is_proposed(tmp_path: Path) -> None:
    """Left and right hands: each picture of one class is a mirrored one of the other."""
    root = tmp_path / "data"
    for index in range(12):
        put(root, f"left/{index:02d}.jpg", scene(index))
        put(root, f"right/{index:02d}.jpg", scene(index).transpose(Turn.FLIP_LEFT_RIGHT))
    found = findings(root)
    assert len(found) == 12
    assert {(each.kind, each.severity, each.fixes) for each in found} == {("label_conflict", "warning", ())}
    assert "the classes are left and right" in found[0].advice


def test_pictures_of_one_colour_are_copies_only_if_all_pixels_are_equal(tmp_path: Path) -> None:
    root = tmp_path / "data"
    others(root)
    for name, size in (("one", 50), ("two", 50), ("three", 60)):
        Image.new("RGB", (size, size), (9, 9, 9)).save(root / "a" / f"{name}.png")
    (found,) = findings(root)
    assert (found.kind, found.items) == ("copy", ("a/one.png", "a/two.png"))


def test_unreadable_files_are_no_copies_of_each_other(tmp_path: Path) -> None:
    root = tmp_path / "data"
    others(root)
    put(root, "a/x.jpg", b"\xff\xd8\xff broken")
    put(root, "a/y.jpg", b"\xff\xd8\xff broken")
    assert findings(root) == []


def test_a_set_without_copies_has_no_findings_and_an_empty_one_neither(tmp_path: Path) -> None:
    root = tmp_path / "data"
    others(root)
    assert findings(root) == []
    assert check_copies(scan([], root=root)) == []


def test_a_long_cluster_is_told_in_short(tmp_path: Path) -> None:
    root = tmp_path / "data"
    others(root)
    for quality in range(30, 90, 8):
        put(root, f"a/q{quality}.jpg", jpeg(scene(2), quality))
    (found,) = findings(root)
    assert len(found.items) == 9
    assert "and 5 more are nearly the same picture as a/02.jpg." in found.words


# --------------------------------------------------------------------------------- splits


@pytest.mark.parametrize("way", ["mirrored", "bottom right", "40% darker", "mirrored and cropped"])
def test_splits_keep_altered_copies_on_one_side(tmp_path: Path, way: str) -> None:
    root = tmp_path / "data"
    others(root, 40)
    for index in range(20):
        put(root, f"{'ab'[index % 2]}/{index:02d}-again.jpg", jpeg(WAYS[way](scene(index))))
    for seed in range(2):
        splits = Folder(root, image_size=(64, 64), seed=seed)()
        where = {name: split for split, part in splits.parts().items() for name in part.names}
        assert all(where[f"{'ab'[i % 2]}/{i:02d}.jpg"] == where[f"{'ab'[i % 2]}/{i:02d}-again.jpg"] for i in range(20))


def test_where_classes_are_left_and_right_mirrored_pictures_are_pictures_of_their_own(tmp_path: Path) -> None:
    for index in range(24):
        put(tmp_path / "data", f"left/{index:02d}.jpg", scene(index))
        put(tmp_path / "data", f"right/{index:02d}.jpg", scene(index).transpose(Turn.FLIP_LEFT_RIGHT))
        if index < 6:
            put(tmp_path / "data", f"left/{index:02d}-again.jpg", jpeg(scene(index), 50))
    splits = Folder(tmp_path / "data", image_size=(64, 64))()
    groups = {
        name: group for part in splits.parts().values() for name, group in zip(part.names, part.groups, strict=True)
    }
    assert len(groups) == 54
    assert all(groups[f"left/{index:02d}.jpg"] == groups[f"left/{index:02d}-again.jpg"] for index in range(6))
    assert len(set(groups.values())) == 48
    assert any("alike only when they are mirrored, turned, cropped or made lighter" in note for note in splits.notes)


def test_what_was_found_is_kept_and_found_anew_if_a_picture_or_a_label_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "photos"
    others(root)
    put(root, "a/copy.jpg", scene(0).resize((90, 90)))
    asked = []

    def counted(*arguments: object, **named: object) -> Copies:
        asked.append(1)
        return find_copies(*arguments, **named)

    monkeypatch.setattr(copies, "find_copies", counted)
    first = findings(root)
    assert findings(root) == first != []
    assert len(asked) == 1
    put(root, "a/24.jpg", scene(24))
    assert len(findings(root)) == len(first)
    (root / "a" / "copy.jpg").rename(root / "b" / "copy.jpg")
    assert [each.kind for each in findings(root)] == ["label_conflict"]
    assert len(asked) == 3


def test_pictures_of_one_colour_are_compared_too() -> None:
    random = np.random.default_rng(0)
    plain = [np.full((SIDE, SIDE, 3), level, np.uint8) for level in (0, 1, 90, 91, 128, 254, 255)]
    noisy = [np.clip(each.astype(int) + random.integers(-2, 3, each.shape), 0, 255).astype(np.uint8) for each in plain]
    pixels = np.stack([*plain, *noisy, *thumbnails([scene(index) for index in range(8)])])
    found = find_copies(pixels, np.zeros(len(pixels), np.int64))
    assert len(found.near) == len(pixels)
