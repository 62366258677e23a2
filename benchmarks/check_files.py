"""What `kt check` finds of faults planted in single files, and what it calls wrongly; prints the tables in README.md.

    python benchmarks/check_files.py DATA ... [--seeds 1 2 3] [--each 8] [--pictures 1600] [--out check_files.json]
        [--cleanvision PYTHON]

Of each folder some pictures are taken at random and copied, and a few of them get each fault. All else is as it is, so
each further finding counts as a false alarm, also where the picture really has the fault. --cleanvision: a Python with
CleanVision, which looks at the same files.
"""

# ruff: noqa: ARG001, ARG005 - each fault is made from the same three things, and few need all of them
import argparse
import io
import json
import subprocess
import tempfile
import zlib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from kt.data.checks.files import check_files
from kt.data.checks.scan import scan

Random = np.random.Generator


def saved(image: Image.Image, form: str = "JPEG", **settings) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **({"quality": 90} if form == "JPEG" else {}) | settings)
    return buffer.getvalue()


def pixels_of(data: bytes) -> tuple[int, int]:
    """Where the bytes of a JPEG's pixels begin and end."""
    return data.index(b"\xff\xda") + 14, len(data) - 2


def truncated(data: bytes, image: Image.Image, random: Random) -> bytes:
    return data[: int(random.uniform(0.05, 0.95) * len(data))]


def cut_off(data: bytes, image: Image.Image, random: Random) -> bytes:
    return data[: -int(random.integers(3, max(4, len(data) // 100)))]


def zeros_at_the_end(data: bytes, image: Image.Image, random: Random) -> bytes:
    start, end = pixels_of(data)
    at = int(random.integers(start, end - 100))
    return data[:at] + bytes(len(data) - at)


def zeros_within(data: bytes, image: Image.Image, random: Random) -> bytes:
    start, end = pixels_of(data)
    at = int(random.integers(start, end - 512))
    return data[:at] + bytes(512) + data[at + 512 :]


def wrong_bytes(share: float) -> Callable[[bytes, Image.Image, Random], bytes]:
    """Replaces a share of the bytes of the pixels, or five of them."""

    def planted(data: bytes, image: Image.Image, random: Random) -> bytes:
        start, end = pixels_of(data)
        altered = bytearray(data)
        for at in random.integers(start, end, max(5, int(share * (end - start)))):
            altered[at] = random.integers(256)
        return bytes(altered)

    return planted


def bomb(data: bytes, image: Image.Image, random: Random) -> bytes:
    claims = bytearray(saved(Image.new("1", (8, 8)), "PNG"))
    claims[16:24] = int(random.integers(11_000, 60_000)).to_bytes(4, "big") * 2
    claims[29:33] = zlib.crc32(claims[12:29]).to_bytes(4, "big")
    return bytes(claims)


def turned(data: bytes, image: Image.Image, random: Random) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = int(random.integers(2, 9))
    return saved(image, exif=exif)


def transparent(data: bytes, image: Image.Image, random: Random) -> bytes:
    clear = image.convert("RGBA")
    clear.paste((0, 0, 0, 0), (0, 0, image.width // 2, image.height // 3))
    return saved(clear, "PNG")


def small(data: bytes, image: Image.Image, random: Random) -> bytes:
    side = int(random.integers(6, 21))
    return saved(image.resize((side, side)))


def one_colour(data: bytes, image: Image.Image, random: Random) -> bytes:
    levels = random.integers(0, 256, 3) + random.normal(0, 1, (image.height, image.width, 3))
    return saved(Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)))


def darker(data: bytes, image: Image.Image, random: Random) -> bytes:
    factor = random.uniform(0.05, 0.2)
    return saved(image.point(lambda level: level * factor))


def brighter(data: bytes, image: Image.Image, random: Random) -> bytes:
    factor = random.uniform(0.05, 0.2)
    return saved(image.point(lambda level: 255 - (255 - level) * factor))


def blurred(least: float, most: float) -> Callable[[bytes, Image.Image, Random], bytes]:
    """Blurs by a Gaussian; its standard deviation as a share of the shorter side lies between these."""

    def planted(data: bytes, image: Image.Image, random: Random) -> bytes:
        return saved(image.filter(ImageFilter.GaussianBlur(random.uniform(least, most) * min(image.size))))

    return planted


def strip(data: bytes, image: Image.Image, random: Random) -> bytes:
    height = max(8, int(image.width / random.uniform(4, 8)))
    return saved(image.crop((0, image.height // 3, image.width, image.height // 3 + height)))


def enlarged(data: bytes, image: Image.Image, random: Random) -> bytes:
    factor = random.uniform(5, 8)
    return saved(image.resize((int(image.width * factor), int(image.height * factor))))


FAULTS: dict[str, tuple[str, str, Callable[[bytes, Image.Image, Random], bytes]]] = {
    # what it is: the kind of finding, the suffix, and what makes it
    "no bytes": ("unreadable", ".jpg", lambda data, image, random: b""),
    "truncated, 5 to 95 % left": ("unreadable", ".jpg", truncated),
    "cut off, up to 1 % missing": ("unreadable", ".jpg", cut_off),
    "zeros from some point on": ("unreadable", ".jpg", zeros_at_the_end),
    "512 zeros within": ("unreadable", ".jpg", zeros_within),
    "1 % wrong bytes": ("unreadable", ".jpg", wrong_bytes(0.01)),
    "5 wrong bytes": ("unreadable", ".jpg", wrong_bytes(0)),
    "a wrong byte in a PNG": (
        "unreadable",
        ".png",
        lambda data, image, random: _one_byte(saved(image, "PNG"), random),
    ),
    "bomb": ("unreadable", ".png", bomb),
    "text": ("not_a_picture", ".jpg", lambda data, image, random: b"file,label\n1.jpg,good\n" * 20),
    "HTML": ("not_a_picture", ".jpg", lambda data, image, random: b"<!DOCTYPE html><html>404</html>"),
    "zeros alone": ("not_a_picture", ".jpg", lambda data, image, random: bytes(len(data))),
    "PNG called .jpg": ("wrong_suffix", ".jpg", lambda data, image, random: saved(image, "PNG")),
    "JPEG called .png": ("wrong_suffix", ".png", lambda data, image, random: data),
    "GIF of 3 frames": (
        "animated",
        ".gif",
        lambda data, image, random: saved(
            image, "GIF", save_all=True, append_images=[image.rotate(9), image.rotate(18)]
        ),
    ),
    "turned by EXIF": ("rotated", ".jpg", turned),
    "CMYK": ("unusual_mode", ".jpg", lambda data, image, random: saved(image.convert("CMYK"))),
    "16 bits": (
        "unusual_mode",
        ".png",
        lambda data, image, random: saved(
            Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257), "PNG"
        ),
    ),
    "partly transparent": ("unusual_mode", ".png", transparent),
    "6 to 20 px": ("tiny", ".jpg", small),
    "one colour with noise": ("uniform", ".jpg", one_colour),
    "5 to 20 % of the light": ("dark", ".jpg", darker),
    "5 to 20 % of the shade": ("bright", ".jpg", brighter),
    "blurred by 2 to 4 %": ("blurred", ".jpg", blurred(0.02, 0.04)),
    "blurred by 1 to 2 %": ("blurred", ".jpg", blurred(0.01, 0.02)),
    "cut to 1 : 4 to 1 : 8": ("odd_aspect", ".jpg", strip),
    "5 to 8 times as large": ("odd_size", ".jpg", enlarged),
}
KINDS = tuple(dict.fromkeys(kind for kind, _, _ in FAULTS.values()))

THEIRS = {  # CleanVision's names
    "dark": "dark",
    "light": "bright",
    "blurry": "blurred",
    "low_information": "uniform",
    "odd_aspect_ratio": "odd_aspect",
    "odd_size": "odd_size",
}
LOOK = """
import json, sys
from cleanvision import Imagelab
lab = Imagelab(data_path=sys.argv[1])
lab.find_issues({name: {} for name in sys.argv[3:]}, verbose=False)
table = lab.issues
found = {name: [path for path in table.index[table[f"is_{name}_issue"]]] for name in sys.argv[3:]}
json.dump(found, open(sys.argv[2], "w"))
"""


def _one_byte(data: bytes, random: Random) -> bytes:
    altered = bytearray(data)
    at = int(random.integers(data.index(b"IDAT") + 10, len(data) - 16))
    altered[at] ^= int(random.integers(1, 256))
    return bytes(altered)


def plant(source: Path, folder: Path, *, each: int, pictures: int, seed: int) -> dict[str, str]:
    """Copy pictures with faults to a folder. Returns the fault of each file, empty for one as it was."""
    random = np.random.default_rng(seed)
    files = sorted(file for file in source.rglob("*") if file.suffix.lower() == ".jpg")
    chosen = [files[at] for at in random.permutation(len(files))[:pictures]]
    faults = [fault for fault in FAULTS for _ in range(each)]
    planted = {}
    for place, file in enumerate(chosen):
        fault = faults[place] if place < len(faults) else ""
        data = file.read_bytes()
        suffix, content = ".jpg", data
        if fault:
            with Image.open(io.BytesIO(data)) as image:
                _, suffix, make = FAULTS[fault]
                content = make(data, image.convert("RGB"), random)
        name = f"{file.parent.name}/{place:05d}{suffix}"
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
        planted[name] = fault
    return planted


def ours(folder: Path, planted: dict[str, str]) -> set[tuple[str, str]]:
    """The files that kt finds, each with the kind of finding."""
    names = sorted(planted)
    looked = scan([folder / name for name in names], names=names, root=folder)
    findings = check_files(looked, labels=[name.split("/")[0] for name in names])
    return {(item, finding.kind) for finding in findings for item in finding.items}


def theirs(python: str, folder: Path) -> set[tuple[str, str]] | str:
    """The files that CleanVision finds, each with the kind of finding; or how it failed."""
    with tempfile.NamedTemporaryFile(suffix=".json") as answer:
        done = subprocess.run(
            [python, "-c", LOOK, str(folder), answer.name, *THEIRS], capture_output=True, text=True, check=False
        )
        if done.returncode:
            return done.stderr.strip().splitlines()[-1].partition(" <")[0][:200]
        found = json.loads(Path(answer.name).read_text())
    return {
        (Path(path).relative_to(folder).as_posix(), THEIRS[name]) for name, paths in found.items() for path in paths
    }


def count(planted: dict[str, str], found: set[tuple[str, str]], kinds: tuple[str, ...]) -> dict[str, dict[str, int]]:
    """By fault: how many were planted and found. By kind: how many were called rightly and wrongly."""
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for name, fault in planted.items():
        if fault and FAULTS[fault][0] in kinds:
            counts[fault]["planted"] += 1
            counts[fault]["found"] += (name, FAULTS[fault][0]) in found
    for name, kind in found:
        fault = planted[name]
        if kind in kinds:
            right = bool(fault) and FAULTS[fault][0] == kind
            counts[kind]["right"] += right
            counts[kind]["wrong, planted otherwise" if fault else "wrong, as it was"] += not right
    return {name: dict(values) for name, values in counts.items()}


def added(rows: list[dict[str, dict[str, int]]]) -> dict[str, dict[str, int]]:
    total: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in rows:
        for name, values in row.items():
            for what, number in values.items():
                total[name][what] += number
    return total


def show(who: str, rows: list[dict[str, dict[str, int]]], kinds: tuple[str, ...]) -> None:
    total = added(rows)
    print(f"\n| {who}: kind | fault | planted | found | recall | precision of the kind | false alarms |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for kind in kinds:
        calls = total.get(kind, {})
        right = calls.get("right", 0)
        usual, other = calls.get("wrong, as it was", 0), calls.get("wrong, planted otherwise", 0)
        precision = f"{right / (right + usual + other):.3f}" if right + usual + other else "none called"
        for place, fault in enumerate(fault for fault, (its, _, _) in FAULTS.items() if its == kind):
            got, all_of = total[fault]["found"], total[fault]["planted"]
            ends = (kind, precision, f"{usual} as they were, {other} with other faults") if not place else ("", "", "")
            print(f"| {ends[0]} | {fault} | {all_of} | {got} | {got / max(1, all_of):.3f} | {ends[1]} | {ends[2]} |")


def main() -> None:
    """Plant, look, count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--each", type=int, default=8, help="pictures with each fault")
    parser.add_argument("--pictures", type=int, default=1600, help="pictures of each folder, at most")
    parser.add_argument("--cleanvision", metavar="PYTHON")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    chosen = parser.parse_args()
    runs = []
    for source in chosen.data:
        for seed in chosen.seeds:
            with tempfile.TemporaryDirectory() as folder:
                planted = plant(source, Path(folder), each=chosen.each, pictures=chosen.pictures, seed=seed)
                found = ours(Path(folder), planted)
                run = {"data": source.name, "seed": seed, "pictures": len(planted)}
                run["kt"] = count(planted, found, KINDS)
                calls = sorted((name, kind) for name, kind in found if not planted[name])
                run["called as they were"] = calls
                if chosen.cleanvision:
                    told = theirs(chosen.cleanvision, Path(folder))
                    if isinstance(told, str):  # then without what no tool can open
                        run["cleanvision failed"] = told
                        for name, fault in planted.items():
                            if fault and FAULTS[fault][0] in ("unreadable", "not_a_picture"):
                                (Path(folder) / name).unlink()
                        told = theirs(chosen.cleanvision, Path(folder))
                    if isinstance(told, str):
                        raise SystemExit(told)
                    run["cleanvision"] = count(planted, told, tuple(THEIRS.values()))
                runs.append(run)
                print(source.name, seed, len(planted), "called as they were:", calls, flush=True)
    chosen.out.write_text(json.dumps({"each": chosen.each, "runs": runs}, indent=1) + "\n")
    show("kt", [run["kt"] for run in runs], KINDS)
    if chosen.cleanvision:
        show("CleanVision", [run["cleanvision"] for run in runs], tuple(THEIRS.values()))


if __name__ == "__main__":
    main()
