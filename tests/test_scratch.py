"""Unfinished work: what a killed process left is cleared by the next work there; what a live one holds stays."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kt.base.files import replace_text, whole
from kt.base.scratch import LONGEST, clear, clear_below, scratch
from kt.runs.folder import new_run

KILLED = """
import os, sys
from pathlib import Path
from kt.base.scratch import scratch

with scratch(Path(sys.argv[1]), sys.argv[2]) as path:
    if sys.argv[3] == "folder":
        path.mkdir()
        (path / "half").write_text("half")
    elif sys.argv[3] == "file":
        path.write_text("half")
    os._exit(9)
"""


def kill(folder: Path, prefix: str = ".run.json-", kind: str = "file") -> None:
    """A process that is killed in the midst of its work in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([sys.executable, "-c", KILLED, folder, prefix, kind], check=False)
    assert done.returncode == 9
    assert list(folder.glob(f"{prefix}*.lock"))


@pytest.mark.parametrize("kind", ["file", "folder", "nothing"])
def test_what_a_killed_process_left_is_cleared_by_any_later_work_there(tmp_path, kind):
    kill(tmp_path, ".run.json-", kind)
    replace_text(tmp_path / "other.txt", "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["other.txt"]


def test_a_new_run_clears_what_killed_runs_left_in_their_folders(tmp_path):
    for folder in (".", "20260101-000000", "20260101-000000/stages/head"):
        kill(tmp_path / folder)
    (tmp_path / "20260101-000000" / "report.json").write_text("{}")
    new_run(tmp_path)
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["20260101-000000/report.json"]


def test_what_a_live_process_holds_stays(tmp_path):
    with scratch(tmp_path, ".work-") as work:
        work.mkdir()
        replace_text(tmp_path / "report.json", "{}")
        with whole(tmp_path / "report.json") as file:
            clear_below(tmp_path)
            file.write(b"[]")
        assert work.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize("name", [".env-local", ".work-notes", ".cache-0123abcd", ".x-0123abcd-0123456789abcdef0"])
def test_a_persons_hidden_files_stay(tmp_path, name):
    old = time.time() - 2 * LONGEST
    (tmp_path / name).write_text("mine")
    os.utime(tmp_path / name, (old, old))
    clear(tmp_path)
    assert (tmp_path / name).read_text() == "mine"


def test_another_machines_work_stays_for_a_day(tmp_path):
    theirs = tmp_path / ".run.json-00000000-0123456789abcdef"
    for file in (theirs, theirs.with_name(f"{theirs.name}.lock")):
        file.write_text("half")
    clear(tmp_path)
    assert theirs.exists()
    old = time.time() - 2 * LONGEST
    for file in tmp_path.iterdir():
        os.utime(file, (old, old))
    clear(tmp_path)
    assert not list(tmp_path.iterdir())
