"""How long `kt check` takes for very many small files, and how much memory; prints the tables in README.md.

    python benchmarks/check_scale.py DATA ... --folder FOLDER [--files 100000] [--what scan,quick,whole] [--out FILE]

The files are made once, in FOLDER: each is a blend of parts of two real pictures, of 64 pixels, saved as JPEG at
some quality, so that no two are alike. Its class is that of the first one.

scan: the files are looked at, beside one thread that reads them with Pillow alone. quick, whole: the verb itself,
`kt check --quick` and `kt check`, the first time and again. A row is written as soon as it is measured.
"""

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 64
_SOURCES = 1500

SCAN = """
import json, os, resource, sys, time
from pathlib import Path
from kt.data.checks.files import check_files
from kt.data.checks.scan import scan
folder = Path(sys.argv[1])
start = time.perf_counter()
files = sorted(folder.rglob("*.jpg"))
listed = time.perf_counter()
looked = scan(files, root=folder)
scanned = time.perf_counter()
findings = check_files(looked, labels=[file.parent.name for file in files])
checked = time.perf_counter()
own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"files": len(files), "read": looked.looked_at, "unreadable": int((~looked.readable).sum()),
    "parts": {"list": listed - start, "scan": scanned - listed, "check": checked - scanned}, "own MB": own}))
"""

PILLOW = """
import sys, time
from pathlib import Path
import numpy as np
from PIL import Image
files = sorted(Path(sys.argv[1]).rglob("*.jpg"))
start = time.perf_counter()
for file in files:
    with Image.open(file) as image:
        np.asarray(image.convert("RGB"))
print(time.perf_counter() - start)
"""


def make(sources: list[Path], folder: Path, count: int) -> None:
    """Write the files, in a folder for each class of the real pictures."""
    random = np.random.default_rng(0)
    pictures = []
    for place in random.permutation(len(sources))[:_SOURCES].tolist():
        with Image.open(sources[place]) as image:
            pictures.append((sources[place].parent.name, image.convert("RGB").resize((160, 160))))

    def part(image: Image.Image) -> np.ndarray:
        side = int(random.integers(50, 120))
        left, top = random.integers(0, 160 - side, 2).tolist()
        cut = image.crop((left, top, left + side, top + side)).resize((SIDE, SIDE))
        return np.asarray(cut, np.float32)[:, :: random.choice([1, -1])]

    for number in range(count):
        one, other = random.integers(len(pictures), size=2).tolist()
        share = random.uniform(0.55, 0.75)
        blended = share * part(pictures[one][1]) + (1 - share) * part(pictures[other][1])
        file, quality = folder / pictures[one][0] / f"{number:06d}.jpg", int(random.integers(60, 95))
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(blended.astype(np.uint8)).save(file, quality=quality)
        os.utime(file, (1e9, 1e9))


def memory_of(process: int) -> dict[str, float]:
    """Megabytes of a process and all below it: private memory, and all that is resident with mapped files."""
    parents, sizes = {}, {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        except OSError:
            continue
        number = int(status.parent.name)
        parents[number] = int(lines["PPid"])
        sizes[number] = [int(lines.get(name, "0 kB").split()[0]) / 1024 for name in ("RssAnon", "VmRSS")]
    below = {process}
    while more := {number for number, parent in parents.items() if parent in below} - below:
        below |= more
    private, resident = np.sum([sizes[number] for number in below if number in sizes] or [[0, 0]], axis=0).tolist()
    return {"private MB": private, "resident MB": resident}


def measured(command: list[str], **environment: str) -> tuple[str, dict[str, float]]:
    """What a command prints; its seconds by the clock and of processor, and the most memory at a time, children too."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
    most = {"private MB": 0.0, "resident MB": 0.0}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.5):
            for name, value in memory_of(process.pid).items():
                most[name] = max(most[name], value)

    watcher = threading.Thread(target=watch)
    watcher.start()
    out, _ = process.communicate()
    ended.set()
    watcher.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise SystemExit(f"it ended with {process.returncode}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return out, {"seconds": time.perf_counter() - start, **most, "processor": used}


def touched(folder: Path, count: int) -> None:
    """Give about a hundred of the files another time of change."""
    for file in sorted(folder.rglob("*.jpg"))[:: max(1, count // 100)]:
        os.utime(file, (1.1e9, 1.1e9))


def of_scan(folder: Path, count: int) -> Iterator[tuple[str, dict[str, object]]]:
    """Rows of the scan alone."""
    out, used = measured([sys.executable, "-c", PILLOW, str(folder)])
    yield "Pillow alone, one thread", {**used, "parts": {"scan": float(out)}}
    with tempfile.TemporaryDirectory() as home:
        for name in ("first scan", "again, from the cache", "again, 100 files changed"):
            if "changed" in name:
                touched(folder, count)
            out, used = measured([sys.executable, "-c", SCAN, str(folder)], KT_HOME=home)
            yield name, {**used, **json.loads(out)}
        kept = sum(file.stat().st_size for file in Path(home).rglob("*") if file.is_file())
        yield "cache", {"MB": kept / 1e6}


def of_verb(folder: Path, home: Path, *options: str) -> Iterator[tuple[str, dict[str, object]]]:
    """Rows of the verb as a user calls it, the first time and again."""
    command = [sys.executable, "-c", "from kt.cli import main; main()", "check", str(folder), "--json", *options]
    for name in ("first time", "again"):
        out, used = measured(command, KT_HOME=str(home))
        told = json.loads(out)
        kinds = Counter(finding["kind"] for finding in told["findings"])
        yield (
            " ".join(["kt check", *options, f"({name})"]),
            {**used, "found": dict(kinds), "left_out": told["left_out"]},
        )


def main() -> None:
    """Make the files, and measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--what", default="scan,quick,whole")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    chosen = parser.parse_args()
    make(sorted(file for data in chosen.data for file in data.rglob("*.[jJ][pP][gG]")), chosen.folder, chosen.files)
    rows: dict[str, dict[str, object]] = {}
    result = {"files": chosen.files, "side": SIDE, "processors": len(os.sched_getaffinity(0)), "rows": rows}
    with tempfile.TemporaryDirectory() as home:
        wanted = chosen.what.split(",")
        parts = [
            *([of_scan(chosen.folder, chosen.files)] if "scan" in wanted else []),
            *([of_verb(chosen.folder, Path(home), "--quick")] if "quick" in wanted else []),
            *([of_verb(chosen.folder, Path(home))] if "whole" in wanted else []),
        ]
        print(
            "| | by the clock, s | processor, s | private memory, MB | resident, MB |\n| --- | --- | --- | --- | --- |"
        )
        for name, row in itertools.chain(*parts):
            rows[name] = row
            chosen.out.write_text(json.dumps(result, indent=1) + "\n")
            if "processor" in row:
                values = [f"{row[key]:.0f}" for key in ("seconds", "processor", "private MB", "resident MB")]
                print(f"| {name} | {' | '.join(values)} |", flush=True)


if __name__ == "__main__":
    main()
