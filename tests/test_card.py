"""The model card: what it says, from `report.json` alone, and that no name in it acts as Markdown."""

import json
import shutil
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from test_report import HOSTILE, made_up

from kt.base.energy import Meter, metered
from kt.base.markdown import code, escaped, table
from kt.errors import ReleaseError
from kt.report import again, card_of, write

EVIL = [
    "- item", "1. one", "+ x", "# head", "> quote", "| cell |", "`tick`", "``", "*b* _i_", "[a](http://e.org)", "a\nb",
    "![i](x)", "<img src=x onerror=alert(1)>", "http://e.org", "www.e.org", "---", "&lt;", "\\", "a\\|b", "~~s~~",
    "$x$", "\x1b[31m", "caf\udce9", HOSTILE,
]  # fmt: skip


def tokens(markdown):
    """Every token of GitHub's Markdown, inner ones included."""
    for token in MarkdownIt("gfm-like", {"linkify": False}).parse(markdown):
        yield token
        yield from token.children or ()


def shape(markdown):
    """What the Markdown is made of, without its text."""
    return [token.type for token in tokens(markdown) if token.type not in ("text", "text_special", "softbreak")]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write(*made_up(), folder)
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(written, tmp_path / "run"))


def card(folder: Path) -> str:
    return (folder / "MODEL_CARD.md").read_text(encoding="utf-8")


def report_of(folder: Path):
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def test_the_card_says_what_it_is_how_good_and_where_it_ends(folder):
    text = card(folder)
    for heading in ("# apples", "## The model", "## Use and limits", "## Figures", "### By class", "## Data",
                    "## Artefacts", "## Licences", "## How it was made"):  # fmt: skip
        assert f"\n{heading}\n" in text
    test = report_of(folder)["test"]
    low, high = test["intervals"]["balanced_accuracy"]
    assert f"| Balanced accuracy | {test['balanced_accuracy']:.3f} | {low:.3f} to {high:.3f} |" in text
    assert "- Only 13 pictures." in text and "- Far below its probe." in text
    assert "The 40 test pictures show 20 things only" in text
    assert "which are of the target domain" in text
    assert "| all | 80 | 40 | 40 |" in text
    assert "| `int8` | refused | 100% | 0.000 | 9.1 MB |" in text
    assert "- `int8` was refused: balanced accuracy fell by 0.034" in text
    assert "(MobileNetV2): Apache-2.0" in text
    assert "the pictures: unknown to kt: ask whoever made them" in text
    assert "the run took 1 min 14 s and 2 Wh, as the processors count them" in text
    assert text.startswith("---\npipeline_tag: image-classification\n---\n")


def test_what_was_not_measured_is_said_to_be_so(folder):
    report = report_of(folder)
    report["energy_joules"], report["weights"]["licence"] = None, None
    text = card_of(report)
    assert "its energy was not measured" in text
    assert "(MobileNetV2): unknown to kt" in text
    few = card_of({**report, "learned": {"verdict": "unknown", "reason": "two pictures are too few", "chance": 0.5}})
    assert "- Two pictures are too few." in few
    assert "a balanced accuracy of 0.500: not known, for the test is too small." in few


def test_a_class_that_does_badly_or_has_few_test_pictures_is_a_limit(folder):
    report = report_of(folder)
    report["test"]["per_class"] = [
        {"label": "bad", "precision": 0.5, "recall": 0.25, "f1": 0.3, "support": 12},
        {"label": "good", "precision": None, "recall": None, "f1": None, "support": 0},
    ]
    text = card_of(report)
    assert "Of these classes it found few test pictures: bad (3 of 12)." in text
    assert "There are fewer than 20 test pictures of bad" in text
    assert "There is no test picture of good" in text


@pytest.mark.parametrize(
    ("confidence", "said"),
    [(0.95, "It is too sure of itself"), (0.5, "It is less sure than it could be"), (0.81, ""), (0.88, "")],
)
def test_a_model_that_is_too_sure_is_said_to_be(folder, confidence, said):
    report = report_of(folder)
    report["test"]["intervals"]["accuracy"] = [0.7, 0.9]  # what 40 pictures can tell: 0.88 is no sign of anything
    report["test"]["calibration"] = [
        {"lower": 0.0, "upper": 1.0, "count": 40, "confidence": confidence, "accuracy": 0.8}
    ]
    text = card_of(report)
    assert said in text
    assert ("sure of" in text or "less sure" in text) == bool(said)


def test_what_says_that_a_picture_is_unfamiliar_is_named_only_if_it_was_released(folder):
    report = report_of(folder)
    report["unfamiliar"] = {**(report["unfamiliar"] or {}), "rate": 0.05}
    saved = {**report["artifacts"][0], "name": "saved_model", "released": True, "mobile": False}
    report["artifacts"] = [saved]
    assert "Its SavedModel says which pictures are unlike anything" in card_of(report)
    phone = {**saved, "name": "a.tflite", "mobile": True, "unfamiliarity_difference": 0.001}
    report["artifacts"] = [saved, phone]
    assert "Its SavedModel, a.tflite say which" in card_of(report)
    report["artifacts"] = [{**saved, "released": False}, phone]
    assert "a.tflite says which" in card_of(report)
    report["artifacts"] = []
    text = card_of(report)
    assert "Its SavedModel" not in text
    assert "Exported as a SavedModel or for phones, it says which pictures are unlike anything" in text


def test_the_card_is_made_again_from_the_folder_and_a_damaged_report_leaves_it(folder):
    before = card(folder)
    (folder / "MODEL_CARD.md").unlink()
    again(folder)
    assert card(folder) == before
    (folder / "report.json").write_text(json.dumps({**report_of(folder), "energy_joules": "much"}))
    with pytest.raises(ReleaseError, match="energy_joules is 'much', expected a number"):
        again(folder)
    assert card(folder) == before


@pytest.mark.parametrize("key", [key for key in made_up()[0] if key not in ("kt", "started")])
def test_each_key_may_be_absent(folder, key):
    report = report_of(folder)
    text = card_of({name: value for name, value in report.items() if name != key})
    assert text == card_of({**report, key: None})
    assert "None" not in text


@pytest.mark.parametrize("name", EVIL)
def test_no_name_acts_as_markdown(name):
    assert shape(escaped(name)) == ["paragraph_open", "inline", "paragraph_close"]
    assert shape(f"- {escaped(name)}") == shape("- x")
    assert shape("\n".join(table(("a", "b"), [(escaped(name), "1")]))) == shape(
        "\n".join(table(("a", "b"), [("x", "1")]))
    )
    assert shape(f"- {code(name)}") == shape("- `x`")


def test_a_hostile_run_has_a_card_of_the_same_shape(folder):
    def hostile(value):
        if isinstance(value, dict):
            return {key: hostile(item) for key, item in value.items()}
        if isinstance(value, list):
            return [hostile(item) for item in value]
        return f"{value} | {HOSTILE} `x` # [a](b)" if isinstance(value, str) and value else value

    report = report_of(folder)
    report["test"].pop("calibration"), report["learned"].clear(), report["likeness"].clear()
    changed = {**hostile(report), "started": report["started"], "data": {**hostile(report["data"]), "kind": "pictures"}}
    changed["data"]["counts"], changed["data"]["classes"] = report["data"]["counts"], report["data"]["classes"]
    for new, old in zip(changed["findings"], report["findings"], strict=True):  # else kt would not know their kind
        new |= {"kind": old["kind"], "severity": old["severity"], "fixes": old["fixes"]}
    assert shape(card_of(changed)) == shape(card_of(report))


# -------------------------------------------------------------------------------------------------------------- energy


def counter(folder: Path, name: str, kind: str, used: int) -> Path:
    (folder / name).mkdir(exist_ok=True)
    for file, text in (("name", kind), ("energy_uj", used), ("max_energy_range_uj", 10_000_000)):
        (folder / name / file).write_text(f"{text}\n")
    return folder / name / "energy_uj"


def test_energy_is_that_of_all_packages_and_goes_on_where_a_counter_starts_again(tmp_path):
    first = counter(tmp_path, "intel-rapl:0", "package-0", 9_000_000)
    second = counter(tmp_path, "intel-rapl:1", "package-1", 0)
    part = counter(tmp_path, "intel-rapl:0:0", "core", 5)
    meter = Meter(tmp_path)
    assert meter.joules() == 0
    first.write_text("9500000\n"), second.write_text("1000000\n"), part.write_text("999999\n")
    assert meter.joules() == 1.5
    first.write_text("500000\n")  # it has started again, at 10
    assert meter.joules() == 2.5


def test_where_nothing_counts_energy_there_is_none(tmp_path):
    with metered(tmp_path / "nowhere") as meter:
        assert meter.joules() is None
    gone = counter(tmp_path, "intel-rapl:0", "package-0", 1)
    with metered(tmp_path) as meter:
        assert meter.joules() == 0
        gone.write_text("no number\n")
        assert meter.joules() is None
