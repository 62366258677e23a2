"""A recipe's own exporters as formats: functions that write an artefact, and formats with their own runtime."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kt.errors import ReleaseError
from kt.export.formats import format_of
from kt.export.formats.format import THREADS, Artifact, Details, FullFormat, Pixels, Scores, in_batches
from kt.recipe import Format

Exporter = Callable[[Any, Path], Path]


def of_recipe(item: Exporter | Format) -> FullFormat:
    """The format of an item in a recipe's `export` that is not a name."""
    return Brought(item) if isinstance(item, Format) else Written(item)


class Written(FullFormat):
    """The artefact of a function `(model, directory) -> Path`; opened only if it is in one of kt's formats."""

    asked = seen_as = "custom"
    threaded = True  # as a TFLite file is

    def __init__(self, function: Exporter) -> None:
        self._function = function

    @property
    def exact(self) -> bool:
        """False, since nobody knows whether it rounds."""
        return False

    def file_name(self, name: str) -> str:  # noqa: ARG002
        """The function's name, since the artefact's name is known only after the function has run."""
        return str(getattr(self._function, "__name__", type(self._function).__name__))

    def make(self, model: Any, directory: Path, *, details: Details) -> Path:  # noqa: ARG002
        """Let the function write."""
        return Path(self._function(model, directory))

    def on_phones(self, path: Path) -> bool:
        """Whether phones run the artefact's format."""
        kind = format_of(path)
        return kind is not None and kind.mobile

    def opens(self, path: Path) -> bool:
        """Whether it is in one of kt's formats."""
        return format_of(path) is not None

    def open(self, path: Path, *, threads: int = THREADS) -> Artifact:
        """Open it with that format."""
        kind = format_of(path)
        assert kind is not None
        return kind.open(path, threads=threads)


class Brought(FullFormat):
    """A recipe's own format with its own runtime (`kt.Format`)."""

    def __init__(self, kind: Format) -> None:
        self._format = kind
        self.asked = self.seen_as = kind.name
        self.mobile = bool(getattr(kind, "mobile", False))
        self.packages = tuple(getattr(kind, "packages", ()))

    @property
    def exact(self) -> bool:
        """As the format says; False by default, so it may round."""
        return bool(getattr(self._format, "exact", False))

    def file_name(self, name: str) -> str:  # noqa: ARG002
        """The format's name, since the artefact's name is known only after `make`."""
        return self.name

    def make(self, model: Any, directory: Path, *, details: Details) -> Path:
        """Let the format write. Raises ReleaseError if the path that it gives lies outside of the folder."""
        path = Path(self._format.make(model, directory, details=details))
        if not path.resolve().is_relative_to(directory.resolve()):
            raise ReleaseError(f"its make gave {path}, which lies outside of the folder that it was to write into")
        return path

    def opens(self, path: Path) -> bool:
        """Whether the format says that it opens the path."""
        return bool(self._format.opens(path))

    def open(self, path: Path, *, threads: int = THREADS) -> Artifact:  # noqa: ARG002
        """Open it with the format's own runtime."""
        return _Opened(path, self._format.open(path))

    def how_to_install(self) -> str:
        """The command with the packages by name, since none of kt's extras installs them."""
        return f"pip install {' '.join(self.missing())}"


@dataclass(frozen=True)
class _Opened:
    """An artefact that a recipe's own format has opened; its answers' shape and type are checked."""

    path: Path
    artifact: Any
    kind: Any = None  # not needed: it gets the same examples as the trained model, and nothing else

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, or none if the artefact doesn't know them."""
        return tuple(getattr(self.artifact, "classes", ()))

    def scores(self, pixels: Pixels) -> Scores:
        """Scores float32 `[N, C]`; ReleaseError for an answer of another shape or type."""
        return in_batches(self._asked, pixels, width=len(self.classes))

    def _asked(self, pixels: Pixels) -> Scores:
        scores = np.asarray(self.artifact.scores(np.asarray(pixels)))
        if scores.ndim != 2 or len(scores) != len(pixels):
            raise ReleaseError(f"it answers {len(pixels)} examples with {list(scores.shape)} scores; expected [N, C]")
        if scores.dtype != np.float32:
            raise ReleaseError(f"its scores are {scores.dtype}; expected float32")
        return scores
