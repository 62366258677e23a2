"""Verbs that read pictures survive a corpus of bad files, name each bad one, and end with the documented code."""

import csv
import json
import os
import threading
import time
from pathlib import Path

import pytest
from conftest import TINY_RECIPE, Ran, make_folder
from corpus import Made, make_corpus
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kt.base.names import printable
from kt.data.checks.scan import scan
from kt.data.fixes import read_fixes
from kt.data.tables import read_table
from kt.errors import DataError, RecipeError
from kt.recipe import load

RECIPE = (Path(__file__).parents[1] / "recipes" / "apples.py").read_bytes()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> tuple[Path, Made]:
    root = tmp_path_factory.mktemp("corpus") / "photos"
    return root, make_corpus(root)


@pytest.fixture
def model(ran: Ran) -> Path:
    return ran.folder / "saved_models" / "tiny"


def named_in(text: str, names: frozenset[str]) -> set[str]:
    """Those of the names that the text does not have, as it would print them."""
    return {name for name in names if printable(name) not in text}


def test_the_corpus_has_files_of_each_kind_and_is_the_same_again(corpus, tmp_path: Path) -> None:
    root, made = corpus
    assert len(made) >= 300
    assert min(len(made.good), len(made.bad), len(made.either)) >= 50
    again = make_corpus(tmp_path / "again")
    assert again == made
    for name in sorted(name for name in made.good | made.bad if "PDF" not in name)[::10]:  # a PDF has a date in it
        assert (root / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_a_scan_reads_the_good_and_says_why_not_of_the_bad(corpus) -> None:
    root, made = corpus
    names = sorted(made.good | made.bad)
    looked = scan([root / name for name in names], names=names, root=root)
    reasons = dict(zip(looked.names, looked.reasons, strict=True))
    assert {name: reasons[name] for name in made.good if reasons[name]} == {}
    assert {name for name in made.bad if not reasons[name]} == set()
    assert all("\n" not in reason and len(reason) < 200 for reason in looked.reasons)


def test_kt_check_names_each_bad_file(corpus, tmp_path: Path, kt_ends) -> None:
    root, made = corpus
    code, out, err = kt_ends("check", root, "--quick", "--json", "--fix", tmp_path / "fixes.csv",
                             "--html", tmp_path / "check.html")  # fmt: skip
    assert code == 0, err
    told = json.loads(out)["findings"]
    unread = {
        item for finding in told if finding["kind"] in ("unreadable", "not_a_picture") for item in finding["items"]
    }
    assert made.bad <= unread
    assert not unread & made.good
    out_of = {decision.name for decision in read_fixes(tmp_path / "fixes.csv") if decision.action == "leave_out"}
    assert made.bad <= out_of


def test_kt_predict_answers_the_good_and_names_the_bad(corpus, model: Path, kt_ends) -> None:
    root, made = corpus
    code, out, err = kt_ends("predict", model, root)
    assert code == 0, err[-2000:]
    assert named_in(out, made.good) == set()
    assert named_in(err, made.bad) == set()
    assert "Traceback" not in err


def test_kt_predict_writes_a_row_for_each_file(corpus, model: Path, tmp_path: Path, kt_ends) -> None:
    root, made = corpus
    code, _, err = kt_ends("predict", model, root, "--out", tmp_path / "answers.csv")
    assert code == 0, err[-2000:]
    with (tmp_path / "answers.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    errors = [row for row in rows if row["error"]]
    assert len(rows) - len(errors) >= len(made.good)
    assert len(errors) >= len(made.bad)


@pytest.mark.parametrize("verb", ["drift", "evaluate", "explain"])
def test_other_verbs_name_the_bad_files(corpus, model: Path, tmp_path: Path, kt_ends, verb: str) -> None:
    root, made = corpus
    if verb == "evaluate":  # its labels are the model's: the folders become two of these
        for name, label in (("bad", "red"), ("good", "green")):
            (tmp_path / "photos").mkdir(exist_ok=True)
            (tmp_path / "photos" / label).symlink_to(root / name, target_is_directory=True)
        arguments = ["evaluate", model, "--data", tmp_path / "photos"]
        made = Made(*(frozenset(name.replace("bad/", "red/", 1).replace("good/", "green/", 1) for name in names)
                      for names in (made.good, made.bad, made.either)))  # fmt: skip
    elif verb == "explain":
        arguments = ["explain", model, root / "bad", "--out", tmp_path / "maps"]
        made = Made(made.good, frozenset(name for name in made.bad if name.startswith("bad/")), made.either)
    else:
        arguments = ["drift", model, root]
    code, _, err = kt_ends(*arguments)
    assert code == 0, err[-2000:]
    assert named_in(err, made.bad) == set() or verb == "evaluate"
    assert "Traceback" not in err


@pytest.mark.slow
def test_kt_run_trains_on_the_good_files_and_its_findings_name_the_bad(tmp_path: Path, kt_here) -> None:
    root = tmp_path / "photos"
    made = make_corpus(root)
    (tmp_path / "tiny.py").write_text(TINY_RECIPE, encoding="utf-8")
    arguments = ("run", "tiny.py", "--data", str(root), "--force")
    refused = kt_here(*arguments, cwd=tmp_path)
    assert refused.returncode == 3
    assert "A class of photos has no picture: empty class/" in refused.stderr.replace(f"{tmp_path}/", "")
    (root / "empty class").rmdir()
    done = kt_here(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path / "runs" / "tiny" / "LATEST" / "findings.json").read_text())["findings"]
    kinds = ("unreadable", "not_a_picture")
    unread = {item for finding in found if finding["kind"] in kinds for item in finding["items"]}
    assert made.bad <= unread
    assert not unread & made.good


# ------------------------------------------------------------------------------------------------ files that vanish


def test_a_folder_whose_files_vanish_and_change_ends_in_lines(tmp_path: Path, kt_ends) -> None:
    root = make_folder(tmp_path / "photos", {"red": 120, "blue": 120})
    files = sorted(root.rglob("*.png"))
    ended = threading.Event()

    def meddle() -> None:
        for number, file in enumerate(files):
            if ended.is_set():
                return
            if number % 3 == 0:
                file.unlink()
            elif number % 3 == 1:
                file.write_bytes(file.read_bytes()[:100])
            time.sleep(0.005)

    thread = threading.Thread(target=meddle)
    thread.start()
    try:
        code, out, err = kt_ends("check", root, "--quick", "--json")
    finally:
        ended.set()
        thread.join()
    assert code == 0, err
    assert "Traceback" not in err
    assert all("\n" not in finding["words"] for finding in json.loads(out)["findings"])


def test_a_folder_that_is_gone_when_its_files_are_read_ends_in_one_line(tmp_path: Path, monkeypatch, kt_ends) -> None:
    root = make_folder(tmp_path / "photos", {"red": 4, "blue": 4})
    from kt.data.sources.folder import Folder

    listed = Folder.listed

    def and_remove(source):
        result = listed(source)
        for file in root.rglob("*.png"):
            file.unlink()
        return result

    monkeypatch.setattr(Folder, "listed", and_remove)
    code, out, err = kt_ends("check", root, "--quick", "--json")
    assert code == 0, err
    assert sum(finding["kind"] == "unreadable" for finding in json.loads(out)["findings"]) == 8


# -------------------------------------------------------------------------------------------------------------- fuzzed

FUZZED = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@FUZZED
@given(
    st.one_of(st.binary(max_size=300), st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")))
)
@example(b"path,label\n" + b'"' * 200_000)
@example(b"path,label\nimg.png,a\n" + b"\0" * 10)
@example("path,label\nё.png,я\n".encode("utf-16"))
@example(b"apply,path,action,value\nyes,file:%00,relabel,a\n")
@example(b"path,action\n" + b"a" * 140_000 + b",leave_out\n")
def test_any_bytes_are_a_table_or_an_error_of_one_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "table.csv"
    file.write_bytes(content)
    for read in (read_table, read_fixes):
        try:
            read(file)
        except DataError as error:
            assert "\n" not in printable(error)


@FUZZED
@given(st.data())
def test_a_damaged_recipe_is_loaded_or_refused_in_one_line(tmp_path: Path, data: st.DataObject) -> None:
    text = bytearray(RECIPE)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(text) - 1))
        text[place : place + data.draw(st.integers(0, 40))] = data.draw(
            st.sampled_from(
                [b"", b"\0", b"\xff", b"(", b")", b'"', b"\n", b"  ", b"None", b"1", b",", b"=", b"lambda: 0"]
            )
        )
    file = tmp_path / f"recipe_{os.getpid()}.py"
    file.write_bytes(bytes(text))
    try:
        load(file)
    except RecipeError as error:
        assert "\n" not in printable(error)
