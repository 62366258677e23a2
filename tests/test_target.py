"""--target on the command line: another domain beside the recipe's data, whose labels training never gets."""

import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import TINY_RECIPE, make_folder
from resuming import DIES_IN_A_WRITE
from test_domains import mirror

from kt.cli.options import changed
from kt.cli.run_again import recipe_again
from kt.data import Domains, Folder, Records, Unlabelled
from kt.data.sources import places_of
from kt.errors import DataError, RecipeError
from kt.recipe import load, override
from kt.samples import Apples


@pytest.fixture
def work(tmp_path, monkeypatch):
    """The working directory: a recipe, its pictures, and mirrored ones of the same classes in `field/`."""
    make_folder(tmp_path / "pictures", {"red": 20, "green": 20})
    make_folder(tmp_path / "field", {"red": 12, "green": 12})
    mirror(tmp_path / "field")
    (tmp_path / "tiny.py").write_text(TINY_RECIPE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def data_of(recipe="tiny.py", *, data=None, settings=(), from_=None, **options):
    """The data of a recipe's file, which is `from_` unless that is None, with options of the command line."""
    from dataclasses import replace
    from pathlib import Path

    loaded = load(Path(recipe))
    if from_ is not None:
        loaded = replace(loaded, recipe=replace(loaded.recipe, data=from_))
    return changed(loaded, data=data, settings=settings, seed=None, **options).data


def test_a_recipe_of_one_domain_gets_the_target_beside_its_own_data(work):
    source = Folder("pictures", image_size=(32, 32), batch_size=8)
    assert data_of(target="field") == Domains(source, Unlabelled("field"))
    assert data_of(target="field", target_labels=True) == Domains(
        source, Folder("field", image_size=(32, 32), batch_size=8)
    )
    assert data_of(target="field", from_=Apples(image_size=(16, 24), batch_size=4), target_labels=True).target == (
        Folder("field", image_size=(16, 24), batch_size=4)
    )


def test_a_target_in_the_recipe_is_replaced_and_data_replaces_the_source(work, capsys):
    domains = Domains(Apples(), Folder("elsewhere"))
    assert data_of(from_=domains, target="field") == Domains(Apples(), Unlabelled("field"))
    assert capsys.readouterr().err == ""
    assert data_of(from_=domains, data="field") == Domains(Folder("field"), Folder("elsewhere"))
    assert "--data takes the place of the recipe's source domain; the target domain stays" in capsys.readouterr().err
    both = data_of(data="field", target="pictures")
    assert (both.source.root, both.target) == ("field", Unlabelled("pictures"))


def test_sizes_that_are_set_are_those_of_both_domains(work):
    read = data_of(target="field", settings=("data.image_size=16x16",), target_labels=True)
    assert read.source.image_size == read.target.image_size == read.image_size == (16, 16)


def test_without_target_labels_folders_named_as_classes_are_no_labels_and_a_fact_says_so(work):
    splits = data_of(target="field")()
    assert splits.streams["target"].labels is None and len(splits.streams["target"]) == 24
    assert [str(name) for name in splits.test.names] == [str(name) for name in Folder("pictures")().test.names]
    assert any("names of classes, which are not read as labels" in fact for fact in splits.facts)
    for picture in (work / "field" / "red").iterdir():
        picture.rename(work / "field" / picture.name)
    assert len(list((work / "field").glob("*.png"))) == 12
    for picture in (work / "field" / "green").iterdir():
        picture.unlink()
    assert not any("names of classes" in fact for fact in data_of(target="field")().facts)


def test_with_target_labels_they_reach_the_test_split_alone(work):
    splits, away = data_of(target="field", target_labels=True)(), Folder("field", image_size=(32, 32))()
    assert splits.streams["target"].labels is None
    np.testing.assert_array_equal(splits.test.examples, away.test.examples)
    np.testing.assert_array_equal(splits.test.labels, away.test.labels)
    seen = {example.tobytes() for part in (splits.train, splits.validation) for example in part.examples}
    assert not seen & {example.tobytes() for example in away.test.examples}


def test_rows_have_a_target_of_rows_with_and_without_labels(tmp_path, work):
    for name, shift in (("a.csv", 0), ("b.csv", 100)):
        rows = [f"{shift + place / 7:.3f},{('good', 'bad')[place % 2]}" for place in range(40)]
        (tmp_path / name).write_text("\n".join(["width,label", *rows]))
    source = Records("a.csv", batch_size=4)
    assert data_of(from_=Domains(source, "x.csv"), data="b.csv").source == Records("b.csv", batch_size=4)
    plain = data_of(from_=source, target="b.csv")
    assert len(plain().streams["target"]) == 40
    assert not any("names of classes" in fact for fact in plain().facts)
    assert data_of(from_=source, target="b.csv", target_labels=True) == Domains(source, Records("b.csv", batch_size=4))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"target": "nowhere"}, DataError, "There is no nowhere; --target takes the examples of another domain"),
        ({"target": "accuracy=0.9"}, DataError, "a goal for validation is --goal METRIC=VALUE"),
        ({"target": "nowhere", "target_labels": True}, DataError, "There is no nowhere"),
        ({"target": "./pictures"}, RecipeError, "--target names pictures, which is the source domain"),
        ({"data": "field", "target": "field"}, RecipeError, "--target names field, which is the source domain"),
        ({"target_labels": True}, RecipeError, "--target-labels says .* add --target PATH"),
    ],
)
def test_a_target_that_cannot_be_is_told_before_pictures_are_read(work, options, error, message):
    with pytest.raises(error, match=message):
        data_of(**options)


def test_a_table_of_pictures_is_no_target_without_labels_and_the_reason_is_told(work):
    (work / "field.csv").write_text("path,label\nfield/red/000.png,red\n")
    with pytest.raises(DataError, match=r"There are no pictures that can be read in field.csv. The first: .*"):
        data_of(target="field.csv")()
    labelled = data_of(target="field.csv", target_labels=True)
    assert labelled.target.file == "field.csv"


def test_show_prints_both_domains_and_each_verb_of_a_recipe_has_the_options(work, kt_ends):
    told = json.loads(kt_ends("show", "tiny.py", "--target", "field", "--json")[1])
    assert (told["data"]["kind"], told["data"]["target"]["root"]) == ("Domains", "field")
    for verb in ("run", "show", "compare", "lr-find"):
        assert "--target-labels" in kt_ends(verb, "--help")[1]


def test_a_place_is_named_by_its_field_through_both_domains():
    assert list(places_of(Domains(Folder("a"), "b"))) == ["source.root", "target"]
    assert list(places_of(Domains(Apples(), Unlabelled("b")))) == ["target.root"]
    assert places_of(Domains(Apples(), Apples(seed=1))) == {}


def test_both_domains_of_a_run_are_found_from_another_folder(work, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    for name in ("pictures", "field"):
        (elsewhere / name).mkdir(parents=True)
    told = {
        "data": None, "target": "field", "target_labels": False, "settings": [],
        "places": {"source.root": str(work / "pictures"), "target.root": str(work / "field")},
    }  # fmt: skip
    loaded = load(work / "tiny.py")
    monkeypatch.chdir(elsewhere)
    again = recipe_again(loaded, {"recipe": told, "seed": 1}, work / "runs").data
    assert (again.source.root, again.target.root) == (str(work / "pictures"), str(work / "field"))
    told |= {"target_labels": True, "data": "field", "target": "pictures"}
    told["places"] = {"source.root": str(work / "field"), "target.root": str(work / "pictures")}
    again = recipe_again(loaded, {"recipe": told, "seed": 1}, work / "runs").data
    assert isinstance(again.target, Folder)
    assert (again.source.root, again.target.root) == (str(work / "field"), str(work / "pictures"))


def test_relative_targets_of_a_recipe_are_sought_above_its_file(work, monkeypatch):
    from kt.cli.own_data import with_data_found

    text = TINY_RECIPE.replace('Folder("pictures"', 'Domains(target="field", source=Folder("pictures"')
    text = text.replace("batch_size=8)", "batch_size=8))").replace("import Folder", "import Domains, Folder")
    (work / "recipes").mkdir()
    (work / "recipes" / "two.py").write_text(text)
    (work / "away").mkdir()
    monkeypatch.chdir(work / "away")
    from pathlib import Path

    found = with_data_found(load(Path("../recipes/two.py"))).recipe
    assert (found.data.source.root, found.data.target) == (str(work / "pictures"), str(work / "field"))
    assert override(found, ["data.source.batch_size=4"]).data.source.batch_size == 4


@pytest.mark.slow
def test_a_run_with_a_target_goes_on_after_a_kill_and_is_exported_from_another_folder(work, kt_here):
    options = ["--target", "field", "--target-labels", "--set", "export=[]", "--set", "train_head.epochs=1"]
    killed = subprocess.run(
        [sys.executable, "-c", DIES_IN_A_WRITE, "12", "run", "tiny.py", *options], cwd=work, capture_output=True,
        check=False,
    )  # fmt: skip
    assert killed.returncode == 9
    done = kt_here("run", "--resume", "--json", cwd=work)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["recipe"]["target"], report["recipe"]["target_labels"]) == ("field", True)
    assert report["recipe"]["places"] == {
        "source.root": str(work / "pictures"), "target.root": str(work / "field"),
    }  # fmt: skip
    assert "the test split is the target's" in " ".join(report["data"]["notes"])
    assert "no step of the recipe takes the target's examples" in " ".join(done.stderr.split())
    (work / "away").mkdir()
    again = kt_here("export", "../runs/tiny/LATEST", "--format", "keras", "--force", cwd=work / "away")
    assert again.returncode == 0, again.stderr
    assert (work / "away" / "saved_models" / "tiny" / "1" / "tiny.keras").is_file()
