"""How long `kt check` takes to look at very many small files, and how much memory; prints the table in README.md.

    python benchmarks/check_scale.py DATA ... [--files 100000] [--folder FOLDER] [--out check_scale.json]

The files are real pictures, resized to 64 pixels and saved as JPEG at another quality each, so that no two are alike.
They are made once, in FOLDER. Beside the scan one thread reads the same files with Pillow alone.
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
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 64

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
    "seconds": {"list": listed - start, "scan": scanned - listed, "check": checked - scanned}, "own MB": own}))
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
    """Write the files, in ten folders."""
    pictures = []
    for file in sources:
        with Image.open(file) as image:
            pictures.append(image.convert("RGB").resize((SIDE, SIDE)))
    random = np.random.default_rng(0)
    for number, picture in zip(range(count), itertools.cycle(pictures), strict=False):
        file = folder / f"class{number % 10}" / f"{number:06d}.jpg"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            shifted = np.asarray(picture).astype(np.int16) + random.integers(-20, 21, 3, dtype=np.int16)
            Image.fromarray(np.clip(shifted, 0, 255).astype(np.uint8)).save(file, quality=60 + number % 40)
        os.utime(file, (1e9, 1e9))


def memory_of(process: int) -> dict[str, float]:
    """Megabytes of a process and those it started: private memory, and all that is resident with mapped files."""
    private = resident = 0.0
    children = {process}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        except OSError:
            continue
        if int(status.parent.name) in children or int(lines["PPid"]) in children:
            private += int(lines.get("RssAnon", "0 kB").split()[0]) / 1024
            resident += int(lines.get("VmRSS", "0 kB").split()[0]) / 1024
    return {"private MB": private, "resident MB": resident}


def measured(script: str, folder: Path, **environment: str) -> tuple[str, dict[str, float], float]:
    """What a script prints, the most memory that it and its processes have at a time, and its seconds of processor."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    most = {"private MB": 0.0, "resident MB": 0.0}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.25):
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
    return out, most, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Make the files, read them with Pillow, scan them, scan them again, and once more with a hundred changed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    chosen = parser.parse_args()
    sources = [file for data in chosen.data for file in sorted(data.rglob("*.[jJ][pP][gG]"))]
    make(sources, chosen.folder, chosen.files)
    rows = {}
    out, most, processor = measured(PILLOW, chosen.folder)
    rows["Pillow alone, one thread"] = {"seconds": {"scan": float(out)}, **most, "processor": processor}
    with tempfile.TemporaryDirectory() as home:
        for name in ("first scan", "again, from the cache", "again, 100 files changed"):
            if "changed" in name:
                for file in sorted(chosen.folder.rglob("*.jpg"))[:: max(1, chosen.files // 100)]:
                    os.utime(file, (1.1e9, 1.1e9))
            out, most, processor = measured(SCAN, chosen.folder, KT_HOME=home)
            rows[name] = {**json.loads(out), **most, "processor": processor}
        kept = sum(file.stat().st_size for file in Path(home).rglob("*") if file.is_file())
    processors = len(os.sched_getaffinity(0))
    result = {"files": chosen.files, "side": SIDE, "processors": processors, "cache MB": kept / 1e6, "rows": rows}
    chosen.out.write_text(json.dumps(result, indent=1) + "\n")
    alone = rows["Pillow alone, one thread"]["seconds"]["scan"]
    print(
        "| | files read | scan, s | of Pillow's time | findings, s | private memory, MB | resident, MB | processor, s |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, row in rows.items():
        seconds = row["seconds"]
        print(
            f"| {name} | {row.get('read', chosen.files):,} | {seconds['scan']:.1f} | {seconds['scan'] / alone:.2f} | "
            f"{seconds.get('check', 0):.1f} | {row['private MB']:.0f} | {row['resident MB']:.0f} | "
            f"{row['processor']:.0f} |"
        )
    print(f"cache: {kept / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
