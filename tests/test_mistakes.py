# ruff: noqa: E501
"""Mistakes in a recipe are told as its own, by `kt show`, in one line, before any picture is read."""

import re

import pytest
from conftest import make_folder

from kt.cli import cli  # noqa: F401 - the command line loads without Keras
from kt.errors import in_users_code

BACKBONE = "backbone=tiny"
HEAD = "head=Classifier(dropout=0.1)"
DATA = 'data=Folder("pictures", image_size=(32, 32), batch_size=8)'
FROZEN = "trainable=frozen"
RATE = "lr=3e-2"

RECIPE = '''"""A tiny network."""

import functools

import keras

import kt
from kt import Classifier, Cosine, LayerwiseDecay, LinearProbe, Phase, Recipe, Views
from kt.data import Folder, Table, Tfds
from kt.freeze import everything, from_block, frozen, gradual_unfreezing, last_blocks


def tiny(include_top, weights, input_shape):
    inputs = x = keras.Input(input_shape)
    for block in (1, 2):
        x = keras.layers.Conv2D(8, 3, strides=2, name=f"block_{block}_conv")(x)
    return keras.Model(inputs, x, name="tiny")


tiny.preprocessing = "scale -1..1"


def fails(*arguments, **more):
    return [][7]


class Head(Classifier):
    pass


class NoLoss(Classifier):
    def loss(self):
        return lambda labels, scores: float("nan")


def flat(include_top, weights, input_shape):
    return keras.Sequential([keras.Input(input_shape), keras.layers.Flatten()])


recipe = Recipe(
    data=Folder("pictures", image_size=(32, 32), batch_size=8),
    backbone=tiny,
    head=Classifier(dropout=0.1),
    phases=[
        Phase("train_head", trainable=frozen, epochs=4, lr=3e-2),
        Phase("fine_tune", trainable=last_blocks(1), epochs=2, lr=1e-3),
    ],
    weights="none",
)
'''


MISTAKES = [
    # backbone
    (BACKBONE, "backbone=keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(32, 32, 3))",
     r"Recipe: backbone is a Functional that is built already; give what builds it, without calling it"),
    (BACKBONE, "backbone=tiny(False, None, (32, 32, 3))", r"backbone is a Functional that is built already"),
    (BACKBONE, "backbone=keras.layers.Dense(3)", r"backbone is a Dense that is built already"),
    (BACKBONE, 'backbone="MobileNetV2"',
     r"backbone must be a function, not 'MobileNetV2'; write it without quotes, such as keras.applications.MobileNetV2"),
    (BACKBONE, "backbone=keras.applications.mobilenet_v2", r"backbone must be a function, not <module"),
    (BACKBONE, "backbone=lambda: 3", r"backbone must be a function \(include_top, weights, input_shape\), and <lambda>"),
    (BACKBONE, "backbone=fails", r"backbone or head, .* fails: \S+\.py:\d+, in fails: IndexError: list index"),
    (BACKBONE, "backbone=lambda include_top, weights, input_shape: None", r"this one returned NoneType"),
    (BACKBONE, "backbone=flat", r"this one returned \(None, 3072\)"),
    (BACKBONE, "backbone=functools.partial(tiny, alpha=2)", r"alpha"),
    # data
    (DATA, 'data="pictures"', r'Recipe: data is a path; write data=kt\.data\.Folder\("pictures"\)'),
    (DATA, 'data="a.csv"', r'write data=kt\.data\.Table\("a\.csv"\)'),
    (DATA, "data=Folder", r"data must be a function, not the class Folder; write Folder\(\.\.\.\)"),
    (DATA, "data=tiny", r"data must be a function \(\), and tiny takes \(include_top, weights, input_shape\)"),
    (DATA, "data=Folder(3)", r"Folder: root must be a string or a path, not 3"),
    (DATA, 'data=Folder("pictures", image_size=224)', r"image_size must be a tuple of 2"),
    (DATA, 'data=Folder("pictures", image_size=(224, 224, 3))', r"image_size must be a tuple of 2"),
    (DATA, 'data=Folder("pictures", image_size=(0, 4))', r"image_size"),
    (DATA, 'data=Folder("pictures", image_size=(4, 4))', r"image_size must be from 8 to 4096 pixels a side, not 4x4"),
    (DATA, 'data=Folder("pictures", batch_size=0)', r"batch_size"),
    (DATA, 'data=Folder("pictures", validation=1.5)', r"validation"),
    (DATA, 'data=Folder("pictures", test=-1)', r"test"),
    (DATA, 'data=Folder("pictures", seed="x")', r"Folder: seed must be an integer, not 'x'"),
    (DATA, "data=Table(None)", r"Table: file must be a string or a path, not None"),
    (DATA, "data=Tfds(3)", r"Tfds: name must be a string, not 3"),
    # head
    (HEAD, "head=Classifier", r"head must be a function, not the class Classifier; write Classifier\(\.\.\.\)"),
    (HEAD, "head=Head", r"head must be a function, not the class Head"),
    (HEAD, "head=keras.layers.Dense", r"head must be a function, not the class Dense"),
    (HEAD, "head=keras.layers.Dense(3)", r"Recipe: head"),
    (HEAD, "head=NoLoss()", r"the head's loss gives nan for even scores"),
    (HEAD, "head=Classifier(dropout=2)", r"dropout is a share from 0 to below 1, not 2"),
    (HEAD, "head=None", r"head must be a function, not None"),
    # phases
    (FROZEN, "trainable=last_blocks", r"Phase 'train_head': trainable is last_blocks itself; call it: last_blocks\(4\)"),
    (FROZEN, "trainable=from_block", r'trainable is from_block itself; call it: from_block\("block_13"\)'),
    (FROZEN, "trainable=gradual_unfreezing", r"trainable is gradual_unfreezing itself; call it"),
    (FROZEN, "trainable=last_blocks('4')", r"last_blocks: n must be how many blocks train, such as 4, not '4'"),
    (FROZEN, "trainable=from_block(13)", r"from_block: name must be that of a block"),
    (FROZEN, "trainable=last_blocks(9)", r"last_blocks\(9\): tiny has \d blocks"),
    (FROZEN, 'trainable=from_block("block_7")', r"from_block: tiny has no block or layer 'block_7'. Did you mean"),
    (FROZEN, "trainable=tiny", r"trainable must be a function \(backbone\), and tiny takes"),
    (FROZEN, "trainable=True", r"trainable must be a function, not True"),
    (FROZEN, "trainable=fails", r"trainable or layer_rates fails: \S+\.py:\d+, in fails: IndexError"),
    (RATE, "lr=10", r"Phase 'train_head': lr=10 is far too high for Adam; 1e-3 is usual"),
    (RATE, "lr='1e-3'", r"Phase: lr must be a number, not '1e-3'"),
    (RATE, "lr=0", r"lr must be above 0"),
    (RATE, "lr=Cosine()", r"Phase: lr must be a number, not Cosine"),
    ("epochs=4", "epochs=0", r"epochs must be at least 1, not 0"),
    ("epochs=4", "epochs=4.5", r"epochs must be an integer, not 4.5"),
    (RATE, 'lr=3e-2, optimizer="adam"', r"optimizer must be a function or None, not 'adam'"),
    (RATE, "lr=3e-2, optimizer=keras.optimizers.Adam(1e-3)", r"optimizer must be a function or None, not <"),
    (RATE, "lr=3e-2, optimizer=fails", r"optimizer or schedule of phase 'train_head' fails: \S+\.py:\d+, in fails"),
    (RATE, "lr=3e-2, schedule=Cosine", r"schedule must be a function or None, not the class Cosine; write Cosine"),
    (RATE, "lr=3e-2, schedule=keras.optimizers.schedules.CosineDecay(0.1, 10)",
     r"schedule must be a function \(lr, steps\), and CosineDecay takes \(step\)"),
    (RATE, "lr=3e-2, layer_rates=LayerwiseDecay", r"layer_rates must be a function or None, not the class"),
    (RATE, "lr=3e-2, layer_rates=0.8", r"layer_rates must be a function or None, not 0.8"),
    (RATE, "lr=3e-2, layer_rates=lambda block: 1", r"layer_rates\(\d, \d\), .* fails with TypeError"),
    (RATE, "lr=3e-2, patience=0", r"patience must be at least 1 epoch, not 0"),
    ('"fine_tune"', '"train_head"', r"two phases are named 'train_head'"),
    ('Phase("fine_tune", trainable=last_blocks(1), epochs=2, lr=1e-3)', "frozen", r"phases must be a list of Phase"),
    ('Phase("fine_tune", trainable=last_blocks(1), epochs=2, lr=1e-3)', 'LinearProbe(features="blok_1")', r"blok_1"),
    ('Phase("fine_tune", trainable=last_blocks(1), epochs=2, lr=1e-3)', "LinearProbe(C=0)", r"C must be above 0"),
    # the rest
    ('weights="none"', 'weights="imagnet"', r"weights='imagnet' is neither 'imagenet' nor 'none' nor a file"),
    ('weights="none"', 'weights="none", export=["tflte"]', r"unknown export 'tflte'. Did you mean 'tflite'"),
    ('weights="none"', 'weights="none", export=[frozen]', r"export must be a function \(model, directory\), and Frozen"),
    ('weights="none"', 'weights="none", augment=keras.layers.RandomFlip', r"augment must be a function or a list of functions or None, not the"),
    ('weights="none"', 'weights="none", augment=fails', r"augment fails: \S+\.py:\d+, in fails: IndexError"),
    ('weights="none"', 'weights="none", augment=lambda images: images[:, :4]', r"augment fails: "),
    ('weights="none"', 'weights="none", augment=Views(3)', r"Views: augment must be a function, not 3"),
    ('weights="none"', 'weights="none", augment=Views(fails)', r"augment fails: \S+\.py:\d+, in fails"),
    ('weights="none"', 'weights="none", seed=1.5', r"seed must be an integer, not 1.5"),
    ('weights="none"', 'weights="none", class_weight=True', r"class_weight must be 'balanced' or None, not True"),
    ("import kt\n", "import kt_no_such_module\n", r"mine\.py:7: ModuleNotFoundError: No module named"),
    ("recipe = Recipe(", "recipe = Recipe((", r"mine\.py:\d+: "),
    ("recipe = Recipe(", "recept = Recipe(", r"mine\.py has no object named 'recipe'"),
]  # fmt: skip


@pytest.fixture
def told(tmp_path, monkeypatch, kt_ends):
    """A function that writes the recipe with a change and gives what `kt show` ends with."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures" / "red").mkdir(parents=True)
    file = tmp_path / "mine.py"

    def show(old="", new=""):
        assert old in RECIPE
        file.write_text(RECIPE.replace(old, new, 1), encoding="utf-8")
        return kt_ends("show", "mine.py")

    return show


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES, ids=[new for _, new, _ in MISTAKES])
def test_a_mistake_is_told_by_kt_show_in_one_line(old, new, message, told):
    code, out, err = told(old, new)
    assert re.search(message, err), err
    assert (code, out) == (4 if "imagnet" in new else 2, "")
    assert len(err.splitlines()) == 1 and err.startswith("error: ")
    assert "bug in kt" not in err and "Traceback" not in err


def test_a_recipe_without_mistakes_is_shown(told):
    code, out, err = told()
    assert (code, err) == (0, "") and "fine_tune" in out


def test_a_high_rate_is_allowed_with_an_optimizer_of_one_s_own(told):
    code, _, err = told(RATE, "lr=10, optimizer=lambda rate: keras.optimizers.SGD(rate)")
    assert (code, err) == (0, "")


def test_pictures_that_are_not_there_are_told_by_kt_show(told):
    code, _, err = told('Folder("pictures"', 'Folder("pictuers"')
    assert code == 0
    assert err == "warning: there is no pictuers, so kt run would find no pictures; --data names others\n"


@pytest.mark.parametrize("verb", ["run", "compare", "lr-find"])
def test_other_verbs_tell_it_before_they_write_or_read_anything(verb, told, kt_ends, tmp_path):
    told("trainable=frozen", 'trainable=from_block("block_7")')
    code, _, err = kt_ends(verb, "mine.py")
    assert code == 2 and "from_block: tiny has no block or layer 'block_7'" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.py", "pictures"]


@pytest.mark.slow
def test_code_of_one_s_own_that_fails_in_training_is_told_as_one_s_own(tmp_path, kt_here):
    make_folder(tmp_path / "pictures", {"red": 12, "green": 12})
    own = RECIPE.replace(DATA, 'data=Folder("pictures", image_size=(32, 32), batch_size=8, group=fails)')
    (tmp_path / "mine.py").write_text(own, encoding="utf-8")
    done = kt_here("run", "mine.py", cwd=tmp_path)
    assert done.returncode == 2
    assert re.search(
        r"error: mine\.py:\d+, in fails: IndexError: list index out of range \(in your own code", done.stderr
    )


def test_whose_mistake_an_exception_is(tmp_path):
    file = tmp_path / "own.py"
    file.write_text("def fails():\n    raise ValueError('two\\nlines')\n\n\ndef calls(other):\n    other()\n")
    names = {}
    exec(compile(file.read_text(), str(file), "exec"), names)

    def caught(function, *arguments):
        try:
            function(*arguments)
        except Exception as error:  # noqa: BLE001 - any may be asked about
            return in_users_code(error)

    assert caught(names["fails"]) == "own.py:2, in fails: ValueError: two lines"
    from kt.runs import mark_latest

    assert caught(names["calls"], lambda: mark_latest(None)) == ""
    assert caught(names["calls"], lambda: int("x")).startswith("own.py:6, in calls") is False  # this file is the last
