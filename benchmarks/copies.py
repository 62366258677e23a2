"""How well altered copies are found, beside perceptual hashes; prints the table in README.md.

    python benchmarks/copies.py ../shared/data --write hashes.npz      # where imagehash is installed
    python benchmarks/copies.py ../shared/data --hashes hashes.npz --out benchmarks/copies.json
    python benchmarks/copies.py ../shared/data --scale 2000 10000 100000 --out benchmarks/copies_scale.json

Per set and seed, 20 random pictures for each way are copied, altered in this way and planted among all pictures of the
set. A reported pair is right if both are of one file. Wrong pairs count for the way of the copy in it; pairs of the set
as it is are reported apart. Every copy lies in the split that its picture is not in, and so is a leak. What kt calls
two shots of one thing counts as a group, not as a copy; "kt, with groups" counts both.
"""

import argparse
import io
import json
import random
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

Change = Callable[[Image.Image, random.Random], Image.Image]
Turn = Image.Transpose
SETS = ("apple_leaves", "apples", "bean_leaves", "clothing")
PLANTED = 20
"""Copies of each way, set and seed."""

HASHES = {"pHash": "phash", "dHash": "dhash"}
BITS = (0, 4, 10)
"""Pictures are taken for copies if their hashes of 64 bits differ in at most as many. CleanVision takes pHash and 0."""


def _scaled(image: Image.Image, scale: float) -> Image.Image:
    size = max(8, round(image.width * scale)), max(8, round(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS)


def _cropped(image: Image.Image, share: float, across: float, down: float) -> Image.Image:
    width, height = round(image.width * share), round(image.height * share)
    left, top = round((image.width - width) * across), round((image.height - height) * down)
    return image.crop((left, top, left + width, top + height))


def _corner(image: Image.Image, draw: random.Random) -> Image.Image:
    return _cropped(image, 0.8, *draw.choice([(0, 0), (0, 1), (1, 0), (1, 1), (0.5, 0.5)]))


def _light(image: Image.Image, factor: float) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(factor)


def _mirrored(image: Image.Image) -> Image.Image:
    return image.transpose(Turn.FLIP_LEFT_RIGHT)


WAYS: dict[str, Change] = {
    "saved again, quality 50": lambda image, _: image,
    "half size": lambda image, _: _scaled(image, 0.5),
    "double size": lambda image, _: _scaled(image, 2),
    "cropped to 80%, corner or centre": _corner,
    "cropped to 80%, anywhere": lambda image, draw: _cropped(image, 0.8, draw.random(), draw.random()),
    "mirrored": lambda image, _: _mirrored(image),
    "mirrored top to bottom": lambda image, _: image.transpose(Turn.FLIP_TOP_BOTTOM),
    "turned by 90 degrees": lambda image, _: image.transpose(Turn.ROTATE_90),
    "20% darker": lambda image, _: _light(image, 0.8),
    "20% brighter": lambda image, _: _light(image, 1.2),
    "40% darker": lambda image, _: _light(image, 0.6),
    "40% brighter": lambda image, _: _light(image, 1.4),
    "cropped, mirrored": lambda image, draw: _mirrored(_corner(image, draw)),
    "cropped, 20% brighter": lambda image, draw: _light(_corner(image, draw), 1.2),
    "cropped, quality 50": _corner,
    "mirrored, 20% darker": lambda image, _: _light(_mirrored(image), 0.8),
    "half size, 20% brighter": lambda image, _: _light(_scaled(image, 0.5), 1.2),
}


def altered(image: Image.Image, way: str, draw: random.Random) -> bytes:
    """The picture as JPEG, altered in one way."""
    file = io.BytesIO()
    WAYS[way](image, draw).save(file, "JPEG", quality=50 if "quality 50" in way else 85)
    return file.getvalue()


def files_of(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg", ".png"))


def planted(folder: Path, seed: int) -> Iterator[tuple[str, int, bytes]]:
    """The planted copies of a set: the way of each, the index of the file that it is of, and its bytes."""
    files = files_of(folder)
    draw = random.Random(f"{folder.name} {seed}")
    for number, index in enumerate(draw.sample(range(len(files)), PLANTED * len(WAYS))):
        way = [*WAYS][number // PLANTED]
        yield way, index, altered(Image.open(files[index]).convert("RGB"), way, draw)


def thing(name: str, folder: str) -> str:
    """What a picture shows: of apples the one apple, else the picture itself."""
    return name.split("__")[0] if folder == "apples" else name


def figures(by: str, pairs: np.ndarray, scores: np.ndarray, faults: "Faults") -> list[dict]:
    """What was found of each way. pairs: int64 `[P, 2]`, those reported. scores: the surest pair has the largest."""
    count, origin = faults.count, faults.origin
    fresh = (pairs >= count).any(axis=1)
    pairs, scores = pairs[fresh], scores[fresh]
    right = origin[pairs[:, 0]] == origin[pairs[:, 1]]
    across = faults.sides[pairs[:, 0]] != faults.sides[pairs[:, 1]]
    same_thing = faults.things[pairs[:, 0]] == faults.things[pairs[:, 1]]
    rows = []
    for way in WAYS:
        mine = (faults.ways[pairs] == way).any(axis=1)
        order = np.argsort(-scores[mine], kind="stable")
        hits = right[mine][order]
        precisions = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        rows.append(
            {
                "set": faults.name,
                "way": way,
                "seed": faults.seed,
                "by": by,
                "planted": PLANTED,
                "found": int(hits.sum()),
                "wrong": int((~hits).sum()),
                "wrong_of_other_things": int((~right & ~same_thing)[mine].sum()),
                "wrong_leaks": int((~right & across)[mine].sum()),
                "average_precision": float(precisions[hits].sum() / PLANTED),
            }
        )
    return rows


# ------------------------------------------------------------------------------------------- kt and the hashes


@dataclass(frozen=True)
class Faults:
    """A set with planted copies at its end. count: of its own pictures. The arrays are of all pictures.

    origin: the picture that each is of. ways: how it was altered, or empty. sides: its split. things: what it shows.
    """

    name: str
    seed: int
    count: int
    origin: np.ndarray
    ways: np.ndarray
    sides: np.ndarray
    things: np.ndarray


def measure(data: Path, hashes: Path | None, seeds: int) -> dict:
    """kt, and the hashes if there are any, on each set as it is and with planted copies."""
    from kt.data.duplicates import find_copies
    from kt.kinds.pictures.images import read_rgb, resize

    others = np.load(hashes) if hashes else None
    results: dict = {"sets": {}, "ways": []}
    for name in SETS:
        files = files_of(data / name)
        count = len(files)
        pixels = np.stack([resize(read_rgb(file), (64, 64)) for file in files])
        labels = np.unique([file.parent.name for file in files], return_inverse=True)[1].astype(np.int64)
        splits = np.array([file.parent.parent.name for file in files])
        things = np.array([thing(file.name, name) for file in files])
        found = find_copies(pixels, labels)
        one, other = found.pairs.T
        results["sets"][name] = {
            "pictures": count,
            "exact": int(count - len(np.unique(found.exact))),
            "pairs": len(found.pairs),
            "of_one_photograph": int(found.ways.same.sum()),
            "of_other_apples": int((things[one] != things[other]).sum()) if name == "apples" else None,
            "across_splits": int((splits[one] != splits[other]).sum()),
            "across_labels": int((labels[one] != labels[other]).sum()),
            "not_plain": int((~found.ways.plain).sum()),
            "examples": [[str(files[i].relative_to(data / name)) for i in pair] for pair in found.pairs[:20]],
        }
        print(name, {key: value for key, value in results["sets"][name].items() if key != "examples"}, flush=True)
        for seed in range(seeds):
            copies = [*planted(data / name, seed)]
            origin = np.array([*range(count), *(index for _, index, _ in copies)])
            faults = Faults(
                name,
                seed,
                count,
                origin,
                ways=np.array([*[""] * count, *(way for way, _, _ in copies)]),
                sides=np.concatenate([splits, np.where(splits[origin[count:]] == "test", "train", "test")]),
                things=things[origin],
            )
            again = np.stack([resize(read_rgb(encoded), (64, 64)) for _, _, encoded in copies])
            found = find_copies(np.concatenate([pixels, again]), labels[origin])
            same = found.ways.same
            results["ways"] += figures("kt", found.pairs[same], found.ways.score[same], faults)
            results["ways"] += figures("kt, with groups", found.pairs, found.ways.score, faults)
            for called, kind in HASHES.items() if others is not None else ():
                pairs, bits = _by_hash(np.concatenate([others[f"{name}|{kind}"], others[f"{name}|{seed}|{kind}"]]))
                for most in BITS:
                    near = bits <= most
                    results["ways"] += figures(f"{called}, {most} bits", pairs[near], -bits[near], faults)
            print(name, seed, _total(results["ways"], set=name, by="kt"), flush=True)
    return results


def _total(rows: list[dict], **of: str) -> str:
    """Recall, precision and mean average precision of the rows of a set, a method, a way."""
    rows = [row for row in rows if all(row[key] == value for key, value in of.items())]
    planted_pairs, hits, wrong = (sum(row[key] for row in rows) for key in ("planted", "found", "wrong"))
    mean = np.mean([row["average_precision"] for row in rows])
    return f"{hits / planted_pairs:.3f}, {hits / max(1, hits + wrong):.3f}, {mean:.3f}"


def _by_hash(bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pairs that differ in at most 10 bits, and in how many they do. bits: uint64 `[N]`."""
    pairs, distances = [], []
    for start in range(0, len(bits), 1024):
        apart = np.bitwise_count(bits[start : start + 1024, None] ^ bits[None])
        one, other = np.nonzero(apart <= 10)
        keep = one + start < other
        pairs.append(np.stack([one[keep] + start, other[keep]], axis=1))
        distances.append(apart[one[keep], other[keep]].astype(np.int64))
    return np.concatenate(pairs), np.concatenate(distances)


def write_hashes(data: Path, out: Path, seeds: int) -> None:
    """Hash all pictures and all planted copies; needs imagehash, and neither kt nor TensorFlow."""
    import imagehash

    def hashed(image: Image.Image, kind: str) -> np.uint64:
        return np.uint64(int(str(getattr(imagehash, kind)(image)), 16))

    arrays = {}
    for name in SETS:
        files = files_of(data / name)
        pictures = [Image.open(file).convert("RGB") for file in files]
        for kind in HASHES.values():
            arrays[f"{name}|{kind}"] = np.array([hashed(image, kind) for image in pictures])
        for seed in range(seeds):
            again = [Image.open(io.BytesIO(encoded)).convert("RGB") for _, _, encoded in planted(data / name, seed)]
            for kind in HASHES.values():
                arrays[f"{name}|{seed}|{kind}"] = np.array([hashed(image, kind) for image in again])
        print(name, flush=True)
    np.savez(out, **arrays)


# ------------------------------------------------------------------------------------------- many pictures


def many(data: Path, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thumbnails `[count, 64, 64, 3]` of windows of two photos each; the last 2% are altered copies."""
    from kt.kinds.pictures.images import read_rgb, resize

    random_numbers = np.random.default_rng(seed)
    files = [file for name in ("apple_leaves", "bean_leaves", "clothing") for file in files_of(data / name)[::4]]
    photos = [resize(read_rgb(file), (64, 64)) for file in files]

    def window() -> np.ndarray:
        photo = photos[random_numbers.integers(len(photos))]
        side = int(random_numbers.integers(24, 48))
        top, left = random_numbers.integers(0, 64 - side, 2)
        cut = Image.fromarray(photo[top : top + side, left : left + side])
        return np.asarray(cut.resize((80, 80), Image.Resampling.BICUBIC), np.float32)

    pixels = np.empty((count, 64, 64, 3), np.uint8)
    again = count // 50
    for row in range(count - again):
        large = 0.5 * window() + 0.5 * window()
        if row < again:
            top, left = random_numbers.integers(0, 17, 2)
            crop = np.clip(large[top : top + 64, left : left + 64, :] * random_numbers.uniform(0.8, 1.2), 0, 255)
            crop = crop[:, ::-1] if row % 2 else crop
            pixels[count - again + row] = crop
        pixels[row] = np.asarray(Image.fromarray(large.astype(np.uint8)).resize((64, 64), Image.Resampling.BOX))
    return pixels, np.arange(count) % 10, np.arange(count - again, count)


def measure_scale(data: Path, count: int) -> dict:
    from kt.data.duplicates import find_copies

    pixels, labels, again = many(data, count)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, cpu = time.perf_counter(), time.process_time()
    found = find_copies(pixels, labels)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    planted_pairs = {(row - again[0], row) for row in again.tolist()}
    got = {tuple(pair) for pair in found.pairs.tolist()}
    return {
        "pictures": count,
        "seconds": wall,
        "cpu_seconds": cpu,
        "pixels_megabytes": pixels.nbytes / 1e6,
        "more_megabytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3,
        "planted": len(planted_pairs),
        "found": len(planted_pairs & got),
        "wrong": len(got - planted_pairs),
    }


# ------------------------------------------------------------------------------------------- tables


def tables(results: dict) -> str:
    """The tables of README.md: by set and method, then kt by way and set."""
    rows = results["ways"]
    by = list(dict.fromkeys(row["by"] for row in rows))
    lines = ["| | " + " | ".join(SETS) + " |", "|---" * (1 + len(SETS)) + "|"]
    lines += [f"| {one} | " + " | ".join(_total(rows, set=name, by=one) for name in SETS) + " |" for one in by]
    lines += ["", "| way | " + " | ".join(SETS) + " | pHash, 10 bits, all sets |", "|---" * (2 + len(SETS)) + "|"]
    for way in WAYS:
        cells = [_total(rows, set=name, by="kt", way=way) for name in SETS]
        lines.append(f"| {way} | {' | '.join([*cells, _total(rows, by='pHash, 10 bits', way=way)])} |")
    wrong = {
        name: [sum(row[key] for row in rows if (row["set"], row["by"]) == (name, "kt")) for key in _WRONG]
        for name in SETS
    }
    return "\n".join([*lines, "", *(f"{name}: {dict(zip(_WRONG, each, strict=True))}" for name, each in wrong.items())])


_WRONG = ("planted", "found", "wrong", "wrong_of_other_things", "wrong_leaks")


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="the folder that the four sets lie in")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--hashes", type=Path, help="what --write has written")
    parser.add_argument("--write", type=Path, help="only hash the pictures, by imagehash")
    parser.add_argument("--scale", type=int, nargs="+", help="only measure as many made pictures")
    chosen = parser.parse_args()
    if chosen.write:
        write_hashes(chosen.data, chosen.write, chosen.seeds)
        return
    if chosen.scale:
        results = {"scale": [measure_scale(chosen.data, count) for count in chosen.scale]}
        print(json.dumps(results, indent=1))
    else:
        results = measure(chosen.data, chosen.hashes, chosen.seeds)
        print(tables(results))
    if chosen.out:
        chosen.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
