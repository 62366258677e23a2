"""The pictures that a run keeps, to judge later exports by when its own are gone."""

import numpy as np

from kt.data.splits import Split, Splits
from kt.export import sample
from kt.export.sample import keep_sample, kept_sample
from kt.kinds.pictures.kind import Pictures
from kt.kinds.pictures.values import ValueRange


def split_of(count: int, *, size: tuple[int, int], seed: int) -> Split:
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (count, *size, 3)).astype(np.uint8)
    names = tuple(f"{seed}/{index}.png" for index in range(count))
    groups = tuple(str(index // 2) for index in range(count))
    return Split(pixels, np.arange(count) % 3, names, groups)


def splits_of(train: int, test: int, *, size: tuple[int, int] = (8, 6)) -> Splits:
    return Splits(
        train=split_of(train, size=size, seed=1), validation=split_of(4, size=size, seed=2),
        test=split_of(test, size=size, seed=3), classes=("a", "b", "ö"), batch_size=8, origin="a folder",
        digest="f00", kind=Pictures(size, ValueRange(0, 4095)),
    )  # fmt: skip


def test_few_pictures_are_all_kept_and_come_back_as_they_were(tmp_path):
    splits = splits_of(30, 20)
    keep_sample(tmp_path, splits)
    found = kept_sample(tmp_path, into=tmp_path / "work")
    back = found.splits
    np.testing.assert_array_equal(back.test.examples, splits.test.examples)
    np.testing.assert_array_equal(back.test.labels, splits.test.labels)
    assert {row.tobytes() for row in back.train.examples} == {row.tobytes() for row in splits.train.examples}
    assert back.train.labels[:6].tolist() == [0, 1, 2, 0, 1, 2], "the classes take turns"
    assert (back.classes, back.digest, back.kind.value_range) == (splits.classes, "f00", ValueRange(0, 4095))
    assert len(back.validation) == 0 and back.kind.image_size == (8, 6)
    assert list(found.things) == splits.test.things(3)
    assert all(file.is_file() for file in back.test.files)


def test_of_many_or_large_pictures_a_part_is_kept_spread_over_the_test_split(tmp_path, monkeypatch):
    splits = splits_of(500, 1000)
    keep_sample(tmp_path / "many", splits)
    many = kept_sample(tmp_path / "many", into=tmp_path / "work").splits
    assert (len(many.test), len(many.train)) == (200, 100)
    assert many.test.examples[0].tobytes() == splits.test.examples[0].tobytes()
    assert many.test.examples[-1].tobytes() == splits.test.examples[-1].tobytes()
    monkeypatch.setattr(sample, "MOST", 8 * 6 * 3 * 30)
    keep_sample(tmp_path / "large", splits)
    large = kept_sample(tmp_path / "large", into=tmp_path / "more").splits
    assert (len(large.test), len(large.train)) == (20, 10)


def test_what_is_not_there_or_damaged_is_no_sample(tmp_path, capfd):
    assert kept_sample(tmp_path, into=tmp_path / "work") is None
    keep_sample(tmp_path, splits_of(6, 6))
    (file,) = (tmp_path / sample.SAMPLE).glob("test-*.npz")
    file.write_bytes(file.read_bytes()[:-1])
    assert kept_sample(tmp_path, into=tmp_path / "work") is None
    assert "does not hold what was written" in " ".join(capfd.readouterr().err.split())
