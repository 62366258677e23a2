"""Names as people and strangers give them: not UTF-8, with line breaks, with what a terminal obeys."""

import csv
import json
import os
import sys
from pathlib import Path, PurePosixPath

import pytest
from conftest import TINY_RECIPE, kt, make_folder

from kt.base.names import cell_of, json_text, path_of, printable, text_of

# What a file may be called on Linux: a byte that is not UTF-8, a line break, a tab, an escape, marks of direction.
LATIN1 = b"caf\xe9".decode("utf-8", "surrogateescape")
FORGED = "a\nerror: forged\x1b[31m"
STRANGE = [
    LATIN1,
    FORGED,
    "tab\tand\rback",
    "c1\x9b31m\x85next",
    "line\u2028paragraph\u2029end",
    "over\u202eride\u2066isolate",
    "lone\ud800",
]
ORDINARY = ["Äpfel", "苹果 和 梨", "עברית", "👩\u200d🌾.jpg", "C:\\photos\\a.jpg", "it's [bold]:heart:", "ﬁ\u3000x"]

posix_names = pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="these systems refuse such names")


@pytest.mark.parametrize("name", STRANGE)
def test_a_strange_name_is_shown_on_one_line_that_every_terminal_can_take(name):
    shown = printable(name)
    assert shown.encode("utf-8").decode() == shown
    assert len(shown.splitlines()) == 1
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in shown)
    assert shown != name


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_name_is_shown_as_it_is(name):
    assert printable(name) == name


def test_what_is_hidden_in_a_name_can_be_read_in_the_line():
    assert printable(LATIN1) == "caf\\xe9"
    assert printable(FORGED) == "a\\nerror: forged\\x1b[31m"
    assert printable("a\u202eb\ud800") == "a\\u202eb\\ud800"


VERBS = [
    *(["show"], ["list"], ["run"], ["evaluate", "--data", "x"], ["predict", "m"], ["export"], ["serve"], ["compare"]),
    *(["benchmark"], ["models", "--saved-models"], ["promote"], ["advise"], ["new", "--data", "x"], ["lr-find"]),
    *(["weights", "get"], []),
]


@pytest.mark.parametrize("verb", VERBS)
def test_an_error_about_a_strange_name_is_one_line_and_forges_none(verb, kt_ends):
    for name in (FORGED, LATIN1):
        code, out, error = kt_ends(*verb, name)
        told = out + error
        assert code != 0 or verb[:1] == ["models"], told
        assert printable(name) in told or "forged" not in told
        assert not any(line.startswith("error: forged") for line in told.splitlines())
        assert "\x1b" not in told
        assert "a bug in kt" not in told
        told.encode("utf-8")


def test_an_option_with_a_strange_value_is_told_on_one_line(kt_ends):
    code, _, error = kt_ends("run", "x.py", "--backend", FORGED)
    assert code == 2
    assert not any(line.startswith("error: forged") for line in error.splitlines())
    assert "\x1b" not in error


@posix_names
def test_recipes_with_strange_names_are_listed(tmp_path):
    for name in (LATIN1, FORGED):
        (tmp_path / f"{name}.py").write_text('"""Of \x1b[31mred things.\x1b"""\n\nrecipe = 1\n', encoding="utf-8")
    listed = kt("list", ".", cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert sorted(line.split("  ")[0] for line in listed.stdout.splitlines()) == sorted(
        [f"{printable(LATIN1)}.py", f"{printable(FORGED)}.py"]
    )
    assert "\x1b" not in listed.stdout
    as_json = json.loads(kt("list", ".", "--json", cwd=tmp_path).stdout)
    assert {entry["file"] for entry in as_json} == {f"{LATIN1}.py", f"{FORGED}.py"}


@posix_names
def test_names_are_printed_where_standard_output_takes_ascii_only(tmp_path):
    (tmp_path / "Äpfel.py").write_text('"""Äpfel."""\n\nrecipe = 1\n', encoding="utf-8")
    listed = kt("list", ".", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout == "\\xc4pfel.py  \\xc4pfel.\n"
    as_json = kt("list", ".", "--json", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert json.loads(as_json.stdout) == [{"file": "Äpfel.py", "summary": "Äpfel."}]


def rename_some(folder):
    """Give the first pictures of a folder strange names, as bytes, and return these."""
    names = [b"caf\xe9.png", b"a\nerror: forged.png", b"e\x1b[31mred.png", b"=1+2.png", "over\u202eride.png".encode()]
    for index, name in enumerate(names):
        (folder / f"{index:03d}.png").rename(folder / os.fsdecode(name))
    (folder / os.fsdecode(b"bro\xffken\n\x1b[2J.jpg")).write_bytes(b"\xff\xd8\xff not a picture")
    return {os.fsdecode(name) for name in names}


def check_told(text):
    """Nothing in a program's output that a name could have smuggled there."""
    assert not any(line.startswith("error: forged") for line in text.splitlines())
    assert "\x1b" not in text
    assert "\u202e" not in text
    text.encode("utf-8")


@posix_names
def test_pictures_with_strange_names_are_labelled_and_told_apart(ran, tmp_path, kt_here):
    names = rename_some(make_folder(tmp_path / "pic\x1btures", {"red": 6}) / "red")
    model = ran.folder / "saved_models" / "tiny"
    told = kt_here("predict", str(model), "pic\x1btures", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    check_told(told.stdout + told.stderr)
    assert [line.count("\t") for line in told.stdout.splitlines()] == [2] * 6
    as_json = kt_here("predict", str(model), "pic\x1btures", "--json", cwd=tmp_path)
    check_told(as_json.stdout)
    answers = [json.loads(line) for line in as_json.stdout.splitlines()]
    assert {Path(answer["path"]).name for answer in answers if "label" in answer} == {*names, "005.png"}
    measured = kt_here("evaluate", str(model), "--data", "pic\x1btures", "--json", cwd=tmp_path)
    assert measured.returncode == 0, measured.stderr
    check_told(measured.stdout + measured.stderr)
    assert json.loads(measured.stdout)["skipped"] == ["pic\x1btures/red/bro\udcffken\n\x1b[2J.jpg"]


@pytest.mark.parametrize(
    ("name", "cell"),
    [("a//b", "a//b"), ("", ""), ("-1", "./-1"), ("caf\udce9", "file:caf%E9"), ("a\nb", "file:a%0Ab")],
)
def test_a_group_s_name_stays_as_it_is_where_it_is_plain_and_no_formula(name, cell):
    assert cell_of(name) == cell


@posix_names
@pytest.mark.slow
def test_a_run_on_strange_names_ends_with_a_report_that_has_each_as_it_is(tmp_path):
    work = tmp_path / "not\udcff UTF-8\n\x1b[31m"  # the working directory, so that every absolute path has it too
    pictures = make_folder(work / os.fsdecode(b"pic\xfftures"), {"red": 20, "green": 20, "blue": 20})
    names = {f"{label}/{name}" for label in ("red", "green") for name in rename_some(pictures / label)}
    (work / "tiny.py").write_text(TINY_RECIPE, encoding="utf-8")
    done = kt("run", "tiny.py", "--data", pictures.name, "--json", cwd=work)
    assert done.returncode == 0, done.stderr
    check_told(done.stdout + done.stderr)
    run = work / "runs" / "tiny" / "LATEST"
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert {one["name"] for one in report["data"]["skipped"]} == {
        f"{label}/{os.fsdecode(b'bro')}\udcffken\n\x1b[2J.jpg" for label in ("red", "green")
    }
    assert report["recipe"]["data"] == pictures.name
    assert all(artifact["released"] for artifact in report["artifacts"])
    with (run / "splits.csv").open(encoding="utf-8", newline="") as table:
        kept = {str(path_of(row["name"])) for row in csv.DictReader(table)}
    assert names <= kept
    assert all((pictures / name).is_file() for name in kept)
    assert "\x1b" not in (run / "report.html").read_text(encoding="utf-8")
    json.loads((work / "saved_models" / "tiny" / "1" / "kt.json").read_text(encoding="utf-8"))
    again = kt("export", "runs/tiny/LATEST", "--format", "tflite", cwd=work)
    assert again.returncode == 0, again.stderr
    check_told(again.stdout + again.stderr)
    table = kt("predict", "saved_models/tiny", pictures.name, "--out", "a\n\udcff.csv", cwd=work)
    assert table.returncode == 0, table.stderr
    check_told(table.stdout + table.stderr)


@posix_names
@pytest.mark.parametrize("name", [LATIN1, FORGED, ".hidden", "x" * 220])
def test_a_recipe_whose_name_can_name_no_model_is_refused_before_data_are_read(name, tmp_path, kt_ends, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(f"{name}.py").write_text(TINY_RECIPE, encoding="utf-8")
    for verb in ("run", "show"):
        code, _, told = kt_ends(verb, f"{name}.py")
        assert code == 2
        assert "a recipe's name is its model's" in told
        assert len(told.splitlines()) == 1


@posix_names
@pytest.mark.parametrize("option", ["--runs", "--saved-models"])
def test_a_folder_that_tensorflow_cannot_write_to_is_told_before_training(option, tmp_path, kt_here):
    make_folder(tmp_path / "pictures", {"red": 4, "green": 4})
    (tmp_path / "tiny.py").write_text(TINY_RECIPE, encoding="utf-8")
    done = kt_here("run", "tiny.py", option, os.fsdecode(b"out\xff"), cwd=tmp_path)
    assert done.returncode == 7
    assert "its name is not UTF-8; name another folder" in done.stderr
    assert "out\\xff" in done.stderr
    assert "epoch" not in done.stderr


@posix_names
@pytest.mark.parametrize("name", [LATIN1, FORGED, "a\x1bb"])
def test_a_strange_name_of_a_class_is_refused_before_training(name, tmp_path, kt_here):
    make_folder(tmp_path / "pictures", {"red": 8, "green": 8})
    (tmp_path / "pictures" / "red").rename(tmp_path / "pictures" / name)
    (tmp_path / "tiny.py").write_text(TINY_RECIPE, encoding="utf-8")
    done = kt_here("run", "tiny.py", cwd=tmp_path)
    assert done.returncode == 3
    check_told(done.stderr)
    assert "rename it" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", [*STRANGE, *ORDINARY, "file:x", "=1+1", "a%20b"])
def test_json_and_tables_give_every_name_back(name):
    assert json.loads(json_text({"name": name})) == {"name": name}
    json_text({"name": name}).encode("utf-8")
    if name != "lone\ud800":  # no name of a file
        cell = text_of(PurePosixPath("red", name))
        cell.encode("utf-8")
        assert len(cell.splitlines()) == 1
        assert path_of(cell) == Path("red", name)
