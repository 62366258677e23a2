"""Whole jobs that are killed or fail late: nothing half is visible, nothing trained is lost, nothing is left behind."""

import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import TINY_RECIPE, kt, make_folder

pytestmark = pytest.mark.slow

KT = [sys.executable, "-c", "from kt.cli import main; main()"]


@pytest.fixture
def work(tmp_path):
    """A folder with a recipe and its pictures."""
    make_folder(tmp_path / "pictures", {"red": 20, "green": 20})
    (tmp_path / "tiny.py").write_text(TINY_RECIPE, encoding="utf-8")
    return tmp_path


def runs_of(work: Path) -> list[Path]:
    return sorted(path for path in (work / "runs" / "tiny").iterdir() if path.is_dir() and not path.is_symlink())


def leftovers(folder: Path) -> list[Path]:
    """What unfinished work and locks leave, anywhere below."""
    return [path for path in folder.rglob(".*") if re.match(r"\.(work|partial|part|kt-fetch)-|\..*\.lock$", path.name)]


def check_versions(work: Path) -> None:
    """Every version that is visible is whole, and a run's report tells of it."""
    told = {
        json.loads((run / "report.json").read_text(encoding="utf-8"))["version"]: run
        for run in runs_of(work)
        if (run / "report.json").is_file()
    }
    for version in (work / "saved_models" / "tiny").glob("[0-9]*"):
        assert json.loads((version / "kt.json").read_text(encoding="utf-8"))["classes"] == ["green", "red"]
        assert (told[int(version.name)] / "report.html").is_file()
        assert {file.name for file in version.glob("tiny_*.tflite")} == {
            f"tiny_{kind}.tflite" for kind in ("float32", "float16", "int8")
        }


def test_a_kill_just_after_the_version_appears_leaves_it_with_its_report(work, kt_here):
    killed = """
import os, sys
from pathlib import Path
rename = Path.rename

def killed(path, target):
    rename(path, target)
    if ".partial-" in path.name:
        os._exit(9)

Path.rename = killed
from kt.cli import main
main()
"""
    command = [sys.executable, "-c", killed, "run", "tiny.py"]
    assert subprocess.run(command, cwd=work, check=False, capture_output=True).returncode == 9
    (run,) = runs_of(work)
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert report["version"] == 1
    assert report["released_to"] == str(Path("saved_models/tiny/1"))
    check_versions(work)
    assert kt_here("predict", "saved_models/tiny", "pictures/red", cwd=work).returncode == 0


def test_what_was_trained_is_kept_where_the_release_fails_and_is_exported_again(work, kt_here):
    (work / "saved_models").mkdir()
    (work / "saved_models" / "tiny").write_text("in the way")
    done = kt_here("run", "tiny.py", cwd=work)
    assert done.returncode == 7
    last = done.stderr.strip().splitlines()
    assert last[-1].startswith("error: Cannot release into saved_models/tiny: ")
    (run,) = runs_of(work)
    assert last[-2].endswith(f"this exports and releases it: kt export {run.relative_to(work)}")
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert report["version"] is None
    assert "it passed the gate, but the release failed: " in report["artifacts"][0]["reason"]
    assert (run / "report.html").is_file()
    (work / "saved_models" / "tiny").unlink()
    again = kt_here("export", str(run.relative_to(work)), cwd=work)
    assert again.returncode == 0, again.stderr
    assert kt_here("predict", "saved_models/tiny", "pictures/red", cwd=work).returncode == 0


INTERRUPTING = """

import os
import signal
import time
from pathlib import Path


def interrupting(model, directory):
    '''Interrupts the run the first time, as Ctrl-C would, in the midst of its exports.'''
    if not Path("interrupted").exists():
        Path("interrupted").touch()
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(600)
    model.save(directory / "own.keras")
    return directory / "own.keras"


import dataclasses

recipe = dataclasses.replace(recipe, export=["saved_model", interrupting])
"""


def test_an_interrupted_export_keeps_what_was_trained(work):
    (work / "tiny.py").write_text(TINY_RECIPE + INTERRUPTING, encoding="utf-8")
    done = kt("run", "tiny.py", cwd=work)
    assert done.returncode == 130, done.stderr
    assert done.stderr.splitlines()[-1] == "error: interrupted"
    assert not (work / "saved_models").exists()
    (run,) = runs_of(work)
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert report["test"]["images"] > 0 and report["version"] is None
    assert not leftovers(work)
    again = kt("export", str(run), cwd=work)
    assert again.returncode == 0, again.stderr
    assert (work / "saved_models" / "tiny" / "1" / "own.keras").is_file()


def test_runs_that_are_killed_at_any_moment_leave_nothing_half_and_the_next_clears_up(work):
    moments = random.Random(0)
    home = {"KT_HOME": str(work / "cache"), "TMPDIR": str(work / "tmp")}
    (work / "tmp").mkdir()
    started = time.monotonic()
    assert kt("run", "tiny.py", cwd=work, **home).returncode == 0
    took = time.monotonic() - started
    for turn in range(3):
        # From the second half on, where files are written, one kill in two.
        wait = took * moments.uniform(0.5 if turn % 2 else 0.1, 1.0)
        with subprocess.Popen(
            [*KT, "run", "tiny.py"], cwd=work, env={**os.environ, **home}, stderr=subprocess.DEVNULL
        ) as child:
            try:
                child.wait(wait)
            except subprocess.TimeoutExpired:
                child.kill()
        check_versions(work)
    last = kt("run", "tiny.py", cwd=work, **home)
    assert last.returncode == 0, last.stderr
    check_versions(work)
    assert not leftovers(work)
    assert not [path for path in (work / "tmp").iterdir() if path.name.startswith("kt-")]
