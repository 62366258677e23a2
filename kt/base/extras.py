"""The extras of kt: which of them are installed, and the command that installs one.

They are read from the metadata of the installed package, so that a new extra is known here at once.
"""

import json
import shlex
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from packaging.requirements import InvalidRequirement, Requirement

PACKAGE = "kt-transfer"


def install(extra: str = "") -> str:
    """The shell command that installs an extra from where kt itself was installed from; without one, kt itself.

    The source is a folder or file while it exists (`pip install '.[jax]'` in a clone), or a repository. If the folder
    is gone, the command names the packages of the extra one by one.
    """
    origin = _origin()
    inside = f"[{extra}]" if extra else ""
    if "vcs_info" in origin:
        vcs, commit = origin["vcs_info"].get("vcs", "git"), origin["vcs_info"].get("requested_revision")
        url = f"{vcs}+{origin['url']}{f'@{commit}' if commit else ''}"
        return f"pip install {_quoted(f'{PACKAGE}{inside} @ {url}')}"
    source = _source(origin)
    if source is None:
        gone = origin.get("url", "").startswith("file:")
        named = [str(requirement) for requirement in requirements(extra)] if gone and extra else []
        return f"pip install {' '.join(map(_quoted, named or [PACKAGE + inside]))}"
    editable = "-e " if origin.get("dir_info", {}).get("editable") else ""
    return f"pip install {editable}{_quoted(_typed(source) + inside)}"


def missing(extra: str) -> list[str]:
    """The packages of an extra that are not installed, or whose version does not fit."""
    return [requirement.name for requirement in requirements(extra) if not _fits(requirement)]


def extras() -> list[str]:
    """The names of all extras, in alphabetical order."""
    package = _distribution()
    return sorted(package.metadata.get_all("Provides-Extra") or []) if package else sorted(_declared())


def requirements(extra: str) -> list[Requirement]:
    """The packages that an extra needs, with those of the extras it is made of."""
    return list({requirement.name: requirement for requirement in _requirements(extra, seen=set())}.values())


def _requirements(extra: str, *, seen: set[str]) -> Iterator[Requirement]:
    seen.add(extra)
    for requirement in _listed(extra):
        if requirement.name != PACKAGE:
            yield requirement
        for inner in sorted(requirement.extras - seen) if requirement.name == PACKAGE else ():
            yield from _requirements(inner, seen=seen)


def _listed(extra: str) -> Iterator[Requirement]:
    package = _distribution()
    for text in (package.requires or []) if package else _declared().get(extra, []):
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        marker = requirement.marker
        if package and (marker is None or marker.evaluate({"extra": ""}) or not marker.evaluate({"extra": extra})):
            continue  # kt always needs it, or only another extra or another system does
        requirement.marker = None
        yield requirement


def _fits(requirement: Requirement) -> bool:
    try:
        installed = distribution(requirement.name).version
    except PackageNotFoundError:
        return False
    return requirement.specifier.contains(installed, prereleases=True)


# ---------------------------------------------------------------------------------------------------- where from


def _distribution() -> Distribution | None:
    try:
        return distribution(PACKAGE)
    except PackageNotFoundError:  # run from a checkout that was never installed
        return None


def _declared() -> dict[str, list[str]]:
    """The extras of a checkout's pyproject.toml."""
    file = _checkout() / "pyproject.toml"
    if not file.is_file():
        return {}
    declared: dict[str, list[str]] = tomllib.loads(file.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    return declared


def _checkout() -> Path:
    return Path(__file__).resolve().parents[2]


def _origin() -> dict[str, Any]:
    """Where pip installed kt from, as it noted it (PEP 610); empty if that was a package index."""
    package = _distribution()
    try:
        origin = json.loads((package.read_text("direct_url.json") if package else "") or "{}")
    except ValueError:
        return {}
    return origin if isinstance(origin, dict) and isinstance(origin.get("url"), str) else {}


def _source(origin: dict[str, Any]) -> Path | None:
    """The folder or file that kt was installed from, or the checkout that it runs from; None if there is none here."""
    if _distribution() is None:
        return _checkout() if (_checkout() / "pyproject.toml").is_file() else None
    url = urlsplit(origin.get("url", ""))
    if url.scheme != "file":
        return None
    path = Path(url2pathname(url.path))
    return path if path.is_file() or (path / "pyproject.toml").is_file() else None


def _typed(source: Path) -> str:
    """The path as a person would type it: `.` or `./...` where possible, never what could be a package's name."""
    try:
        inside = source.relative_to(Path.cwd()).as_posix()
    except (ValueError, OSError):
        return str(source)
    return inside if inside == "." else f"./{inside}"


def _quoted(word: str) -> str:
    """The word in quotes, even if a shell needs none, so that all commands look alike."""
    plain = shlex.quote(word)
    return plain if plain != word or word == PACKAGE else f"'{word}'"
