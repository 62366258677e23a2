"""Makes a folder of bad pictures: over 300 files of every kind that a folder of photos may hold.

    python tests/corpus.py FOLDER [--seed 0]

Each class has some good pictures, so that verbs have something to work with. Nothing is downloaded; the same seed gives
the same files.
"""

import argparse
import io
import os
import random
import struct
import unicodedata
import zipfile
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("bad", "good")

SCRIPTS = (
    "яблоко", "苹果", "りんご", "사과", "تفاحة", "תפוח", "सेब", "แอปเปิ้ล", "μήλο", "Äpfel",
    "pomme d'été", "🍎🍏", "ขนม ปัง", "a" * 120, " leading", "trailing ", "two  spaces",
    "com,ma", 'quo"te', "per%cent", "#hash", "=1+1", "-dash", "+plus", "@at",
    "semi;colon", "tab\tbed", "line\nbreak", "bell\x07", "\u202egnp.exe",
    "dot.dot..dot", "[bracket]", "{brace}", "back\\slash", "e\u0301 decomposed",
    "UPPER",
)  # fmt: skip
"""Names in many scripts, and names that break lines, tables, shells or terminals."""


@dataclass(frozen=True)
class Made:
    """What is in the corpus: paths relative to the folder. good: kt reads them. bad: kt can't, and must name each.

    either: whether kt reads it depends on the installed packages, or on where a file was cut off.
    """

    good: frozenset[str]
    bad: frozenset[str]
    either: frozenset[str]

    def __len__(self) -> int:
        return len(self.good) + len(self.bad) + len(self.either)


class _Maker:
    """Writes files and notes of which kind each one is."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root, self.random, self.numbers = root, random.Random(seed), np.random.default_rng(seed)
        self.kinds: dict[str, set[str]] = {"good": set(), "bad": set(), "either": set()}
        self.next = 0

    def picture(self, label: str = "good", size: tuple[int, int] = (48, 40), mode: str = "RGB") -> Image.Image:
        """A noisy picture: reddish for `bad`, greenish for `good`."""
        base = np.array((170, 60, 50) if label == "bad" else (60, 160, 60))
        noise = np.kron(self.numbers.normal(0, 40, (5, 6, 1)), np.ones((-(-size[1] // 5), -(-size[0] // 6), 1)))
        values = base + noise[: size[1], : size[0]] + self.numbers.normal(0, 20, (size[1], size[0], 3))
        return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).convert(mode)

    def put(self, kind: str, name: str, content: bytes, *, label: str = "") -> None:
        """Write a file; a name that this file system does not take is left out."""
        label = label or CLASSES[self.next % 2]
        self.next += 1
        path = self.root / label / name
        with suppress(OSError, UnicodeError, ValueError):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                raise FileExistsError(path)
            path.write_bytes(content)
            self.kinds[kind].add(path.relative_to(self.root).as_posix())

    def encoded(self, image: Image.Image, format_: str, **options: object) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, format_, **options)
        return buffer.getvalue()


def make_corpus(root: Path, *, seed: int = 0) -> Made:
    """Write the corpus into a folder, with a sub-folder for each of `CLASSES`."""
    maker = _Maker(root, seed)
    for part in (_plain, _formats, _modes, _cut_off, _damaged, _no_pictures, _sizes, _names, _exif, _links):
        part(maker)
    return Made(*(frozenset(maker.kinds[kind]) for kind in ("good", "bad", "either")))


def _plain(maker: _Maker) -> None:
    for label in CLASSES:
        for number in range(30):
            picture = maker.picture(label)
            maker.put("good", f"plain_{number:02d}.jpg", maker.encoded(picture, "JPEG", quality=90), label=label)


READ = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "GIF": ".gif",
    "BMP": ".bmp",
    "DIB": ".dib",
    "WEBP": ".webp",
    "TIFF": ".tif",
    "MPO": ".mpo",
}
"""Formats of Pillow that kt reads, each with a suffix."""


def _formats(maker: _Maker) -> None:
    """Every format that Pillow writes, under its own suffix and under that of a JPEG."""
    Image.init()
    for format_ in sorted(Image.SAVE):
        kind = "good" if format_ in READ else "bad"
        if format_ in ("AVIF", "HEIF"):
            kind = "either"
        for mode in ("RGB", "L", "1", "RGBA", "P", "CMYK"):
            try:
                content = maker.encoded(maker.picture(mode=mode), format_)
            except Exception:  # noqa: BLE001 - most formats can't hold most modes, and each says so in another way
                continue
            fate = "bad" if format_ == "DIB" else kind  # a DIB has no mark at its beginning
            maker.put(fate, f"format_{format_}_{mode}{READ.get(format_, '.jpg')}", content)


def _modes(maker: _Maker) -> None:
    for depth in (np.uint16, np.int32, np.float32):
        values = (maker.numbers.random((40, 48)) * 4000).astype(depth)
        for format_, suffix in (("TIFF", ".tif"), ("PNG", ".png")):
            with suppress(OSError, ValueError, TypeError):
                content = maker.encoded(Image.fromarray(values), format_)
                maker.put("either", f"deep_{np.dtype(depth).name}{suffix}", content)
    frames = [maker.picture() for _ in range(3)]
    for format_, suffix in (("GIF", ".gif"), ("WEBP", ".webp"), ("PNG", ".png"), ("TIFF", ".tif")):
        maker.put("good", f"frames{suffix}", maker.encoded(frames[0], format_, save_all=True, append_images=frames[1:]))
    for quality in (1, 100):
        maker.put("good", f"quality_{quality}.jpg", maker.encoded(maker.picture(), "JPEG", quality=quality))
    maker.put("good", "progressive.jpg", maker.encoded(maker.picture(), "JPEG", progressive=True))
    maker.put("good", "lossless.webp", maker.encoded(maker.picture(), "WEBP", lossless=True))


def _cut_off(maker: _Maker) -> None:
    """Truncations at random bytes, of each format."""
    for format_, suffix in (
        ("JPEG", ".jpg"),
        ("PNG", ".png"),
        ("GIF", ".gif"),
        ("BMP", ".bmp"),
        ("WEBP", ".webp"),
        ("TIFF", ".tif"),
    ):
        whole = maker.encoded(maker.picture(size=(96, 80)), format_)
        for number in range(10):
            end = maker.random.randrange(1, len(whole))
            maker.put("either", f"cut_{number}{suffix}", whole[:end])
        maker.put("bad", f"cut_in_half{suffix}", whole[: len(whole) // 2])


def _damaged(maker: _Maker) -> None:
    """Bytes that were changed, at random places or throughout."""
    for format_, suffix in (
        ("JPEG", ".jpg"),
        ("PNG", ".png"),
        ("GIF", ".gif"),
        ("WEBP", ".webp"),
        ("TIFF", ".tif"),
        ("BMP", ".bmp"),
    ):
        whole = bytearray(maker.encoded(maker.picture(), format_))
        for number in range(6):
            changed = bytearray(whole)
            for _ in range(1 + number * 4):
                changed[maker.random.randrange(len(changed))] = maker.random.randrange(256)
            maker.put("either", f"damaged_{number}{suffix}", bytes(changed))
        maker.put("bad", f"head_alone{suffix}", bytes(whole[:16]))
        maker.put("bad", f"zeros_after_head{suffix}", bytes(whole[:16]) + bytes(len(whole)))


def _no_pictures(maker: _Maker) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("photo.jpg", maker.encoded(maker.picture(), "JPEG"))
    contents = {
        "empty": b"", "text": b"not a picture\n", "html": b"<html><body>404 Not Found</body></html>",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', "pdf": b"%PDF-1.7\n%%EOF",
        "zip": archive.getvalue(), "gzip": b"\x1f\x8b\x08\0", "zeros": bytes(4096), "ones": b"\xff" * 4096,
        "noise": maker.random.randbytes(4096), "pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
        "script": b"#!/bin/sh\nexit 1\n",
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "postscript": b"%!PS-Adobe-3.0\n",
        "apple_double": b"\0\5\x16\7\0\2\0\0", "json": b"{}", "heic_head": b"\0\0\0\x18ftypheic" + bytes(40),
        "avif_head": b"\0\0\0\x18ftypavif" + bytes(40), "dicom_head": bytes(128) + b"DICM", "raw": b"FUJIFILMCCD-RAW",
        "numpy": b"\x93NUMPY\1\0v\0", "film": b"\x1a\x45\xdf\xa3", "icon": b"\0\0\1\0\1\0", "one_byte": b"\xff",
    }  # fmt: skip
    for name, content in contents.items():
        for suffix in (".jpg", ".png"):
            maker.put("bad", f"no_{name}{suffix}", content)


def _png(width: int, height: int, *, data: bytes = b"") -> bytes:
    """A PNG that claims a size, whatever it holds."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", data or zlib.compress(bytes(100)))
        + chunk(b"IEND", b"")
    )


def _sizes(maker: _Maker) -> None:
    for number, (width, height) in enumerate(
        ((0, 0), (0, 10), (2**31 - 1, 2**31 - 1), (100_000, 100_000), (65_535, 65_535))
    ):
        maker.put("bad", f"bomb_{number}.png", _png(width, height))
    maker.put("bad", "bomb_of_zeros.png", _png(40_000, 40_000, data=zlib.compress(bytes(2**22), 9)))
    for width, height in ((1, 1), (1, 300), (300, 1), (2, 2), (3000, 20), (20, 3000)):
        maker.put(
            "good", f"size_{width}x{height}.png", maker.encoded(Image.new("RGB", (width, height), (90, 120, 60)), "PNG")
        )
    for name, colour in (("black", 0), ("white", 255), ("grey", 128)):
        maker.put("good", f"uniform_{name}.png", maker.encoded(Image.new("L", (48, 40), colour), "PNG"))


def _names(maker: _Maker) -> None:
    content = maker.encoded(maker.picture(), "PNG")
    for name in SCRIPTS:
        maker.put("good", f"{name}.png", content)
    maker.put("good", "caf\u00e9.png", content, label="good")
    maker.put("good", unicodedata.normalize("NFD", "caf\u00e9.png"), content, label="good")
    maker.put("good", "Case.png", content, label="good")
    maker.put("good", "case.png", content, label="good")
    maker.put("good", "photo.JPG", maker.encoded(maker.picture(), "JPEG"))
    maker.put("good", "no_suffix", maker.encoded(maker.picture(), "JPEG"))
    maker.put("good", "jpeg_named.png", maker.encoded(maker.picture(), "JPEG"))
    maker.put("good", "png_named.jpg", maker.encoded(maker.picture(), "PNG"))
    name = os.fsdecode(b"not_utf8_\xff\xfe.png")
    maker.put("good", name, content)


def _exif(maker: _Maker) -> None:
    for orientation in (*range(9), 99):
        exif = Image.Exif()
        exif[0x0112] = orientation
        maker.put("good", f"turned_{orientation}.jpg", maker.encoded(maker.picture(), "JPEG", exif=exif))
    for number, block in enumerate((b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0" + b"\xff" * 200)):
        maker.put("good", f"exif_{number}.jpg", maker.encoded(maker.picture(), "JPEG", exif=block))


def _links(maker: _Maker) -> None:
    """Links and what is no file, where the system has them: kt names these, or leaves them out with a line."""
    folder = maker.root / "good"
    with suppress(OSError, NotImplementedError):
        (folder / "nowhere.jpg").symlink_to(folder / "gone.jpg")
        (folder / "itself.jpg").symlink_to(folder / "itself.jpg")
        (folder / "circle").symlink_to(folder, target_is_directory=True)
        os.mkfifo(folder / "pipe.jpg")
    with suppress(OSError):
        (folder / "folder.jpg").mkdir()
        (maker.root / "empty class").mkdir()
        (maker.root / ".hidden").mkdir()


def main() -> None:
    """Make the corpus, and say what is in it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    made = make_corpus(chosen.folder, seed=chosen.seed)
    print(f"{len(made)} files: {len(made.good)} good, {len(made.bad)} bad, {len(made.either)} that may be either")


if __name__ == "__main__":
    main()
