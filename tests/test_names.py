"""Names as people and strangers give them: not UTF-8, with line breaks, with what a terminal obeys."""

import json
import sys

import pytest
from conftest import kt

from kt.console import printable

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
