"""A zip of pictures is taken as a folder is; and a hostile one writes nothing outside its place."""

import io
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kt.cli.new import count_pictures
from kt.data import Folder
from kt.errors import DataError
from kt.export.artifact import open_artifact
from kt.kinds.pictures.find import LeftOut
from kt.predict.files import predict_files


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KT_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    Image.fromarray(small).resize((24, 24), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


def make(file: Path, *, prefix: str = "photos/", extra: dict[str, bytes] | None = None) -> Path:
    """A zip with two classes of six pictures, and `extra` entries."""
    with zipfile.ZipFile(file, "w") as content:
        for seed in range(12):
            content.writestr(f"{prefix}{'ab'[seed % 2]}/{seed}.png", png(seed))
        for name, data in (extra or {}).items():
            content.writestr(name, data)
    return file


def test_a_zip_is_read_as_a_folder_is(tmp_path: Path) -> None:
    file = make(tmp_path / "photos.zip", extra={"__MACOSX/photos/a/._0.png": b"-", "photos/notes.txt": b"-"})
    splits = Folder(file, image_size=(16, 16))()
    assert splits.classes == ("a", "b")
    assert sum(map(len, splits.parts().values())) == 12
    assert "1 .txt (photos/notes.txt)" in "\n".join(splits.notes)
    assert splits.origin.endswith("photos.zip")
    assert count_pictures(file) == {"a": 6, "b": 6}


def test_a_zip_is_unpacked_once_for_its_content(tmp_path: Path, cache: Path) -> None:
    file = make(tmp_path / "photos.zip")
    count_pictures(file)
    (folder,) = (cache / "unpacked").iterdir()
    made = folder.stat().st_mtime_ns
    count_pictures(file.rename(tmp_path / "other name.zip"))
    assert [one.stat().st_mtime_ns for one in (cache / "unpacked").iterdir()] == [made]
    make(tmp_path / "more.zip", extra={"photos/a/99.png": png(99)})
    assert count_pictures(tmp_path / "more.zip") == {"a": 7, "b": 6}


def test_kt_new_takes_a_zip(tmp_path: Path, kt_ends) -> None:
    file = make(tmp_path / "photos.zip", prefix="")
    code, out, _ = kt_ends("new", tmp_path / "fruit.py", "--data", file)
    assert code == 0
    assert "12 pictures of 2 classes (a, b)" in out
    assert f'Folder("{file}"' in (tmp_path / "fruit.py").read_text()


def test_pictures_in_a_zip_are_predicted(tmp_path: Path, exports: list[Path]) -> None:
    (tmp_path / "photos").mkdir()
    file = make(tmp_path / "photos.zip", prefix="", extra={"notes.txt": b"-"})
    with zipfile.ZipFile(file) as content:
        content.extractall(tmp_path / "photos")
    artifact, left = open_artifact(exports[0]), LeftOut()
    answers = list(predict_files(artifact, [file], left))
    assert [answer.path.name for answer in answers] == [
        f"{seed}.png" for seed in (0, 10, 2, 4, 6, 8, 1, 11, 3, 5, 7, 9)
    ]
    assert [answer.scores for answer in answers] == [
        answer.scores for answer in predict_files(artifact, [tmp_path / "photos"])
    ]
    assert "1 .txt" in "".join(left.lines())


@pytest.mark.parametrize("name", ["../evil.png", "a/../../evil.png", "/tmp/evil.png", "..\\evil.png", "C:\\evil.png"])
def test_a_path_that_leads_out_is_refused_and_nothing_is_written(tmp_path: Path, cache: Path, name: str) -> None:
    file = make(tmp_path / "evil.zip", extra={name: png(1)})
    with pytest.raises(DataError, match=r"is refused: its entry .* leads out of the folder"):
        count_pictures(file)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["cache", "evil.zip", "unpacked"]
    assert not Path("/tmp/evil.png").exists()


def test_links_are_left_out_and_told(tmp_path: Path, capfd: pytest.CaptureFixture[str], cache: Path) -> None:
    file = make(tmp_path / "links.zip")
    with zipfile.ZipFile(file, "a") as content:
        link = zipfile.ZipInfo("photos/a/passwd.png")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        content.writestr(link, "/etc/passwd")
    assert count_pictures(file) == {"a": 6, "b": 6}
    assert "left out 1 link" in capfd.readouterr().err
    assert not any(path.is_symlink() for path in cache.rglob("*"))


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, cache: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as content,
        content.open("a/0.png", "w") as out,
    ):
        for _ in range(300):
            out.write(bytes(2**20))
    with pytest.raises(DataError, match=r"is refused: it would unpack to 314,572,800 bytes, more than 100 times"):
        count_pictures(tmp_path / "bomb.zip")
    assert list((cache / "unpacked").iterdir()) == []


def test_damaged_locked_and_other_archives_end_in_one_line(tmp_path: Path, cache: Path) -> None:
    whole = make(tmp_path / "whole.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"Cannot unpack .*cut\.zip: .*; unpack it yourself"):
        count_pictures(tmp_path / "cut.zip")
    damaged = bytearray(whole)
    damaged[200:240] = bytes(40)
    (tmp_path / "damaged.zip").write_bytes(damaged)
    with pytest.raises(DataError, match="Cannot unpack"):
        count_pictures(tmp_path / "damaged.zip")
    locked = bytearray(whole)
    locked[locked.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(locked)
    with pytest.raises(DataError, match="protected by a password"):
        count_pictures(tmp_path / "locked.zip")
    (tmp_path / "photos.tar.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(DataError, match=r"kt unpacks \.zip alone; unpack it, and give the folder"):
        count_pictures(tmp_path / "photos.tar.gz")
    assert list((cache / "unpacked").iterdir()) == []
