"""What goes on besides a run: a search, a ladder, a comparison, a rate finder; and what is said of changes."""

import json
import os
import shutil
import subprocess
import time
from functools import cache
from pathlib import Path

import pytest
from conftest import facts_from, on_backends
from resuming import (
    KT,
    chain,
    check_same,
    differences,
    go_on_until_it_ends,
    killed,
    make_work,
    outcome,
    timeless,
)

WAYS = ("phases", "batch_norm", "probe", "patience", "augmented")
UNDER_JAX = WAYS[:2]
"""JAX compiles each training anew, which takes minutes for all ways; none of the others depends on the backend's own
state."""


@pytest.fixture(scope="module")
def facts_of():
    """What the script of facts finds, once for each backend."""

    def found(backend):
        ways = UNDER_JAX if backend == "jax" else WAYS
        return facts_from("going_on.py", *ways, backend=backend)[0]

    return cache(found)


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "way"), on_backends({"tensorflow": WAYS, "jax": UNDER_JAX, "torch": WAYS}))
def test_training_that_is_ended_in_an_epoch_goes_on_to_the_same_weights(facts_of, backend, way):
    facts = facts_of(backend)[way]
    assert facts["ended"]
    within = 1e-6 if backend == "jax" else 0.0
    assert facts["weights"] <= within
    assert facts["told"] <= within
    assert facts["scores"] <= within


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [("--search", "3"), ("--goal", "balanced_accuracy=0.999")], ids=["search", "ladder"]
)
def test_a_search_and_a_ladder_that_are_killed_choose_what_unbroken_ones_choose(tmp_path, unbroken, options):
    options = (*options, "--set", "export=[]")
    work = make_work(tmp_path)
    assert chain(work, "run", *options, seed=13, kills=2, lines=24) >= 1
    check_same(outcome(work), unbroken(*options))


@pytest.mark.slow
def test_a_comparison_that_is_killed_goes_on_with_what_is_not_trained_yet(tmp_path):
    options = ("--only", "scratch,frozen", "--seeds", "2", "--budget", "none", "--set", "weights=own")
    works = [make_work(tmp_path / name) for name in ("killed", "unbroken")]
    assert chain(works[0], "compare", *options, seed=8, kills=2, lines=16) >= 1
    go_on_until_it_ends(works[1], "compare", *options)
    told = [json.loads(next(work.rglob("compare.json")).read_text(encoding="utf-8")) for work in works]
    for one in told:
        assert one.pop("finished")
        del one["plan"]
    assert [*differences(*map(timeless, told), within=0.0)] == []


@pytest.mark.slow
def test_a_rate_finder_that_is_killed_goes_on_to_the_same_curve(tmp_path):
    options = ("--steps", "30")
    works = [make_work(tmp_path / name) for name in ("killed", "unbroken")]
    assert not killed(works[0], "lr-find", "tiny.py", *options, lines=4, wait=0.1)
    for work in works:
        go_on_until_it_ends(work, "lr-find", *options)
    told = [json.loads(next(work.rglob("lr-find.json")).read_text(encoding="utf-8")) for work in works]
    assert [*differences(*map(timeless, told), within=0.0)] == []


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """A folder with a run that was killed in its second phase, which learns nothing and so ends after 150 epochs; to be
    copied, for nothing may change it.
    """
    work = make_work(tmp_path_factory.mktemp("ended"))
    options = ("export=[]", "fine_tune.epochs=3000", "fine_tune.lr=1e-12", "fine_tune.patience=150")
    settings = [word for option in options for word in ("--set", option)]
    environment = {**os.environ, "KT_HOME": str(work / "home")}
    command = [*KT, "run", "tiny.py", *settings]
    with subprocess.Popen(command, cwd=work, env=environment, stderr=subprocess.DEVNULL) as process:
        while not list(work.glob("runs/tiny/*/steps/2-fine_tune/manifest.json")):  # its first epoch is done
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    return work


def copy_of(ended: Path, folder: Path) -> tuple[Path, Path]:
    """The folder with the run in it, and the run, which believes that it was begun here."""
    shutil.copytree(ended, folder, dirs_exist_ok=True)
    (run,) = (folder / "runs" / "tiny").iterdir()
    told = json.loads((run / "run.json").read_text(encoding="utf-8"))
    told["asked"]["folder"] = str(folder)
    (run / "run.json").write_text(json.dumps(told), encoding="utf-8")
    return folder, run


@pytest.mark.slow
def test_pictures_that_have_changed_are_told_and_with_force_nothing_is_mixed(ended, tmp_path, kt_here):
    work, run = copy_of(ended, tmp_path / "work")
    (work / "pictures" / "red" / "000.png").unlink()
    refused = kt_here("run", "--resume", str(run), cwd=work, KT_HOME=str(work / "home"))
    assert refused.returncode == 3
    last = refused.stderr.strip().splitlines()[-1]
    assert "have changed since it began: " in last
    assert "1 gone" in last
    assert last.endswith("or give --force: then it does everything again that they change.")
    done = kt_here("run", "--resume", str(run), "--force", cwd=work, KT_HOME=str(work / "home"))
    assert done.returncode == 0, done.stderr
    assert "what was done on the others is done again" in done.stderr
    assert "1-train_head can't be used, and is done again: it was made from other things" in " ".join(
        done.stderr.split()
    )
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert sum(sum(each.values()) for each in report["data"]["counts"].values()) == 39


@pytest.mark.slow
def test_a_damaged_step_is_told_and_done_again(ended, tmp_path, kt_here):
    work, run = copy_of(ended, tmp_path / "work")
    (file,) = run.glob("steps/1-train_head/best-*.npz")
    file.write_bytes(file.read_bytes()[:-1])
    done = kt_here("run", "tiny.py", "--resume", cwd=tmp_path / "work", KT_HOME=str(work / "home"))
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stderr.split())
    assert "1-train_head can't be used, and is done again: best-" in said
    assert "phase train_head: 4 epochs" in said


@pytest.mark.slow
def test_a_run_goes_on_in_the_folder_it_was_begun_in_wherever_it_is_called_from(ended, tmp_path, kt_here):
    work, run = copy_of(ended, tmp_path / "work")
    done = kt_here("run", "--resume", str(run), cwd=tmp_path, KT_HOME=str(work / "home"))
    assert done.returncode == 0, done.stderr
    assert "the run goes on in work, where it was begun" in done.stderr
    assert (run / "report.html").is_file()
    assert not (tmp_path / "saved_models").exists()
