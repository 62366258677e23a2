"""Large pictures are decoded at a time only as far as memory allows, by threads and by processes."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kt.data.checks import scan as scanning
from kt.data.items import Item
from kt.data.reading import read_pictures
from kt.kinds.pictures import room as rooms
from kt.kinds.pictures.room import Room


class Watched(Room):
    """A room that writes down what is asked for, and the most that is taken at a time."""

    def __init__(self, pixels: int) -> None:
        super().__init__(pixels)
        self.asked: list[int] = []
        self.most = self.taken = 0
        self.lock = threading.Lock()

    def _take(self, pixels: int) -> int:
        got = super()._take(pixels)
        with self.lock:
            self.asked.append(pixels)
            self.taken += got
            self.most = max(self.most, self.taken)
        return got

    def _give(self, pixels: int) -> None:
        with self.lock:
            self.taken -= pixels
        super()._give(pixels)


@pytest.fixture
def large(tmp_path: Path, monkeypatch) -> list[Path]:
    """Six pictures of 6 megapixels, and six small ones."""
    monkeypatch.setenv("KT_HOME", str(tmp_path / "cache"))
    files = []
    for number in range(12):
        side = (3000, 2000) if number % 2 else (60, 40)
        files.append(tmp_path / "a" / f"{number:02d}.png")
        files[-1].parent.mkdir(exist_ok=True)
        Image.new("RGB", side, (number, 90, 200)).save(files[-1], compress_level=1)
    return files


def test_no_more_is_taken_than_there_is_and_each_has_its_turn() -> None:
    room, random = Watched(10_000_000), np.random.default_rng(0)
    wanted = [*random.integers(4_000_001, 9_000_000, 30).tolist(), 50_000_000]  # the last one takes all

    def work(pixels: int) -> None:
        with room.asking() as ask:
            ask(pixels)
            time.sleep(0.001)
            ask(rooms.SMALL)

    threads = [threading.Thread(target=work, args=(pixels,)) for pixels in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert sorted(room.asked) == sorted(wanted)
    assert room.most <= 10_000_000
    assert room.taken == 0


def test_processes_that_look_at_large_files_ask_for_room_before_they_decode_them(large, monkeypatch) -> None:
    room = Watched(10_000_000)
    monkeypatch.setattr(scanning, "Room", lambda: room)
    monkeypatch.setattr(scanning, "_FILES", 2)  # so that all processes have work
    found = scanning.scan(large, workers=4)
    assert found.reasons == ("",) * 12
    assert room.asked == [6_000_000] * 6
    assert room.most == 6_000_000  # one at a time
    assert room.taken == 0


def test_a_picture_without_room_waits_and_one_that_breaks_gives_it_back(large, monkeypatch) -> None:
    data = large[1].read_bytes()
    large[1].write_bytes(data[: len(data) // 2])
    room = Watched(10_000_000)
    monkeypatch.setattr(scanning, "Room", lambda: room)
    found = scanning.scan(large, workers=2)
    assert [bool(reason) for reason in found.reasons] == [number == 1 for number in range(12)]
    assert (len(room.asked), room.taken) == (6, 0)


def test_pictures_that_are_read_for_a_network_ask_too(large, monkeypatch) -> None:
    room = Watched(10_000_000)
    monkeypatch.setattr("kt.data.reading.Room", lambda: room)
    items = [Item(file, "a", file.name, group=file.name) for file in large]
    assert len(read_pictures(items, (32, 32)).items) == 12
    assert (room.asked, room.most, room.taken) == ([6_000_000] * 6, 6_000_000, 0)
