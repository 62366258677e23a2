"""The pictures of a finished run are found again from any folder, or all that was tried is told."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import TINY_RECIPE, draw, make_folder

from kt.cli.run_again import recipe_again
from kt.data import Folder, Table
from kt.errors import DataError
from kt.recipe import load
from kt.samples import Apples


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `pictures/`, and beside it a run; the working directory is a third folder."""
    for folder in ("project/pictures/red", "runs/tiny/1", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "runs/tiny/1/recipe.py").write_text(TINY_RECIPE, encoding="utf-8")
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "project"


def again(project: Path, *, data: str | None = None, settings: tuple[str, ...] = (), **more: object) -> object:
    """The source of the pictures when the run is exported once more."""
    run = project.parent / "runs/tiny/1"
    told = {"recipe": {"data": data, "settings": list(settings), **more}, "seed": 1}
    return recipe_again(load(run / "recipe.py"), told, run).data


@pytest.mark.parametrize(
    "asked", [{}, {"data": "pictures"}, {"settings": ("data.root=pictures",)}, {"data": "./pictures"}]
)
def test_pictures_are_taken_from_where_the_run_read_them_also_where_others_have_their_name(project, asked, capsys):
    Path("pictures/red").mkdir(parents=True)
    source = again(project, **asked, pictures=str(project / "pictures"))
    assert isinstance(source, Folder)
    assert source.root == str(project / "pictures")
    assert source.image_size == (32, 32)
    told = capsys.readouterr().err
    assert f"data: the run read pictures; it is taken from {project / 'pictures'}, where it read them" in told
    assert told.count("it is taken from") == 1


def test_a_table_is_taken_from_where_the_run_read_it(project):
    (project / "table.csv").write_text("path,label\n", encoding="utf-8")
    source = again(project, data="table.csv", settings=("data.group_by=none",), pictures=str(project / "table.csv"))
    assert isinstance(source, Table)
    assert (source.file, source.group_by) == (str(project / "table.csv"), "none")


def test_from_the_folder_of_the_run_the_path_stays_as_it_was_given(project, monkeypatch, capsys):
    monkeypatch.chdir(project)
    assert again(project, pictures=str(project / "pictures")).root == "pictures"
    assert "taken from" not in capsys.readouterr().err


@pytest.mark.parametrize("asked", [{}, {"data": "pictures"}])
def test_of_a_run_that_does_not_say_where_it_read_them_it_is_told_what_is_taken(project, asked, capsys):
    (project.parent / "runs/pictures/red").mkdir(parents=True)
    assert again(project, **asked).root == str(project.parent / "runs/pictures")
    above = f"it is taken from {project.parent / 'runs/pictures'}, for it does not say in which folder"
    assert capsys.readouterr().err.count(above) == 1
    Path("pictures/red").mkdir(parents=True)
    assert again(project, **asked).root == "pictures"
    here = f"it is taken from {Path.cwd() / 'pictures'}, for it does not say in which folder"
    assert capsys.readouterr().err.count(here) == 1


def test_where_a_whole_project_was_moved_its_pictures_are_found_above_the_run(project, capsys):
    shutil.move(project / "pictures", project.parent / "runs")
    assert again(project, pictures=str(project / "pictures")).root == str(project.parent / "runs/pictures")
    assert f"for {project / 'pictures'} is gone" in capsys.readouterr().err


@pytest.mark.parametrize("asked", [{}, {"data": "pictures"}])
def test_where_they_are_nowhere_all_that_was_tried_is_told(project, asked):
    shutil.rmtree(project / "pictures")
    with pytest.raises(DataError) as old:
        again(project, **asked)
    where = f"pictures, from {Path.cwd()} and from each folder above {project.parent / 'runs/tiny/1'}. Put them back"
    assert f"are not there; tried: {where}" in str(old.value)
    with pytest.raises(DataError) as new:
        again(project, **asked, pictures=str(project / "pictures"))
    assert f"tried: {project / 'pictures'}, where it read them; {where}" in str(new.value)


def test_a_source_without_a_folder_is_left_as_it_is(project):
    file = project.parent / "runs/tiny/1/recipe.py"
    text = TINY_RECIPE.replace('Folder("pictures", image_size=(32, 32), batch_size=8)', "Apples()")
    file.write_text(text.replace("from kt.data import Folder", "from kt.samples import Apples"), encoding="utf-8")
    assert again(project, pictures=None) == Apples()


def test_a_run_says_where_it_read_its_pictures_and_keeps_the_command_as_it_was_given(ran):
    assert ran.results["recipe"]["places"] == {"root": str(ran.folder / "pictures")}
    assert ran.results["recipe"]["data"] is None
    assert ran.results["command"] == "kt run tiny.py --json --seed 1"


@pytest.mark.slow
def test_a_run_on_a_relative_path_is_exported_from_another_folder_with_another_folder_of_that_name(tmp_path, kt_here):
    make_folder(tmp_path / "project" / "mine", {"red": 20, "green": 20})
    (tmp_path / "project" / "tiny.py").write_text(TINY_RECIPE, encoding="utf-8")
    options = ["--data", "mine", "--runs", "../runs", "--set", "export=[]", "--set", "fine_tune.epochs=1", "--json"]
    done = kt_here("run", "tiny.py", *options, cwd=tmp_path / "project")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["recipe"]["data"] == "mine"
    elsewhere = tmp_path / "elsewhere"
    make_folder(elsewhere / "mine", {"red": 2, "green": 2})
    draw("red", 7).save(elsewhere / "mine/red/more.png")
    asked = ["export", "../runs/tiny/LATEST", "--format", "keras", "--force"]
    again = kt_here(*asked, cwd=elsewhere)
    assert again.returncode == 0, again.stderr
    assert (elsewhere / "saved_models/tiny/1/tiny.keras").is_file()
