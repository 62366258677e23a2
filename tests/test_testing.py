"""The checks for parts of one's own: kt's own parts pass them, and each rule that is broken is named."""

import dataclasses

import numpy as np
import pytest
from conftest import make_folder
from test_rows import apples, write

from kt.data import Folder, Records, Table
from kt.kinds.pictures.kind import Pictures
from kt.kinds.pictures.values import ValueRange
from kt.samples import Apples
from kt.testing import check_kind, check_source


@pytest.fixture
def folder(tmp_path):
    make_folder(tmp_path / "pictures", {"red": 12, "green": 12})
    return tmp_path / "pictures"


def test_the_sources_of_kt_pass(tmp_path, folder):
    assert len(check_source(Folder(folder, image_size=(16, 16))).classes) == 2
    files = sorted(folder.rglob("*.png")) or sorted(folder.rglob("*.jpg"))
    write(tmp_path / "t.csv", [[str(file), file.parent.name] for file in files], ("path", "label"))
    check_source(Table(tmp_path / "t.csv", image_size=(16, 16)))
    check_source(Records(write(tmp_path / "a.csv", apples())))


@pytest.mark.slow
def test_the_drawn_apples_pass():
    check_source(Apples(image_size=(32, 32)))


def test_the_kinds_of_kt_pass(tmp_path, folder):
    check_kind(Pictures((24, 16)), [folder])
    check_kind(Pictures((24, 16), ValueRange(0, 4095)), [folder])
    splits = Records(write(tmp_path / "a.csv", apples()))()
    check_kind(splits.kind, [tmp_path / "a.csv"])


def part(split, **changes):
    return dataclasses.replace(split, **changes)


@pytest.mark.parametrize(
    ("change", "breach"),
    [
        (lambda s: dataclasses.replace(s, classes=("red", "green")), "classes are to be sorted"),
        (lambda s: dataclasses.replace(s, test=s.test.take(np.arange(0))), "test is empty"),
        (lambda s: dataclasses.replace(s, test=part(s.test, labels=s.test.labels + 1)), "test has labels from 1 to 2"),
        (lambda s: dataclasses.replace(s, test=part(s.test, names=("a",) * len(s.test))), "test has a name twice"),
        (lambda s: dataclasses.replace(s, validation=s.train), "lies in train and in validation"),
        (lambda s: dataclasses.replace(s, kind=Pictures((8, 8))), "This model takes pixels"),
    ],
)
def test_a_source_that_breaks_a_rule_is_told(folder, change, breach):
    splits = Folder(folder, image_size=(16, 16))()
    with pytest.raises((AssertionError, Exception), match=breach):
        check_source(lambda: change(splits))


def test_a_source_that_draws_anew_is_told(folder):
    seeds = iter((0, 1))
    with pytest.raises(AssertionError, match="two calls give two digests"):
        check_source(lambda: Folder(folder, image_size=(16, 16), seed=next(seeds))())


@dataclasses.dataclass(frozen=True)
class Dim(Pictures):
    """A kind that is prepared otherwise than it says."""

    @property
    def fed(self):
        return (1, 2, 3)


def test_a_kind_that_breaks_a_rule_is_told(folder):
    with pytest.raises(AssertionError, match="fed says"):
        check_kind(Dim((16, 16)), [folder])
