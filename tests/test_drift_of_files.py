"""`kt drift` and `kt predict --label-shift` on files, by a model that carries held-out examples."""

import csv
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import draw
from PIL import Image

from kt.export.artifact import keep_kind, open_artifact
from kt.export.formats.format import Details, HeldOut
from kt.export.formats.saved_model import REFERENCE, SavedModel
from kt.export.formats.tflite import TFLite
from kt.kinds.carried import ASIDE
from kt.kinds.rows.kind import Column, Rows

LABELS = ("blue", "green", "red")
HUES = {"red": 0, "green": 1, "blue": 2}


def coloured() -> keras.Model:
    """A model that knows the three colours without training, beside features that see texture."""
    keras.utils.set_random_seed(0)
    pixels = keras.Input((40, 40, 3), dtype="uint8", name="pixels")
    x = keras.layers.Rescaling(1 / 255)(pixels)
    texture = keras.layers.Conv2D(8, 3, activation="relu")(x)
    both = [keras.layers.GlobalAveragePooling2D()(part) for part in (x, texture)]
    head = keras.layers.Dense(3, activation="softmax", kernel_initializer="zeros", name="scores")
    model = keras.Model(pixels, head(keras.layers.Concatenate()(both)))
    weights = np.zeros((11, 3), np.float32)
    for place, label in enumerate(LABELS):
        weights[HUES[label], place] = 6.0
    head.set_weights([weights, np.zeros(3, np.float32)])
    return model


def pixels_of(counts: dict[str, int], *, first: int) -> tuple[np.ndarray, np.ndarray]:
    drawn = [
        (np.asarray(draw(label, first + index)), label) for label, count in counts.items() for index in range(count)
    ]
    return np.stack([pixels for pixels, _ in drawn]), np.array([LABELS.index(label) for _, label in drawn])


def folder_of(
    root: Path, counts: dict[str, int], *, first: int, change=lambda image: image, name="{label}{index}"
) -> Path:
    root.mkdir(parents=True)
    for label, count in counts.items():
        for index in range(count):
            change(draw(label, first + index)).save(root / f"{name.format(label=label, index=index)}.png")
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A released version of `coloured`, with 40 held-out pictures of each class, and its TFLite file."""
    folder = tmp_path_factory.mktemp("saved_models") / "colours"
    folder.mkdir()
    network, details = coloured(), Details("colours", LABELS)
    SavedModel().make(network, folder, details=details).rename(folder / "1")
    TFLite("float32").make(network, folder / "1", details=details)
    pixels, labels = pixels_of(dict.fromkeys(LABELS, 40), first=0)
    held_out = HeldOut(pixels, labels, tuple(map(str, range(120))))
    SavedModel().remember(folder / "1", open_artifact(folder / "1"), held_out)
    return folder


@pytest.fixture(scope="module")
def usual(tmp_path_factory) -> Path:
    return folder_of(tmp_path_factory.mktemp("usual") / "new", dict.fromkeys(LABELS, 15), first=1000)


@pytest.fixture(scope="module")
def blurred(tmp_path_factory) -> Path:
    small = (8, 8)
    return folder_of(
        tmp_path_factory.mktemp("blurred") / "new", dict.fromkeys(LABELS, 15), first=1000,
        change=lambda image: image.resize(small).resize(image.size),
    )  # fmt: skip


# -------------------------------------------------------------------------------------------------------- the verdict


def test_pictures_that_come_alike_have_no_drift(kt_ends, model, usual):
    code, out, err = kt_ends("drift", model, usual, "--fail", "--json")
    told = json.loads(out)
    assert (code, told["verdict"], told["seems"], told["examples"], told["held_out"]) == (0, "none", "", 45, 120), err
    assert set(told) == {
        "verdict", "alarm", "p", "seems", "examples", "independent", "held_out", "held_out_independent", "tests",
        "shares", "shares_untold", "new", "kind", "skipped",
    }  # fmt: skip
    assert set(told["tests"]) == {"mmd", "classifier", "scores", "unlike"}
    assert set(told["shares"]) == set(LABELS)
    assert sum(share["new"] for share in told["shares"].values()) == pytest.approx(1)


def test_drift_is_found_and_ends_with_code_1_only_if_one_asks_for_it(kt_ends, model, blurred):
    code, out, _ = kt_ends("drift", model, blurred)
    assert code == 0
    assert out.startswith("drift: 45 pictures against 120 held-out ones; p 0.0")
    assert "the pictures look otherwise" in out
    assert "AUC 1.000" in out
    assert kt_ends("drift", model, blurred, "--fail")[0] == 1


def test_other_shares_of_the_classes_are_told_apart_from_other_pictures(kt_ends, model, tmp_path):
    folder = folder_of(tmp_path / "new", {"red": 40, "green": 4, "blue": 4}, first=2000)
    told = json.loads(kt_ends("drift", model, folder, "--json")[1])
    assert (told["verdict"], told["seems"]) == ("drift", "shares")
    assert told["shares"]["red"]["new"] == pytest.approx(40 / 48, abs=0.08)
    low, high = told["shares"]["red"]["interval"]
    assert low < 40 / 48 < high


def test_a_picture_of_something_else_is_named_first(kt_ends, model, usual, tmp_path):
    folder = shutil.copytree(usual, tmp_path / "new")
    chequers = np.kron(np.indices((20, 20)).sum(axis=0) % 2, np.ones((2, 2)))[..., None] * [255, 255, 255]
    for name in ("odd", "queer"):
        Image.fromarray(chequers.astype(np.uint8)).rotate(90 * (name == "odd")).save(folder / f"{name}.png")
    new = json.loads(kt_ends("drift", model, folder, "--json")[1])["new"]
    assert {Path(each["path"]).stem for each in new["examples"][:2]} == {"odd", "queer"}
    assert f"{folder / 'odd.png'}  distance" in kt_ends("drift", model, folder)[1]


def test_what_cannot_be_read_is_named_and_left_out(kt_ends, model, usual, tmp_path):
    folder = shutil.copytree(usual, tmp_path / "new")
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("hello", encoding="utf-8")
    code, out, err = kt_ends("drift", model, folder, "--json")
    told = json.loads(out)
    assert (code, told["examples"], [Path(each["path"]).name for each in told["skipped"]]) == (0, 45, ["broken.png"])
    assert "broken.png: not a JPEG" in err
    assert ".txt" in err


def test_frames_of_one_thing_count_once_by_their_names_and_each_if_one_says_so(kt_ends, model, tmp_path):
    folder = folder_of(tmp_path / "new", dict.fromkeys(LABELS, 12), first=3000, name="{label}__{index}")
    for index, file in enumerate(sorted(folder.iterdir())):
        file.rename(folder / f"thing{index // 4}__{index}.png")
    code, out, err = kt_ends("drift", model, folder, "--json")
    told = json.loads(out)
    assert (code, told["examples"], told["independent"], told["verdict"]) == (0, 36, 9, "too few to tell")
    assert "9 things in 36 pictures" in err
    assert json.loads(kt_ends("drift", model, folder, "--group-by", "none", "--json")[1])["independent"] == 36


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["{model}/1/colours_float32.tflite", "{usual}"], 6, "gives scores only"),
        (["{plain}", "{usual}"], 6, "carries no held-out examples"),
        (["{model}", "{empty}"], 3, "No pictures found there."),
        (["{model}", "{empty}/absent"], 3, "There is no file or folder"),
        (["{model}", "{usual}", "--alarm", "0.001"], 2, "--alarm"),
        (["{model}", "{usual}", "--group-by", "("], 2, "is no regular expression"),
        (["{model}"], 2, "Missing argument"),
    ],
)
def test_what_cannot_be_judged_ends_in_one_line(kt_ends, model, usual, tmp_path, arguments, code, error):
    shutil.copytree(model / "1", tmp_path / "plain")
    (tmp_path / "plain" / ASIDE / REFERENCE).unlink()
    (tmp_path / "empty").mkdir()
    places = {"model": model, "usual": usual, "plain": tmp_path / "plain", "empty": tmp_path / "empty"}
    ended, _, err = kt_ends("drift", *(argument.format(**places) for argument in arguments))
    assert ended == code
    assert error in err


def test_a_run_and_its_release_carry_the_same_held_out_examples(ran, kt_ends, tmp_path):
    released, run = ran.folder / "saved_models" / "tiny", ran.folder / "runs" / "tiny" / "LATEST"
    folder = folder_of(tmp_path / "new", dict.fromkeys(LABELS, 10), first=500)
    answers = [json.loads(kt_ends("drift", model, folder, "--json")[1]) for model in (released, run)]
    assert answers[0] == answers[1]
    with (run / "splits.csv").open(encoding="utf-8", newline="") as text:
        held_out = [row for row in csv.DictReader(text) if row["split"] != "train"]
    assert answers[0]["held_out"] == len(held_out)
    assert answers[0]["verdict"] != "drift"
    dark = folder_of(
        tmp_path / "dark",
        dict.fromkeys(LABELS, 10),
        first=500,
        change=lambda image: image.point(lambda value: value // 3),
    )
    assert json.loads(kt_ends("drift", run, dark, "--json")[1])["verdict"] == "drift"


def test_rows_of_a_table_are_judged_too_and_called_rows(kt_ends, tmp_path):
    kind = Rows((Column("width"), Column("height")))
    given = keras.Input((2,), name="rows")
    network = keras.Model(given, keras.layers.Dense(2, activation="softmax")(keras.layers.Dense(6, "tanh")(given)))
    path = SavedModel().make(network, tmp_path, details=Details("cider", ("a", "b"), kind=kind))
    keep_kind(path, kind)
    random = np.random.default_rng(0)
    cells = random.normal(size=(200, 2)).astype(np.float32)
    artifact = open_artifact(path)
    labels = artifact.scores(cells).argmax(axis=1)
    SavedModel().remember(path, artifact, HeldOut(cells[:150], labels[:150], tuple(map(str, range(150)))))
    for name, rows in {"alike": cells[150:], "moved": cells[150:] + 2}.items():
        lines = "".join(f"{width},{height}\n" for width, height in rows)
        (tmp_path / f"{name}.csv").write_text(f"width,height\n{lines}", encoding="utf-8")
    assert json.loads(kt_ends("drift", path, tmp_path / "alike.csv", "--json")[1])["verdict"] == "none"
    code, out, _ = kt_ends("drift", path, tmp_path / "moved.csv")
    assert (code, out.startswith("drift: 50 rows against 150 held-out ones")) == (0, True)
    assert "picture" not in out
    assert f"{tmp_path / 'moved.csv'}:" in out


# --------------------------------------------------------------------------------------------------------- label shift


def scores_of(table: Path) -> np.ndarray:
    if table.suffix == ".parquet":
        return np.stack([pq.read_table(table)[label].to_numpy() for label in LABELS], axis=1)
    with table.open(encoding="utf-8", newline="") as text:
        return np.array([[float(row[label] or "nan") for label in LABELS] for row in csv.DictReader(text)])


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_scores_of_a_table_are_corrected_for_the_shares_in_it_and_a_note_says_so(kt_ends, model, tmp_path, suffix):
    folder = folder_of(tmp_path / "new", {"red": 40, "green": 4, "blue": 4}, first=2000)
    (folder / "broken.png").write_bytes(b"no picture")
    plain, shifted = tmp_path / f"plain.{suffix}", tmp_path / f"shifted.{suffix}"
    assert kt_ends("predict", model, folder, "--out", plain)[0] == 0
    code, out, err = kt_ends("predict", model, folder, "--out", shifted, "--label-shift", "--json")
    assert code == 0, err
    assert "scores are corrected for other shares of the classes" in err
    note = json.loads((tmp_path / f"shifted.{suffix}.label_shift.json").read_text(encoding="utf-8"))
    assert json.loads(out)["label_shift"] == note
    assert note["classes"]["red"]["held_out"] == pytest.approx(1 / 3)
    assert note["classes"]["red"]["new"] == pytest.approx(40 / 48, abs=0.08)
    before, after = scores_of(plain), scores_of(shifted)
    good = np.isfinite(before).all(axis=1)
    assert (good == np.isfinite(after).all(axis=1)).all()
    assert good.sum() == 48
    odds = [np.log(scores[good, 2].clip(1e-6) / scores[good, 0].clip(1e-6)) for scores in (before, after)]
    assert np.corrcoef(odds)[0, 1] > 0.9
    assert after[good].sum(axis=1) == pytest.approx(np.ones(48), abs=1e-5)
    assert after[good].mean(axis=0)[2] == pytest.approx(note["classes"]["red"]["new"], abs=0.02)
    assert not list(tmp_path.glob("*.part"))
    assert kt_ends("predict", model, folder, "--out", shifted)[0] == 0
    assert not (tmp_path / f"shifted.{suffix}.label_shift.json").exists()
    assert shifted.read_bytes() == plain.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["{model}/1/colours_float32.tflite", "{usual}"], 6, "name its folder"),
        (["{plain}", "{usual}"], 6, "carries no held-out examples"),
        (["{model}", "{few}"], 3, "there are 6 new ones, and 10 are needed. Leave --label-shift out."),
    ],
)
def test_shares_that_cannot_be_told_are_refused(kt_ends, model, usual, tmp_path, arguments, code, error):
    shutil.copytree(model / "1", tmp_path / "plain")
    (tmp_path / "plain" / ASIDE / REFERENCE).unlink()
    few = folder_of(tmp_path / "few", dict.fromkeys(LABELS, 2), first=0)
    places = {"model": model, "usual": usual, "plain": tmp_path / "plain", "few": few}
    out = tmp_path / "scores.csv"
    given = [argument.format(**places) for argument in arguments]
    ended, _, err = kt_ends("predict", *given, "--out", out, "--label-shift")
    assert ended == code
    assert error in err
    assert not out.exists()
    assert kt_ends("predict", *given, "--out", out)[0] == 0  # what was scored before is of use


def test_label_shift_needs_a_table(kt_here):
    done = kt_here("predict", "model", "photo.jpg", "--label-shift", cwd=Path.cwd())
    assert (done.returncode, "go with --out FILE" in done.stderr) == (2, True)
