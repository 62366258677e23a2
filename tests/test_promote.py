"""Labels of released versions: what they stand for, what they stood for, and that a server can follow every step."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import kt
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from kt.errors import ReleaseError
from kt.releases import tensorflow_serving
from kt.releases.lock import changing
from kt.releases.promote import KEPT, Move, promote, rollback
from kt.releases.released import released
from kt.releases.versions import models, version_labels, versions_before


def release(saved_models: Path, name: str, version: int, *, servable: bool = True, accuracy: float = 0.9) -> None:
    """A version as a release leaves it, without the weights."""
    folder = saved_models / name / str(version)
    folder.mkdir(parents=True)
    if servable:
        (folder / "saved_model.pb").touch()
    card = {
        "name": name,
        "test": {"balanced_accuracy": accuracy, "intervals": {"balanced_accuracy": [accuracy - 0.1, accuracy + 0.05]}},
        "artifacts": [
            {"name": "saved_model", "released": servable},
            {"name": f"{name}_int8.tflite", "released": True},
            {"name": f"{name}_float32.tflite", "released": False},
        ],
    }
    (folder / "kt.json").write_text(json.dumps(card), encoding="utf-8")
    with changing(saved_models):
        tensorflow_serving.write_files(saved_models)


@pytest.fixture
def saved_models(tmp_path: Path) -> Path:
    for version in (1, 2, 3, 10):
        release(tmp_path, "apples", version)
    release(tmp_path, "pears", 1)
    return tmp_path


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time that passes only where kt waits; gives what it waited."""
    waited: list[float] = []
    begun = time.time() + 3600
    monkeypatch.setattr("time.time", lambda: begun + sum(waited))
    monkeypatch.setattr("time.sleep", waited.append)
    return waited


def served(saved_models: Path, name: str = "apples") -> tuple[list[int], dict[str, int]]:
    """Versions and labels of a model as models.config has them."""
    text = (saved_models / "models.config").read_text(encoding="utf-8")
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    (model,) = [model for model in config.model_config_list.config if model.name == name]
    return list(model.model_version_policy.specific.versions), dict(model.version_labels)


# ------------------------------------------------------------------------------------------- moving a label


def test_a_label_stands_for_the_newest_version_unless_one_is_named(saved_models):
    assert promote(saved_models, "apples") == Move("apples", "stable", 10, None)
    assert promote(saved_models, "apples", version=2, label="canary") == Move("apples", "canary", 2, None)
    assert version_labels(saved_models / "apples") == {"stable": 10, "canary": 2}
    assert version_labels(saved_models / "pears") == {}


def test_the_server_has_to_load_what_labels_stand_for_what_they_stood_for_and_the_newest(saved_models, clock):
    assert served(saved_models) == ([10], {})
    promote(saved_models, "apples", version=1)
    assert served(saved_models) == ([1, 10], {"stable": 1})
    promote(saved_models, "apples", version=2)
    assert served(saved_models) == ([1, 2, 10], {"stable": 2})
    promote(saved_models, "apples", version=3)
    assert served(saved_models) == ([2, 3, 10], {"stable": 3})
    release(saved_models, "apples", 11)
    assert served(saved_models) == ([2, 3, 11], {"stable": 3})
    assert served(saved_models, "pears") == ([1], {})


def test_a_rollback_goes_back_step_by_step_and_never_to_what_was_rolled_back(saved_models, clock):
    for version in (1, 2, 3):
        promote(saved_models, "apples", version=version)
    assert rollback(saved_models, "apples") == Move("apples", "stable", 2, 3)
    assert rollback(saved_models, "apples") == Move("apples", "stable", 1, 2)
    with pytest.raises(ReleaseError, match=r"stands for version 1 and for no other before .* one of 1, 2, 3, 10 with"):
        rollback(saved_models, "apples")


def test_a_rollback_to_a_named_version_forgets_what_came_after_it(saved_models, clock):
    for version in (1, 2, 3, 10):
        promote(saved_models, "apples", version=version)
    assert rollback(saved_models, "apples", to=2).version == 2
    assert versions_before(saved_models / "apples") == {"stable": [1]}
    assert rollback(saved_models, "apples", to=3).version == 3, "a version that the label never stood for will do too"
    assert rollback(saved_models, "apples").version == 1


def test_a_rollback_passes_over_versions_that_were_removed(saved_models, clock):
    for version in (1, 2, 3):
        promote(saved_models, "apples", version=version)
    (saved_models / "apples/2").rename(saved_models / "gone")
    assert rollback(saved_models, "apples").version == 1


def test_labels_have_histories_of_their_own(saved_models, clock):
    promote(saved_models, "apples", version=1)
    promote(saved_models, "apples", version=2, label="canary")
    promote(saved_models, "apples", version=2)
    promote(saved_models, "apples", version=3, label="canary")
    assert rollback(saved_models, "apples", label="canary") == Move("apples", "canary", 2, 3)
    assert version_labels(saved_models / "apples") == {"stable": 2, "canary": 2}
    assert versions_before(saved_models / "apples") == {"stable": [1], "canary": []}


def test_promoting_what_is_promoted_changes_nothing(saved_models, clock):
    promote(saved_models, "apples", version=1)
    promote(saved_models, "apples", version=2)
    assert promote(saved_models, "apples", version=2) == Move("apples", "stable", 2, 2)
    assert rollback(saved_models, "apples").version == 1


def test_a_short_history_is_kept(saved_models, clock):
    for turn in range(KEPT + 5):
        promote(saved_models, "apples", version=1 + turn % 2)
    assert len(versions_before(saved_models / "apples")["stable"]) == KEPT


def test_labels_that_a_person_wrote_are_taken_over(saved_models, clock):
    (saved_models / "apples/labels.json").write_text('{"stable": 2, "shadow": 3}')
    promote(saved_models, "apples", version=10)
    assert version_labels(saved_models / "apples") == {"stable": 10, "shadow": 3}
    assert rollback(saved_models, "apples").version == 2


def test_no_promote_is_lost_when_many_happen_at_once(saved_models):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda index: promote(saved_models, "apples", version=3, label=f"l{index}"), range(24)))
    expected = {f"l{index}": 3 for index in range(24)}
    assert version_labels(saved_models / "apples") == expected
    assert served(saved_models) == ([3, 10], expected)


def test_a_release_waits_for_a_promote_that_is_at_work(saved_models):
    with ThreadPoolExecutor(1) as pool:
        with changing(saved_models):
            second = pool.submit(promote, saved_models, "apples", version=1)
            time.sleep(0.2)
            assert not second.done() and version_labels(saved_models / "apples") == {}
        assert second.result(timeout=60).version == 1


# ------------------------------------------------------------------------------------- what the server can follow


class Server:
    """TensorFlow Serving's rules when it reads models.config again, from ServerCore::ReloadConfig of 2.21.

    Labels come first: one in use moves only to a version that is loaded, and if one can't, all of the file is refused.
    """

    def __init__(self) -> None:
        self.loaded: list[int] = []
        self.labels: dict[str, int] = {}

    def poll(self, saved_models: Path) -> bool:
        versions, labels = served(saved_models)
        for label, version in labels.items():
            if self.labels.get(label, version) != version and version not in self.loaded:
                return False
        self.labels, self.loaded = labels, versions
        return True


def test_a_server_follows_every_promote_and_rollback(saved_models, monkeypatch):
    server, waited = Server(), []
    begun = time.time() + 3600
    monkeypatch.setattr("time.time", lambda: begun + sum(waited))

    def sleep(seconds: float) -> None:
        assert server.poll(saved_models)
        waited.append(seconds)

    monkeypatch.setattr("time.sleep", sleep)
    for step in (
        lambda: promote(saved_models, "apples", version=1),
        lambda: promote(saved_models, "apples", version=3),
        lambda: release(saved_models, "apples", 11),
        lambda: promote(saved_models, "apples"),
        lambda: rollback(saved_models, "apples"),
        lambda: rollback(saved_models, "apples"),
        lambda: promote(saved_models, "apples", version=2, label="canary"),
        lambda: promote(saved_models, "apples", version=2),
        lambda: rollback(saved_models, "apples", to=10),
    ):
        step()
        assert server.poll(saved_models)
        assert server.labels == version_labels(saved_models / "apples")
        assert set(server.labels.values()) <= set(server.loaded)


def test_without_the_wait_the_server_would_refuse_the_file(saved_models, clock):
    """So the test above can fail."""
    server = Server()
    promote(saved_models, "apples", version=1)
    assert server.poll(saved_models)
    promote(saved_models, "apples", version=3, wait=False)
    assert clock == []
    assert not server.poll(saved_models) and server.labels == {"stable": 1}


def test_only_a_version_that_may_not_be_loaded_is_waited_for(saved_models, clock, capsys):
    promote(saved_models, "apples", version=1)
    assert clock == [], "a new label never waits"
    promote(saved_models, "apples", version=10)
    assert clock == [], "the newest was named an hour ago"
    clock.append(60)
    rollback(saved_models, "apples")
    assert clock == [60], "what a label stood for before stays loaded"
    promote(saved_models, "apples", version=2)
    assert clock == [60, tensorflow_serving.LOAD_SECONDS]
    told = capsys.readouterr().err
    assert "stable moves in 15 s, when a running TensorFlow Serving has loaded version 2 (--no-wait: at once)" in told


def test_a_models_config_of_a_persons_own_is_not_waited_for_and_said(saved_models, clock, capsys):
    (saved_models / "models.config").write_text("model_config_list {}\n")
    promote(saved_models, "apples", version=1)
    promote(saved_models, "apples", version=2)
    assert clock == []
    told = " ".join(capsys.readouterr().err.split())
    assert "models.config was changed by hand, so it stays as it is and TensorFlow Serving goes by it still" in told
    assert version_labels(saved_models / "apples") == {"stable": 2}


def test_a_version_for_phones_only_can_have_a_label_but_no_server(saved_models, clock, capsys):
    release(saved_models, "apples", 12, servable=False)
    promote(saved_models, "apples")
    assert "Version 12 of apples has no SavedModel, so TensorFlow Serving can't serve it" in capsys.readouterr().err
    assert served(saved_models) == ([10], {})


# -------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "aples"}, r"There is no model 'aples' in .*\. Did you mean 'apples'\?"),
        ({"name": "../x"}, r"There is no model '\.\./x' in .*\. There is: apples, pears\."),
        ({"name": "apples", "version": 4}, r"apples has no version 4; it has: 1, 2, 3, 10\."),
        ({"name": "apples", "label": "a/b"}, r"Cannot use 'a/b' as a label: it is part of an address"),
        ({"name": "apples", "label": ""}, r"Cannot use '' as a label"),
    ],
)
def test_a_promote_that_cannot_be_says_what_there_is(saved_models, arguments, message):
    with pytest.raises(ReleaseError, match=message):
        promote(saved_models, **arguments)
    assert version_labels(saved_models / "apples") == {}


def test_a_rollback_that_cannot_be_says_what_there_is(saved_models):
    with pytest.raises(ReleaseError, match=r"apples has no label 'stable'; it has none\. kt promote sets one\."):
        rollback(saved_models, "apples")
    promote(saved_models, "apples", label="canary")
    with pytest.raises(ReleaseError, match=r"apples has no label 'stable'; it has: canary\."):
        rollback(saved_models, "apples")
    with pytest.raises(ReleaseError, match=r"apples has no version 7; it has: 1, 2, 3, 10\."):
        rollback(saved_models, "apples", label="canary", to=7)


def test_an_empty_folder_is_said_to_be_empty(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ReleaseError, match="It holds no model at all; kt run releases one"):
            promote(folder, "apples")
        assert models(folder) == []


@pytest.mark.parametrize("text", ["{", "[1]", '{"stable": [1, "2"]}', '{"stable": 1}'])
def test_a_damaged_history_is_said_and_nothing_is_changed(saved_models, text):
    (saved_models / "apples/labels_before.json").write_text(text)
    with pytest.raises(ReleaseError, match=r"labels_before\.json"):
        promote(saved_models, "apples")
    assert version_labels(saved_models / "apples") == {}


# ---------------------------------------------------------------------------------------------- command line


def test_models_are_listed_with_labels_figures_and_files(saved_models):
    promote(saved_models, "apples", version=3)
    promote(saved_models, "apples", version=3, label="canary")
    found = released(saved_models)
    assert [(version.name, version.version) for version in found] == [
        ("apples", 1), ("apples", 2), ("apples", 3), ("apples", 10), ("pears", 1),
    ]  # fmt: skip
    assert found[2].labels == ("canary", "stable") and found[2].test["balanced_accuracy"] == 0.9
    assert found[2].artifacts == ("saved_model", "apples_int8.tflite")
    assert [version.name for version in released(saved_models, "pears")] == ["pears"]
    with pytest.raises(ReleaseError, match="There is no model 'plums'"):
        released(saved_models, "plums")


def test_the_command_line_promotes_lists_and_rolls_back(saved_models):
    place = ("--saved-models", str(saved_models))
    done = kt("promote", "apples", "1", *place, cwd=saved_models)
    assert (done.returncode, done.stdout) == (0, "stable of apples stands for version 1 now (a new label)\n")
    again = kt("promote", "apples", "1", *place, cwd=saved_models)
    assert again.stdout == "stable of apples stands for version 1 already\n"
    done = kt("promote", "apples", "--json", "--no-wait", *place, cwd=saved_models)
    assert json.loads(done.stdout) == {"name": "apples", "label": "stable", "version": 10, "before": 1}
    (saved_models / "apples/2/kt.json").write_text("damaged")
    table = kt("models", "apples", *place, cwd=saved_models).stdout.splitlines()
    assert [re.split(r" {2,}", line) for line in table] == [
        ["model", "version", "labels", "balanced accuracy", "released"],
        ["apples", "1", "-", "0.900 (0.800 to 0.950)", "saved_model, apples_int8.tflite"],
        ["apples", "2", "-", "-", "-"],
        ["apples", "3", "-", "0.900 (0.800 to 0.950)", "saved_model, apples_int8.tflite"],
        ["apples", "10", "stable", "0.900 (0.800 to 0.950)", "saved_model, apples_int8.tflite"],
    ]
    told = json.loads(kt("models", "--json", *place, cwd=saved_models).stdout)
    assert told[3]["labels"] == ["stable"] and told[3]["path"] == str(saved_models / "apples/10")
    done = kt("rollback", "apples", "--no-wait", *place, cwd=saved_models)
    assert (done.returncode, done.stdout) == (0, "stable of apples stands for version 1 now (before: 10)\n")
    done = kt("rollback", "apples", "--no-wait", *place, cwd=saved_models)
    assert done.returncode == 6 and done.stderr.startswith("error: stable of apples stands for version 1 and for no")
    assert kt("models", cwd=saved_models).stdout == "no model in saved_models; kt run releases one\n"
