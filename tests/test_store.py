"""Stored frozen outputs: found again by content, never trusted when damaged, and never in the way of a run."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from kt.base import cache
from kt.base.cache import entries
from kt.frozen import store
from kt.frozen.store import Store, StoredLayers, hashes

ABOUT = StoredLayers("tiny", "block_1_relu", 6, "float32")


def keys(count, seed=0):
    return list(hashes(np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3)).astype(np.uint8)))


def values(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32)


def filled(folder, count=5, seed=0):
    kept = Store(folder, ABOUT)
    with kept.writer(count) as writer:
        writer.add(keys(count, seed)[:3], values(count, seed)[:3])
        writer.add(keys(count, seed)[3:], values(count, seed)[3:])
    return kept


@pytest.mark.parametrize("on_disk", [True, False])
def test_rows_come_back_in_any_order_and_as_often_as_asked_for(tmp_path, on_disk):
    kept = filled(tmp_path / "one" if on_disk else None)
    one, *_, last = keys(5)
    rows = kept.rows([last, one, last])
    assert rows.shape == (3, 6) and len(rows) == 3
    np.testing.assert_array_equal(rows[np.array([0, 1, 2])], values(5)[[4, 0, 4]])
    np.testing.assert_array_equal(rows[np.array([2, 1])], values(5)[[4, 0]])
    np.testing.assert_array_equal(rows.in_memory(), values(5)[[4, 0, 4]])


def test_another_process_finds_them_and_adds_only_what_is_new(tmp_path):
    filled(tmp_path / "one")
    again = Store(tmp_path / "one", ABOUT)
    assert again.missing(keys(5)) == set()
    other = keys(2, seed=9)
    assert again.missing([*keys(5), *other]) == set(other)
    with again.writer(2) as writer:
        writer.add(other, values(2, seed=9))
    both = Store(tmp_path / "one", ABOUT).rows([other[1], keys(5)[3]])
    np.testing.assert_array_equal(both.in_memory(), [values(2, seed=9)[1], values(5)[3]])


def test_the_hash_of_a_picture_is_that_of_its_pixels_and_its_shape():
    pixels = np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3)
    changed = pixels.copy()
    changed[0, 3, 3, 2] ^= 1
    assert len({*hashes(pixels), *hashes(changed), *hashes(pixels.reshape(1, 2, 8, 3)), *hashes(pixels.copy())}) == 3


@pytest.mark.parametrize("damage", ["one bit", "cut off", "empty", "of another kind"])
def test_a_damaged_file_is_told_removed_and_made_again(tmp_path, capfd, damage):
    filled(tmp_path / "one")
    (file,) = (tmp_path / "one").glob("*.npy")
    content = bytearray(file.read_bytes())
    if damage == "one bit":
        content[-5] ^= 4
    if damage == "of another kind":
        np.save(tmp_path / "other.npy", np.zeros(3))
        content = bytearray((tmp_path / "other.npy").read_bytes())
        shutil.copy(tmp_path / "other.npy", file.with_name(f"{store.sha256_of(tmp_path / 'other.npy')}.npy"))
    file.write_bytes(bytes(content[: {"cut off": 200, "empty": 0}.get(damage, len(content))]))
    again = Store(tmp_path / "one", ABOUT)
    assert again.missing(keys(5)) == set(keys(5))
    assert "damaged and computed again" in capfd.readouterr().err
    assert not list((tmp_path / "one").glob("*.npy"))
    filled(tmp_path / "one")
    assert Store(tmp_path / "one", ABOUT).missing(keys(5)) == set()


def test_a_file_that_would_run_code_when_unpickled_is_not_opened(tmp_path, capfd):
    folder = tmp_path / "one"
    folder.mkdir()
    np.save(folder / "evil.npy", np.array([Evil()], dtype=object), allow_pickle=True)
    (folder / "evil.npy").rename(folder / f"{store.sha256_of(folder / 'evil.npy')}.npy")
    assert Store(folder, ABOUT).missing(keys(1))
    assert "damaged" in capfd.readouterr().err
    assert not Evil.ran


class Evil:
    """Notes when it is unpickled."""

    ran = False

    def __reduce__(self):
        return setattr, (Evil, "ran", True)


def test_what_was_interrupted_leaves_nothing_that_is_taken_for_rows(tmp_path):
    kept = Store(tmp_path / "one", ABOUT)
    with pytest.raises(KeyboardInterrupt), kept.writer(5) as writer:
        writer.add(keys(5)[:3], values(5)[:3])
        raise KeyboardInterrupt
    assert [file.name for file in (tmp_path / "one").iterdir()] == ["about.json"]
    assert kept.missing(keys(5)) == set(keys(5))


def test_a_full_disk_is_noticed_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1000))
    with (
        pytest.raises(OSError, match=r"1\.0 GiB have to be free in .*there are 0\.0"),
        Store(tmp_path / "one", ABOUT).writer(5),
    ):
        pass
    assert not list((tmp_path / "one").glob("*.npy"))


def test_what_was_used_longest_ago_makes_room_for_what_is_new(tmp_path, monkeypatch):
    for age, name in enumerate(["new", "older", "oldest"]):
        filled(tmp_path / name)
        os.utime(tmp_path / name, (time.time() - 1000 * age,) * 2)
    size = sum(entry.bytes for entry in entries(tmp_path))
    monkeypatch.setattr(cache, "LIMIT", size)
    filled(tmp_path / "another")
    assert {entry.folder.name for entry in entries(tmp_path)} == {"new", "older", "another"}


def test_remains_of_a_process_that_was_killed_go_and_those_of_one_at_work_stay(tmp_path):
    killed = """
import os, sys
from pathlib import Path
from test_store import ABOUT, Store
with Store(Path(sys.argv[1]), ABOUT).writer(3) as writer:
    os._exit(9)
"""
    command = [sys.executable, "-c", killed, str(tmp_path / "one")]
    assert subprocess.run(command, cwd=Path(__file__).parent, check=False).returncode == 9
    assert len(list((tmp_path / "one").glob(".*"))) == 2  # the part and its lock
    with Store(tmp_path / "two", ABOUT).writer(5) as writer:
        filled(tmp_path / "other")
        assert not list((tmp_path / "one").glob(".*"))
        writer.add(keys(5), values(5))
    assert Store(tmp_path / "two", ABOUT).missing(keys(5)) == set()


def test_each_folder_says_what_it_holds(tmp_path):
    filled(tmp_path / "one", count=5)
    (entry,) = entries(tmp_path)
    assert entry.about == {"backbone": "tiny", "border": "block_1_relu", "width": 6, "dtype": "float32"}
    assert entry.pictures == 5
    (tmp_path / "one" / "about.json").write_text(json.dumps(["not", "a", "dict"]))
    assert entries(tmp_path)[0].about == {}
