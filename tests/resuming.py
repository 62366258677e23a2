"""Runs that are killed and go on: how the tests do that, and what an unbroken one gives."""

import io
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY_RECIPE, kt, make_folder

KT = [sys.executable, "-c", "from kt.cli import main; main()"]

CHAINS = 3
KILLS = 4
"""Of each chain: a run is killed, goes on, and is killed again, until it is left to end."""

DIES_IN_A_WRITE = """
import os, sys
from pathlib import Path

left = int(sys.argv.pop(1))
fsync, replace = os.fsync, Path.replace

def counted(do):
    def done(*arguments):
        global left
        left -= 1
        if left < 0:
            os._exit(9)
        return do(*arguments)
    return done

os.fsync, Path.replace = counted(fsync), counted(replace)
from kt.cli import main
main()
"""
"""Ends the process at a write: what is written lies beside its place, and is not on the disk yet, or not named."""


def make_work(folder: Path) -> Path:
    make_folder(folder / "pictures", {"red": 20, "green": 20})
    (folder / "tiny.py").write_text(TINY_RECIPE, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory):
    """A function that gives what an unbroken run with some options ends with; each is made once."""

    @cache
    def of(*options: str):
        work = make_work(tmp_path_factory.mktemp("unbroken"))
        done = kt("run", "tiny.py", *options, cwd=work, KT_HOME=str(work / "home"))
        assert done.returncode == 0, done.stderr
        return outcome(work)

    return of


def outcome(work: Path) -> dict:
    """All that a run ends with but times: weights, history, report, and what was released."""
    (run,) = (path for path in (work / "runs" / "tiny").iterdir() if not path.is_symlink())
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert record["state"] == "finished"
    assert (work / "runs" / "tiny" / "LATEST").resolve() == run.resolve()
    assert not [
        path for path in work.rglob(".*") if re.match(r"\.(work|partial|part|kt-fetch)-|\..*\.lock$", path.name)
    ]
    versions = sorted((work / "saved_models" / "tiny").glob("[0-9]*"))
    for version in versions:
        assert json.loads((version / "kt.json").read_text(encoding="utf-8"))["run"] == record["id"]
    return {
        "weights": weights_of(run / "model.keras"),
        "history": json.loads((run / "history.json").read_text(encoding="utf-8")),
        "report": timeless(json.loads((run / "report.json").read_text(encoding="utf-8"))),
        "released": [sorted(str(path.relative_to(version)) for path in version.rglob("*")) for version in versions],
    }


VARIES = {"seconds", "started", "resumed", "latency_ms", "command", "places", "bytes"}


def timeless(value):
    """A report without what is another in each run: times, the folder, some bytes of a SavedModel."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key not in VARIES}
    if isinstance(value, list):
        return [timeless(item) for item in value]
    return re.sub(r"\d{8}-\d{6}(-\d+)?|/\S*/pytest-\S*?/[^/\s]+", "-", value) if isinstance(value, str) else value


def weights_of(file: Path) -> dict[str, np.ndarray]:
    import h5py

    found: dict = {}
    with zipfile.ZipFile(file) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5")), "r") as weights:
        weights.visititems(
            lambda name, part: found.update({name: part[()]}) if isinstance(part, h5py.Dataset) else None
        )
    return found


def check_same(found: dict, expected: dict, *, within: float = 0.0) -> None:
    assert [*differences(found, expected, within=within)] == []


def differences(found, expected, *, within: float, where: str = ""):
    """Where two outcomes differ; numbers by more than `within`."""
    if isinstance(expected, dict) and isinstance(found, dict) and found.keys() == expected.keys():
        for key, value in expected.items():
            yield from differences(found[key], value, within=within, where=f"{where}.{key}")
    elif isinstance(expected, list) and isinstance(found, list) and len(found) == len(expected):
        for place, value in enumerate(expected):
            yield from differences(found[place], value, within=within, where=f"{where}[{place}]")
    elif isinstance(expected, np.ndarray) or (isinstance(expected, float) and isinstance(found, float)):
        if not np.abs(np.subtract(found, expected)).max(initial=0) <= within:
            yield f"{where}: {found} is not {expected}"
    elif found != expected:
        yield f"{where}: {found} is not {expected}"


def killed(work: Path, *arguments: str, lines: int, wait: float) -> bool:
    """Start kt and kill it so many seconds after so many lines; whether it ended before."""
    environment = {**os.environ, "KT_HOME": str(work / "home")}
    with subprocess.Popen(
        [*KT, *arguments], cwd=work, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        seen, said = threading.Event(), []

        def read() -> None:
            for line in process.stderr:
                said.append(line)
                if len(said) == lines:
                    seen.set()
            seen.set()

        threading.Thread(target=read, daemon=True).start()
        assert seen.wait(900)
        time.sleep(wait)
        process.kill()
        process.wait()
    assert process.returncode in (0, -9), "".join(said)
    return process.returncode == 0


def next_command(work: Path, verb: str, *options: str) -> tuple[str, ...]:
    """What a person would type: go on with what there is, or begin where nothing had begun."""
    begun = (work / "runs").exists() and list((work / "runs").rglob("run.json"))
    return (verb, "tiny.py", "--resume") if begun else (verb, "tiny.py", *options)


def go_on_until_it_ends(work: Path, verb: str, *options: str) -> None:
    done = kt(*next_command(work, verb, *options), cwd=work, KT_HOME=str(work / "home"))
    assert done.returncode == 0, done.stderr


def finished(work: Path) -> bool:
    """Whether all that was begun is recorded as finished, so that nothing is left to go on with."""
    records = list((work / "runs").rglob("run.json"))
    return bool(records) and all(json.loads(file.read_text("utf-8"))["state"] == "finished" for file in records)


def chain(work: Path, verb: str, *options: str, seed: int, kills: int, lines: int) -> int:
    """Kill a run again and again, and let it end; how often it was killed."""
    moments = random.Random(seed)
    for count in range(kills):
        command = next_command(work, verb, *options)
        if killed(work, *command, lines=moments.randint(1, lines), wait=moments.uniform(0, 1) ** 2):
            return count
        if finished(work):  # killed between the last thing that it wrote and its end
            return count + 1
    go_on_until_it_ends(work, verb, *options)
    return kills
