"""What can be installed beside kt: its extras, which of them are here, and the command that brings one.

Read from the metadata of the installed package, so that an extra which is added to the package is known here too.
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
    """The command that installs an extra from where kt itself came from, for a shell; without one, kt itself.

    That is the folder or file it was installed from while that is there (`pip install '.[jax]'` in a clone), else its
    repository. Where the folder is gone, the packages of the extra are named one by one.
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
        named = [str(one) for one in requirements(extra)] if gone and extra else []
        return f"pip install {' '.join(map(_quoted, named or [PACKAGE + inside]))}"
    editable = "-e " if origin.get("dir_info", {}).get("editable") else ""
    return f"pip install {editable}{_quoted(_typed(source) + inside)}"


def missing(extra: str) -> list[str]:
    """The packages of an extra that are not installed, or in a version that does not fit."""
    return [one.name for one in requirements(extra) if not _fits(one)]


def extras() -> list[str]:
    """The names of all extras, in alphabetical order."""
    found = _distribution()
    return sorted(found.metadata.get_all("Provides-Extra") or []) if found else sorted(_declared())


def requirements(extra: str) -> list[Requirement]:
    """What an extra needs, with that of the extras it is made of."""
    return list({one.name: one for one in _requirements(extra, seen=set())}.values())


def _requirements(extra: str, *, seen: set[str]) -> Iterator[Requirement]:
    seen.add(extra)
    for requirement in _listed(extra):
        if requirement.name != PACKAGE:
            yield requirement
        for inner in sorted(requirement.extras - seen) if requirement.name == PACKAGE else ():
            yield from _requirements(inner, seen=seen)


def _listed(extra: str) -> Iterator[Requirement]:
    found = _distribution()
    for text in (found.requires or []) if found else _declared().get(extra, []):
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        marker = requirement.marker
        if found and (marker is None or marker.evaluate({"extra": ""}) or not marker.evaluate({"extra": extra})):
            continue  # what kt always needs, or what another extra does, or another system
        requirement.marker = None
        yield requirement


def _fits(requirement: Requirement) -> bool:
    try:
        there = distribution(requirement.name).version
    except PackageNotFoundError:
        return False
    return requirement.specifier.contains(there, prereleases=True)


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
    return Path(__file__).resolve().parent.parent


def _origin() -> dict[str, Any]:
    """What pip noted of where it installed kt from (PEP 610); nothing where that was a package index."""
    found = _distribution()
    try:
        noted = json.loads((found.read_text("direct_url.json") if found else "") or "{}")
    except ValueError:
        return {}
    return noted if isinstance(noted, dict) and isinstance(noted.get("url"), str) else {}


def _source(origin: dict[str, Any]) -> Path | None:
    """The folder or file that kt was installed from, or the checkout that it runs from; None where that is not here."""
    if _distribution() is None:
        return _checkout() if (_checkout() / "pyproject.toml").is_file() else None
    url = urlsplit(origin.get("url", ""))
    if url.scheme != "file":
        return None
    path = Path(url2pathname(url.path))
    return path if path.is_file() or (path / "pyproject.toml").is_file() else None


def _typed(source: Path) -> str:
    """The path as it is typed here: `.` within it, relative below; never what could be the name of a package."""
    try:
        inside = source.relative_to(Path.cwd()).as_posix()
    except (ValueError, OSError):
        return str(source)
    return inside if inside == "." else f"./{inside}"


def _quoted(word: str) -> str:
    """In quotes also where a shell needs none, so that each command reads alike."""
    plain = shlex.quote(word)
    return plain if plain != word or word == PACKAGE else f"'{word}'"
