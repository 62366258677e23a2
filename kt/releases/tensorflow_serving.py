"""The files that TensorFlow Serving needs beside the models: `models.config`, batching parameters, a compose file.

They lie in `saved_models/`, which the container sees as `/models`. Each begins with a checksum of the rest, so that kt
notices when a person has changed a file, and does not overwrite it.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from kt.base.files import replace_text
from kt.releases.versions import models, version_labels, versions, versions_before

MODELS_CONFIG = "models.config"
CONSTANT_FILES = ("batching_parameters.txt", "compose.yaml")

POLL_SECONDS = 5
"""Seconds between two reads of models.config by TensorFlow Serving; `compose.yaml` sets it."""

LOAD_SECONDS = 3 * POLL_SECONDS
"""Seconds after which a version that models.config names counts as loaded by TensorFlow Serving."""

_BEGINNING = "# Written by kt, checksum "
_SINCE = "# since: "
_END = "; once it is changed, kt leaves it alone. Delete it, and kt writes it anew.\n"


def write_files(saved_models: Path, *, also: Mapping[str, int] | None = None) -> tuple[Path, ...]:
    """Bring the files up to date with the models and their labels; gives the files that a person has changed.

    Changed files are not overwritten. also: a further version to serve of a model, by its name, besides the newest and
    those with a label. Nothing is written if there is neither a SavedModel nor a models.config. The caller holds the
    lock of `changing`.
    """
    served = _served(saved_models, also or {})
    file = saved_models / MODELS_CONFIG
    if not served and not file.exists():
        return ()
    before, now = _since(file), int(time.time())
    since = {
        name: {str(version): before.get(name, {}).get(str(version), now) for version in numbers}
        for name, numbers in served.items()
    }
    texts = {
        MODELS_CONFIG: f"{_SINCE}{json.dumps(since)}\n{text_format.MessageToString(_config(saved_models, served))}"
    }
    texts |= {name: Path(__file__).with_name(name).read_text(encoding="utf-8") for name in CONSTANT_FILES}
    return tuple(saved_models / name for name, text in texts.items() if not _written(saved_models / name, text))


def seconds_until_loaded(saved_models: Path, name: str, version: int) -> float:
    """Seconds that a running TensorFlow Serving may still need to load a version, by models.config.

    They are 0 if a person has changed that file, or if there is none.
    A label in use may only move to a loaded version. Otherwise the server refuses the whole new models.config, and so
    never loads the version either.
    """
    file = saved_models / MODELS_CONFIG
    if not _is_ours(file):
        return 0.0
    since = _since(file).get(name, {}).get(str(version))
    return float(LOAD_SECONDS) if since is None else max(0.0, LOAD_SECONDS - (time.time() - since))


def is_servable(version: Path) -> bool:
    """Whether a version has a SavedModel, and not files for phones only."""
    return (version / "saved_model.pb").is_file()


def left_alone(files: tuple[Path, ...]) -> Iterator[str]:
    """Warnings about files that a person has changed."""
    for file in files:
        what = "TensorFlow Serving goes by it still" if file.name == MODELS_CONFIG else "the newer one is not written"
        yield f"{file} was changed by hand, so it stays as it is and {what}. Delete it, and kt writes it anew."


def _served(saved_models: Path, also: Mapping[str, int]) -> dict[str, list[int]]:
    """The versions of each model that TensorFlow Serving is to load."""
    served = {}
    for name in models(saved_models):
        folder = saved_models / name
        servable = {version for version in versions(folder) if is_servable(folder / str(version))}
        if not servable:
            continue  # the server would wait for the model for ever
        labels = version_labels(folder)
        # A label's earlier version stays loaded, so that a rollback takes no longer than reading models.config.
        before = {earlier[-1] for label, earlier in versions_before(folder).items() if earlier and label in labels}
        wanted = {*labels.values(), *before, also.get(name, max(servable))}
        served[name] = sorted({max(servable), *(wanted & servable)})
    return served


def _config(saved_models: Path, served: Mapping[str, Sequence[int]]) -> Any:
    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.SetInParent()
    for name, numbers in served.items():
        model = config.model_config_list.config.add(name=name, base_path=f"/models/{name}", model_platform="tensorflow")
        model.model_version_policy.specific.versions.extend(numbers)
        labels = version_labels(saved_models / name)
        model.version_labels.update({label: version for label, version in labels.items() if version in numbers})
    return config


def _since(file: Path) -> dict[str, dict[str, int]]:
    """When models.config began to name each version of each model, in seconds since 1970."""
    if not _is_ours(file):
        return {}
    since: dict[str, dict[str, int]] = json.loads(_read(file).split("\n")[1].removeprefix(_SINCE))
    return since


def _written(file: Path, text: str) -> bool:
    """Write the text unless a person has changed the file; False if one has."""
    content = f"{_BEGINNING}{_checksum(text)}{_END}{text}"
    if file.exists() and _read(file) != content and not _is_ours(file):
        return False
    replace_text(file, content)
    return True


def _is_ours(file: Path) -> bool:
    """Whether kt wrote the file and nobody has changed it since."""
    if not file.is_file():
        return False
    first, _, rest = _read(file).partition("\n")
    return f"{first}\n" == f"{_BEGINNING}{_checksum(rest)}{_END}"


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
