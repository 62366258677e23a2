"""Recipes: each mistake is found at load and told in one line; `--set` changes one field and nothing else."""

import dataclasses
import functools
import json
import math
import re
import subprocess
import sys
import textwrap
import types
from pathlib import Path
from typing import Literal

import pytest
from conftest import REPOSITORY, make_folder
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kt import Classifier, Cosine, LinearProbe, Phase, Recipe
from kt.errors import DataError, KtError, RecipeError, did_you_mean
from kt.parts.augment import plan_of
from kt.parts.schedules import constant
from kt.recipe import describe, is_recipe, load, override, summary_of

RECIPES = sorted((REPOSITORY / "recipes").glob("*.py"))

FILE = '''"""Crumpled paper from smooth.

A recipe that needs neither Keras nor pictures.
"""

from dataclasses import dataclass

from kt import Classifier, Phase, Recipe


@dataclass(frozen=True)
class Paper:
    image_size: tuple[int, int] = (224, 224)

    def __call__(self):
        raise AssertionError("pictures were read at load")


def network(include_top, weights, input_shape):
    raise AssertionError("a network was built at load")


def frozen(backbone):
    raise AssertionError("flags were set at load")


recipe = Recipe(
    data=Paper(),
    backbone=network,
    head=Classifier(),
    phases=[
        Phase("train_head", trainable=frozen, epochs=2, lr=1e-3),
        Phase("fine_tune", trainable=frozen, epochs=1, lr=1e-5),
    ],
)
'''


@dataclasses.dataclass(frozen=True)
class Pictures:
    """A data source with a field of every type that can be set from the command line."""

    root: str = "photos"
    image_size: tuple[int, int] = (224, 224)
    batch_size: int = 32
    share: float = 0.2
    shuffled: bool = False
    limit: int | None = 7
    colours: Literal["rgb", "grey"] = "rgb"
    borders: tuple[int, ...] = ()
    labels: list[str] = dataclasses.field(default_factory=list)
    group: object = None
    count: int = dataclasses.field(default=0, init=False)

    def __post_init__(self):
        if self.root == "nowhere":
            raise OSError("there is no such place")
        if self.root == "wet":
            raise DataError("The pictures are wet.")

    def __call__(self):
        raise AssertionError("pictures were read")


def network(include_top, weights, input_shape):
    raise AssertionError("a network was built")


def frozen(backbone):
    raise AssertionError("flags were set")


def paper(**changes):
    """A recipe of two phases, with changes."""
    phases = [Phase("train_head", frozen, 5, 1e-3), Phase("fine_tune", frozen, 5, 1e-5, patience=2)]
    return Recipe(**{"data": Pictures(), "backbone": network, "head": Classifier(), "phases": phases, **changes})


@pytest.fixture
def written(tmp_path):
    """A function that writes `FILE` with a part of it replaced, and gives the path."""

    def write(old="", new="", *, text=FILE):
        assert old in text
        file = tmp_path / "paper.py"
        file.write_text(text.replace(old, new, 1), encoding="utf-8")
        return file

    return write


# ------------------------------------------------------------------------------------------------ mistakes in a file


LINES = {line: number for number, line in enumerate(FILE.splitlines(), start=1)}
TRAIN_HEAD = LINES['        Phase("train_head", trainable=frozen, epochs=2, lr=1e-3),']
FINE_TUNE = LINES['        Phase("fine_tune", trainable=frozen, epochs=1, lr=1e-5),']
RECIPE = LINES["recipe = Recipe("]

MISTAKES = {
    "unknown field of a phase": ("lr=1e-3", "lrr=1e-3", TRAIN_HEAD, "Phase has no field 'lrr'. Did you mean 'lr'?"),
    "unknown field of the recipe": (
        "backbone=network", "backbones=network", RECIPE,
        "Recipe has no field 'backbones'. Did you mean 'backbone'?",
    ),
    "unknown field of the head": (
        "Classifier()", "Classifier(dropuot=0.1)", RECIPE + 3,
        "Classifier has no field 'dropuot'. Did you mean 'dropout'?",
    ),
    "unknown field of a source of one's own": (
        "data=Paper()", "data=Paper(size=2)", RECIPE + 1, "Paper has no field 'size'. There is: image_size.",
    ),
    "a field left out": ("trainable=frozen, epochs=1", "epochs=1", FINE_TUNE, "Phase needs 'trainable'."),
    "negative lr": ("lr=1e-3", "lr=-1e-3", TRAIN_HEAD,
                    "Phase 'train_head': lr must be above 0, such as 1e-3, not -0.001."),
    "no lr at all": ("lr=1e-3", "lr=0", TRAIN_HEAD, "Phase 'train_head': lr must be above 0, such as 1e-3, not 0."),
    "lr that is no number": ("lr=1e-3", "lr=float('nan')", TRAIN_HEAD, "Phase: lr must be a number, not nan."),
    "lr as a word": ("lr=1e-3", "lr='fast'", TRAIN_HEAD, "Phase: lr must be a number, not 'fast'."),
    "no epochs": ("epochs=1", "epochs=0", FINE_TUNE, "Phase 'fine_tune': epochs must be at least 1, not 0."),
    "half an epoch": ("epochs=1", "epochs=1.5", FINE_TUNE, "Phase: epochs must be an integer, not 1.5."),
    "true for a number": ("epochs=1", "epochs=True", FINE_TUNE, "Phase: epochs must be an integer, not True."),
    "no patience": ("lr=1e-5", "lr=1e-5, patience=0", FINE_TUNE,
                    "Phase 'fine_tune': patience must be at least 1 epoch, not 0."),
    "flag for a function": ("trainable=frozen", "trainable=False", TRAIN_HEAD,
                            "Phase: trainable must be a function, not False."),
    "empty name": ('"fine_tune"', '""', FINE_TUNE, "Phase '': a name has letters, digits"),
    "name with a dot": ('"fine_tune"', '"fine.tune"', FINE_TUNE, "Phase 'fine.tune': a name has letters, digits"),
    "two phases of one name": ('"fine_tune"', '"train_head"', RECIPE,
                               "Recipe: two phases are named 'train_head'; names must differ."),
    "phase named as a field": ('"fine_tune"', '"data"', RECIPE,
                               "Recipe: a phase can't be named 'data', as a field of the recipe is."),
    "unknown export": ("head=Classifier(),", "head=Classifier(), export=['tflight'],", RECIPE,
                       "Recipe: unknown export 'tflight'. Did you mean 'tflite'?"),
    "one export without a list": ("head=Classifier(),", "head=Classifier(), export='tflite',", RECIPE,
                                  "Recipe: export must be a list of a string or a function or a format, not 'tflite'."),
    "head that is a plain function": ("head=Classifier()", "head=frozen", RECIPE,
                                      "Recipe: head has no function 'loss'; kt.Classifier shows what a head needs."),
    "class for a head": ("head=Classifier()", "head=Classifier", RECIPE,
                         "Recipe: head must be a function, not the class Classifier; write Classifier(...)."),
    "class for the data": ("data=Paper()", "data=Paper", RECIPE,
                           "Recipe: data must be a function, not the class Paper; write Paper(...)."),
    "impossible dropout": ("Classifier()", "Classifier(dropout=1.5)", RECIPE + 3,
                           "Classifier: dropout is a share from 0 to below 1, not 1.5."),
    "unknown class weight": ("head=Classifier(),", "head=Classifier(), class_weight='even',", RECIPE,
                             "Recipe: class_weight must be 'balanced' or None, not 'even'."),
    "tolerance in percent": ("head=Classifier(),", "head=Classifier(), tolerance=1,", RECIPE,
                             "Recipe: tolerance is a share of accuracy from 0 to 1, such as 0.01, not 1."),
    "negative seed": ("head=Classifier(),", "head=Classifier(), seed=-1,", RECIPE,
                      "Recipe: seed must be from 0 to 2147483647, not -1."),
    "a name that is not there": ("head=Classifier()", "head=Clasifier()", RECIPE + 3,
                                 "NameError: name 'Clasifier' is not defined"),
    "a package that is not there": ("from kt import", "import kerras\nfrom kt import", 8,
                                    "ModuleNotFoundError: No module named 'kerras'"),
    "a bracket left open": ("    ],\n)\n", "    ],\n", RECIPE, "'(' was never closed"),
    "exit": ("recipe = Recipe(", "raise SystemExit(0)\nrecipe = Recipe(", RECIPE, "SystemExit: 0"),
    "an error of several lines": ("recipe = Recipe(", "raise ValueError('one\\ntwo')\nrecipe = Recipe(", RECIPE,
                                  "ValueError: one two"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_one_line_with_file_and_line(mistake, written, monkeypatch):
    old, new, line, message = MISTAKES[mistake]
    file = written(old, new)
    monkeypatch.chdir(file.parent)  # a relative path, as people type it
    with pytest.raises(RecipeError) as caught:
        load(Path("paper.py"))
    told = str(caught.value)
    assert told.startswith(f"paper.py:{line}: {message}")
    assert "\n" not in told


def test_a_mistake_in_a_function_that_the_recipe_calls_names_the_recipe_s_line(written):
    file = written("recipe = Recipe(", "import json\njson.loads('{')\nrecipe = Recipe(")
    with pytest.raises(RecipeError, match=rf"paper\.py:{RECIPE + 1}: JSONDecodeError: Expecting property name"):
        load(file)


def test_a_slip_in_an_imported_file_is_not_blamed_on_a_line_of_the_recipe(written, monkeypatch):
    file = written("from kt import", "import paper_layers\nfrom kt import")
    (file.parent / "paper_layers.py").write_text("\n\n\nx = (\n", encoding="utf-8")
    monkeypatch.syspath_prepend(file.parent)
    with pytest.raises(RecipeError, match=r"paper\.py:8: SyntaxError: .*never closed \(paper_layers\.py, line 4\)"):
        load(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"has no object named 'recipe'; it must end with: recipe = Recipe\(\.\.\.\)\."),
        ("recipe = {'data': 1}", r"has a 'recipe' that is \{'data': 1\}; it must end with"),
        ("from kt import Recipe as recipe", r"has a 'recipe' that is the class Recipe; write Recipe\(\.\.\.\); it"),
    ],
)
def test_a_file_without_a_recipe_says_what_it_must_end_with(text, message, written):
    with pytest.raises(RecipeError, match=message):
        load(written(text=text))


@pytest.mark.parametrize("content", [b"x = '\xff'", b"x = 1\0", b"\xff\xfe"])
def test_a_file_that_is_not_text_is_one_line(content, tmp_path):
    file = tmp_path / "paper.py"
    file.write_bytes(content)
    with pytest.raises(RecipeError, match=r"paper\.py(:1)?: \S") as caught:
        load(file)
    assert "None" not in str(caught.value)


def test_a_missing_file_lists_the_recipes_beside_it(written):
    file = written()
    (file.parent / "layers.py").write_text("x = 1")
    with pytest.raises(RecipeError, match=r"papr\.py is not a recipe file\. There is: \S*/paper\.py\.$"):
        load(file.with_name("papr.py"))
    with pytest.raises(RecipeError, match=r"is not a recipe file\. There is: \S*/paper\.py\.$"):
        load(file.parent)
    with pytest.raises(RecipeError, match="There is: no recipe in that folder"):
        load(file.parent / "nowhere" / "paper.py")


def test_run_of_one_s_own_must_be_a_function(written):
    assert load(written()).run is None
    own = load(written("recipe = Recipe(", "def run(recipe, out): return 3\n\n\nrecipe = Recipe(")).run
    assert own(None, None) == 3
    with pytest.raises(RecipeError, match=r"run must be a function \(recipe, out\), not 3"):
        load(written("recipe = Recipe(", "run = 3\nrecipe = Recipe("))


def test_loading_reads_no_data_builds_nothing_and_leaves_nothing_behind(written):
    file = written()
    loaded = load(file)
    assert loaded.name == "paper"
    assert loaded.description == "Crumpled paper from smooth.\n\nA recipe that needs neither Keras nor pictures."
    assert [phase.name for phase in loaded.recipe.phases] == ["train_head", "fine_tune"]
    assert [path.name for path in file.parent.iterdir()] == ["paper.py"]


def test_a_changed_file_is_read_anew_even_within_a_second(written):
    assert load(written()).recipe.phases[0].epochs == 2
    assert load(written("epochs=2", "epochs=3")).recipe.phases[0].epochs == 3


def test_an_empty_list_of_phases_is_refused():
    with pytest.raises(RecipeError, match="phases is empty; it needs at least one Phase"):
        paper(phases=[])


# ------------------------------------------------------------------------------------------------------------ budget


def test_the_budget_of_fields_is_kept():
    assert len(dataclasses.fields(Phase)) <= 9
    assert len(dataclasses.fields(Recipe)) <= 10


@pytest.mark.parametrize(
    "part", [Phase("a", frozen, 1, 1e-3), paper(), Classifier(), Cosine()], ids=lambda part: type(part).__name__
)
def test_parts_are_frozen(part):
    name = dataclasses.fields(part)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(part, name, None)


# ------------------------------------------------------------------------------------------------- recipes that ship


def test_eleven_recipes_ship():
    names = [
        "apples",
        "apples_adapted",
        "apples_svm",
        "augmented",
        "digits",
        "features_only",
        "flowers",
        "leaves",
        "phone",
        "rows",
        "whole_network",
    ]
    assert [file.stem for file in RECIPES] == names


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_a_shipped_recipe_loads_and_says_what_it_is_for_and_how_to_run_it(file):
    loaded = load(file)
    first = loaded.description.splitlines()[0]
    assert first[0].isupper()
    assert first.endswith(".")
    assert f"    kt run recipes/{file.name}" in loaded.description
    assert summary_of(file) == first
    assert is_recipe(file)
    assert json.loads(json.dumps(describe(loaded.recipe), allow_nan=False)) == describe(loaded.recipe)


# ------------------------------------------------------------------------------------------------------- --set


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("fine_tune.epochs=12", 12),
        ("fine_tune.lr=3e-6", 3e-6),
        ("fine_tune.lr=1", 1.0),
        (" fine_tune.lr = .5 ", 0.5),
        ("fine_tune.patience=none", None),
        ("fine_tune.patience=None", None),
        ("fine_tune.patience=3", 3),
        ("fine_tune.schedule=none", None),
        ("fine_tune.name=second", "second"),
        ("seed=7", 7),
        ("tolerance=0.05", 0.05),
        ("weights=none", None),
        ("weights=/models/mine.weights.h5", "/models/mine.weights.h5"),
        ("weights=2024", "2024"),
        ("class_weight=balanced", "balanced"),
        ("augment=none", None),
        ("export=tflite", ["tflite"]),
        ("export=saved_model,tflite", ["saved_model", "tflite"]),
        ("export=saved_model, tflite", ["saved_model", "tflite"]),
        ("export=['tflite']", ["tflite"]),
        ("export=", []),
        ("data.image_size=160x96", (160, 96)),
        ("data.image_size=(160,96)", (160, 96)),
        ("data.image_size=160, 96", (160, 96)),
        ("data.borders=(1, 2, 3)", (1, 2, 3)),
        ("data.labels=good,bad", ["good", "bad"]),
        ("data.root=my photos=best", "my photos=best"),
        ("data.share=1", 1.0),
        ("data.shuffled=true", True),
        ("data.shuffled=False", False),
        ("data.limit=None", None),
        ("data.colours=grey", "grey"),
        ("head.dropout=0.5", 0.5),
        ("head.hidden=64", 64),
    ],
)
def test_a_setting_arrives_with_the_type_of_its_field(setting, value):
    changed = override(paper(), [setting])
    first, _, rest = setting.partition("=")[0].strip().partition(".")
    part = {phase.name: phase for phase in changed.phases}.get(first, getattr(changed, first, changed.phases[-1]))
    found = getattr(part, rest) if rest else part
    assert found == value
    assert type(found) is type(value)


def test_a_setting_changes_nothing_else_and_not_the_original():
    original = paper()
    before = json.dumps(describe(original))
    changed = override(original, ["fine_tune.lr=3e-6", "data.batch_size=16"])
    assert json.dumps(describe(original)) == before
    expected = json.loads(before)
    expected["phases"][1]["lr"] = 3e-6
    expected["data"]["batch_size"] = 16
    assert describe(changed) == expected


def test_the_last_of_two_settings_of_one_field_counts():
    assert override(paper(), ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("finetune.lr=1", "Cannot set 'finetune.lr': Recipe has no 'finetune'. Did you mean 'fine_tune'?"),
        ("sed=1", "Cannot set 'sed': Recipe has no 'sed'. Did you mean 'seed'?"),
        ("fine_tune.rate=1", "Cannot set 'fine_tune.rate': Phase has no 'rate'. "),
        ("fine_tune.epoch=1", "Cannot set 'fine_tune.epoch': Phase has no 'epoch'. Did you mean 'epochs'?"),
        ("data.batchsize=1", "Cannot set 'data.batchsize': Pictures has no 'batchsize'. Did you mean 'batch_size'?"),
        ("data.count=1", "Cannot set 'data.count': Pictures has no 'count'. "),
        ("data.root.name=x", "Cannot set 'data.root.name': Pictures has no 'root.name'. Did you mean 'root'?"),
        ("seed.x=1", "Cannot set 'seed.x': 'seed' has no fields of its own; change it in the recipe file."),
        ("backbone.alpha=1", "Cannot set 'backbone.alpha': 'backbone' has no fields of its own; "),
        ("fine_tune=1", "Cannot set 'fine_tune': 'fine_tune' is a phase; name one of its fields, such as fine_tune.lr"),
        ("phases.fine_tune.lr=1", "Cannot set 'phases.fine_tune.lr': begin with the name of a phase, such as"),
        ("phases=x", "Cannot set 'phases' to 'x': it must be a list of Phase or LinearProbe."),
        ("fine_tune.epochs=1.5", "Cannot set 'fine_tune.epochs' to '1.5': it must be an integer."),
        ("fine_tune.epochs=", "Cannot set 'fine_tune.epochs' to '': it must be an integer."),
        ("fine_tune.epochs=true", "Cannot set 'fine_tune.epochs' to 'true': it must be an integer."),
        ("fine_tune.lr=fast", "Cannot set 'fine_tune.lr' to 'fast': it must be a number."),
        ("fine_tune.lr=nan", "Cannot set 'fine_tune.lr' to 'nan': it must be a number."),
        ("fine_tune.lr=1e999", "Cannot set 'fine_tune.lr' to '1e999': it must be a number."),
        ("fine_tune.patience=soon", "Cannot set 'fine_tune.patience' to 'soon': it must be an integer or None."),
        ("data.shuffled=1", "Cannot set 'data.shuffled' to '1': it must be true or false."),
        ("data.colours=red", "Cannot set 'data.colours' to 'red': it must be 'rgb' or 'grey'."),
        ("data.image_size=160",
         "Cannot set 'data.image_size' to '160': it must be a tuple of 2 (an integer, an integer), such as 160x160"),
        ("data.image_size=1x2x3", "Cannot set 'data.image_size' to '1x2x3': it must be a tuple of 2"),
        ("class_weight=even", "Cannot set 'class_weight' to 'even': it must be 'balanced' or None."),
        ("backbone=resnet", "Cannot set 'backbone': it is a function; change it in the recipe file."),
        ("augment=flip", "Cannot set 'augment': it is a function; change it in the recipe file."),
        ("fine_tune.trainable=frozen", "Cannot set 'fine_tune.trainable': it is a function; change it in the recipe"),
        ("data=photos", "Cannot set 'data': it is a function; change it in the recipe file."),
        ("seed", "Cannot set 'seed': write it as name=value, such as fine_tune.lr=1e-5."),
        ("=1", "Cannot set '=1': write it as name=value, such as fine_tune.lr=1e-5."),
        ("fine_tune.lr=-1", "Phase 'fine_tune': lr must be above 0, such as 1e-3, not -1.0."),
        ("fine_tune.epochs=0", "Phase 'fine_tune': epochs must be at least 1, not 0."),
        ("fine_tune.name=train_head", "Recipe: two phases are named 'train_head'; names must differ."),
        ("export=tflight", "Recipe: unknown export 'tflight'. Did you mean 'tflite'?"),
        ("phases=", "Recipe: phases is empty; it needs at least one Phase."),
        ("head.dropout=1", "Classifier: dropout is a share from 0 to below 1, not 1.0."),
        ("data.root=nowhere", "Cannot set 'data.root' to 'nowhere': there is no such place"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_is_refused(setting, message):
    with pytest.raises(RecipeError) as caught:
        override(paper(), [setting])
    assert str(caught.value).startswith(message)


def test_a_source_refuses_a_setting_in_its_own_words():
    with pytest.raises(DataError, match="The pictures are wet"):
        override(paper(), ["data.root=wet"])


def test_a_source_whose_annotations_cannot_be_read_is_told():
    @dataclasses.dataclass(frozen=True)
    class Odd:
        size: "NotImported" = 1  # noqa: F821

        def __call__(self):
            raise AssertionError

    with pytest.raises(RecipeError, match="Odd: the types of its fields can't be read: name 'NotImported'"):
        override(paper(data=Odd()), ["data.size=2"])


PATHS = ["seed", "tolerance", "weights", "export", "phases", "data", "class_weight", "head.dropout", "head.hidden"]
PATHS += [f"data.{field.name}" for field in dataclasses.fields(Pictures)]
PATHS += [f"fine_tune.{field.name}" for field in dataclasses.fields(Phase)]


@settings(deadline=None)  # how long it takes depends on what else the machine does
@given(setting=st.one_of(st.text(), st.builds("{}={}".format, st.sampled_from(PATHS), st.text())))
@example("data.root={[]: 1}")
@example("data.image_size=" + "9" * 5000 + "x1")
@example("fine_tune.lr=1" + "0" * 400)
@example("fine_tune.lr=" + "9" * 5000)
@example("fine_tune.lr=" + "(" * 5000)
@example("tolerance=" + "-" * 50_000 + "1")
@example("export=b'tflite'")
@example("export={'tflite': 1}")
@example("data.borders=(1, 'a')")
@example("data.root=\ud800")
@example("weights=\0")
def test_any_text_for_a_setting_is_taken_or_refused_in_one_line(setting):
    try:
        changed = override(paper(), [setting])
    except KtError as error:
        assert str(error)
    else:
        assert isinstance(changed, Recipe)
        json.dumps(describe(changed), allow_nan=False)


# ------------------------------------------------------------------------------------------------------ description


def test_the_description_is_plain_data_that_tells_every_field():
    def exporter(model, directory):
        return directory / "model.onnx"

    exporter.__module__ = "kt_recipe_paper"
    recipe = paper(
        backbone=functools.partial(network, weights=None), augment=lambda images: images, export=["tflite", exporter],
        data=Pictures(root="photos/ä"),
    )  # fmt: skip
    told = json.loads(json.dumps(describe(recipe)))
    assert set(told) == {field.name for field in dataclasses.fields(Recipe)}
    assert told["data"]["kind"] == "Pictures"
    assert told["data"]["root"] == "photos/ä"
    assert told["data"]["image_size"] == [224, 224]
    assert told["backbone"] == {
        "kind": "partial", "function": f"{__name__}.network", "args": [], "keywords": {"weights": None}
    }  # fmt: skip
    assert told["phases"][0]["trainable"] == f"{__name__}.frozen"
    assert told["phases"][0]["name"] == "train_head"
    assert told["export"][1].endswith("exporter")
    assert not told["export"][1].startswith("kt_recipe")


def test_what_is_described_may_have_arguments_and_fields_named_as_the_keys_of_a_description():
    @dataclasses.dataclass(frozen=True)
    class Focal:
        kind: str = "soft"
        gamma: float = 2.0

    keywords = {"kind": "softmax", "function": "relu", "args": 3, "keywords": 4}
    assert describe(functools.partial(network, 1, **keywords)) == {
        "kind": "partial", "function": f"{__name__}.network", "args": [1], "keywords": keywords
    }  # fmt: skip
    assert describe(Focal()) == {"class": "Focal", "kind": "soft", "gamma": 2.0}


def test_the_description_of_a_recipe_is_the_same_each_time_it_is_loaded(written):
    file = written()
    assert json.dumps(describe(load(file).recipe)) == json.dumps(describe(load(file).recipe))


def test_a_keras_layer_is_described_by_its_kind_whatever_number_keras_gives_it():
    import keras

    flips = [keras.layers.RandomFlip(seed=1), keras.layers.RandomFlip(seed=1)]
    first, second = (describe(paper(augment=flip))["augment"] for flip in flips)
    assert first == second
    assert first.endswith(".RandomFlip")


# ------------------------------------------------------------------------------------------- reading without running


def test_summaries_and_the_search_for_recipes_never_run_a_file(tmp_path):
    file = tmp_path / "paper.py"
    file.write_text('"""First line.\n\nMore."""\nopen("ran", "w")\nraise SystemExit\nrecipe: object = 1\n')
    assert summary_of(file) == "First line."
    assert is_recipe(file)
    assert [path.name for path in tmp_path.iterdir()] == ["paper.py"]


@pytest.mark.parametrize(
    ("text", "found", "summary"),
    [
        ("recipe = 1", True, ""),
        ("a = recipe = 1", True, ""),
        ("recipe: int = 1", True, ""),
        ("def recipe(): pass", False, ""),
        ('"""Layers."""\nrecipes = 1', False, "Layers."),
        ("recipe = (", True, "(not readable as Python)"),
        ("recipe = '\0'", True, "(not readable as Python)"),
    ],
)
def test_what_counts_as_a_recipe_file(text, found, summary, tmp_path):
    file = tmp_path / "paper.py"
    file.write_text(text)
    assert is_recipe(file) is found
    assert summary_of(file) == summary


# ---------------------------------------------------------------------------------------------- heads and schedules


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Classifier(dropout=-0.1), "dropout is a share from 0 to below 1, not -0.1"),
        (lambda: Classifier(label_smoothing=1.0), "label_smoothing is a share from 0 to below 1, not 1.0"),
        (lambda: Classifier(hidden=-1), "hidden must be 0 or more units, not -1"),
        (lambda: Classifier(dropout="half"), "Classifier: dropout must be a number, not 'half'"),
        (lambda: Cosine(warmup=1.5), "Cosine: warmup is a share from 0 to 1, not 1.5"),
        (lambda: Cosine(end=-1), "Cosine: end is a share from 0 to 1, not -1"),
        (lambda: Cosine(warmup="long"), "Cosine: warmup must be a number, not 'long'"),
    ],
)
def test_parts_refuse_what_cannot_be(build, message):
    with pytest.raises(RecipeError, match=message):
        build()


def test_cosine_climbs_to_the_peak_and_falls_to_its_end():
    rate = Cosine(warmup=0.2, end=0.1)(0.01, 100)
    assert float(rate(0)) == 0.0
    assert float(rate(10)) == pytest.approx(0.005)
    assert float(rate(20)) == pytest.approx(0.01)
    assert float(rate(60)) == pytest.approx(0.001 + 0.009 * (1 + math.cos(math.pi / 2)) / 2)
    assert float(rate(100)) == pytest.approx(0.001)


def test_cosine_without_warm_up_starts_at_the_peak():
    rate = Cosine(warmup=0)(0.01, 100)
    assert float(rate(0)) == pytest.approx(0.01)
    assert float(rate(50)) == pytest.approx(0.005)
    assert float(rate(100)) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("warmup", [0.0, 0.1, 1.0])
def test_cosine_gives_a_rate_for_a_single_step(warmup):
    assert math.isfinite(float(Cosine(warmup=warmup)(0.01, 1)(0)))


def test_without_a_schedule_the_rate_stays():
    assert constant(0.01, 100) == 0.01


def test_a_head_gives_scores_that_sum_to_one():
    import keras
    import numpy as np

    inputs = keras.Input((3, 3, 8))
    head = Classifier(dropout=0.5, hidden=4)
    model = keras.Model(inputs, head(inputs, 5))
    scores = model.predict(np.ones((2, 3, 3, 8), "float32"), verbose=0)
    assert scores.shape == (2, 5)
    assert scores.sum(axis=1) == pytest.approx([1, 1])
    assert [layer.name for layer in model.layers[1:]] == ["pool", "hidden", "dropout", "scores"]
    sharp, smooth = Classifier().loss(), Classifier(label_smoothing=0.2).loss()
    sure = np.array([[1.0, 0.0]]), np.array([[0.999, 0.001]])
    assert float(sharp(*sure)) < 0.01 < float(smooth(*sure))


# --------------------------------------------------------------------------------------------------- light imports


def test_the_recipe_and_the_command_line_load_nothing_heavy():
    script = textwrap.dedent("""
        import importlib, sys
        import kt, kt.cli, kt.base.console, kt.base.environment, kt.errors, kt.recipe
        for verb in kt.cli.VERBS:
            importlib.import_module(f"kt.cli.{verb.replace('-', '_')}")
        print(*{name.partition(".")[0] for name in sys.modules})
    """)
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"keras", "keras_cv", "tensorflow", "tensorflow_datasets", "numpy", "jax", "torch", "sklearn", "matplotlib",
             "PIL", "jinja2"}  # fmt: skip
    assert "kt" in loaded
    assert not heavy & set(loaded)


def test_a_hint_names_the_nearest_or_all():
    assert did_you_mean("lerning", ["learning", "seed"]) == "Did you mean 'learning'?"
    assert did_you_mean("x", ["b", "a"]) == "There is: a, b."
    assert did_you_mean("x", []) == "There is none."


# ----------------------------------------------------------------------------------------------- docs/recipes.md


DOCS = (REPOSITORY / "docs" / "recipes.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", DOCS, flags=re.DOTALL | re.MULTILINE)


def documented(name):
    """What a code block of the documentation defines; its imports are those of a recipe."""
    import keras

    from kt.freeze import frozen

    block = next(block for block in BLOCKS if re.search(rf"^(def|class) {name}\b|^{name} = ", block, re.MULTILINE))
    names = {"keras": keras, "Classifier": Classifier, "Phase": Phase, "Recipe": Recipe, "frozen": frozen}
    names["__name__"] = "kt_recipe_documented"
    sys.modules["kt_recipe_documented"] = types.ModuleType("kt_recipe_documented")
    exec(compile(block, "docs/recipes.md", "exec", dont_inherit=True), names)
    return names[name]


@pytest.mark.parametrize("part", [Recipe, Phase, LinearProbe, Classifier])
def test_the_documentation_has_every_field_with_its_default(part):
    for field in dataclasses.fields(part):
        default = "required" if field.default is dataclasses.MISSING else f"`{field.default!r}`"
        assert re.search(rf"^\| `{field.name}` \|.*\| {re.escape(default)} \|$", DOCS, re.MULTILINE), field.name


def test_the_documented_recipe_loads(tmp_path):
    whole = [block for block in BLOCKS if "recipe = Recipe(" in block]
    file = tmp_path / "mushrooms.py"
    file.write_text(whole[0], encoding="utf-8")
    assert len(whole) == 1
    assert load(file).recipe.phases[1].patience == 3


def test_the_documented_ways_to_freeze_move_what_they_say():
    import keras

    from kt.freeze import count_trainable, last_blocks

    network = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(96, 96, 3))

    def moving():
        return {layer.name for layer in network.layers if layer.trainable_weights}

    last_blocks(4)(network)
    expected = moving()
    documented("from_block_13")(network)
    assert moving() == expected
    documented("middle")(network)
    assert moving() == {f"block_{block}_{part}" for block in (7, 8) for part in ("expand", "depthwise", "project")}
    for blocks, parameters in re.findall(r"^\| `last_blocks\((\d)\)`.*\| ([\d,]+) \|$", DOCS, re.MULTILINE):
        last_blocks(int(blocks))(network)
        assert count_trainable(network, network).parameters == int(parameters.replace(",", ""))


def test_the_documented_schedule_data_head_and_augmentation_work():
    import keras
    import numpy as np

    slow = documented("slow")
    assert [float(slow.schedule(0.1, 10)(step)) for step in (0, 9)] == pytest.approx([0.1, 0.01])
    assert isinstance(slow.optimizer(0.1), keras.optimizers.SGD)
    digits = override(paper(data=documented("Digits")()), ["data.scale=5"]).data()
    assert [len(part) for part in digits.parts().values()] == [1200, 300, 297]
    assert digits.kind.image_size == (40, 40)
    assert digits.train.examples.dtype == np.uint8
    head = override(paper(head=documented("Focal")()), ["head.units=3"]).head
    inputs = keras.Input((4, 4, 6))
    model = keras.Model(inputs, head(inputs, 5))
    assert model.layers[-2].units == 3
    model.compile(loss=head.loss(), metrics=head.metrics())
    assert model.evaluate(np.ones((2, 4, 4, 6)), np.eye(5)[:2], verbose=0, return_dict=True).keys() == {
        "loss", "accuracy",
    }  # fmt: skip
    pictures = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype("float32")
    changed = np.asarray(documented("augment")(pictures, training=True))
    assert changed.shape == pictures.shape
    assert np.abs(changed - pictures).mean() > 10
    assert changed.max() <= 255
    labels = np.eye(4, dtype="float32")
    functions = plan_of([documented("grain"), documented("halves")])
    mixed, shares, weights = functions.on_batch(pictures.astype("uint8"), labels, np.ones(4, "float32"), (1, 2))
    assert mixed.shape == pictures.shape
    assert np.array_equal(shares, (labels + np.roll(labels, -1, axis=0)) / 2)
    assert np.array_equal(weights, np.ones(4))


@pytest.mark.slow
def test_the_documented_backbone_head_exporter_and_run_do_whole_jobs(tmp_path, kt_here):
    make_folder(tmp_path / "pictures", {"red": 20, "green": 20})
    parts = [block for block in BLOCKS if re.search(r"^(def small|class Focal|def dynamic_range)", block, re.MULTILINE)]
    assert len(parts) == 3
    recipe = textwrap.dedent("""
        recipe = Recipe(
            data=Folder("pictures", image_size=(32, 32), batch_size=8), backbone=small, head=Focal(units=8),
            phases=[Phase("all", trainable=everything, epochs=2, lr=1e-3)], export=["tflite", dynamic_range],
            weights="none", tolerance=0.5,
        )
    """)
    start = "import keras\nfrom kt import Classifier, Phase, Recipe\nfrom kt.data import Folder\n"
    usual = "\n".join([start, "from kt.freeze import everything\n", *parts, recipe])
    own = next(block for block in BLOCKS if "def run(" in block)
    (tmp_path / "usual.py").write_text(usual, encoding="utf-8")
    (tmp_path / "seeds.py").write_text(f"{usual}\n{own}", encoding="utf-8")
    done = kt_here("run", "usual.py", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    artifacts = {artifact["name"]: artifact for artifact in json.loads(done.stdout)["artifacts"]}
    assert artifacts["dynamic_range.tflite"]["released"], artifacts["dynamic_range.tflite"]["reason"]
    done = kt_here("run", "seeds.py", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found) == ["seed 0", "seed 1", "seed 2"]
    assert all(0 <= value <= 1 for value in found.values())
    made = {path.name for path in (tmp_path / "runs/seeds/LATEST").iterdir()}
    assert {"seed_0", "seed_1", "seed_2"} <= made
