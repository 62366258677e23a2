"""Finding pictures: by what they hold, not by their names; nothing that lies in a folder ends or hangs a search."""

import io
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from kt.errors import DataError
from kt.kinds.pictures.find import LeftOut, find_pictures, is_picture, kind_of, why_not
from kt.kinds.pictures.images import contents

posix = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs links and pipes")


def saved(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(buffer, kind, **options)
    return buffer.getvalue()


JPEG = saved("JPEG")
ISO = b"\0\0\0\x1cftyp%s\0\0\0\0%s"


def found(folder: Path) -> tuple[list[str], str]:
    """What is found below a folder, and what is told of the rest."""
    left = LeftOut()
    pictures = [path.relative_to(folder).as_posix() for path in find_pictures(folder, left)]
    return pictures, "\n".join(left.lines(folder))


# ------------------------------------------------------------------------------------------------ by content


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        ("JPEG", JPEG),
        ("PNG", saved("PNG")),
        ("GIF", saved("GIF")),
        ("BMP", saved("BMP")),
        ("TIFF", saved("TIFF")),
        ("WebP", saved("WEBP")),
        ("JPEG", saved("MPO")),
        ("HEIC", ISO % (b"heic", b"mif1heic")),
        ("HEIC", ISO % (b"mif1", b"mif1heic")),
        ("AVIF", ISO % (b"avif", b"mif1avif")),
        ("AVIF", ISO % (b"mif1", b"mif1avif")),
        ("DICOM", bytes(128) + b"DICM"),
        ("", ISO % (b"isom", b"isommp42")),  # a film
        ("", b"BMW owners, A to Z"),
        ("", b"<html>a page</html>"),
        ("", b"RIFF\0\0\0\0WAVEfmt "),
        ("", b""),
    ],
)
def test_what_a_file_is_its_first_bytes_say(kind: str, head: bytes, tmp_path: Path) -> None:
    assert kind_of(head[:132]) == kind
    for name in ("picture", "notes.txt"):
        (tmp_path / name).write_bytes(head)
        assert is_picture(tmp_path / name) == bool(kind)


@pytest.mark.parametrize("name", ["a.JFIF", "a.jpe", "a.mpo", "a.heic", "a.HEIF", "a.avif", "a.dcm", "a.jpg", "a.png"])
def test_what_is_named_like_a_picture_is_tried_whatever_it_holds(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"<html>")
    assert found(tmp_path) == ([name], "")


def test_pictures_are_found_sorted_and_nothing_hidden_is_met(tmp_path: Path) -> None:
    for name in (
        *("b.JPG", "a.jpeg", "deep/er/c.Png", "e.webp", "photo1", "scan.2021", ".hidden.jpg", ".thumbs/d.jpg"),
        *("__MACOSX/a.jpg", "@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg", "Thumbs.db", "deep/desktop.ini"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(JPEG)
    assert found(tmp_path) == (["a.jpeg", "b.JPG", "deep/er/c.Png", "e.webp", "photo1", "scan.2021"], "")


def test_files_that_are_no_pictures_are_counted_by_kind_with_an_example(tmp_path: Path) -> None:
    for name in ("a.jpg", "sub/notes.txt", "b.TXT", "c.txt", "film.mov", "README", "camera.nef"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(saved("TIFF") if name == "camera.nef" else b"text")
    pictures, told = found(tmp_path)
    assert pictures == ["a.jpg"]
    assert told == (
        "left out, for they are no pictures that kt reads: 3 .txt (b.TXT), 1 .mov (film.mov), 1 .nef (camera.nef), "
        "1 without a suffix (README)"
    )


def test_names_that_are_no_utf8_are_found_and_sorted(tmp_path: Path) -> None:
    for name in (b"\xff\xfe.jpg", b"line\nbreak.jpg", "ä".encode() + b".jpg", b"note\xff.txt"):
        try:
            Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"-")
        except OSError:
            pytest.skip("this file system wants UTF-8")
    pictures, told = found(tmp_path)
    assert [os.fsencode(name) for name in pictures] == [b"line\nbreak.jpg", "ä".encode() + b".jpg", b"\xff\xfe.jpg"]
    assert "1 .txt" in told


# ------------------------------------------------------------------------------------------------ links


@posix
def test_a_link_that_leads_nowhere_is_found_so_that_it_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert found(tmp_path) == (["gone.jpg"], "left out: 1 link that leads nowhere (gone)")
    with pytest.raises(DataError, match="a link that leads nowhere"):
        contents(tmp_path / "gone.jpg")


@posix
def test_a_link_to_itself_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(JPEG)
    for name in ("self.jpg", "self"):
        (tmp_path / name).symlink_to(name)
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    pictures, told = found(tmp_path)
    assert pictures == ["a.jpg", "self.jpg"]
    assert told == "left out: 3 links to themselves (one)"
    with pytest.raises(DataError, match="a link to itself"):
        contents(tmp_path / "self.jpg")


@posix
def test_linked_folders_are_followed_once_and_never_in_a_circle(tmp_path: Path) -> None:
    root, pool = tmp_path / "root", tmp_path / "pool"
    for folder in (root / "real", pool / "deep"):
        folder.mkdir(parents=True)
        (folder / "a.jpg").write_bytes(JPEG)
    (root / "again").symlink_to("real")
    (root / "real" / "up").symlink_to(root)
    (root / "pool").symlink_to(pool)
    (root / "pool2").symlink_to(pool)
    (pool / "deep" / "back").symlink_to(root / "real")
    pictures, told = found(root)
    assert pictures == ["pool/deep/a.jpg", "real/a.jpg"]
    assert "2 links to folders that are read in their own place (again)" in told
    assert "1 link to a folder that it lies in (real/up)" in told
    assert "1 folder that is read by way of another link (pool2)" in told
    assert f"2 links lead out of the folder and are followed: pool to {pool}" in told


@posix
def test_a_folder_that_leads_up_to_its_parents_is_no_trap(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a.jpg").write_bytes(JPEG)
    (tmp_path / "root" / "everything").symlink_to("/")
    assert found(tmp_path / "root") == (["a.jpg"], "left out: 1 link to a folder that it lies in (everything)")


def test_a_very_deep_folder_is_walked(tmp_path: Path) -> None:
    at = tmp_path
    try:
        for _ in range(1100):
            at /= "d"
            at.mkdir()
        (at / "a.jpg").write_bytes(JPEG)
        assert len(list(find_pictures(tmp_path))) == 1
    except OSError:
        pytest.skip("this file system has no room for such a path")
    finally:  # from the deepest on, for what cleans up after the tests goes down by recursion
        (at / "a.jpg").unlink(missing_ok=True)
        while at != tmp_path:
            at.rmdir()
            at = at.parent


# ------------------------------------------------------------------------------------------------ what is no file


@posix
def test_pipes_sockets_and_devices_are_named_and_never_waited_for(tmp_path: Path) -> None:
    for name in ("pipe", "pipe.jpg"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "null").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "talk"))
        pictures, told = found(tmp_path)
    assert pictures == ["pipe.jpg"]
    assert told == "left out: 1 device (null), 1 pipe (pipe), 1 socket (talk)"
    with pytest.raises(DataError, match=r"not a file \(a pipe\)"):
        contents(tmp_path / "pipe.jpg")


@pytest.mark.skipif(not Path("/proc/kmsg").exists(), reason="needs Linux's kernel log")
def test_a_link_to_a_kernel_log_is_never_read(tmp_path: Path) -> None:
    """In a process of its own, which is ended if it hangs."""
    for name in ("log", "log.jpg"):
        (tmp_path / name).symlink_to("/proc/kmsg")
    (tmp_path / "kmsg.png").symlink_to("/dev/kmsg")
    script = (
        "import sys; from pathlib import Path\n"
        "from kt.kinds.pictures.find import find_pictures, read_file\n"
        "from kt.errors import DataError\n"
        "for path in find_pictures(Path(sys.argv[1])):\n"
        "    try: read_file(path, limit=100)\n"
        "    except DataError as error: print(path.name, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, timeout=600, check=True
    )
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["kmsg.png", "log.jpg"]


def test_why_a_path_cannot_be_read_is_told_without_opening_it(tmp_path: Path) -> None:
    (tmp_path / "full").write_bytes(b"-")
    (tmp_path / "empty").touch()
    assert why_not(tmp_path / "full") == ""
    assert why_not(tmp_path / "empty") == "an empty file"
    assert why_not(tmp_path / "nowhere") == "no such file"
    assert why_not(tmp_path / "full" / "below") == "no such file"
    assert why_not(Path("nul\0.jpg")) == "no such file"
    assert why_not(tmp_path) == "not a file (a folder)"


@posix
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may open everything")
def test_what_is_closed_to_us_is_told(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    assert "1 folder that can't be opened: Permission denied (closed)" in found(tmp_path)[1]


def test_finding_loads_none_of_the_heavy_libraries() -> None:
    script = (
        "import sys, kt.cli.new, kt.kinds.pictures.find, kt.data.split_words;"
        "print([name for name in ('numpy', 'tensorflow', 'keras', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
