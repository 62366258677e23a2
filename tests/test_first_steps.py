"""A user's first steps: pictures without a recipe, the recipe that `kt new` writes, and kt from Python."""

import json
import os
import shlex
import subprocess
import sys
import textwrap

import pytest
from conftest import REPOSITORY, TINY_RECIPE, make_folder

from kt.errors import RecipeError
from kt.recipe import load

SMALL = ["--set", "data.image_size=32x32", "--set", "weights=none", "--set", "tolerance=0.5"]


def shell(line, *, cwd):
    """Type a line into a shell in which `kt` is this repository's."""
    script = f"""kt() {{ {shlex.quote(sys.executable)} -c 'from kt.cli import main; main()' "$@"; }}\n{line}\n"""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        ["bash", "-c", script], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )  # fmt: skip


def stand_ins(root, labels=("good", "bad"), count=3):
    """A folder that looks like one of pictures."""
    for label in labels:
        (root / label).mkdir(parents=True)
        for index in range(count):
            (root / label / f"{index}.jpg").write_bytes(b"\xff\xd8\xff")
    return root


# ------------------------------------------------------------------------------------------ pictures for a recipe


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("photos", "photos"),
        ("My photos (2024)", "My_photos_2024"),
        ("it's mine", "it_s_mine"),
        ("..hidden", "hidden"),
        ("äpfel", "äpfel"),
        ("(((", "pictures"),
        ("a" * 200, "a" * 60),
    ],
)
def test_a_recipe_for_pictures_is_named_after_their_folder(folder, name, tmp_path, kt_ends, monkeypatch):
    monkeypatch.chdir(stand_ins(tmp_path / folder).parent)
    code, out, err = kt_ends("show", folder, "--json")
    assert code == 0, err
    assert json.loads(out)["name"] == name
    assert json.loads(out)["data"]["root"] == folder


def test_a_folder_is_named_also_where_it_is_typed_as_a_dot(tmp_path, kt_ends, monkeypatch):
    monkeypatch.chdir(stand_ins(tmp_path / "photos"))
    assert json.loads(kt_ends("show", ".", "--json")[1])["name"] == "photos"
    assert json.loads(kt_ends("show", "../photos/", "--json")[1])["name"] == "photos"


@pytest.mark.slow
def test_showing_pictures_says_which_recipe_it_is_and_how_to_have_it_as_a_file(tmp_path):
    stand_ins(tmp_path / "my photos")
    done = shell("kt show 'my photos' --json", cwd=tmp_path)
    line = done.stderr.splitlines()[0]
    assert line.startswith("recipe: my_photos, the one that kt new writes: a linear probe on ")
    written = shell(line.rpartition("as a file: ")[2], cwd=tmp_path)
    assert written.returncode == 0, written.stderr
    again = shell("kt show recipes/my_photos.py --json", cwd=tmp_path)
    asked, told = json.loads(done.stdout), json.loads(again.stdout)
    assert {key: asked[key] for key in asked if key != "description"} == {
        key: told[key] for key in told if key != "description"
    }


@pytest.mark.parametrize("verb", ["run", "show", "compare", "lr-find"])
def test_what_is_no_folder_of_pictures_is_told_before_keras_loads(verb, tmp_path, kt_ends, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kt.base.backend.start", lambda *_, **__: pytest.fail("Keras was loaded"))
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "tiny.py").write_text(TINY_RECIPE)
    code, _, err = kt_ends(verb, "recipes")
    assert (code, err) == (
        2, "error: recipes is a folder of recipes and not of pictures; name one: recipes/tiny.py.\n",
    )  # fmt: skip
    (tmp_path / "empty").mkdir()
    code, _, err = kt_ends(verb, "empty")
    assert code == 3 and len(err.splitlines()) == 1
    code, _, err = kt_ends(verb, "nowhere")
    assert code == 2 and "nowhere is not a recipe file" in err


@pytest.mark.slow
def test_a_table_of_pictures_is_taken_like_a_folder(tmp_path, kt_here):
    make_folder(tmp_path / "photos", {"red": 3, "green": 3})
    rows = [f"photos/{label}/{index:03d}.png,{label}" for label in ("red", "green") for index in range(3)]
    (tmp_path / "my list.csv").write_text("\n".join(["path,label", *rows]), encoding="utf-8")
    done = kt_here("show", "my list.csv", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["name"], told["data"]["kind"], told["data"]["file"]) == ("my_list", "Table", "my list.csv")
    assert "kt new recipes/my_list.py --data 'my list.csv'" in done.stderr


def test_a_packed_folder_is_told_as_what_it_is(tmp_path, kt_ends, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos.zip").write_bytes(b"PK\3\4")
    code, _, err = kt_ends("run", "photos.zip")
    assert code == 3 and len(err.splitlines()) == 1 and "photos.zip" in err and "is not a recipe" not in err


def test_pictures_can_not_be_given_twice(tmp_path, kt_ends, monkeypatch):
    monkeypatch.chdir(stand_ins(tmp_path / "photos").parent)
    code, _, err = kt_ends("show", "photos", "--data", "photos")
    assert code == 2 and "photos is the pictures, and --data names others; leave one of them out." in err


@pytest.mark.slow
def test_pictures_are_trained_on_without_a_recipe_and_the_run_keeps_the_one_that_was_used(tmp_path, kt_here):
    make_folder(tmp_path / "my photos", {"red": 20, "green": 20})
    done = kt_here("run", "my photos", *SMALL, "--set", "export=tflite", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    run = tmp_path / "runs" / "my_photos" / "LATEST"
    assert (run / "recipe.py").is_file() and told["recipe"]["name"] == "my_photos"
    assert told["released_to"] == "saved_models/my_photos/1"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    again = kt_here("export", str(run), "--format", "keras", "--json", cwd=elsewhere)
    assert again.returncode == 0, again.stderr
    assert (elsewhere / "saved_models" / "my_photos" / "1" / "my_photos.keras").is_file()
    assert "it is taken from" in again.stderr
    # The recipe of the run is one to be run like any other.
    shown = kt_here("show", str(run / "recipe.py"), "--json", cwd=tmp_path)
    assert json.loads(shown.stdout)["data"]["root"] == "my photos"


# ------------------------------------------------------------------------------------------------------- kt new

NAMES = ["photos", "my photos", "it's", 'say "cheese"', "$HOME", "a;b", "new\nline", "back\\slash", "-x", "äpfel"]


@pytest.mark.parametrize("name", NAMES)
def test_the_command_that_kt_new_suggests_works_as_it_stands(name, tmp_path, kt_ends, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stand_ins(tmp_path / name / "photos")
    file = tmp_path / name / "recipes" / "fruit.py"
    code, out, _ = kt_ends("new", file, "--data", f"./{name}/photos")
    assert code == 0
    following = next(line for line in out.splitlines() if line.startswith("next: kt run ")).removeprefix("next: ")
    typed = subprocess.run(
        ["bash", "-c", f"kt() {{ printf '%s:%s' \"$1\" \"$2\"; }}\n{following}"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert typed.stdout == f"run:{file}"
    source = load(file).recipe.data
    assert source.root == f"{name}/photos"


@pytest.mark.slow
def test_a_recipe_finds_its_pictures_from_another_folder(tmp_path, kt_here):
    make_folder(tmp_path / "project" / "photos", {"red": 3, "green": 3})
    (tmp_path / "project" / "deeper").mkdir()
    done = kt_here("new", "recipes/fruit.py", "--data", "photos", cwd=tmp_path / "project")
    assert done.returncode == 0, done.stderr
    for here in ("project/recipes", "project/deeper", "."):
        way = os.path.relpath(tmp_path / "project" / "recipes" / "fruit.py", tmp_path / here)
        shown = kt_here("show", way, "--json", cwd=tmp_path / here)
        assert json.loads(shown.stdout)["data"]["root"] == str(tmp_path / "project" / "photos"), shown.stderr
        assert "data: there is no photos here; it is taken from" in shown.stderr
    here = kt_here("show", "recipes/fruit.py", "--json", cwd=tmp_path / "project")
    assert json.loads(here.stdout)["data"]["root"] == "photos" and "taken from" not in here.stderr


# --------------------------------------------------------------------------------------- a run of the recipe's own

OWN = '''

def run(recipe, out):
    """The usual work, and a word before it."""
    from kt.runs.main import run as usual

    (out / "word.txt").write_text("before")
    return usual(recipe, out)
'''


@pytest.mark.slow
def test_a_run_of_one_s_own_releases_under_the_recipe_s_name_and_can_be_exported(tmp_path, kt_here):
    make_folder(tmp_path / "pictures", {"red": 20, "green": 20})
    (tmp_path / "mine.py").write_text(TINY_RECIPE + OWN)
    options = ["--set", "export=keras", "--set", "fine_tune.epochs=1", "--saved-models", "out", "--json"]
    done = kt_here("run", "mine.py", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["recipe"]["name"] == "mine" and told["released_to"] == "out/mine/1"
    assert told["recipe"]["settings"] == ["export=keras", "fine_tune.epochs=1"]
    assert [path.name for path in (tmp_path / "out").iterdir() if path.is_dir()] == ["mine"]
    again = kt_here("export", "runs/mine/LATEST", "--saved-models", "out", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "out" / "mine" / "2").is_dir()


@pytest.mark.slow
def test_the_usual_work_called_from_python_never_releases_a_model_without_a_name(tmp_path, monkeypatch):
    make_folder(tmp_path / "pictures", {"red": 20, "green": 20})
    (tmp_path / "tiny.py").write_text(TINY_RECIPE)
    script = textwrap.dedent("""
        from pathlib import Path
        from kt.recipe import load, override
        from kt.runs.main import run
        recipe = override(load(Path("tiny.py")).recipe, ["export=keras", "fine_tune.epochs=1", "train_head.epochs=1"])
        for out in ("x", "runs/mine/first", "deep/20260102-030405", "."):
            print(run(recipe, Path(out))["released_to"])
    """)
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        "saved_models/x/1", "saved_models/mine/1", "saved_models/deep/1", f"saved_models/{tmp_path.name}/1",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["", " ", ".", "..", "a/b", ".hidden", "a\\b", "nul\0"])
def test_a_run_wants_a_name_that_a_model_can_have(name):
    from kt.runs.origin import Origin

    with pytest.raises(RecipeError, match="name is that of a folder in saved_models, such as 'mushrooms', not"):
        Origin(name=name)


# ------------------------------------------------------------------------------------------------- kt from Python

FROM_PYTHON = """
import sys
import kt

assert "keras" not in sys.modules and "tensorflow" not in sys.modules
result = kt.train(
    "photos", name="fruit", seed=3, export={export}, settings=["data.image_size=32x32", "weights=none", "tolerance=0.5"]
)
import json
import numpy as np
from PIL import Image

picture = "photos/red/000.png"
one, several = result.predict(picture), result.predict("photos")
pixels = np.asarray(Image.open(picture))
as_list = result.predict([picture, pixels, Image.open(picture)])
as_array = result.predict(np.stack([pixels, pixels]))
wrong = []
for bad in ("nowhere.png", np.zeros((3, 3)), 7, np.full((4, 4, 3), 0.5), np.full((4, 4, 3), 300.0)):
    try:
        result.predict(bad)
    except kt.errors.KtError as error:
        wrong.append(str(error))
for arguments in (("nowhere",), (7,), ("photos", "a/b")):
    try:
        kt.train(arguments[0], name=(arguments[1:] or (None,))[0])
    except kt.errors.KtError as error:
        wrong.append(str(error))
print(json.dumps({{
    "figures": [result.balanced_accuracy, result.accuracy, *result.interval()],
    "labels": [one.label, *(answer.label for answer in as_list), *(answer.label for answer in as_array)],
    "several": len(several), "classes": result.classes, "report": str(result.report),
    "saved_model": str(result.saved_model), "exports": {{key: str(path) for key, path in result.exports.items()}},
    "repr": repr(result), "html": result._repr_html_(), "wrong": wrong, "seed": result.figures["seed"],
    "still": [callable(kt.train)],
}}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("export", ["[]", '["saved_model", "tflite"]'])
def test_kt_train_gives_figures_answers_and_files(export, tmp_path, kt_here):
    make_folder(tmp_path / "photos", {"red": 20, "green": 20})
    environment = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-c", FROM_PYTHON.format(export=export)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert all(0 <= figure <= 1 for figure in told["figures"])
    assert told["labels"] == ["red"] * 6 and told["several"] == 40 and told["classes"] == ["green", "red"]
    assert (tmp_path / told["report"]).is_file() and told["report"].startswith("runs/fruit/")
    assert "balanced accuracy" in told["html"] and told["report"] in told["html"]
    assert told["repr"].startswith("<kt.Result fruit: balanced accuracy ") and len(told["repr"].splitlines()) == 1
    assert told["seed"] == 3 and told["still"] == [True]
    assert len(told["wrong"]) == 8 and all(len(line.splitlines()) == 1 for line in told["wrong"])
    if export == "[]":
        assert told["saved_model"] == "None" and told["exports"] == {}
    else:
        assert told["saved_model"] == "saved_models/fruit/1"
        assert {"saved_model", "tflite_float32"} <= set(told["exports"])
        assert (tmp_path / told["exports"]["tflite_float32"]).is_file()
        again = kt_here("export", "runs/fruit/LATEST", "--format", "keras", "--json", cwd=tmp_path)
        assert again.returncode == 0, again.stderr
    for noise in ("WARNING", "absl", "oneDNN", "cuInit", "cuda", "retracing", "Traceback"):
        assert noise not in done.stderr


def test_importing_kt_loads_nothing_heavy():
    script = (
        "import kt, sys; kt.train; kt.Result; print(sorted({'keras', 'numpy', 'tensorflow', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
