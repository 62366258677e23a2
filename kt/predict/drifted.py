"""Drift of examples in files: what a released model says of them, compared with what it says of held-out ones."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from kt.base.environment import cores
from kt.data.groups import Place, check_group_by, find_groups
from kt.drift import ALARM, Drift, Observed, Reference, judge
from kt.errors import DataError, ReleaseError
from kt.export.artifact import open_artifact
from kt.export.formats.saved_model import SavedModelArtifact
from kt.kinds.kind import Kind, Source
from kt.kinds.pictures.find import LeftOut
from kt.predict.files import BATCH, check_there, examples_in


@dataclass(frozen=True)
class DriftOfFiles:
    """The judgement, and what it is of.

    names: of the examples that could be read. bad: the others, each with the reason. left: what folders hold besides
    examples. grouping: one line on how groups were found, or "".
    """

    drift: Drift
    names: tuple[Path, ...]
    bad: tuple[tuple[Path, str], ...]
    left: LeftOut
    classes: tuple[str, ...]
    kind: Kind
    grouping: str

    def as_json(self) -> dict[str, Any]:
        """Plain data under stable keys."""
        told = self.drift.as_json(self.classes, self.names)
        return {
            **told,
            "kind": self.kind.name,
            "skipped": [{"path": str(name), "error": why} for name, why in self.bad],
        }


def drift_of_files(
    model: Path, paths: Sequence[Path], *, group_by: str = "auto", alarm: float = ALARM, seed: int = 0
) -> DriftOfFiles:
    """Whether examples in files, folders and zips have drifted from the held-out ones of a model.

    model: a version with a SavedModel, or the SavedModel itself. group_by: which examples show one thing: "auto" (by
    the beginning of names, before `__`, where it tells), "folder", "prefix", "none" or a regular expression. alarm: the
    promised rate of false alarms.

    Raises ReleaseError if the model can't be compared with, and DataError if no example can be read.
    """
    check_group_by(group_by)
    check_there(paths)
    artifact, reference = _opened(model)
    left = LeftOut()
    parts, names, bad = [], [], []
    for sources, seen, errors in _observed(artifact, examples_in(paths, artifact.kind, left)):
        names += [source.name for source, error in zip(sources, errors, strict=True) if not error]
        bad += [(source.name, error) for source, error in zip(sources, errors, strict=True) if error]
        parts += [seen] if seen is not None else []
    if not parts:
        many = artifact.kind.many
        raise DataError(f"None of {len(bad)} {many} could be read." if bad else f"No {many} found there.")
    groups = find_groups([_place(name, group_by) for name in names], group_by, missing=0)
    drift = judge(reference, Observed.joined(parts), groups.names, alarm=alarm, seed=seed)
    return DriftOfFiles(
        drift, tuple(names), tuple(bad), left, artifact.classes, artifact.kind, groups.fact.partition(";")[0]
    )


def _opened(model: Path) -> tuple[SavedModelArtifact, Reference]:
    """A model that gives features, with the held-out examples that it carries. Raises ReleaseError for any other."""
    artifact = open_artifact(model)
    if not isinstance(artifact, SavedModelArtifact):
        raise ReleaseError(
            f"{artifact.path} gives scores only, and drift is seen in the features of a SavedModel; make one: "
            "kt export RUN --format saved_model"
        )
    return artifact, artifact.reference()


def _observed(
    artifact: SavedModelArtifact, sources: Iterator[Source]
) -> Iterator[tuple[list[Source], Observed | None, list[str]]]:
    """For each block of examples, what the model says of those that can be read, and the errors of all."""
    kind = artifact.kind

    def read(source: Source) -> Any:
        try:
            return source.error or kind.read(source.given)
        except DataError as error:
            return str(error)

    with ThreadPoolExecutor(cores()) as pool:
        while block := list(islice(sources, BATCH)):
            given = list(pool.map(read, block))
            good = [example for example in given if not isinstance(example, str)]
            errors = [example if isinstance(example, str) else "" for example in given]
            yield block, artifact.observed(np.stack(good)) if good else None, errors


def _place(name: Path, group_by: str) -> Place:
    """Where an example lies. Folders are groups only if one asks for it: they may as well be days, or classes."""
    folders = name.parent.parts
    return Place(name, (), folders) if group_by == "folder" else Place(name, folders)
