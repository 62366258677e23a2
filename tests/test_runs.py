"""The folder of a run: what is written down of it, how its state is told, and how it is removed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY, TINY_RECIPE

from kt import runs
from kt.base import run_folder
from kt.base.run_folder import ANSWERS
from kt.base.stages import Stage
from kt.data.splits import Split
from kt.errors import ReleaseError
from kt.kinds.pictures.kind import Pictures
from kt.runs import Asked
from kt.runs.answers import keep_answers
from kt.runs.listing import listed, remove, too_many
from kt.runs.record import is_at_work, source_of


@pytest.fixture
def recipe(tmp_path):
    file = tmp_path / "tiny.py"
    file.write_text(TINY_RECIPE, encoding="utf-8")
    return file


def begun(folder: Path, recipe: Path, **changes) -> Path:
    asked = Asked(name="tiny", file=recipe.name, folder=str(recipe.parent), settings=("a.lr=1",), seed=3)
    runs.begin(folder, Asked(**{**vars(asked), **changes}))
    return folder


def test_what_was_asked_for_comes_back_as_it_was(tmp_path, recipe):
    out = begun(tmp_path / "runs" / "tiny" / "1", recipe, options={"steps": 5}, search=4)
    record = runs.read(out)
    assert record.asked.settings == ("a.lr=1",)
    assert (record.asked.seed, record.asked.search, record.asked.options) == (3, 4, {"steps": 5})
    assert record.asked.path == recipe
    assert record.asked.source == source_of(recipe) == source_of(out / "recipe.py")
    assert "keras" in record.versions


def test_a_run_is_running_while_a_process_is_at_work_and_interrupted_when_it_has_gone(tmp_path, recipe):
    out = begun(tmp_path / "out", recipe)
    assert runs.read(out).state == "interrupted"
    script = "import sys, time; from pathlib import Path; from kt import runs\n"
    script += "with runs.at_work(Path(sys.argv[1])): print('there', flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", script, str(out)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "there\n"
        assert runs.read(out).state == "running"
        with pytest.raises(ReleaseError, match="Another process is at work on"), runs.at_work(out):
            pass
        with pytest.raises(ReleaseError, match="A process is at work on"):
            remove(out)
        process.kill()
    assert runs.read(out).state == "interrupted"
    with runs.at_work(out):
        assert runs.read(out).state == "running"
        with runs.at_work(out):  # once more within: it is the same work
            pass
        assert is_at_work(out)


def test_how_a_run_ends_is_written_down(tmp_path, recipe):
    out = begun(tmp_path / "out", recipe)
    with pytest.raises(ReleaseError), runs.at_work(out):
        raise ReleaseError("The disk\nis full.")
    assert (runs.read(out).state, runs.read(out).why) == ("failed", "The disk is full.")
    with pytest.raises(KeyboardInterrupt), runs.at_work(out):
        raise KeyboardInterrupt
    assert runs.read(out).state == "interrupted"
    with runs.at_work(out):
        runs.finish(out, headline={"balanced_accuracy": 0.5})
    assert runs.read(out).state == "finished"
    assert not [path for path in out.iterdir() if "lock" in path.name]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"asked": 3}', '{"id": "1", "asked": {}, "started": ""}', "\0\0"])
def test_a_damaged_run_json_is_no_record_and_breaks_no_list(tmp_path, recipe, content):
    out = begun(tmp_path / "runs" / "tiny" / "1", recipe)
    (out / "run.json").write_text(content)
    assert runs.read(out) is None
    assert [one.state for one in listed(tmp_path / "runs")] == ["interrupted"]


def test_what_a_later_kt_writes_besides_is_passed_over(tmp_path, recipe):
    out = begun(tmp_path / "out", recipe)
    told = json.loads((out / "run.json").read_text())
    told["later"], told["asked"]["later"] = 1, 2
    (out / "run.json").write_text(json.dumps(told))
    assert runs.read(out).asked.name == "tiny"


def test_the_list_tells_how_far_each_run_is(tmp_path, recipe):
    root = tmp_path / "runs"
    begun(root / "tiny" / "20260101-000000", recipe)
    second = begun(root / "tiny" / "20260102-000000", recipe)
    Stage(second / "steps" / "1-train_head", "key").keep({"epochs": 4, "result": {"name": "train_head"}})
    third = begun(root / "tiny" / "20260103-000000", recipe)
    Stage(third / "steps" / "1-train_head", "key").keep({"epochs": 4, "result": {"name": "train_head"}})
    os.utime(third / "steps" / "1-train_head" / "manifest.json", (1, 1))
    Stage(third / "steps" / "2-fine_tune", "key").keep({"epochs": 2, "result": None})
    fourth = begun(root / "tiny" / "20260104-000000", recipe)
    (fourth / "report.json").write_text(json.dumps({"test": {"balanced_accuracy": 0.75}}))
    runs.finish(fourth, headline=None)
    begun(root / "tiny" / "compare" / "20260105-000000", recipe, kind="compare")
    old = root / "old" / "20250101-000000"
    old.mkdir(parents=True)
    (old / "report.json").write_text(json.dumps({"test": {"balanced_accuracy": 1.0}, "started": "2025"}))
    found = {one.folder.name: one for one in listed(root)}
    assert {name: one.in_words for name, one in found.items()} == {
        "20250101-000000": "finished",
        "20260101-000000": "interrupted before training",
        "20260102-000000": "interrupted after train_head",
        "20260103-000000": "interrupted in epoch 3 of fine_tune",
        "20260104-000000": "finished",
        "20260105-000000": "interrupted before training",
    }
    assert found["20260104-000000"].figure == 0.75
    assert found["20260105-000000"].kind == "compare"
    assert all(one.size > 0 for one in found.values())


def test_removing_a_run_points_the_link_at_the_newest_finished_one_that_is_left(tmp_path, recipe):
    for name in ("1", "2", "3"):
        out = begun(tmp_path / "tiny" / name, recipe)
        (out / "report.json").write_text("{}")
    runs.mark_latest(out)
    remove(tmp_path / "tiny" / "LATEST")
    assert sorted(path.name for path in (tmp_path / "tiny").iterdir()) == ["1", "2", "LATEST"]
    assert (tmp_path / "tiny" / "LATEST").resolve().name == "2"
    with pytest.raises(ReleaseError, match="is no run; kt runs shows what is there"):
        remove(tmp_path)


def test_cleaning_keeps_the_newest_of_each_recipe_and_the_newest_that_has_finished(tmp_path, recipe):
    for name in ("1", "2", "3", "4"):
        begun(tmp_path / "tiny" / name, recipe)
    runs.finish(tmp_path / "tiny" / "1", headline=None)
    begun(tmp_path / "other" / "1", recipe)
    assert [path.name for path in too_many(tmp_path, keep=2)] == ["2"]
    assert [path.name for path in too_many(tmp_path, keep=0)] == ["1", "2", "3", "4"]


def test_kt_runs_lists_removes_and_asks_before(tmp_path, recipe, kt_ends, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert kt_ends("runs") == (0, "There are no runs in runs; kt run RECIPE makes one.\n", "")
    begun(Path("runs/tiny/20260101-000000"), recipe)
    code, out, _ = kt_ends("runs")
    assert code == 0
    assert "runs/tiny/20260101-000000  interrupted before training" in out
    assert "go on with one    kt run --resume runs/tiny/20260101-000000" in out
    code, out, _ = kt_ends("runs", "--json")
    (one,) = json.loads(out)
    assert (one["recipe"], one["state"], one["place"]) == ("tiny", "interrupted", "before training")
    code, out, err = kt_ends("runs", "rm", "runs/tiny/20260101-000000")
    assert code == 2
    assert "--yes removes without asking" in err
    assert Path("runs/tiny/20260101-000000").is_dir()
    assert kt_ends("runs", "rm", "nowhere")[0] != 0
    assert kt_ends("runs", "clean", "--keep", "0", "--yes")[0] == 0
    assert not Path("runs/tiny/20260101-000000").exists()


RESUMES = [
    (("tiny.py", "--resume"), "There is no unfinished run of tiny.py in runs; kt runs shows what is there."),
    (("--resume",), "There is no unfinished run in runs"),
    (("--resume", "nowhere"), "nowhere is no run; kt runs shows what is there."),
    (("--resume", "finished"), "finished has finished, so there is nothing to go on with."),
    (("--resume", "old"), "it has no run.json, which tells how it was begun"),
    (("--resume", "compared"), "goes on with kt compare --resume"),
    (("--resume", "python"), "was begun from Python with a recipe in no file"),
    (("--resume", "begun", "--seed", "4"), "--resume goes on with a run as it was begun; leave out --seed"),
    (("--resume", "begun", "--set", "a.lr=2"), "leave out --set, or begin a new run"),
    (("--resume", "other"), "python 2.7 became"),
    (("--resume", "changed"), "changed.py has changed"),
    (("--resume", "gone"), "gone.py is gone"),
    ((), "Missing argument 'RECIPE'"),
]


@pytest.mark.parametrize(("arguments", "told"), RESUMES, ids=[" ".join(words) or "none" for words, _ in RESUMES])
def test_what_can_not_go_on_is_told_in_one_line(tmp_path, recipe, kt_ends, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    begun(Path("begun"), recipe)
    runs.finish(begun(Path("finished"), recipe), headline=None)
    begun(Path("compared"), recipe, kind="compare")
    begun(Path("python"), recipe, file=None)
    other = json.loads((begun(Path("other"), recipe) / "run.json").read_text())
    (Path("other") / "run.json").write_text(json.dumps({**other, "versions": {**other["versions"], "python": "2.7"}}))
    for name in ("changed", "gone"):
        file = tmp_path / f"{name}.py"
        file.write_text(TINY_RECIPE)
        begun(Path(name), file)
        file.write_text(f"{TINY_RECIPE}# changed") if name == "changed" else file.unlink()
    Path("old").mkdir()
    Path("old/report.json").write_text("{}")
    code, _, err = kt_ends("run", *arguments)
    assert code == 2
    assert told in " ".join(err.split()), err


def test_the_answers_of_a_run_are_measured_from_its_folder_alone(tmp_path, recipe, kt_ends):
    from kt.heads.classification.measure import evaluate

    out = begun(tmp_path / "out", recipe)
    labels = np.arange(20) % 2
    scores = np.random.default_rng(0).dirichlet((1, 1), 20).astype(np.float32)
    groups = tuple(str(place // 4) for place in range(20))
    pixels = np.zeros((20, 2, 2, 3), np.uint8)
    part = Split(pixels, labels, tuple(map(str, range(20))), groups)
    keep_answers(
        Stage(out / ANSWERS / "test", "key"), scores, part, classes=("good", "bad"), seed=5, kind=Pictures((1, 1))
    )
    code, told, _ = kt_ends("evaluate", out, "--json")
    assert code == 0
    expected = evaluate(scores, labels, ("good", "bad"), groups=groups, seed=5)
    found = json.loads(told)
    assert found["intervals"] == {name: list(interval) for name, interval in expected["intervals"].items()}
    assert found["balanced_accuracy"] == expected["balanced_accuracy"]
    assert kt_ends("evaluate", out)[1].startswith("balanced accuracy")


def test_what_holds_no_answers_is_told_to_need_pictures(tmp_path, recipe, kt_ends):
    out = begun(tmp_path / "out", recipe)
    assert "does not hold what its model says of the test examples" in " ".join(kt_ends("evaluate", out)[2].split())
    assert "needs pictures to be measured on: --data PATH" in " ".join(kt_ends("evaluate", tmp_path)[2].split())
    (tmp_path / "data").mkdir()
    code, _, err = kt_ends("evaluate", out, "--data", tmp_path / "data")
    assert code == 6
    assert "has exported nothing that could be asked" in " ".join(err.split())


def test_a_run_that_was_ended_is_told_to_go_on_before_it_is_exported_or_reported(tmp_path, recipe, kt_ends):
    out = begun(tmp_path / "out", recipe)
    code, _, err = kt_ends("export", out)
    assert code == 6
    assert f"it is interrupted; this finishes it: kt run --resume {out}." in "".join(err.splitlines())
    assert "has no report yet" in " ".join(kt_ends("report", out)[2].split())


NAMES = {value for name, value in vars(run_folder).items() if name.isupper()}


def test_the_docs_say_what_each_file_of_a_run_s_folder_holds():
    docs = (REPOSITORY / "docs" / "runs.md").read_text(encoding="utf-8")
    assert {name for name in NAMES if f"`{name}`" not in docs and f"`{name}/" not in docs} == set()


def test_one_module_names_the_files_of_a_run_s_folder():
    files = [name for name in NAMES if "." in name and name != run_folder.LABELS]  # a release has labels.txt too
    modules = [module for module in (REPOSITORY / "kt").rglob("*.py") if module.name != "run_folder.py"]
    assert len(modules) > 100
    assert [(module, name) for module in modules for name in files if f'"{name}"' in module.read_text("utf-8")] == []
