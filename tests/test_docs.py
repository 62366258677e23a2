"""What README and docs tell people to type works."""

import contextlib
import dataclasses
import io
import os
import re
import shlex
import shutil
import subprocess
import sys

import click
import pytest
from conftest import REPOSITORY, make_folder

from kt import Cdan, Classifier, Coral, Dann, Mcc, Mmd, Recipe
from kt.adaptation import METHODS
from kt.cli import cli
from kt.parts import objectives

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


def commands(text):
    """Each command of `kt` in the indented and the fenced blocks of a page, without its comment."""
    yield from re.findall(r"^(?: {4}|\t)(?:\$ )?(kt .*)$", text, re.MULTILINE)
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if language in ("", "sh", "bash", "console"):
            yield from re.findall(r"^(?:\$ )?(kt .*)$", block, re.MULTILINE)


def words(line):
    """The command's words: what stands behind two spaces explains it."""
    return shlex.split(re.split(r"\s+[|>&]|  ", line)[0], comments=True)[1:]


LINES = [
    pytest.param(line, id=f"{page.name}: {line[:50]}")
    for page in PAGES
    for line in commands(page.read_text(encoding="utf-8"))
    # Not the lines that show how a verb is called: `kt run RECIPE [options]`.
    if not re.search(r"[A-Z]{3,}|\[options\]|\.\.\.|\|.*\||  kt ", line)
]


def test_there_are_commands_to_try():
    assert len(LINES) > 20


@pytest.mark.parametrize("line", LINES)
def test_each_command_in_the_documentation_has_a_verb_and_options_that_exist(line):
    command, arguments = cli, words(line)
    context = click.Context(cli, info_name="kt")
    while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        name, command, arguments = command.resolve_command(context, arguments)
        context = click.Context(command, info_name=name, parent=context)
    if isinstance(command, click.Group):  # `kt --help`, and verbs that do something by themselves
        assert set(arguments) <= {"--help", "--version", "--json"}
        return
    command.make_parser(context).parse_args(list(arguments))


MAP = REPOSITORY / "docs" / "README.md"
LINKING = [*PAGES, REPOSITORY / "CONTRIBUTING.md", REPOSITORY / "benchmarks" / "README.md"]


def links(page):
    """Each relative link of a page, and each picture in it, as a file and an anchor (empty for the whole file)."""
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", target):
            file, _, anchor = target.partition("#")
            yield (page.parent / file).resolve() if file else page, anchor


def anchors(page):
    """The anchors that GitHub makes of a page's headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    made = {}
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        name = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        made[name] = made.get(name, -1) + 1
        yield f"{name}-{made[name]}" if made[name] else name


@pytest.mark.parametrize("page", LINKING, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_each_relative_link_leads_to_a_file_and_a_heading_in_it(page):
    for file, anchor in links(page):
        assert file.exists(), file
        assert not anchor or anchor in set(anchors(file)), f"{file.name}#{anchor}"


def test_the_map_of_the_documentation_has_each_page_and_the_readme_has_the_map():
    linked = {file for file, _ in links(MAP)}
    assert {page for page in PAGES[1:] if page != MAP} - linked == set()
    assert MAP in {file for file, _ in links(PAGES[0])}


START = REPOSITORY / "docs" / "start.md"


FASTER = {
    "run": ["--set", "data.image_size=64x64"],
    "lr-find": ["--set", "data.image_size=64x64", "--steps", "20"],
    "compare": [
        "--set",
        "data.image_size=64x64",
        "--only",
        "scratch,probe",
        "--seeds",
        "2",
        "--epochs",
        "2",
        "--no-curve",
    ],
    "advise": ["--image-size", "64x64", "--backbones", "MobileNetV2"],
}
"""What makes a command quick without changing what it is a command for."""


@pytest.mark.slow
def test_the_first_steps_run_as_they_stand_in_order(tmp_path):
    shutil.copytree(REPOSITORY / "recipes", tmp_path / "recipes")
    make_folder(tmp_path / "photos", {"red": 30, "green": 30})
    make_folder(tmp_path / "test", {"red": 5, "green": 5})
    shutil.copytree(tmp_path / "photos" / "red", tmp_path / "dir")
    from PIL import Image

    Image.open(tmp_path / "dir" / "000.png").convert("RGB").save(tmp_path / "photo.jpg")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = []
    for line in commands(START.read_text(encoding="utf-8")):
        verb, *rest = words(line)
        if verb == "serve" or "jax" in rest:  # the one runs until it is stopped, the other needs an extra
            continue
        if "--budget" in rest:
            rest[rest.index("--budget") + 1] = "20s"
        ended = subprocess.run(
            [sys.executable, "-c", "from kt.cli import main; main()", verb, *rest, *FASTER.get(verb, [])],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ended.returncode in (0, 6 if verb == "run" else 0), f"{line}\n{ended.stderr}"
        done.append(verb)
    assert {"run", "new", "advise", "compare", "lr-find", "predict", "evaluate", "export"} <= set(done)
    snippets = re.findall(r"^```python\n(.*?)^```", START.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(snippets) == 1
    ended = subprocess.run(
        [sys.executable, "-c", snippets[0]], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[1] in ("red", "green")


# --------------------------------------------------------------------------------------------------- docs/adaptation


ADAPTATION = REPOSITORY / "docs" / "adaptation"
RUNNING = [REPOSITORY / "docs" / "adaptation.md", *sorted(ADAPTATION.glob("*.md"))]
NUMBER = r"-?\d+(?:\.\d+)?"


def blocks(page):
    """Each Python block of a page, and the text block right after it, which says what the code prints; else ""."""
    found = r"^```python\n(.*?)^```(?:\n\n```text\n(.*?)^```)?"
    return re.findall(found, page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def alike(printed, said):
    """Whether two texts have the same words, and numbers that differ by at most one in the last place."""
    if re.sub(NUMBER, "#", printed).split() != re.sub(NUMBER, "#", said).split():
        return False
    pairs = zip(re.findall(NUMBER, printed), re.findall(NUMBER, said), strict=True)
    return all(abs(float(one) - float(other)) < 1.5 * 10.0 ** -len(other.partition(".")[2]) for one, other in pairs)


@pytest.mark.parametrize("page", RUNNING, ids=lambda page: page.stem)
def test_the_code_of_a_page_on_adaptation_runs_and_prints_what_the_page_says(page):
    import keras

    names = {"__name__": page.stem}
    assert blocks(page)
    for code, said in blocks(page):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(code, page.name, "exec", dont_inherit=True), names)
        assert alike(printed.getvalue(), said), printed.getvalue()
    if "phases" in names:
        Recipe(names.get("data", lambda: None), keras.applications.MobileNetV2, Classifier(), names["phases"])


def test_what_a_page_says_is_compared_with_what_is_printed_to_the_last_place():
    assert alike("none  0.94\ncoral 12\n", "none 0.95\ncoral 12\n")
    assert not alike("none 0.93\n", "none 0.95\n")
    assert not alike("coral 0.95\n", "none 0.95\n")
    assert not alike("none 0.95\n", "")


def test_each_method_of_adaptation_and_each_objective_has_a_page():
    pages = {page.stem: page.read_text(encoding="utf-8") for page in ADAPTATION.glob("*.md")}
    assert [name for name in METHODS if name not in pages] == []
    shown = "\n".join(pages.values())
    assert [name for name in objectives.__all__ if not re.search(rf"\b{name}\(", shown)] == []


@pytest.mark.parametrize(
    ("page", "part"),
    [*METHODS.items(), ("deep_coral", Coral), ("mmd", Mmd), ("mcc", Mcc), ("dann", Dann), ("cdan", Cdan)],
)
def test_the_page_of_a_method_or_an_objective_has_each_setting_with_its_default(page, part):
    text = (ADAPTATION / f"{page}.md").read_text(encoding="utf-8")
    assert f"`{part.__name__}`" in text.splitlines()[0]
    for field in dataclasses.fields(part):
        assert f"| `{field.name}` | `{field.default!r}` |" in text
