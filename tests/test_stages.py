"""What a stage keeps: whole or not at all, of the same work or not at all."""

import json

import numpy as np
import pytest

from kt.base.files import read_json
from kt.base.stages import MANIFEST, Stage, digest_of, digest_of_path, key_of

ARRAYS = {"0": np.arange(6, dtype=np.float32).reshape(2, 3), "1": np.array(7)}


@pytest.fixture
def stage(tmp_path):
    stage = Stage(tmp_path / "stage", key_of("a run", 1))
    stage.keep({"epochs": 3, "loss": 0.1}, weights=ARRAYS, scores={"scores": np.ones(4)})
    return stage


def test_what_was_kept_comes_back_to_the_last_bit(stage):
    kept = stage.kept()
    assert kept.told == {"epochs": 3, "loss": 0.1}
    assert kept.arrays.keys() == {"weights", "scores"}
    for name, array in ARRAYS.items():
        assert kept.arrays["weights"][name].dtype == array.dtype
        assert np.array_equal(kept.arrays["weights"][name], array)


def test_what_is_kept_anew_replaces_what_was_kept_and_leaves_no_other_file(stage):
    stage.keep({"epochs": 4}, weights={"0": np.zeros(2)})
    assert stage.kept().told == {"epochs": 4}
    assert len([path for path in stage.folder.iterdir() if path.suffix == ".npz"]) == 1


def test_a_set_that_has_not_changed_is_not_written_again(stage):
    (file,) = stage.folder.glob("weights-*")
    written = file.stat().st_mtime_ns
    stage.keep({"epochs": 4}, weights=ARRAYS)
    assert file.stat().st_mtime_ns == written
    assert stage.kept().told == {"epochs": 4}


def test_nothing_is_said_of_what_was_never_kept(tmp_path, capsys):
    assert Stage(tmp_path / "none", "key").kept() is None
    assert not capsys.readouterr().err


def _cut(path):
    path.write_bytes(path.read_bytes()[:-10])


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [_cut, _flip, lambda path: path.unlink()])
def test_a_damaged_file_is_noticed_and_said(stage, damage, capsys):
    (file,) = stage.folder.glob("weights-*")
    damage(file)
    assert stage.kept() is None
    assert "can't be used, and is done again: weights-" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": 1, "key": 3}', '{"format": 99}', "\0"])
def test_a_manifest_that_is_none_is_noticed_and_said(stage, content, capsys):
    (stage.folder / MANIFEST).write_text(content)
    assert stage.kept() is None
    assert "can't be used, and is done again" in " ".join(capsys.readouterr().err.split())


def test_what_was_made_from_other_things_is_not_taken(stage, capsys):
    assert Stage(stage.folder, key_of("a run", 2)).kept() is None
    assert "made from other things" in " ".join(capsys.readouterr().err.split())


def test_a_manifest_names_no_file_outside_its_folder(stage, tmp_path):
    secret = tmp_path / "secret.npz"
    np.savez(secret, secret=np.ones(1))
    manifest = read_json(stage.folder / MANIFEST)
    manifest["files"] = {"weights": {"name": "../secret.npz", "sha256": digest_of_path(secret)}}
    (stage.folder / MANIFEST).write_text(json.dumps(manifest))
    assert stage.kept() is None


def test_a_pickle_in_a_stage_is_never_loaded(tmp_path):
    stage = Stage(tmp_path, "key")
    with pytest.raises(ValueError, match="allow_pickle"):
        stage.keep({}, weights={"0": np.array([{}], dtype=object)})
    assert stage.kept() is None


def test_the_hash_of_arrays_tells_their_values_types_shapes_and_order_apart():
    one, two = np.arange(4, dtype=np.float32), np.arange(4, dtype=np.float64)
    found = [[one, two], [two, one], [one, two[::-1]], [one.reshape(2, 2), two], [one], [one, two.astype(np.int64)]]
    assert len({digest_of(arrays) for arrays in found}) == len(found)


def test_the_hash_of_a_folder_changes_with_a_name_and_with_a_byte(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    before = digest_of_path(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert digest_of_path(tmp_path) != before
    (tmp_path / "b").rename(tmp_path / "a")
    assert digest_of_path(tmp_path) == before
    (tmp_path / "a").write_bytes(b"2")
    assert digest_of_path(tmp_path) != before
    assert digest_of_path(tmp_path / "gone") is None
