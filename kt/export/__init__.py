"""Exports: each artefact is made and checked image by image in a child process, and released if it passes.

Importing this package loads neither TensorFlow nor Keras; `kt.export.artifact` opens what was made.
"""

from kt.export.job import ArtifactResult, ExportJob, export, unreleased
from kt.export.release import release

__all__ = ["ArtifactResult", "ExportJob", "export", "release", "unreleased"]
