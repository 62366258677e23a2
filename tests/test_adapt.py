"""`kt adapt`: what is compared and chosen, what labels of the target are used for, and what it writes."""

import dataclasses
import json
import re
import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY, TINY_RECIPE, make_folder
from test_domains import mirror

from kt.data import Domains, Folder, Unlabelled
from kt.data.sources.domains import PerhapsLabelled
from kt.errors import DataError, RecipeError
from kt.recipe import AdaptedProbe, AdaptiveBatchNorm, LinearProbe, Phase, Shot, load
from kt.recipe.without_target import source_steps
from kt.report.adaptation import adaptation_page, sentences
from kt.strategy.adapt import adapt, candidates
from kt.strategy.adapt.alike import ALIKE, OF_SHARES, difference
from kt.strategy.adapt.ceiling import target_trained
from kt.strategy.adapt.choice import averaged, chosen_by
from kt.strategy.adapt.results import _verdict
from kt.strategy.adapt.source import DomainFeatures, SourceModel, drawn_splits
from kt.strategy.adapt.trials import AdaptedTrial

DOCS = (REPOSITORY / "docs" / "adapt.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A recipe, its pictures, and a target with the same classes, whose pictures are mirrored."""
    folder = tmp_path_factory.mktemp("adapt")
    make_folder(folder / "pictures", {"red": 24, "green": 24})
    make_folder(folder / "field", {"red": 30, "green": 30})
    mirror(folder / "field")
    (folder / "tiny.py").write_text(TINY_RECIPE.replace("epochs=4", "epochs=1").replace("epochs=2", "epochs=1"))
    return folder


@pytest.fixture(scope="module")
def adapted(work):
    """The comparison of two methods with no adaptation."""
    recipe = load(work / "tiny.py").recipe
    pictures = Folder(str(work / "pictures"), image_size=(32, 32), batch_size=8)
    there = dataclasses.replace(pictures, root=str(work / "field"))
    recipe = dataclasses.replace(recipe, data=Domains(pictures, PerhapsLabelled(there)))
    out = work / "runs" / "tiny" / "adapt" / "now"
    return recipe, out, adapt(recipe, candidates(["coral", "prototypes"]), out)


# --------------------------------------------------------------------------------------------------- the comparison


def test_what_is_written_is_what_is_returned(adapted):
    _, out, results = adapted
    assert json.loads((out / "adapt.json").read_text(encoding="utf-8")) == results
    assert results["finished"] and results["seeds"] == [0, 1, 2]


def test_each_method_has_its_figure_on_the_target_and_its_verdict(adapted):
    _, _, results = adapted
    none, *others = results["methods"]
    assert [row["name"] for row in results["methods"]] == ["none", "coral", "prototypes"]
    for row in results["methods"]:
        runs = [run["balanced_accuracy"] for run in row["runs"]]
        assert row["target_balanced_accuracy"] == pytest.approx(np.mean(runs)) and len(runs) == 3
        assert row["interval"][0] <= row["target_balanced_accuracy"] <= row["interval"][1]
        assert sum(row["answered_shares"]) == pytest.approx(1)
    assert none["against_none"] is None and none["verdict"] is None
    for row in others:
        gain = row["target_balanced_accuracy"] - none["target_balanced_accuracy"]
        assert row["against_none"]["balanced_accuracy"] == pytest.approx(gain)
        assert row["verdict"] in ("positive", "none", "negative")
    assert [row["chosen"] for row in results["methods"]].count(True) == 1
    assert results["verdict"] in ("positive", "none", "negative")
    assert 0 <= results["target_trained"]["target_balanced_accuracy"] <= 1


def test_a_method_that_moves_no_features_has_no_distance(adapted):
    _, _, results = adapted
    by_name = {row["name"]: row for row in results["methods"]}
    assert by_name["prototypes"]["distance"] is None
    for name in ("none", "coral"):
        assert 0 <= by_name[name]["distance"]["proxy_a_distance"] <= 2
        assert 0 < by_name[name]["distance"]["mmd_p"] <= 1
    assert {"source", "labels", "target"} == set(results["map"]["before"])


def test_the_page_shows_the_table_the_verdict_and_nothing_from_elsewhere(adapted):
    _, out, results = adapted
    page = (out / "adapt.html").read_text(encoding="utf-8")
    for row in results["methods"]:
        assert f"<td>{row['target_balanced_accuracy']:.3f}</td>" in page
    assert sentences(results)[0] in page.replace("&lt;", "<")
    assert not re.search(r"(src|href)=\"(?!#)|@import|url\((?!#)", page)
    assert page.count("<svg") >= 2 and "Not finished" not in page


def test_the_documentation_explains_each_key_and_method(adapted):
    _, _, results = adapted
    method = results["methods"][1]
    keys = [*results, *method, *method["against_none"], *method["distance"], *method["runs"][0]]
    for key in [*keys, *results["validators"][0], *results["target"]]:
        assert re.search(rf"[`.]{key}[`.]", DOCS.replace("[]", "")), key
    for candidate in candidates(["features", "training"]):
        assert f"`{candidate.name}`" in DOCS


def test_nothing_is_fitted_again_when_it_goes_on(adapted, monkeypatch):
    recipe, out, results = adapted
    refused = pytest.fail
    monkeypatch.setattr("kt.strategy.adapt._trial", lambda *_args, **_more: refused("fitted again"))
    monkeypatch.setattr("kt.strategy.adapt.source.train", lambda *_args, **_more: refused("trained again"))
    again = adapt(recipe, candidates(["coral", "prototypes"]), out)
    assert again["methods"] == results["methods"] and again["chosen"] == results["chosen"]


def without(out, folder, *gone):
    """A copy of a comparison in which some candidates are not fitted yet."""
    shutil.copytree(out, folder)
    for name in gone:
        for trial in (folder / "trials").glob(f"{name}-*"):
            shutil.rmtree(trial)
    return folder


def test_an_interruption_leaves_what_is_there(adapted, tmp_path, monkeypatch):
    recipe, before, _ = adapted
    room = import_module("kt.strategy.adapt")
    out, fitted = without(before, tmp_path / "out", "prototypes"), room._trial

    def interrupted(done, candidate, *args, **more):
        if candidate.name == "prototypes":
            raise KeyboardInterrupt
        return fitted(done, candidate, *args, **more)

    monkeypatch.setattr(room, "_trial", interrupted)
    with pytest.raises(KeyboardInterrupt):
        adapt(recipe, candidates(["coral", "prototypes"]), out)
    left = json.loads((out / "adapt.json").read_text())
    assert not left["finished"] and left["chosen"] is None
    assert "Not finished" in (out / "adapt.html").read_text()


def test_a_method_that_fails_is_told_and_the_others_go_on(adapted, tmp_path, monkeypatch):
    recipe, before, _ = adapted
    out, named = without(before, tmp_path / "out", "coral"), candidates(["coral", "prototypes"])

    def fails(*_args, **_more):
        raise DataError("no such features")

    monkeypatch.setattr(type(named[1].method), "fit", fails)
    results = adapt(recipe, named, out)
    assert [row["error"] for row in results["methods"]] == [None, "no such features", None]
    assert any("CORAL, seed 0, failed: no such features" in note for note in results["notes"])
    assert "no such features" in (out / "adapt.html").read_text()


@pytest.mark.parametrize(
    ("seeds", "validator", "message"),
    [((0, 1), "circular", "judged with 3 different seeds"), ((0, 1, 2), "circul", r"Did you mean.*circular")],
)
def test_what_cannot_be_judged_is_told_before_anything_is_read(adapted, tmp_path, seeds, validator, message):
    recipe, _, _ = adapted
    with pytest.raises(RecipeError, match=message):
        adapt(recipe, candidates(), tmp_path, seeds=seeds, validator=validator)


def test_a_recipe_of_one_domain_is_told_how_to_name_the_other(adapted, tmp_path):
    recipe, _, _ = adapted
    alone = dataclasses.replace(recipe, data=recipe.data.source)
    with pytest.raises(RecipeError, match=r"one domain; .*--target FOLDER"):
        adapt(alone, candidates(), tmp_path)


# ------------------------------------------------------------------------------------------------------ candidates


def test_no_adaptation_is_always_the_first_candidate():
    assert [each.name for each in candidates(["mcc", "coral"])] == ["none", "coral", "mcc"]
    assert {each.name for each in candidates(["training"])} > {"none", "dann", "shot", "batch_norm"}
    with pytest.raises(RecipeError, match=r"Did you mean.*coral"):
        candidates(["corall"])
    with pytest.raises(RecipeError, match="name a method beside it"):
        candidates(["none"])


def test_no_adaptation_is_the_recipe_without_what_takes_the_target(work):
    from kt import Coral
    from kt.adaptation.methods import LinearTransport

    recipe = load(work / "tiny.py").recipe
    head, tune = recipe.phases
    with_objective = dataclasses.replace(tune, objective=Coral())
    both = dataclasses.replace(recipe, phases=[head, with_objective, AdaptedProbe(method=LinearTransport())])
    assert source_steps(both) == [head, tune]
    only = dataclasses.replace(recipe, phases=[AdaptedProbe(features="all", method=LinearTransport())])
    assert source_steps(only) == [LinearProbe(features="all")]


def test_each_candidate_adds_one_step_to_those_of_the_source(work):
    recipe = load(work / "tiny.py").recipe
    for candidate in candidates(["features", "training"]):
        *source, last = [*candidate.phases(recipe), None] if candidate.name == "none" else candidate.phases(recipe)
        assert source == list(recipe.phases)
        if candidate.objective is not None:
            assert isinstance(last, Phase) and last.objective is candidate.objective
            assert last.trainable is recipe.phases[1].trainable and last.epochs == recipe.phases[1].epochs
        elif candidate.step is not None:
            assert isinstance(last, Shot | AdaptiveBatchNorm)
        elif candidate.name != "none":
            assert isinstance(last, AdaptedProbe) and last.method is candidate.method


# ---------------------------------------------------------------------------------------------- choice and verdict


def trial(scores, *, seed=0):
    return AdaptedTrial("x", seed, 1.0, {"mix": scores}, (0.5, 0.5), None, np.zeros((2, 2), np.float32), {})


def test_the_choice_is_none_unless_another_is_surely_better():
    steady = {"none": [trial(0.5), trial(0.6), trial(0.5)], "coral": [trial(0.8), trial(0.9), trial(0.85)]}
    shaky = {"none": [trial(0.5), trial(0.6), trial(0.5)], "coral": [trial(0.4), trial(0.9), trial(0.5)]}
    assert chosen_by("mix", steady) == "coral"
    assert chosen_by("mix", shaky) == "none"
    assert chosen_by("mix", {**steady, "ot_map": [trial(None)] * 3}) is None  # it can't judge every method
    assert chosen_by("mix", {"coral": steady["coral"]}) is None


def test_an_ensemble_stands_in_for_its_members_and_for_nothing_else():
    tried = {name: [] for name in ("none", "coral", "subspace", "mcc", "ensemble")}
    assert averaged("coral", tried) == "ensemble"
    for other in ("none", "subspace", "mcc", None):
        assert averaged(other, tried) == other
    assert averaged("coral", {name: [] for name in ("none", "coral")}) == "coral", "where it was not tried"


def row(name, verdict, p):
    return {"name": name, "against_none": {"verdict": verdict, "p_value": p}}


def test_the_verdict_is_that_of_the_chosen_method():
    methods = [{"name": "none", "against_none": None}, row("coral", "positive", 0.01), row("mcc", "negative", 0.001)]
    assert _verdict(methods, "coral") == "positive"
    assert _verdict(methods, "mcc") == "negative"


def test_without_a_choice_the_verdict_is_negative_where_methods_surely_hurt_and_none_surely_helps():
    none = {"name": "none", "against_none": None}
    assert _verdict([none, row("coral", "negative", 0.001), row("mcc", "none", 0.5)], "none") == "negative"
    assert _verdict([none, row("coral", "negative", 0.04), row("mcc", "none", 0.5)], "none") == "none"  # of two looks
    assert _verdict([none, row("coral", "negative", 0.001), row("mcc", "positive", 0.001)], "none") == "none"


def model_of(source, labels, target, *, classes=2):
    from kt.linear import fit

    head = fit(source, labels, classes=classes)
    groups = tuple(map(str, range(len(labels))))
    return SourceModel([], head, DomainFeatures(source, labels, groups, target, target[:1]), 0.0)


def domain(shares, *, count=200, move=0.0, seed=0):
    """Two classes, three units apart in the first of six features."""
    random = np.random.default_rng(seed)
    labels = (random.random(count) < shares).astype(np.int64)
    rows = random.normal(size=(count, 6))
    rows[:, 0] += 3 * labels
    return rows + move, labels


@pytest.mark.parametrize(
    ("target", "expected"),
    [({"shares": 0.5}, ALIKE), ({"shares": 0.9}, OF_SHARES), ({"shares": 0.5, "move": 3.0}, "examples")],
)
def test_domains_are_alike_or_differ_in_shares_or_otherwise(target, expected):
    source, labels = domain(0.5)
    others, _ = domain(**target, seed=1)
    assert difference(model_of(source, labels, others), classes=2, balanced=False, seed=0) == expected


def test_too_few_examples_tell_no_difference():
    source, labels = domain(0.5, count=12)
    labels[:2] = [0, 1]
    others, _ = domain(0.5, count=5, seed=1)
    assert difference(model_of(source, labels, others), classes=2, balanced=False, seed=0) == "untold"


def test_what_could_be_had_is_cross_validated_on_the_labelled_examples():
    rows, labels = domain(0.5, count=120)
    names = [str(place) for place in range(120)]
    right = target_trained({0: rows, 7: rows}, labels, names, balanced=False)
    assert right.shape == (120, 2) and 0.85 < right.mean() < 0.99
    noise = target_trained({0: np.random.default_rng(3).normal(size=(120, 6))}, labels, names, balanced=False)
    assert noise.mean() < 0.65  # nobody learns an example's own label
    assert target_trained({0: rows}, labels, ["one thing"] * 120, balanced=False) is None


def test_a_seed_draws_four_fifths_of_both_domains_in_whole_groups(adapted):
    recipe, _, _ = adapted
    splits = recipe.data()
    first, again, other = (drawn_splits(splits, "target", seed=seed) for seed in (1, 1, 2))
    assert first.train.names == again.train.names != other.train.names
    assert len(first.streams["target"]) == round(0.8 * len(splits.streams["target"]))
    assert first.streams["target"].labels is None
    assert first.test is splits.test
    assert set(first.train.groups).isdisjoint(set(splits.train.groups) - set(first.train.groups))


# -------------------------------------------------------------------------------------------- labels of the target


def test_labels_are_read_where_folders_are_the_source_s_classes(work, capsys):
    there = Folder(str(work / "field"), image_size=(32, 32))
    assert PerhapsLabelled(there).decided(["green", "red"]) == there
    assert PerhapsLabelled(there).decided(["green", "blue"]) == Unlabelled(str(work / "field"))
    assert "labels of" in capsys.readouterr().err
    loose = Folder(str(work / "field" / "red"), image_size=(32, 32))
    assert PerhapsLabelled(loose).decided(["green", "red"]) == Unlabelled(str(work / "field" / "red"))


def test_a_target_without_labels_has_a_choice_and_no_verdict(adapted, tmp_path):
    recipe, _, _ = adapted
    blind = dataclasses.replace(recipe, data=Domains(recipe.data.source, Unlabelled(recipe.data.target.labelled.root)))
    results = adapt(blind, candidates(["coral"]), tmp_path / "out")
    assert results["verdict"] is None and results["target"]["labelled"] is False
    assert results["chosen"] in ("none", "coral") and results["target_trained"] is None
    assert all(row["target_balanced_accuracy"] is None for row in results["methods"])
    assert "whether adapting helps is not known" in " ".join(results["notes"])
    assert adaptation_page(results)


# ---------------------------------------------------------------------------------------------------- command line


def test_the_command_line_compares_writes_a_recipe_and_says_how_to_run_it(work, monkeypatch, kt_ends):
    monkeypatch.chdir(work)
    options = ["--target", "field", "--methods", "coral", "--validator", "circular", "--write", "fitted.py"]
    code, out, err = kt_ends("adapt", "tiny.py", *options)
    assert code == 0, err
    assert "on the target" in out and "next: kt run fitted.py" in out and "adapt.html" in out
    written = load(Path("fitted.py")).recipe
    assert isinstance(written.data, Domains) and written.data.target.root == "field"
    results = json.loads(next(Path("runs/tiny/adapt").glob("*/adapt.json")).read_text())
    chosen = "none" if results["verdict"] == "negative" else results["chosen"]
    assert [type(step) for step in written.phases][2:] == ([] if chosen == "none" else [AdaptedProbe])


@pytest.mark.parametrize("name", ["coral", "mcc", "shot", "batch_norm", "none"])
def test_the_written_recipe_is_the_chosen_candidate(name, work, monkeypatch):
    from kt.cli.adapted_recipe import adapted_text

    monkeypatch.chdir(work)
    loaded = load(Path("tiny.py"))
    recipe = dataclasses.replace(loaded.recipe, data=Domains(loaded.recipe.data, Unlabelled("field")))
    (candidate,) = [each for each in candidates(["features", "training"]) if each.name == name]
    results = {
        "chosen": name, "verdict": None, "validator": "mix", "difference": "examples", "target": {"labelled": False},
        "methods": [{"name": name, "title": candidate.title}], "data": {"kind": "pictures"},
    }  # fmt: skip
    Path("again.py").write_text(adapted_text(loaded, recipe, candidate, results, target="field"))
    again = load(Path("again.py")).recipe
    assert again.data == recipe.data
    expected = candidate.phases(recipe)
    assert [type(step) for step in again.phases] == [type(step) for step in expected]
    if name == "mcc":
        assert again.phases[-1].epochs == expected[-1].epochs and again.phases[-1].objective == expected[-1].objective


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tiny.py", "--source", "pictures"], "both the source domain; give one of them"),
        (["tiny.py", "--target", "field", "--target-labels", "--no-target-labels"], "contradict each other"),
        (["tiny.py", "--target", "field", "--methods", "corall"], "Did you mean"),
        (["tiny.py", "--target", "field", "--seeds", "2"], "3 different seeds"),
        (["tiny.py", "--target", "nowhere"], "There is no nowhere"),
        (["tiny.py"], "one domain; adaptation needs another"),
        (["tiny.py", "--target", "field", "--write", "tiny.py"], "is there already"),
        ([], "Missing argument 'RECIPE'"),
    ],
)
def test_a_wrong_command_is_one_line(arguments, message, work, monkeypatch, kt_ends):
    monkeypatch.chdir(work)
    code, out, err = kt_ends("adapt", *arguments)
    assert code != 0 and message in err and "Traceback" not in err and out == ""
