"""Labels of released versions: `promote` moves a label forward, `rollback` back, and servers follow."""

import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kt.base.console import say, warn
from kt.errors import ReleaseError
from kt.releases import tensorflow_serving
from kt.releases.lock import changing
from kt.releases.versions import model_folder, version_labels, versions, versions_before, write_labels

STABLE = "stable"

KEPT = 20
"""The number of earlier versions of a label that are remembered."""


@dataclass(frozen=True)
class Move:
    """A label and the version that it stands for now. before: the version it stood for, None for a new label."""

    name: str
    label: str
    version: int
    before: int | None

    def as_json(self) -> dict[str, Any]:
        """Plain data under stable keys."""
        return {"name": self.name, "label": self.label, "version": self.version, "before": self.before}

    def told(self) -> str:
        """One line for a person."""
        if self.before == self.version:
            return f"{self.label} of {self.name} stands for version {self.version} already"
        before = "a new label" if self.before is None else f"before: {self.before}"
        return f"{self.label} of {self.name} stands for version {self.version} now ({before})"


def promote(
    saved_models: Path, name: str, *, version: int | None = None, label: str = STABLE, wait: bool = True
) -> Move:
    """Let a label of a model stand for a version, by default the newest.

    wait: give a running TensorFlow Serving the time to load the version before the label moves to it. Raises
    ReleaseError, with the known ones, for an unknown model or version, and for an invalid label.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", label):
        raise ReleaseError(f"Cannot use {label!r} as a label: it is part of an address; take letters, digits, . _ -")
    folder = model_folder(saved_models, name)
    with changing(saved_models):
        chosen = _existing(folder, version) if version is not None else versions(folder)[-1]
        now, earlier = version_labels(folder).get(label), versions_before(folder).get(label, [])
        if now is not None and now != chosen:
            earlier = [*earlier, now][-KEPT:]
        return _move(saved_models, Move(name, label, chosen, now), earlier=earlier, wait=wait)


def rollback(saved_models: Path, name: str, *, label: str = STABLE, to: int | None = None, wait: bool = True) -> Move:
    """Let a label of a model stand for the version that it stood for before, or for `to`.

    A second rollback goes one version further back. Versions that were removed meanwhile are skipped. Raises
    ReleaseError, with the known versions, if there is nothing to go back to.
    """
    folder = model_folder(saved_models, name)
    with changing(saved_models):
        existing, labels = versions(folder), version_labels(folder)
        if label not in labels:
            known = f"it has: {', '.join(sorted(labels))}" if labels else "it has none"
            raise ReleaseError(f"{name} has no label {label!r}; {known}. kt promote sets one.")
        now = labels[label]
        before = versions_before(folder).get(label, [])
        earlier = [version for version in before if version in existing and version != now]
        if to is None and not earlier:
            raise ReleaseError(
                f"{label} of {name} stands for version {now} and for no other before that is still there; "
                f"name one of {_listed(existing)} with --to."
            )
        target = _existing(folder, to) if to is not None else earlier[-1]
        while target in earlier:
            earlier.pop()
        return _move(saved_models, Move(name, label, target, now), earlier=earlier, wait=wait)


def _existing(folder: Path, version: int) -> int:
    if version not in (existing := versions(folder)):
        raise ReleaseError(f"{folder.name} has no version {version}; it has: {_listed(existing)}.")
    return version


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _move(saved_models: Path, move: Move, *, earlier: list[int], wait: bool) -> Move:
    folder = saved_models / move.name
    servable = tensorflow_serving.is_servable(folder / str(move.version))
    if not servable:
        warn(f"Version {move.version} of {move.name} has no SavedModel, so TensorFlow Serving can't serve it.")
    if wait and servable and move.before not in (None, move.version):
        _let_load(saved_models, move)
    labels = {**version_labels(folder), move.label: move.version}
    write_labels(folder, labels, before={**versions_before(folder), move.label: earlier})
    for line in tensorflow_serving.left_alone(tensorflow_serving.write_files(saved_models)):
        warn(line)
    return move


def _let_load(saved_models: Path, move: Move) -> None:
    seconds = tensorflow_serving.seconds_until_loaded(saved_models, move.name, move.version)
    if not seconds:
        return
    tensorflow_serving.write_files(saved_models, also={move.name: move.version})
    loaded = f"when a running TensorFlow Serving has loaded version {move.version}"
    say(f"{move.label} moves in {math.ceil(seconds)} s, {loaded} (--no-wait: at once)")
    time.sleep(seconds)
