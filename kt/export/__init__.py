"""Exports: each artefact is made under TensorFlow in a child process, checked image by image, and released if it holds.

Importing this package loads neither TensorFlow nor Keras; `kt.export.artifact` (TensorFlow only) opens what was made.
"""

from kt.export.job import FORMATS, ArtifactResult, ExportJob, export, unreleased
from kt.export.release import release

__all__ = ["FORMATS", "ArtifactResult", "ExportJob", "export", "release", "unreleased"]
