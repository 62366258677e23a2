"""Rows of a table as examples: read, split, kept with the model, moved to another table, and answered for."""

import csv
import json
import re
from pathlib import Path

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Ran, kt

from kt.backbones import RowNetwork
from kt.backbones.build import build_backbone as build_backbone
from kt.data import Records
from kt.data.labelled import Question, labelled
from kt.errors import DataError, ReleaseError, WeightsError
from kt.export.artifact import keep_kind, open_artifact
from kt.kinds import from_json, nouns, of_model
from kt.kinds.kind import check_examples
from kt.kinds.rows.kind import Column, Rows
from kt.predict import predict_files
from kt.report import summary

RANDOM = np.random.default_rng(0)


def write(file, rows, header=("width", "colour", "label")):
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as out:
        table = csv.writer(out)
        table.writerow(header)
        table.writerows(rows)
    return file


def apples(count=60, *, classes=("good", "bad")):
    """Wide red ones are good; widths differ, so that no row is another's copy."""
    rows = []
    for place in range(count):
        label = classes[place % len(classes)]
        colour = ["red", "green", "brown"][place % len(classes)]
        rows.append([round(5 + 3 * (place % len(classes)) + 0.01 * place, 2), colour, label])
    return rows


def test_numbers_and_categories_are_read_by_what_train_holds(tmp_path):
    splits = Records(write(tmp_path / "a.csv", apples()))()
    assert splits.classes == ("bad", "good")
    assert isinstance(splits.kind, Rows)
    width, colour = splits.kind.columns
    assert (width.name, width.categories) == ("width", None)
    assert (colour.name, colour.categories) == ("colour", ("green", "red"))
    train = splits.train.examples
    assert train.dtype == np.float32 and train.shape == (len(splits.train), 2)
    assert width.mean == pytest.approx(train[:, 0].mean(), rel=1e-5)
    assert width.spread == pytest.approx(train[:, 0].std(), rel=1e-4)
    assert set(train[:, 1].tolist()) == {0.0, 1.0}
    assert splits.train.names[0].startswith("a.csv:")
    assert splits.digest == Records(tmp_path / "a.csv")().digest
    assert len({*splits.train.names, *splits.validation.names, *splits.test.names}) == 60


def test_parquet_holds_the_same_rows(tmp_path):
    rows = apples()
    columns = dict(zip(("width", "colour", "label"), map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    from_parquet, from_csv = Records(tmp_path / "a.parquet")(), Records(write(tmp_path / "a.csv", rows))()
    assert from_parquet.kind == from_csv.kind
    np.testing.assert_array_equal(from_parquet.train.examples, from_csv.train.examples)


def test_the_network_gets_standard_numbers_and_one_column_for_each_category():
    kind = Rows((Column("width", mean=2.0, spread=4.0), Column("colour", categories=("green", "red"))))
    rows = np.stack([kind.read({"width": 10, "colour": "red"}), kind.read({"width": None, "colour": "blue"})])
    inputs = keras.Input(kind.shape)
    prepared = keras.Model(inputs, kind.prepared(inputs))(rows)
    np.testing.assert_allclose(np.asarray(prepared), [[2.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    assert kind.fed == (3,)


def test_a_kind_comes_back_from_json_and_from_an_artefact(tmp_path):
    kind = Rows((Column("width", mean=2.0, spread=4.0), Column("colour", categories=("green", "red"))))
    assert from_json(json.loads(json.dumps(kind.to_json()))) == kind
    assert of_model((None, 2), "float32", kind.aside(), where="here") == kind
    for shape, texts in (((None, 3), kind.aside()), ((None, 2), {}), ((None, 2), {"rows.json": "{"})):
        with pytest.raises(ReleaseError, match="or rows whose columns it carries"):
            of_model(shape, "float32", texts, where="here")
    with pytest.raises(ReleaseError, match="of the kind 'sounds' are unknown"):
        from_json({"kind": "sounds"})
    assert [nouns(name).one for name in ("rows", "", "sounds")] == ["row", "picture", "example"]
    with pytest.raises(ReleaseError, match=r"takes rows float32 \[N, 2\], not float32 \[1, 3\]"):
        check_examples(kind, np.zeros((1, 3), np.float32))


def test_copies_and_groups_stay_in_one_split_and_given_splits_are_taken(tmp_path):
    rows = [[*row, f"tree {place // 4}"] for place, row in enumerate(apples())]
    rows += rows[:8]
    header = ("width", "colour", "label", "tree")
    splits = Records(write(tmp_path / "a.csv", rows, header), group="tree")()
    trees = [set(part.group_names) for part in splits.parts().values()]
    assert not trees[0] & trees[1] and not trees[0] & trees[2] and not trees[1] & trees[2]
    assert [column.name for column in splits.kind.columns] == ["width", "colour"]
    words = ["train", "train", "train", "test", "train", "val"]
    given = [[*row, words[place // 2 % 6]] for place, row in enumerate(apples())]
    splits = Records(write(tmp_path / "b.csv", given, ("width", "colour", "label", "part")), split="part")()
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (40, 10, 10)


def test_a_row_without_a_label_is_left_out_and_told(tmp_path, capfd):
    splits = Records(write(tmp_path / "a.csv", [*apples(), [3, "red", ""]]))()
    assert sum(map(len, splits.parts().values())) == 60
    assert "1 rows have no label and are left out" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (apples(), {"label": "labl"}, "has no column 'labl'. Did you mean 'label'"),
        (apples(), {"columns": ["widht"]}, "has no column 'widht'. Did you mean 'width'"),
        (apples(), {"columns": ["label"]}, "columns are those that the model takes, at least one, without 'label'"),
        (apples(), {"columns": []}, "columns are those that the model takes, at least one"),
        (apples(), {"split": "colour"}, "a.csv:1: column 'colour' is to hold train, validation or test"),
        (apples(classes=("good",)), {}, "At least two classes are needed, and column 'label' of .* has 1"),
        (apples(6), {"group": "colour"}, "have too few independent rows.*give the splits as a column"),
    ],
)
def test_a_table_that_cannot_be_is_told(tmp_path, rows, options, message):
    with pytest.raises(DataError, match=message):
        Records(write(tmp_path / "a.csv", rows), **options)()


def test_what_is_no_table_is_told(tmp_path):
    with pytest.raises(DataError, match="There is no table"):
        Records(tmp_path / "nowhere.csv")()
    (tmp_path / "a.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(DataError, match="is no table that can be read"):
        Records(tmp_path / "a.parquet")()


def source_of(tmp_path):
    """A model of rows, as one that was trained before is kept."""
    splits = Records(write(tmp_path / "source.csv", apples()))()
    inputs = keras.Input(splits.kind.shape, name="rows")
    outputs = keras.layers.Dense(2, activation="softmax")(
        RowNetwork(input_shape=splits.kind.fed)(splits.kind.prepared(inputs))
    )
    file = tmp_path / "source.keras"
    keras.Model(inputs, outputs).save(file)
    keep_kind(file, splits.kind)
    return file, splits.kind


def test_another_table_takes_the_models_columns_and_its_weights(tmp_path):
    file, kind = source_of(tmp_path)
    other = [[row[1], row[0] + 1, row[2]] for row in apples(classes=("ripe", "rotten", "raw"))]
    write(tmp_path / "other.csv", other, ("colour", "width", "label"))
    splits = Records(tmp_path / "other.csv", like=file)()
    assert splits.kind == kind and splits.classes == ("raw", "ripe", "rotten")
    backbone = build_backbone(RowNetwork, str(file), shape=kind.fed).model
    saved = keras.saving.load_model(file).get_layer("row_network")
    for one, other in zip(backbone.get_weights(), saved.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("header", "options", "message"),
    [
        (("width", "weight", "label"), {}, "the model knows no column 'weight'; it has: width, colour. Name those"),
        (("width", "shade", "label"), {"columns": ["width"]}, "lacks the column 'colour', which the model takes"),
    ],
)
def test_columns_that_the_source_lacks_are_told(tmp_path, header, options, message):
    file, _ = source_of(tmp_path)
    write(tmp_path / "other.csv", apples(), header)
    with pytest.raises(DataError, match=message):
        Records(tmp_path / "other.csv", like=file, **options)()


def test_what_is_no_model_of_rows_is_told(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"no zip")
    with pytest.raises(DataError, match="is no model of rows"):
        Records(write(tmp_path / "a.csv", apples()), like=tmp_path / "model.keras")()
    with pytest.raises(WeightsError, match="no weights of ImageNet"):
        RowNetwork(weights="imagenet", input_shape=(3,))


CLASSES = ("bad", "good")
KIND = Rows((Column("width", mean=6.0, spread=1.0), Column("colour", categories=("green", "red"))))


def measured(file, **asked):
    return labelled(file, KIND, CLASSES, Question(**asked))


def test_rows_with_labels_are_measured_by_the_column_that_holds_classes(tmp_path, capfd):
    rows = [[1.0, "red", " Good", "a"], [2.0, "green", "bad", "b"], [3.0, "red", "", "a"]]
    for name in ("label", "verdict"):
        known = measured(write(tmp_path / "a.csv", rows, ("width", "colour", name, "basket")))
        assert known.labels == ["good", "bad"]
        assert [KIND.read(source.given).tolist() for source in known.sources] == [[1.0, 1.0], [2.0, 0.0]]
        assert len(set(known.groups)) == 2
        assert "1 rows have no label and are left out" in capfd.readouterr().err
    assert measured(tmp_path / "a.csv", group_by="basket").groups == ["a", "b"]


def test_only_the_rows_of_test_are_measured_where_a_column_says_which_they_are(tmp_path, capfd):
    rows = [[1.0, "red", "good", "train"], [2.0, "green", "bad", "Testing"], [3.0, "red", "good", "test"]]
    known = measured(write(tmp_path / "a.csv", rows, ("width", "colour", "label", "split")))
    assert [str(source.name) for source in known.sources] == [f"{tmp_path / 'a.csv'}:2", f"{tmp_path / 'a.csv'}:3"]
    assert "measured on the 2 of 3 rows of test" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("header", "asked", "message"),
    [
        (("width", "colour", "label"), {"label": "lable"}, "has no column 'lable'. Did you mean 'label'"),
        (("width", "colour", "label"), {"group_by": "tree"}, "has no column 'tree'"),
        (("width", "colour", "a"), {}, "Which column of .* has the labels\\? Name it by --label; those that the model"),
        (("width", "hue", "label"), {}, "has no column 'colour', which the model takes"),
    ],
)
def test_a_table_that_cannot_be_measured_on_is_told(tmp_path, header, asked, message):
    file = write(tmp_path / "a.csv", [[1.0, "red", "good"], [2.0, "green", "mouldy"]], header)
    with pytest.raises(DataError, match=message):
        measured(file, **asked)


def test_a_class_that_the_model_does_not_know_is_told(tmp_path):
    file = write(tmp_path / "a.csv", [[1.0, "red", "good"], [2.0, "green", "mouldy"]])
    with pytest.raises(DataError, match="The model knows no class 'mouldy'"):
        measured(file)


RECIPE = """
\"\"\"Apples by their measures.\"\"\"
from kt import Classifier, LinearProbe, Phase, Recipe
from kt.backbones import RowNetwork
from kt.data import Records
from kt.freeze import frozen, last_blocks

recipe = Recipe(
    data=Records("apples.csv"), backbone=RowNetwork, weights="none", head=Classifier(dropout=0.0),
    phases=[Phase("train_head", frozen, epochs=2, lr=1e-2), Phase("fine_tune", last_blocks(1), epochs=2, lr=1e-3)],
    export=["saved_model", "tflite", "keras"],
)
"""


@pytest.fixture(scope="module")
def ran_rows(tmp_path_factory) -> Ran:
    """`kt run apples.py --json` on a table."""
    folder = tmp_path_factory.mktemp("rows")
    write(folder / "apples.csv", apples(120))
    (folder / "apples.py").write_text(RECIPE, encoding="utf-8")
    done = kt("run", "apples.py", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return Ran(folder, json.loads(done.stdout), done.stdout, done.stderr)


def texts(value):
    """All texts in what JSON holds."""
    if isinstance(value, dict | list):
        return [text for one in (value.values() if isinstance(value, dict) else value) for text in texts(one)]
    return [value] if isinstance(value, str) else []


@pytest.mark.slow
def test_a_run_of_rows_never_speaks_of_pictures(ran_rows):
    page = (ran_rows.folder / "runs/apples/LATEST/report.html").read_text(encoding="utf-8")
    page = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    read_aloud = re.findall(r'(?:alt|title|aria-label|data-name)="([^"]*)"', page)
    spoken = [ran_rows.stderr, summary(ran_rows.results), *texts(ran_rows.results), *read_aloud]
    for text in (*spoken, re.sub(r"<[^>]*>", " ", page)):
        assert not re.search("picture|photo|image", text.replace("docs/few-images.md", ""), re.IGNORECASE), text
    assert "rows at hand" in ran_rows.stderr and "rows/s" in ran_rows.stderr
    assert "On the test rows" in page and "Rows in each split" in page


@pytest.mark.slow
def test_a_recipe_of_rows_runs_from_the_table_to_answers(ran_rows, kt_here):
    tmp_path, report = ran_rows.folder, ran_rows.results
    assert report["data"]["kind"] == "rows" and report["data"]["image_size"] is None
    assert report["test"]["balanced_accuracy"] > 0.9
    assert [one["format"] for one in report["artifacts"] if one["released"]] == [
        "saved_model", "tflite_float32", "tflite_float16", "tflite_int8", "keras",
    ]  # fmt: skip
    released = tmp_path / "saved_models" / "apples" / "1"
    more = write(tmp_path / "more.csv", apples(classes=("ripe", "raw")))
    for model in (released, released / "apples.keras", tmp_path / "runs/apples/LATEST/model.keras"):
        assert [column.name for column in Records(more, like=model)().kind.columns] == ["width", "colour"]
    write(tmp_path / "new.csv", [[8.3, "red", ""], ["", "brown", ""], ["wide", "red", ""]])
    for file in (released, *released.glob("*.tflite"), *released.glob("*.keras")):
        artifact = open_artifact(file)
        answers = list(predict_files(artifact, [tmp_path / "new.csv"]))
        assert [str(answer.path).rpartition(":")[2] for answer in answers] == ["1", "2", "3"]
        assert answers[0].label == report["data"]["classes"][1] or answers[0].label == report["data"]["classes"][0]
        assert answers[2].error == "column 'width' is to hold a number, not 'wide'"
    done = kt_here("predict", "saved_models/apples", "new.csv", cwd=tmp_path)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 2
    assert "new.csv:3" in done.stderr
    for words in ("predict M apples.py", "predict M apples.py --out t.csv", "evaluate M --data new.csv --label x"):
        done = kt_here(*words.replace(" M ", " saved_models/apples ").split(), cwd=tmp_path)
        assert done.returncode != 0 and len(done.stderr.splitlines()) == 1, done.stderr
    done = kt_here("predict", "saved_models/apples", "new.csv", "--out", "table.csv", cwd=tmp_path)
    assert done.returncode == 0 and "3 rows, 1 of them can't be read" in done.stdout
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as table:
        assert [(row["path"], bool(row["label"])) for row in csv.DictReader(table)] == [
            ("new.csv:1", True), ("new.csv:2", True), ("new.csv:3", False),
        ]  # fmt: skip
    done = kt_here("evaluate", "saved_models/apples", "--data", "apples.csv", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"] == 120 and json.loads(done.stdout)["balanced_accuracy"] > 0.9
    page = Path(tmp_path / "runs" / "apples" / "LATEST" / "report.html")
    page.unlink()
    assert kt_here("report", "runs/apples/LATEST", cwd=tmp_path).returncode == 0
    assert "On the test rows" in page.read_text(encoding="utf-8")
    (tmp_path / "apples.csv").unlink()
    done = kt_here("export", "runs/apples/LATEST", "--format", "tflite", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "that the run kept" in done.stderr
