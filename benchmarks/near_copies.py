"""How many copies are found, and what is taken for one wrongly, on photos; prints the table in README.md.

    python benchmarks/near_copies.py DATA ... [--pictures 300] [--size 224]

Each picture is changed in each of the ways in which copies come about. Found is a copy that shares a group with its
original. Wrong are pairs of near-duplicates that come from two different pictures of the folder.
"""

import argparse
import io
import random
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from kt.data.duplicates import find_copies
from kt.kinds.pictures.images import read_rgb, resize

WAYS = {  # JPEG quality, scale, light
    "quality 50": (50, 1.0, 1.0),
    "quality 70": (70, 1.0, 1.0),
    "quality 90": (90, 1.0, 1.0),
    "half size": (85, 0.5, 1.0),
    "double size": (85, 2.0, 1.0),
    "5% darker": (85, 1.0, 0.95),
    "5% brighter": (85, 1.0, 1.05),
    "quality 50, half size, 5% darker": (50, 0.5, 0.95),
}


def changed(image: Image.Image, way: tuple[int, float, float]) -> bytes:
    """The picture as JPEG, changed in one of the ways."""
    quality, scale, light = way
    size = max(8, round(image.width * scale)), max(8, round(image.height * scale))
    file = io.BytesIO()
    ImageEnhance.Brightness(image).enhance(light).resize(size, Image.Resampling.LANCZOS).save(
        file, "JPEG", quality=quality
    )
    return file.getvalue()


def main() -> None:
    """One row a folder and way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="+", help="folders with a sub-folder a class, at any depth")
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--size", type=int, default=224)
    chosen = parser.parse_args()
    side = (chosen.size, chosen.size)
    print("| data | way | pictures | found | wrong pairs |\n|---|---|---|---|---|")
    for folder in chosen.data:
        files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg", ".png"))
        files = random.Random(0).sample(files, min(chosen.pictures, len(files)))
        labels = np.unique([file.parent.name for file in files], return_inverse=True)[1].astype(np.int64)
        count = len(files)
        originals = [resize(read_rgb(file), side) for file in files]
        print(f"| {folder.name} | as it is | {count} | | {len(find_copies(np.stack(originals), labels).pairs)} |")
        for name, way in WAYS.items():
            again = [resize(read_rgb(changed(Image.open(file).convert("RGB"), way)), side) for file in files]
            copies = find_copies(np.stack([*originals, *again]), np.concatenate([labels, labels]))
            found = int((copies.near[:count] == copies.near[count:]).sum())
            wrong = int((copies.pairs[:, 0] % count != copies.pairs[:, 1] % count).sum())
            print(f"| | {name} | {count} | {found} | {wrong} |", flush=True)


if __name__ == "__main__":
    main()
