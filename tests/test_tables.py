"""Tables as people and programs write them: read as they are meant, said how, and refused with the line where not."""

import json
import os
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kt.cli.own_data import own_pictures
from kt.data import Table
from kt.data.tables import TableLayout, is_table, read_table
from kt.errors import DataError, RecipeError
from kt.kinds.pictures.kind import Pictures
from kt.recipe import load

LABELS = ("leaf", "rust", "leaf", "rust", "leaf", "rust", "leaf", "rust")


def picture(file: Path, seed: int) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    Image.fromarray(small).resize((40, 40), Image.Resampling.BICUBIC).save(file)
    return file


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with img/0.png to img/7.png."""
    for index in range(8):
        picture(tmp_path / "img" / f"{index}.png", index)
    return tmp_path


def table(root: Path, *lines: str, name: str = "table.csv", encoding: str = "utf-8") -> Path:
    file = root / name
    file.write_bytes("".join(f"{line}\r\n" for line in lines).encode(encoding))
    return file


def plain(header: str = "path,label", *, row: str = "img/{0}.png,{1}") -> list[str]:
    return [header, *(row.format(index, label) for index, label in enumerate(LABELS))]


def said(layout: TableLayout) -> str:
    return "\n".join([*layout.facts, *layout.notes])


def check(layout: TableLayout, root: Path) -> None:
    """All eight pictures, each with its label."""
    assert [(one.file.resolve(), one.label) for one in layout.pictures] == [
        ((root / "img" / f"{index}.png").resolve(), label) for index, label in enumerate(LABELS)
    ]


# ------------------------------------------------------------------------------------------------ encoding, delimiter


@pytest.mark.parametrize(
    ("delimiter", "words"), [(",", ""), (";", "semicolons"), ("\t", "tabs"), ("|", "bars"), (" ", "spaces")]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_any_usual_delimiter_and_unicode_encoding_is_read(
    photos: Path, delimiter: str, words: str, encoding: str
) -> None:
    lines = [line.replace(",", delimiter) for line in plain()]
    layout = read_table(table(photos, *lines, encoding=encoding))
    check(layout, photos)
    assert ("columns lie between" in said(layout)) == bool(words)
    assert words in said(layout)


def test_a_delimiter_in_the_first_line_of_excel_is_taken(photos: Path) -> None:
    check(read_table(table(photos, "sep=;", *plain("path;label", row="img/{0}.png;{1}"))), photos)


def test_commas_in_labels_do_not_hide_semicolons(photos: Path) -> None:
    lines = [line.replace(",", ";").replace("rust", "rust, brown") for line in plain()]
    layout = read_table(table(photos, *lines))
    assert set(layout.counts()) == {"leaf", "rust, brown"}


def test_text_of_windows_is_read_and_said(photos: Path) -> None:
    lines = [line.replace("leaf", "fäule") for line in plain()]
    layout = read_table(table(photos, *lines, encoding="cp1252"))
    assert layout.counts() == {"fäule": 4, "rust": 4}
    assert "is not UTF-8 and was read as Windows-1252" in said(layout)


@pytest.mark.parametrize(
    "content", [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"path,label\n\x00\x81\x8d,\xff", bytes(range(256))]
)
def test_what_is_no_text_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"no text|not clear which one|no row|None of the"):
        read_table(tmp_path / "table.csv")


def test_an_empty_table_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is empty; expected a first line such as path,label"):
        read_table(table(tmp_path, ""))


@pytest.mark.parametrize("kind", ["pipe", "folder", "nothing", "endless", "large", "link to itself"])
def test_what_is_no_file_ends_in_one_line_and_never_waits(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "table.csv"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "endless":
        file.symlink_to("/dev/zero")
    elif kind == "large":
        file.write_bytes(b"path,label\n")
        os.truncate(file, 2**33)
    elif kind == "link to itself":
        file.symlink_to(file)
    with pytest.raises(DataError, match=r"Cannot read the table .*table\.csv: .+") as found:
        read_table(file)
    assert "\n" not in str(found.value)


# --------------------------------------------------------------------------------------------------------- columns


@pytest.mark.parametrize(
    "header",
    [
        *("Path,Label", "PATH,LABEL", "filename,class", "file,category", "image_path,target", "Image Path,Species"),
        *("img,y", "filepath,Class Name", "image,diagnosis", "id,label", "name,labels", "bild,sorte", "a,b"),
    ],
)
def test_columns_of_other_names_are_taken_and_said(photos: Path, header: str) -> None:
    layout = read_table(table(photos, *plain(header)))
    check(layout, photos)
    path, label = header.split(",")
    assert f"pictures in {path!r}, labels in {label!r}" in said(layout)


def test_columns_may_stand_in_any_order_among_others_which_are_named(photos: Path) -> None:
    layout = read_table(table(photos, *plain("age,class,image,note", row="4{0},{1},img/{0}.png,x")))
    check(layout, photos)
    assert "pictures in 'image', labels in 'class'; not looked at: age, note" in said(layout)


def test_of_a_class_and_its_number_the_class_is_taken(photos: Path) -> None:
    lines = ["class_id,image,class"] + [f"{'lr'.index(name[0])},img/{i}.png,{name}" for i, name in enumerate(LABELS)]
    check(read_table(table(photos, *lines)), photos)


def test_a_table_without_a_first_line_of_names_is_read(photos: Path) -> None:
    layout = read_table(table(photos, *plain()[1:]))
    check(layout, photos)
    assert "no line names the columns; pictures in 'column 1', labels in 'column 2'" in said(layout)
    check(read_table(table(photos, *plain(row="{1},img/{0}.png")[1:])), photos)


def test_unclear_columns_are_listed_with_the_way_to_name_them(photos: Path) -> None:
    lines = plain("image,grower,variety", row="img/{0}.png,x{0},{1}")
    with pytest.raises(DataError, match=r"no column 'label'.*columns are: image, grower, variety.*label_column="):
        read_table(table(photos, *lines))
    check(read_table(table(photos, *lines), label_column="variety"), photos)
    with pytest.raises(DataError, match=r"no column 'varity'\. Did you mean 'variety'"):
        read_table(table(photos, *lines), label_column="varity")
    two = plain("one,two,label", row="img/{0}.png,img/7.png,{1}")
    check(read_table(table(photos, *two), path_column="one"), photos)
    with pytest.raises(DataError, match=r"no column 'path'.*path_column="):
        read_table(table(photos, *plain("place,when,label", row="x,y,{1}")))


def test_a_column_of_ones_and_zeros_for_each_class_is_taken_and_said(photos: Path) -> None:
    lines = ["image,leaf,rust"] + [
        f"{i},{int(label == 'leaf')}.0,{int(label == 'rust')}.0" for i, label in enumerate(LABELS)
    ]
    layout = read_table(table(photos, *lines))
    check(layout, photos)
    assert "one class a column (leaf, rust)" in said(layout)
    lines[3] = "img/2.png,1,1"
    with pytest.raises(DataError, match=r"table\.csv:4: a one in several columns \(leaf, rust\)"):
        read_table(table(photos, *lines))
    lines[3] = "img/2.png,0,0"
    assert "1 row has no label and is left out: line 4" in said(read_table(table(photos, *lines)))


@pytest.mark.parametrize(
    ("column", "words", "splits"),
    [
        ("split", ["Training", "dev", "TEST"], {"train", "validation", "test"}),
        ("Split", ["train_set", "Valid", "testing"], {"train", "validation", "test"}),
        ("subset", ["TRAIN", "val", "test"], {"train", "validation", "test"}),
        ("Usage", ["Training", "Training", "PrivateTest"], {"train", "test"}),
        ("is_train", ["1", "1", "0"], {"train", "test"}),
        ("is_valid", ["False", "False", "True"], {"train", "validation"}),
        ("is_test", ["no", "no", "yes"], {"train", "test"}),
    ],
)
def test_splits_by_any_of_their_words_are_taken(photos: Path, column: str, words: list[str], splits: set[str]) -> None:
    lines = [f"{line},{words[index % 3]}" for index, line in enumerate(plain()[1:])]
    layout = read_table(table(photos, f"path,label,{column}", *lines))
    assert {one.split for one in layout.pictures} == splits
    assert "split" in said(layout).lower() or "is test" in said(layout) or "a yes in" in said(layout)


def test_an_unknown_split_is_told_with_its_line(photos: Path) -> None:
    lines = [f"{line},{'train' if index else 'trian'}" for index, line in enumerate(plain()[1:])]
    with pytest.raises(DataError, match=r"table\.csv:2: unknown split 'trian'. Did you mean 'train'"):
        read_table(table(photos, "path,label,split", *lines))


# ----------------------------------------------------------------------------------------------------------- paths


@pytest.mark.parametrize(
    ("row", "fact"),
    [
        ("img\\{0}.png,{1}", "written with \\ and read with /"),
        (".\\img\\{0}.png,{1}", "written with \\ and read with /"),
        ("C:\\Users\\x\\my photos\\img\\{0}.png,{1}", "found by their names below"),
        ("/home/other/data/img/{0}.png,{1}", "found by their names below"),
        ("img/{0},{1}", "found by their names below"),
        ("{0}.png,{1}", "found by their names below"),
        ("{0},{1}", "found by their names below"),
        ("IMG/{0}.PNG,{1}", "found by their names below"),
        ("img/{0}.jpg,{1}", "found by their names below"),
    ],
)
def test_paths_of_other_machines_and_without_suffix_lead_to_the_pictures(photos: Path, row: str, fact: str) -> None:
    layout = read_table(table(photos, *plain(row=row)))
    check(layout, photos)
    assert f"8 paths are {fact}" in said(layout)


def test_paths_may_be_relative_to_the_working_directory(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    (photos / "lists").mkdir()
    layout = read_table(table(photos / "lists", *plain()))
    check(layout, photos)
    assert "8 paths are relative to the working directory" in said(layout)


def test_a_name_that_two_files_have_is_taken_by_its_folders_or_not_at_all(photos: Path) -> None:
    for index in range(8):
        picture(photos / "old" / f"{index}.png", 100 + index)
    check(read_table(table(photos, *plain(row="D:\\x\\img\\{0}.png,{1}"))), photos)
    with pytest.raises(DataError, match=r"None of the 8 pictures of .* is there; the first, 0\.png, was sought"):
        read_table(table(photos, *plain(row="{0}.png,{1}")))


def test_names_are_found_in_both_ways_to_write_an_accent(photos: Path) -> None:
    name = unicodedata.normalize("NFD", "blüte.png")
    picture(photos / "img" / name, 50)
    layout = read_table(table(photos, *plain(), f"img/{unicodedata.normalize('NFC', name)},leaf"))
    assert layout.pictures[-1].file.exists()


# ---------------------------------------------------------------------------------------------------------- labels


@pytest.mark.parametrize("missing", ["", "nan", "NaN", "None", "NULL", "N/A", "<NA>"])
def test_rows_without_a_label_are_left_out_and_told_with_their_lines(photos: Path, missing: str) -> None:
    lines = plain()
    lines[3] = f"img/2.png,{missing}"
    lines[6] = f"img/5.png,{missing}"
    layout = read_table(table(photos, *lines))
    assert layout.counts() == {"leaf": 3, "rust": 3}
    assert "2 rows have no label" in said(layout)
    assert "left out: lines 4, 7" in said(layout)


def test_a_table_without_any_label_is_refused(photos: Path) -> None:
    with pytest.raises(DataError, match=r"no row has a label; lines 2, 3"):
        read_table(table(photos, *plain(row="img/{0}.png,nan")))


def test_a_label_with_a_line_break_is_refused_with_its_line(photos: Path) -> None:
    with pytest.raises(DataError, match=r"table\.csv:10: the label 'le\\naf' holds a line break"):
        read_table(table(photos, *plain(), '"img/0.png","le\naf"'))


def test_spellings_of_one_class_are_one_class(photos: Path) -> None:
    lines = [line.replace("leaf", ("Leaf", "leaf", " leaf  ")[index % 3]) for index, line in enumerate(plain())]
    layout = read_table(table(photos, *lines))
    assert layout.counts() == {"leaf": 4, "rust": 4}
    assert "'Leaf' and 'leaf' are taken as one class, 'leaf'" in said(layout)
    numbers = plain(row="img/{0}.png,1.0")[:5] + plain(row="img/{0}.png,1")[5:7] + plain(row="img/{0}.png,2")[7:]
    assert read_table(table(photos, *numbers)).counts() == {"1": 6, "2": 2}


@pytest.mark.parametrize("several", ["leaf|rust", "leaf, rust", "rust;leaf", "rust|mould"])
def test_several_labels_in_a_cell_are_refused_with_the_line(photos: Path, several: str) -> None:
    with pytest.raises(DataError, match=r"table\.csv:10: .* is several labels in one cell.*one label a picture"):
        read_table(table(photos, *plain(), f'img/0.png,"{several}"'))


def test_names_with_commas_and_spaces_stay_names(photos: Path) -> None:
    lines = [line.replace("leaf", '"tench, Tinca tinca"').replace("rust", "red-leaf disease") for line in plain()]
    layout = read_table(table(photos, *lines))
    assert layout.counts() == {"red-leaf disease": 4, "tench, Tinca tinca": 4}
    assert layout.notes == ()


def test_rows_that_say_the_same_again_are_left_out_and_told(photos: Path) -> None:
    layout = read_table(table(photos, *plain(), "img/0.png,leaf", "./img/3.png,Rust"))
    check(layout, photos)
    assert "2 rows say the same again and are left out: lines 10, 11" in said(layout)


def test_a_picture_with_two_labels_is_left_out_and_many_are_an_error(photos: Path) -> None:
    layout = read_table(table(photos, *plain(), "img/0.png,rust"))
    assert len(layout.pictures) == 7
    assert "img/0.png (leaf in line 2, rust in line 10)" in said(layout)
    with pytest.raises(
        DataError, match=r"3 of 8 pictures have two labels: img/0\.png \(leaf in line 2, rust in line 10"
    ):
        read_table(table(photos, *plain(), "img/0.png,rust", "img/2.png,rust", "img/4.png,rust"))


# ---------------------------------------------------------------------------------------------------------- groups


def test_groups_come_from_the_column_another_column_a_pattern_or_the_folders(tmp_path: Path) -> None:
    rows = []
    for plant in range(8):
        for view in ("front", "side"):
            file = picture(tmp_path / "img" / f"plant_{plant}" / f"{view}.png", len(rows))
            rows.append(f"{file.relative_to(tmp_path)},{'ab'[plant % 2]},{plant}")

    def sizes(header: str, **options: str) -> list[int]:
        layout = read_table(table(tmp_path, header, *rows), **options)  # type: ignore[arg-type]
        return sorted(Counter(one.group for one in layout.pictures).values())

    pairs, each = [2] * 8, [1] * 16
    assert sizes("path,label,group") == pairs
    assert sizes("path,label,patient", group_by="patient") == pairs
    assert sizes("path,label,patient", group_by="Patient") == pairs
    assert sizes("path,label,patient", group_by="none") == each
    assert sizes("path,label,group", group_by="none") == each
    assert sizes("path,label,patient", group_by=r"(plant_\d)") == pairs
    assert sizes("path,label,patient", group_by="folder") == pairs
    assert sizes("path,label,patient") == each
    with pytest.raises(DataError, match=r"no column 'pateint'\. Did you mean 'patient'"):
        read_table(table(tmp_path, "path,label,patient", *rows), group_by="pateint")
    with pytest.raises(RecipeError, match="is no regular expression"):
        Table("x.csv", group_by="(")


def test_folders_within_a_class_are_things_in_a_table_as_in_a_folder(tmp_path: Path) -> None:
    rows = []
    for label in ("leaf", "rust"):
        for number in range(12):
            file = picture(tmp_path / label / f"plant_{number // 3}" / f"view{number % 3}.png", number)
            rows.append(f"{file.relative_to(tmp_path)},{label}")
    layout = read_table(table(tmp_path, "path,label", *rows))
    assert sorted(Counter(one.group for one in layout.pictures).values()) == [3] * 8
    assert "8 things in 24 pictures by a folder within a class" in said(layout)


# ----------------------------------------------------------------------------------------------------- as a source


def test_the_splits_of_a_table_carry_what_was_said(photos: Path) -> None:
    lines = [*plain("filename;class", row="img/{0}.png;{1}"), "img/7.png;rust"]
    splits = Table(table(photos, *lines), image_size=(16, 16))()
    assert sum(map(len, splits.parts().values())) == 8
    assert "columns lie between semicolons; pictures in 'filename', labels in 'class'" in "\n".join(splits.facts)
    assert "1 row says the same again and is left out: line 10" in splits.notes


def test_a_path_is_a_table_by_its_suffix_unless_it_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "photos.csv").mkdir()
    assert not is_table(tmp_path / "photos.csv")
    assert [is_table(tmp_path / f"x{suffix}") for suffix in (".csv", ".TSV", ".txt", ".py", "")] == [True] * 3 + [
        False
    ] * 2


# ------------------------------------------------------------------------------------------------------- the verbs


def test_kt_new_writes_a_recipe_for_a_table_and_says_how_it_is_read(photos, kt_ends, monkeypatch):
    monkeypatch.chdir(photos)
    table(photos, *plain("filename;class", row="img/{0}.png;{1}"), name="photos.tsv")
    code, out, err = kt_ends("new", "mine.py", "--data", "photos.tsv")
    assert code == 0
    assert "8 pictures of 2 classes (leaf, rust)" in out
    assert "columns lie between semicolons; pictures in 'filename', labels in 'class'" in err
    assert 'data=Table("photos.tsv"' in (photos / "mine.py").read_text(encoding="utf-8")
    assert load(photos / "mine.py").recipe.data == Table("photos.tsv", validation=0.05)


@pytest.mark.parametrize("verb", [["new", "mine.py", "--data", "x.csv"], ["advise", "x.csv"]])
def test_a_pipe_as_a_table_ends_in_one_line(verb, tmp_path, kt_ends, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("x.csv")
    code, out, err = kt_ends(*verb)
    assert (code, out) == (3, "")
    assert "Cannot read the table x.csv: not a file (a pipe)." in err


def test_kt_evaluate_measures_the_test_rows_of_a_table(photos, kt_ends, monkeypatch):
    class Model:
        classes = ("leaf", "rust")
        kind = Pictures((8, 8))

    def scores_of(artifact, files):
        return np.array([[0.2, 0.8]] * len(files), "float32"), list(range(len(files))), []

    monkeypatch.setattr("kt.export.artifact.open_artifact", lambda path: Model())
    monkeypatch.setattr("kt.predict.scores_of", scores_of)
    rows = [f"img\\{index}.png,{label.upper()}" for index, label in enumerate(LABELS)]
    code, out, err = kt_ends("evaluate", "x", "--data", table(photos, "Path,Label", *rows), "--json")
    assert code == 0, err
    assert (json.loads(out)["images"], json.loads(out)["accuracy"]) == (8, 0.5)
    assert "written with \\ and read with /" in err
    splits = [f"{row},{'Testing' if index > 4 else 'Training'}" for index, row in enumerate(rows)]
    code, out, err = kt_ends("evaluate", "x", "--data", table(photos, "Path,Label,Split", *splits), "--json")
    assert (code, json.loads(out)["images"]) == (0, 3)
    assert "measured on the 3 of 8 rows of test" in err
    code, _, err = kt_ends("evaluate", "x", "--data", table(photos, "path,label", "img/0.png,mould"))
    assert code == 3
    assert "The model knows no class 'mould'" in err


def test_a_table_is_taken_in_place_of_a_recipe_s_pictures(photos):
    for name in ("x.csv", "x.TSV", "x.txt"):
        assert own_pictures(photos / name, Table("y.csv", test=0.1)) == Table(str(photos / name), test=0.1)
