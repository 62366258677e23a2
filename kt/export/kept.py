"""Notes which artefacts of a run are made and checked, so that a resumed export does not make them again."""

import dataclasses

from kt.base.stages import Stage, digest_of_path, key_of
from kt.export.job import ArtifactResult, ExportJob

KEPT = "kept"
"""The folder among the artefacts that holds the notes."""


def _stage_of(name: str, kind: str, job: ExportJob) -> Stage:
    return Stage(job.directory / KEPT / name, key_of(job.key, name, kind))


def keep(name: str, kind: str, job: ExportJob, result: ArtifactResult) -> None:
    """Note that an artefact is made and checked, with a hash of its content, for a run that may be resumed.

    name, kind: as planned; a recipe's own exporter may have named its artefact otherwise. An artefact that failed is
    not noted, so that it is tried again; nor is one outside of the run.
    """
    if job.key is None or result.images is None or not result.path.is_relative_to(job.directory):
        return
    inside = {**result.as_json(), "path": str(result.path.relative_to(job.directory))}
    _stage_of(name, kind, job).keep({"result": inside, "content": digest_of_path(result.path)})


def kept_before(name: str, kind: str, job: ExportJob) -> ArtifactResult | None:
    """The result of an artefact that was made and checked before, if its content is unchanged; else None."""
    kept = _stage_of(name, kind, job).kept() if job.key is not None else None
    if kept is None:
        return None
    result = ArtifactResult.from_json(kept.told["result"])
    result = dataclasses.replace(result, path=job.directory / result.path)
    return result if digest_of_path(result.path) == kept.told["content"] else None
