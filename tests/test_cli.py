"""The command line: help that a newcomer can read, failures in one line with their code, and recipes that it writes."""

import errno
import importlib
import importlib.util
import json
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import click
import numpy as np
import pytest
from conftest import PHOTOS, REPOSITORY, make_folder
from conftest import kt as run_kt

import kt.errors
from kt import LinearProbe
from kt.base import backend
from kt.base.extras import install
from kt.cli import VERBS, cli, main
from kt.cli.new import count_pictures, recipe_text_for
from kt.cli.own_data import own_pictures
from kt.errors import DataError, EnvironmentProblem, KtError, RecipeError, TrainingError
from kt.frozen.store import Store, StoredLayers, hashes
from kt.kinds.pictures.kind import Pictures
from kt.recipe import load
from kt.runs import mark_latest, new_run

DOCS = (REPOSITORY / "docs" / "cli.md").read_text(encoding="utf-8")

PAPER = '''"""Crumpled paper from smooth."""

from kt import Classifier, Phase, Recipe


def nothing(*arguments):
    raise AssertionError("loading must not call this")


recipe = Recipe(data=nothing, backbone=nothing, head=Classifier(), phases=[Phase("all", nothing, epochs=2, lr=1e-3)])
'''


def command_of(*words):
    """The click command of a verb, or of a verb's verb."""
    found = cli
    for word in words:
        found = found.get_command(click.Context(found), word)
    return found


def verbs():
    """Each verb as the words that call it."""
    for verb in VERBS:
        yield (verb,)
        command = command_of(verb)
        if isinstance(command, click.Group):
            yield from ((verb, inner) for inner in command.commands)


def file_of(verb):
    """The module of a verb: `lr-find` is kt/cli/lr_find.py."""
    return f"kt.cli.{verb.replace('-', '_')}"


def options_of(*words):
    return {
        option
        for parameter in command_of(*words).params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
    }


# -------------------------------------------------------------------------------------------------------------- help


def test_help_lists_each_verb_with_a_whole_sentence(kt_ends):
    for arguments in (["--help"], ["-h"]):
        code, out, err = kt_ends(*arguments)
        assert code == 0, err
        assert max(map(len, out.splitlines())) <= 80
        listed = dict(re.findall(r"^  ([\w-]+) {2,}(.+)$", out.partition("Commands:")[2], re.MULTILINE))
        assert list(listed) == list(VERBS)
        for sentence in listed.values():
            assert sentence.endswith("."), sentence
            assert not sentence.endswith("..."), sentence


@pytest.mark.parametrize("words", verbs(), ids=" ".join)
def test_each_verb_s_help_explains_each_option_within_eighty_columns(words, kt_ends):
    code, out, _ = kt_ends(*words, "--help")
    assert code == 0
    assert out.startswith(f"Usage: kt {' '.join(words)} ")
    assert max(map(len, out.splitlines())) <= 80
    for option in options_of(*words):
        assert re.search(rf"^ +{option}\b.*", out, re.MULTILINE), option
    for parameter in command_of(*words).params:
        assert not isinstance(parameter, click.Option) or (parameter.help or "").endswith((".", "]")), parameter.name


def test_help_is_the_same_after_every_verb_was_loaded(kt_ends):
    """`kt.cli.list`, once loaded, is `list` in the names of `kt.cli`."""
    before = kt_ends("--help")
    for verb in VERBS:
        importlib.import_module(file_of(verb))
    assert kt_ends("--help") == before
    assert before[0] == 0


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_is_a_file_of_its_own(verb):
    assert command_of(verb) is importlib.import_module(file_of(verb)).command


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"], ["serve", "--help"]], ids=" ".join)
def test_help_loads_nothing_that_takes_seconds(arguments):
    code = (
        "import sys; from kt.cli import cli; cli.main(sys.argv[1:], standalone_mode=False); "
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "click" in loaded
    assert not loaded & {"numpy", "keras", "tensorflow", "sklearn", "scipy", "matplotlib", "PIL", "pyarrow", "jinja2"}


def test_the_version_is_the_package_s(kt_ends):
    assert kt_ends("--version")[1] == f"kt, version {kt.__version__}\n"


# ------------------------------------------------------------------------------------------------- docs/cli.md


SECTIONS = dict(re.findall(r"^## kt ([\w-]+)\n(.*?)(?=^## |\Z)", DOCS, re.DOTALL | re.MULTILINE))


def test_the_documentation_has_each_verb():
    assert list(SECTIONS) == list(VERBS)
    for words in verbs():
        assert f"    kt {' '.join(words)}" in SECTIONS[words[0]]


@pytest.mark.parametrize("verb", VERBS)
def test_the_documentation_has_each_option_and_no_other(verb):
    known = set().union(*(options_of(*words) for words in verbs() if words[0] == verb))
    mentioned = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", SECTIONS[verb]))
    assert mentioned - {"--help"} == known


def test_the_documentation_outside_the_verbs_mentions_only_options_that_exist():
    known = set().union(*(options_of(*words) for words in verbs())) | {"--help", "--version"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", DOCS)) <= known


def test_the_documentation_has_each_exit_code():
    kinds = [kind for kind in vars(kt.errors).values() if isinstance(kind, type) and issubclass(kind, KtError)]
    codes = {0, 1, 130, *(kind.exit_code for kind in kinds)}
    assert set(map(int, re.findall(r"^\| (\d+) \|", DOCS, re.MULTILINE))) == codes


def test_the_documentation_has_each_environment_variable_that_kt_reads():
    source = "\n".join(file.read_text(encoding="utf-8") for file in (REPOSITORY / "kt").rglob("*.py"))
    read = set(re.findall(r"environ(?:\.get\(|\[)\"((?:KT|KERAS|TFDS)_\w+)\"", source))
    assert {"KERAS_BACKEND", "KT_OFFLINE", "KT_TRACEBACK"} <= read
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", DOCS, re.MULTILINE)) == read


# ------------------------------------------------------------------------------------------------------- failures


def test_an_unknown_verb_is_answered_by_the_nearest(kt_ends):
    code, out, err = kt_ends("evalute")
    assert (code, out) == (2, "")
    assert "No such command 'evalute'. Did you mean 'evaluate'?" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "Missing argument 'RECIPE'"),
        (["run", "x.py", "--sed", "1"], "No such option"),
        (["run", "x.py", "--backend", "theano"], "'theano' is not one of 'tensorflow', 'jax', 'torch'"),
        (["run", "x.py", "--seed", "one"], "'one' is not a valid integer"),
        (
            ["export", "runs/x", "--format", "onx"],
            "'onx' is not one of 'saved_model', 'tflite', 'keras', 'onnx', 'openvino'",
        ),
        (["new", "x.py"], "Missing option '--data'"),
        (["completion", "csh"], "'csh' is not one of 'bash', 'zsh', 'fish'"),
    ],
)
def test_a_wrong_command_line_is_exit_code_two(arguments, message, kt_ends):
    code, out, err = kt_ends(*arguments)
    assert (code, out) == (2, "")
    assert message in err.replace('"', "'")
    assert "Traceback" not in err


@pytest.mark.parametrize("kind", [RecipeError, DataError, TrainingError, EnvironmentProblem])
def test_what_kt_refuses_is_one_line_and_its_code(kind, kt_ends, monkeypatch):
    monkeypatch.setattr("kt.cli.list.is_recipe", _raiser(kind("The pictures are wet; dry them.")))
    monkeypatch.setenv("KT_TRACEBACK", "1")  # for bugs only
    code, out, err = kt_ends("list", REPOSITORY / "recipes")
    assert code == kind.exit_code
    assert (out, err) == ("", "error: The pictures are wet; dry them.\n")


def _raiser(error):
    """A function that fails as one of kt's own does: what fails in a file elsewhere is told as the user's."""
    inside = {"error": error}
    exec(compile("def fail(*arguments):\n    raise error\n", kt.errors.__file__, "exec"), inside)
    return inside["fail"]


def test_a_bug_is_one_line_unless_the_traceback_is_asked_for(kt_ends, monkeypatch):
    monkeypatch.delenv("KT_TRACEBACK", raising=False)
    monkeypatch.setattr("kt.cli.list.is_recipe", _raiser(ValueError("two\nlines")))
    told = "error: ValueError: two lines (this is a bug in kt; KT_TRACEBACK=1 shows where)\n"
    assert kt_ends("list", REPOSITORY / "recipes") == (1, "", told)
    monkeypatch.setenv("KT_TRACEBACK", "0")
    assert kt_ends("list", REPOSITORY / "recipes") == (1, "", told)
    monkeypatch.setenv("KT_TRACEBACK", "1")
    with pytest.raises(ValueError, match="two\nlines"):
        main()


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "runs/x"), 7, "The disk is full (runs/x); free some space"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), 7, "The disk is full (while writing); free some space"),
        (PermissionError(errno.EACCES, "Permission denied", "runs"), 7, "Permission denied: runs"),
        (MemoryError(), 7, "Not enough memory; use a smaller image_size or batch_size."),
        (KeyboardInterrupt(), 130, "interrupted"),
        (FileNotFoundError(errno.ENOENT, "No such file", "x"), 1, "this is a bug in kt"),
    ],
)
def test_what_the_system_refuses_has_its_code(error, code, message, kt_ends, monkeypatch):
    monkeypatch.delenv("KT_TRACEBACK", raising=False)
    monkeypatch.setattr("kt.cli.list.is_recipe", _raiser(error))
    found, out, err = kt_ends("list", REPOSITORY / "recipes")
    assert (found, out) == (code, "")
    assert message in err
    assert err.lstrip().startswith("error: ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_told(unbuffered, tmp_path):
    (tmp_path / "paper.py").write_text(PAPER)
    with open("/dev/full", "w") as full:  # noqa: PTH123
        ended = subprocess.run(
            [sys.executable, "-c", "from kt.cli import main; main()", "list", str(tmp_path)],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    assert ended.returncode == 7
    assert ended.stderr == "error: The disk is full (while writing); free some space and run again.\n"


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_failure(closed, tmp_path):
    (tmp_path / "paper.py").write_text(PAPER)
    command = f"{shlex.quote(sys.executable)} -c 'from kt.cli import main; main()' list {shlex.quote(str(tmp_path))}"
    done = subprocess.run(["/bin/sh", "-c", f"{command} {closed}"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("paper.py" in done.stdout) == (closed == "2>&-")


def test_ctrl_c_ends_with_130_and_no_traceback(tmp_path):
    # The signal comes while kt is at work for certain: the recipe that it loads sends it.
    (tmp_path / "recipe.py").write_text("import signal; signal.raise_signal(signal.SIGINT)\n" + PAPER)
    # A shell starts what it puts in the background with SIGINT ignored, and that is inherited, by this test run too.
    listening = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command = [sys.executable, "-c", listening + "from kt.cli import main; main()", "show", str(tmp_path / "recipe.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.strip() == "error: interrupted"


def test_a_reader_that_goes_away_is_no_failure(tmp_path):
    for number in range(300):
        (tmp_path / f"paper_{number}.py").write_text(PAPER)
    child = subprocess.Popen(
        [sys.executable, "-c", "from kt.cli import main; main()", "list", str(tmp_path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    child.stdout.close()
    assert child.stderr.read() == ""
    assert child.wait(timeout=600) == 0
    child.stderr.close()


# ------------------------------------------------------------------------------------------------------- completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_for_kt(shell, kt_ends):
    code, out, _ = kt_ends("completion", shell)
    assert code == 0
    assert f"_KT_COMPLETE={shell}_complete" in out


def test_completion_knows_verbs_and_options():
    def completed(words):
        shell = {"_KT_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        script = "import sys; sys.argv[0] = 'kt'; from kt.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", script], env={**os.environ, **shell}, capture_output=True, text=True, check=False
        )
        return re.findall(r"^plain,(.*)$", done.stdout, re.MULTILINE)

    assert sorted(completed("kt e")) == ["evaluate", "explain", "export"]
    assert "--mixed-precision" in completed("kt run --m")


# ------------------------------------------------------------------------------------------------------- kt list


def test_list_shows_each_recipe_and_runs_none(tmp_path, kt_ends):
    (tmp_path / "b.py").write_text('"""Second."""\nopen("ran", "w")\nrecipe = 1\n')
    (tmp_path / "a_longer.py").write_text('"""First."""\nrecipe = 1\n')
    (tmp_path / "layers.py").write_text('"""No recipe."""\n')
    (tmp_path / "torn.py").write_text("recipe = (")
    code, out, _ = kt_ends("list", tmp_path)
    assert code == 0
    assert [line.split(maxsplit=1)[1] for line in out.splitlines()] == ["First.", "Second.", "(not readable as Python)"]
    assert not Path("ran").exists()
    code, out, _ = kt_ends("list", tmp_path, "--json")
    assert json.loads(out)[0] == {"file": str(tmp_path / "a_longer.py"), "summary": "First."}


def test_list_of_this_repository_has_the_eleven_recipes(kt_ends, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    assert len(kt_ends("list")[1].splitlines()) == 11


def test_list_without_recipes_says_what_to_do(tmp_path, kt_ends, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = kt_ends("list")
    assert code == 2
    assert "There is no folder recipes; name one that holds recipes, or make one with: kt new recipes/mine.py" in err
    assert kt_ends("list", tmp_path)[1] == f"no recipe in {tmp_path}\n"
    assert kt_ends("list", tmp_path, "--json")[1] == "[]\n"


# --------------------------------------------------------------------------------------------------------- kt new


def stand_ins(root, counts):
    """A folder that looks like one of pictures: `kt new` counts names and reads nothing."""
    for label, count in counts.items():
        folder = root / label
        folder.mkdir(parents=True)
        for index in range(count):
            (folder / f"{index}.jpg").write_bytes(b"\xff\xd8\xff")
    return root


@pytest.mark.parametrize(
    ("counts", "weighted"),
    [
        ({"good": 30, "bad": 30}, False),
        ({"good": 59, "bad": 30}, False),
        ({"good": 60, "bad": 30}, True),
        ({"good": 900, "bad": 700}, False),
        ({"good": 900, "bad": 100}, True),
    ],
)
def test_new_probes_all_depths_and_fits_the_balance_of_the_pictures(counts, weighted, tmp_path, kt_ends):
    data, file = stand_ins(tmp_path / "photos", counts), tmp_path / "deep" / "fruit.py"
    code, out, err = kt_ends("new", file, "--data", data)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"{file}: {sum(counts.values())} pictures of 2 classes (bad, good)",
        f"next: kt run {file}",
    ]
    loaded = load(file)
    assert loaded.description.startswith("Tells photos of 2 classes apart: fruit.\n")
    assert f"Pictures: {counts['bad']} bad, {counts['good']} good." in loaded.description
    assert f"    kt run {file}" in loaded.description
    assert loaded.recipe.data.root == str(data)
    assert (loaded.recipe.class_weight == "balanced") is weighted
    assert loaded.recipe.phases == [LinearProbe(features="all")]
    assert loaded.recipe.data.validation < 0.1


@pytest.mark.parametrize(
    "name",
    [
        'say "cheese"', "it's", "back\\slash", "new\nline", '"""', '\\"""', "{{ 7 * 7 }}", "{% raw %}", "${HOME}",
        "tab\there", "äpfel 🍎", "\u202e right to left", "trailing\\", "#", "%s",
        pytest.param(os.fsdecode(b"caf\xe9"), id="not utf-8"),
    ],
)  # fmt: skip
def test_new_takes_any_folder_s_name(name, tmp_path, kt_ends):
    label = (
        name if name.isprintable() or "\u202e" in name else "good"
    )  # a class is a line of text, its folder need not be
    data = stand_ins(tmp_path / name, {label: 3, "other": 3})
    file = tmp_path / name / "fruit.py"
    code, out, err = kt_ends("new", file, "--data", data)
    assert code == 0
    assert len(out.splitlines()) == 2
    assert len(err.splitlines()) == 1  # the pictures are few
    recipe = load(file).recipe
    assert recipe.data.root == str(data)
    assert sum(count_pictures(Path(recipe.data.root)).values()) == 6


@pytest.mark.parametrize(
    ("smallest", "told"),
    [
        (1, r"class 'b' has 1 picture, and kt run needs 3 of each, one each for train, validation and test"),
        (2, r"class 'b' has 2 pictures, and kt run needs 3 of each"),
        (3, r"class 'b' has 3 pictures: with fewer than about 30, the figures of kt run hang on which pictures"),
        (29, r"class 'b' has 29 pictures: with fewer than about 30"),
        (30, None),
    ],
)
def test_new_warns_of_few_pictures_and_still_writes_the_recipe(smallest, told, tmp_path, kt_ends):
    data, file = stand_ins(tmp_path / "photos", {"a": 50, "b": smallest, "c": 50}), tmp_path / "fruit.py"
    code, out, err = kt_ends("new", file, "--data", data)
    assert (code, len(out.splitlines())) == (0, 2)
    assert load(file).recipe.data.root == str(data)
    assert re.match(f"warning: {told}", err) if told else err == ""


def test_new_recipes_read_well(tmp_path):
    text = recipe_text_for(Path("recipes/fruit_salad.py"), Path("photos"), {"good": 9, "bad": 3})
    assert text.startswith(
        textwrap.dedent('''\
            """Tells photos of 2 classes apart: fruit salad.

            Pictures: 9 good, 3 bad.
                kt run recipes/fruit_salad.py
            """

            import keras
        ''')
    )
    assert text.endswith(")\n")
    assert 'data=Folder("photos", image_size=(224, 224), batch_size=32, validation=0.05),' in text
    assert "\n\n\n" not in text
    assert not any(line != line.rstrip() for line in text.splitlines())


def test_new_never_overwrites(tmp_path, kt_ends):
    data, file = stand_ins(tmp_path / "photos", {"a": 1, "b": 1}), tmp_path / "fruit.py"
    file.write_text("mine")
    code, _, err = kt_ends("new", file, "--data", data)
    assert code == 2
    assert err.endswith("fruit.py is there already; remove it first, or choose another name.\n")
    assert file.read_text() == "mine"


def test_new_refuses_a_class_whose_name_is_no_line_of_text(tmp_path, kt_ends):
    data = stand_ins(tmp_path / "photos", {"ba\nd": 3, "other": 3})
    code, _, err = kt_ends("new", tmp_path / "fruit.py", "--data", data)
    assert code == 3
    assert "holds a line break; a label is one line of plain text, so rename it." in err


@pytest.mark.parametrize("name", ["fruit.txt", "fruit", "my-fruit.py", "2fruits.py", ".py", "two words.py"])
def test_new_wants_a_plain_name(name, tmp_path, kt_ends):
    data = stand_ins(tmp_path / "photos", {"a": 1, "b": 1})
    code, _, err = kt_ends("new", tmp_path / name, "--data", data)
    assert code == 2
    assert "a recipe is a Python file with a plain name, such as recipes/mushrooms.py" in err
    assert not (tmp_path / name).exists()


def test_new_wants_classes(tmp_path, kt_ends):
    file = tmp_path / "fruit.py"
    code, _, err = kt_ends("new", file, "--data", tmp_path / "nowhere")
    assert code == 3
    assert f"There is no folder {tmp_path / 'nowhere'}; expected one with a sub-folder a class." in err
    data = stand_ins(tmp_path / "photos", {"a": 3})
    (data / "b").mkdir()
    (data / "b" / "README.txt").touch()
    code, _, err = kt_ends("new", file, "--data", data)
    assert code == 3
    assert "photos has only one class with pictures; expected a sub-folder for each of at least two." in err
    assert not file.exists()


def test_new_that_cannot_write_says_so(tmp_path, kt_ends):
    data = stand_ins(tmp_path / "photos", {"a": 1, "b": 1})
    code, _, err = kt_ends("new", data / "a" / "0.jpg" / "fruit.py", "--data", data)
    assert code == 7
    assert re.fullmatch(r"error: (File exists|Not a directory): \S*/0\.jpg\S*\n", err)


def test_new_counts_what_a_run_would_read(tmp_path):
    plain = stand_ins(tmp_path / "plain", {"a": 3, "b": 2, ".hidden": 4})
    for name in ("README.txt", ".secret.jpg", "upper.JPG", "x.webp", "x.tif", "x.bmp", "x.gif", "x.png", "x.svg"):
        (plain / "a" / name).write_bytes(b"-")
    for folder in ("deeper", ".thumbnails"):
        (plain / "b" / folder).mkdir()
        (plain / "b" / folder / "x.jpeg").write_bytes(b"-")
    assert count_pictures(plain) == {"a": 9, "b": 3}
    split = tmp_path / "split"
    for name in ("Training", "test_images"):
        stand_ins(split / name, {"a": 3, "b": 2})
    (split / "notes").mkdir()
    assert count_pictures(split) == {"a": 6, "b": 4}


@pytest.mark.slow
@pytest.mark.skipif(not PHOTOS.is_dir(), reason="needs photos beside the project")
def test_new_and_show_on_real_photos(tmp_path, kt_here):
    for label in ("hat", "shoes", "dress"):
        (tmp_path / "clothes" / label).mkdir(parents=True)
        for photo in sorted((PHOTOS / "clothing" / "train" / label).iterdir())[:4]:
            shutil.copy(photo, tmp_path / "clothes" / label)
    done = kt_here("new", "recipes/wardrobe.py", "--data", "clothes", cwd=tmp_path)
    assert done.stdout.startswith("recipes/wardrobe.py: 12 pictures of 3 classes (dress, hat, shoes)\n"), done.stderr
    done = kt_here("show", "recipes/wardrobe.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "data          Folder(root=clothes, image_size=(224, 224), batch_size=32," in done.stdout
    assert done.stderr == ""


# --------------------------------------------------------------------------------------------------------- kt show


@pytest.fixture
def paper(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "paper.py").write_text(PAPER, encoding="utf-8")
    return "paper.py"


def test_show_prints_every_field_as_it_would_run(paper, kt_ends):
    code, out, _ = kt_ends("show", paper, "--set", "all.lr=3e-6", "--seed", "5")
    assert code == 0
    assert out.startswith("Crumpled paper from smooth.\n\n")
    shown = dict(line.split(maxsplit=1) for line in out.splitlines()[2:])
    assert shown["all"] == "trainable=nothing, epochs=2, lr=3e-06"
    assert shown["head"] == "Classifier(dropout=0.2, label_smoothing=0.0, hidden=0, calibrated=True)"
    assert shown["export"] == "saved_model, tflite"
    assert shown["seed"] == "5"
    assert set(shown) == {"all", "data", "backbone", "head", "export", "weights", "augment", "class_weight", "seed",
                          "tolerance"}  # fmt: skip


def test_show_as_json_is_the_resolved_recipe(paper, kt_ends):
    code, out, _ = kt_ends("show", paper, "--json", "--set", "all.epochs=9")
    assert code == 0
    told = json.loads(out)
    assert (told["name"], told["description"]) == ("paper", "Crumpled paper from smooth.")
    assert told["phases"][0]["epochs"] == 9


def test_show_with_one_s_own_pictures_keeps_their_size(tmp_path, kt_ends, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    data = stand_ins(tmp_path / "mine", {"a": 1, "b": 1})
    told = json.loads(kt_ends("show", "recipes/apples.py", "--data", data, "--json")[1])
    assert told["data"]["kind"] == "Folder"
    assert told["data"]["root"] == str(data)
    assert told["data"]["image_size"] == [224, 224]
    settings = ["--set", "data.image_size=96x96", "--set", "data.validation=0.1"]
    told = json.loads(kt_ends("show", "recipes/leaves.py", "--data", data, "--json", *settings)[1])
    assert (told["data"]["image_size"], told["data"]["validation"]) == ([96, 96], 0.1)


def test_one_s_own_pictures_keep_what_the_source_says(tmp_path):
    from kt.data import Folder, Table
    from kt.samples import Apples

    data = stand_ins(tmp_path / "mine", {"a": 1, "b": 1})
    table = tmp_path / "mine.csv"
    assert own_pictures(data, Folder("x", validation=0.1, seed=3)) == Folder(str(data), validation=0.1, seed=3)
    assert own_pictures(data, Apples(image_size=(64, 96), batch_size=4)) == Folder(
        str(data), image_size=(64, 96), batch_size=4
    )
    assert own_pictures(table, Table("x.csv", test=0.1)) == Table(str(table), test=0.1)
    assert own_pictures(table, Folder("x", batch_size=8)) == Table(str(table), batch_size=8)
    with pytest.raises(DataError, match="no such folder"):
        own_pictures(tmp_path / "nowhere", Folder("x"))


@pytest.mark.parametrize("verb", ["show", "run"])
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["papr.py"], 2, "papr.py is not a recipe file. There is: paper.py."),
        (["paper.py", "--set", "all.lrr=1"], 2, "Cannot set 'all.lrr': Phase has no 'lrr'. Did you mean 'lr'?"),
        (["paper.py", "--set", "all.epochs=0"], 2, "Phase 'all': epochs must be at least 1, not 0."),
        (["paper.py", "--seed", "-1"], 2, "Recipe: seed must be from 0 to 2147483647, not -1."),
        (["paper.py", "--data", "nowhere"], 3, "Cannot read pictures from nowhere: no such folder; expected"),
    ],
)
def test_a_recipe_that_cannot_run_is_refused_before_anything_is_written(
    verb, arguments, code, message, paper, kt_ends, tmp_path
):
    found, out, err = kt_ends(verb, *arguments)
    assert (found, out) == (code, "")
    assert err.startswith(f"error: {message}")
    assert [path.name for path in tmp_path.iterdir()] == ["paper.py"]


# ------------------------------------------------------------------------------------------- backends and the doctor


def test_a_backend_that_is_not_installed_is_answered_by_the_line_that_installs_it(paper, kt_ends, monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "jax" else there(name, *more))
    code, _, err = kt_ends("run", paper, "--backend", "jax")
    assert code == 7
    assert err == f"error: The backend 'jax' is not installed: {install('jax')}\n"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None)
    with pytest.raises(EnvironmentProblem, match=re.escape(f"'tensorflow' is not installed: {install()}")):
        backend.start("tensorflow")


def test_an_unknown_backend_says_where_it_came_from(monkeypatch):
    with pytest.raises(RecipeError, match=r"Unknown backend 'theano'\. There is: tensorflow, jax, torch\."):
        backend.start("theano")
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    with pytest.raises(RecipeError, match="Unknown backend 'theano' in KERAS_BACKEND"):
        backend.start()


def test_a_backend_cannot_change_once_keras_is_loaded(monkeypatch):
    import keras

    other = "torch" if keras.backend.backend() != "torch" else "tensorflow"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: object())
    with pytest.raises(EnvironmentProblem, match="Keras is loaded already with another backend"):
        backend.start(other)


def test_tensorflow_s_advice_on_tracing_is_not_told():
    import tensorflow as tf

    backend.start("tensorflow")
    assert tf.get_logger().level == logging.ERROR


def test_a_backend_that_cannot_be_loaded_is_one_line(tmp_path):
    (tmp_path / "paper.py").write_text(PAPER)
    (tmp_path / "keras.py").write_text("raise ImportError('libgomp.so.1: cannot\\nopen')")
    done = run_kt("show", "paper.py", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 7
    assert done.stderr == (
        "error: Keras can't be loaded on tensorflow: libgomp.so.1: cannot open. kt doctor tells more.\n"
    )


@pytest.mark.slow
def test_the_doctor_tells_what_is_there_and_what_is_broken(tmp_path):
    (tmp_path / "torch.py").write_text("raise OSError('libcudart is torn')")
    done = run_kt("doctor", "--json", cwd=tmp_path, PYTHONPATH=str(tmp_path), CUDA_VISIBLE_DEVICES="-1")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found) == {"versions", "machine", "backends", "weights", "extras", "missing"}
    assert found["versions"]["kt-transfer"] == kt.__version__
    assert found["versions"]["keras"].startswith("3.")
    assert found["machine"]["cores"] >= 1
    assert found["backends"]["tensorflow"] == "CPU"
    assert found["backends"]["torch"] == "broken: OSError: libcudart is torn"
    assert "mobilenet_v2_imagenet" in found["weights"]


def test_the_doctor_names_what_could_be_added(monkeypatch):
    from kt.cli import doctor

    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert doctor._devices("torch") == "not installed"
    assert doctor._missing()["pip or uv, to fetch weights"] == "python -m ensurepip"


# ------------------------------------------------------------------------------------------------------ runs' folders


def test_each_run_has_a_folder_of_its_own_and_the_latest_is_marked(tmp_path):
    runs = [new_run(tmp_path / "apples") for _ in range(3)]
    assert len(set(runs)) == 3
    for run in runs[:2]:
        mark_latest(run)
        assert (tmp_path / "apples" / "LATEST").resolve() == run
    assert sorted(path.name for path in (tmp_path / "apples").iterdir()) == sorted(
        ["LATEST", *(run.name for run in runs)]
    )


OWN_RUN = """

def run(recipe, out):
    (out / "note.txt").write_text(str(recipe.seed))
    return {answer}
"""


@pytest.mark.parametrize(
    ("answer", "plain", "as_json"),
    [
        ("{'accuracy': 0.5}", "{'accuracy': 0.5}\n", '{"accuracy": 0.5}\n'),
        ("'done'", "done\n", '"done"\n'),
        ("None", "", ""),
    ],
)
def test_a_run_of_the_recipe_s_own_is_called_and_its_answer_printed(answer, plain, as_json, paper, kt_ends, tmp_path):
    with (tmp_path / paper).open("a") as file:
        file.write(OWN_RUN.replace("{answer}", answer))
    assert kt_ends("run", paper, "--seed", "3")[:2] == (0, plain)
    assert (tmp_path / "runs/paper/LATEST/note.txt").read_text() == "3"
    assert kt_ends("run", paper, "--json")[:2] == (0, as_json)


# --------------------------------------------------------------------------------------- released models, refused


@pytest.mark.parametrize("arguments", [["predict", "nowhere", "photo.jpg"], ["evaluate", "nowhere", "--data", "x"]])
def test_a_model_that_is_not_there_is_told(arguments, kt_ends, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = kt_ends(*arguments)
    assert (code, out) == (6, "")
    assert "nowhere" in err
    assert len(err.splitlines()) == 1


def test_export_wants_a_finished_run(kt_ends, tmp_path):
    code, _, err = kt_ends("export", tmp_path)
    assert code == 6
    assert f"{tmp_path} is not a finished run: expected a folder such as runs/apples/LATEST." in err
    (tmp_path / "report.json").write_text("{}")
    assert "is not a finished run: it has no model.keras or no recipe.py" in kt_ends("export", tmp_path)[2]


def test_evaluate_counts_pictures_of_one_name_in_two_classes_as_two_things(tmp_path, monkeypatch, kt_ends):
    data = make_folder(tmp_path / "data", {"red": 4, "green": 4})

    class Red:
        classes = ("green", "red")
        kind = Pictures((8, 8))

    def scores_of(artifact, files):
        import numpy as np

        return np.array([[0.2, 0.8]] * len(files), "float32"), list(range(len(files))), []

    monkeypatch.setattr("kt.export.artifact.open_artifact", lambda path: Red())
    monkeypatch.setattr("kt.predict.scores_of", scores_of)
    code, out, _ = kt_ends("evaluate", "x", "--data", data, "--json")
    assert code == 0
    test = json.loads(out)
    assert (test["images"], test["groups"], test["accuracy"]) == (8, 8, 0.5)


# ----------------------------------------------------------------------------------------------------------- kt cache


def test_kt_cache_shows_what_is_kept_and_clears_one_kind_of_it(kt_ends, monkeypatch, tmp_path):
    monkeypatch.setenv("KT_HOME", str(tmp_path))
    kept = Store(tmp_path / "features" / "ab", StoredLayers("tiny", "block_1_relu", 3, "float32"))
    keys = list(hashes(np.zeros((2, 4, 4, 3), np.uint8) + np.arange(2, dtype=np.uint8)[:, None, None, None]))
    with kept.writer(2) as writer:
        writer.add(keys, np.zeros((2, 3), np.float32))
    (tmp_path / "encoders").mkdir()
    (tmp_path / "encoders" / "x.tflite").write_bytes(b"12345")
    code, out, _ = kt_ends("cache")
    assert code == 0 and "2 pictures  tiny at block_1_relu" in out
    told = json.loads(kt_ends("cache", "--json")[1])
    assert told["cache"] == str(tmp_path) and told["bytes"]["encoders"] == 5
    assert told["features"][0]["pictures"] == 2 and told["features"][0]["path"] == str(tmp_path / "features" / "ab")
    assert kt_ends("cache", "clear")[1].startswith("features: 0.0 MB removed")
    assert not (tmp_path / "features").exists() and (tmp_path / "encoders").exists()
    assert kt_ends("cache", "clear", "all")[0] == 0
    assert list(tmp_path.iterdir()) == []
    assert "0.0 MB" in kt_ends("cache")[1]


def test_kt_cache_clear_refuses_a_kind_that_is_not_there(kt_ends):
    code, _, err = kt_ends("cache", "clear", "everything")
    assert code == 2 and "'everything' is not one of 'all', 'features', 'encoders', 'tfds', 'unpacked'" in err


def test_no_cache_is_refused_for_a_recipe_that_runs_by_itself(kt_ends, tmp_path):
    (tmp_path / "own.py").write_text(PAPER + "\n\ndef run(recipe, out):\n    return None\n")
    code, _, err = kt_ends("run", tmp_path / "own.py", "--no-cache", "--runs", tmp_path / "runs")
    assert code == 2 and "runs by itself" in err and "cached=False" in err
    assert not (tmp_path / "runs").exists()
