"""What only some systems have is asked for where it is there, and done without where it is not."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY

ONLY_POSIX = ("fcntl", "grp", "pwd", "resource", "syslog", "termios", "tty", "pty")
"""Modules of the standard library that Windows lacks."""

WITHOUT = f"""
import sys, warnings
warnings.simplefilter("ignore")  # the lock library tells of the missing module
import multiprocessing.resource_tracker  # of Python itself, which asks for its own system
for name in {ONLY_POSIX!r}:
    sys.modules[name] = None
"""


def run(script: str, *arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", WITHOUT + script, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_every_module_loads_without_what_only_posix_has(tmp_path):
    modules = [
        ".".join(file.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
        for file in sorted((REPOSITORY / "kt").rglob("*.py"))
    ]
    script = f"""
import importlib
from kt.base.backend import start
start("tensorflow")
for name in {modules!r}:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name in {ONLY_POSIX!r} or error.name.split(".")[0] == "kt":
            raise  # and not where an extra is not installed
"""
    done = run(script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_model_is_released_and_its_label_moved_without_what_only_posix_has(ran, tmp_path):
    script = """
import os, signal
for name in ("kill", "fork", "geteuid", "getuid", "O_DIRECTORY", "O_NONBLOCK", "mkfifo"):
    if hasattr(os, name):
        delattr(os, name)
from pathlib import Path
from kt.export import ArtifactResult, release
from kt.releases.promote import promote
from kt.releases.versions import version_labels
file = Path(sys.argv[1])
result = ArtifactResult(file.name, "tflite_int8", file, released=True, reason="")
saved = Path("saved_models")
for version in (1, 2):
    assert release([result], name="tiny", saved_models=saved, card={}) == saved / "tiny" / str(version)
promote(saved, "tiny", version=1, wait=False)
assert version_labels(saved / "tiny") == {"stable": 1}
"""
    file = ran.folder / "saved_models" / "tiny" / "1" / "tiny_int8.tflite"
    done = run(script, str(file), cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    names = {path.name for path in (tmp_path / "saved_models" / "tiny").iterdir() if path.suffix != ".json"}
    assert names == {"1", "2"}


def test_a_table_is_written_without_what_only_posix_has(ran, tmp_path):
    model, pictures = ran.folder / "saved_models" / "tiny", ran.folder / "pictures" / "red"
    script = "from kt.cli import main\nmain()"
    done = run(script, "predict", str(model), str(pictures), "--out", "scores.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scores.csv"]


def test_where_links_can_not_be_made_a_run_ends_well_and_says_where_it_is(ran, tmp_path):
    script = """
from pathlib import Path

def refused(path, target, target_is_directory=False):
    raise OSError(1314, "A required privilege is not held by the client")

Path.symlink_to = refused
from kt.runs import mark_latest
mark_latest(Path("runs/tiny/20260101-000000"))
"""
    (tmp_path / "runs" / "tiny" / "20260101-000000").mkdir(parents=True)
    done = run(script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "LATEST does not point to this run (A required privilege is not held by the client)" in done.stderr
    assert "it is runs/tiny/20260101-000000" in done.stderr.replace("\n", " ")
