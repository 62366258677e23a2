"""The interface of an export format: making an artefact, recognising it, opening it, and the opened artefact."""

import importlib
import importlib.util
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from kt import kinds
from kt.base.extras import install
from kt.errors import EnvironmentProblem
from kt.export.about import About
from kt.familiar import Carried
from kt.kinds.kind import Kind, check_examples

Pixels = npt.NDArray[Any]
Scores = npt.NDArray[np.float32]

EXACT = 1e-4
"""The largest allowed difference between a score of an exact format's artefact and the trained model's score."""

CALIBRATION = 100
"""The default number of pictures that calibrate int8."""

THREADS = 2
"""The default number of threads of an artefact, for runtimes that can be given a number."""

_BATCH = 64


class Artifact(Protocol):
    """An exported model: `classes` in the order of the scores, and the kind of examples that it takes."""

    @property
    def path(self) -> Path:
        """The file or folder that was opened."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names; empty if it carries none."""
        ...

    @property
    def kind(self) -> Kind:
        """The kind of examples that it takes."""
        ...

    def scores(self, pixels: Pixels) -> Scores:
        """Scores float32 `[N, C]` of examples of its kind, such as pixels uint8 `[N, H, W, 3]`."""
        ...


@dataclass(frozen=True)
class Details:
    """The data that an artefact is made from, besides the trained model.

    name: of the model; file names begin with it. classes: in the order of the scores. representative: a `.npy` file of
    uint8 `[M, H, W, 3]` from the training pictures, classes in turn; None if there is none. calibration: how many of
    these may calibrate, from the first on; the others serve as evidence. about: the description of the model in a phone
    file. kind: of the examples that it takes; unless given, pictures of the size of its input. familiar: how it can say
    that an example is unlike anything it learned from; None if it can't.
    """

    name: str
    classes: tuple[str, ...]
    representative: Path | None = None
    calibration: int = CALIBRATION
    about: About = field(default_factory=About)
    kind: Kind | None = None
    familiar: Carried | None = None

    def kind_for(self, model: Any) -> Kind:
        """The kind of examples that a Keras model takes."""
        return self.kind or kinds.of_model(model.input_shape, str(model.inputs[0].dtype), {}, where=self.name)


@dataclass(frozen=True, eq=False)
class Replies:
    """What an artefact says of N examples.

    scores: float32 `[N, C]`. unfamiliarity: float32 `[N]`, how far each is from anything that the model learned from;
    None if it does not say. unfamiliar: bool `[N]`, whether that is above its limit; None if it does not say.
    """

    scores: Scores
    unfamiliarity: npt.NDArray[np.float32] | None = None
    unfamiliar: npt.NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class EncodedTest:
    """Picture files, and their indices in the test split; None if they are not from it."""

    files: Sequence[bytes] = ()
    places: Sequence[int] | None = None


@dataclass(frozen=True)
class HeldOut:
    """Examples that training did not learn from: `[N, ...]` as the kind says, with labels `[N]` and groups."""

    examples: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]
    groups: tuple[str, ...]


class FullFormat(ABC):
    """The interface of a format. kt's own formats derive from it; a recipe's own exporters are wrapped in it.

    asked: its name in a recipe, and the extra that installs its packages. seen_as: how a person recognises its
    artefact. packages: the ones that it needs besides kt's own. mobile: phones run it. at_root: its artefact is a
    folder whose content lies at the root of a version. threaded: its runtime can be given a number of threads.
    stands_in: if its artefact matches the trained model, it answers further pictures in the model's place, since it is
    faster. scores_suffice: if its unfamiliarity is too far from the trained model's, it is made without, where another
    format's artefact is refused.
    """

    asked: str
    seen_as: str
    packages: tuple[str, ...] = ()
    mobile: bool = False
    at_root: bool = False
    threaded: bool = False
    scores_suffice: bool = False

    @property
    def name(self) -> str:
        """Its name in `report.json`."""
        return self.asked

    @property
    def exact(self) -> bool:
        """Whether every score must match the trained model's within `EXACT`; else `kt.export.evidence` judges it."""
        return True

    @property
    def stands_in(self) -> bool:
        """Whether its artefact, if it passes the gate, may answer in the trained model's place."""
        return False

    @abstractmethod
    def file_name(self, name: str) -> str:
        """The name of its file or folder for a model of this name."""

    @abstractmethod
    def make(self, model: Any, directory: Path, *, details: Details) -> Path:
        """Write the artefact into a folder, and give its path.

        model: a Keras model on TensorFlow that maps examples, such as uint8 `[N, H, W, 3]`, to scores `[N, C]`.
        """

    def attempts(self) -> Iterable[tuple[str, "FullFormat"]]:
        """Further ways to make it, each with its change in words, for when the ones before change too many answers."""
        return ()

    @abstractmethod
    def opens(self, path: Path) -> bool:
        """Whether a file or folder is of this format, by its name and place only."""

    @abstractmethod
    def open(self, path: Path, *, threads: int = THREADS) -> Artifact:
        """Open the artefact that `make` wrote. May raise any exception on a damaged file."""

    def on_phones(self, path: Path) -> bool:  # noqa: ARG002
        """Whether phones run the artefact at the path."""
        return self.mobile

    def found_in(self, folder: Path) -> list[Path]:
        """The artefacts of this format in a folder, the best first."""
        return sorted(path for path in folder.iterdir() if self.opens(path))

    def carries(self, details: Details) -> Carried | None:  # noqa: ARG002
        """What an artefact made from these details says unfamiliarity by; None if it gives scores alone."""
        return None

    def also_checks(self, artifact: Any, scores: Scores, *, pixels: Pixels, encoded: EncodedTest) -> str:  # noqa: ARG002
        """The format's own check: why an artefact is refused although its scores pass, or "".

        scores: its answers for `pixels`. encoded: picture files, some of which may be those pixels.
        """
        return ""

    def remember(self, path: Path, artifact: Any, held_out: HeldOut) -> None:  # noqa: B027 - as below
        """Keep in the artefact what it says of held-out examples, if the format has room for it and gives features."""

    def annotate(self, path: Path, name: str, text: str) -> None:  # noqa: B027 - most formats can do it, none must
        """Put a small text into an artefact, under a name; do nothing if the format has no room for it."""

    def stamp(self, path: Path, version: int) -> None:  # noqa: B027 - one format has room for it
        """Write the version into a released artefact, in place, if the format has room for it."""

    def missing(self) -> list[str]:
        """Its packages that are not installed; none of them is loaded to find out."""
        return [package for package in self.packages if importlib.util.find_spec(package) is None]

    def how_to_install(self) -> str:
        """The command that installs its packages."""
        return install(self.asked)


def replies_of(artifact: Artifact, examples: Pixels) -> Replies:
    """All that an artefact says of examples; of most formats that is scores alone."""
    ask: Callable[[Pixels], Replies] | None = getattr(artifact, "answers", None)
    return ask(examples) if ask is not None else Replies(artifact.scores(examples))


class BatchArtifact:
    """An exported model that answers batches of examples. Safe to call from several threads."""

    def __init__(self, path: Path, *, classes: tuple[str, ...], kind: Kind, ask: Callable[[Pixels], Any]) -> None:
        self.path, self.classes, self.kind, self._ask = path, classes, kind, ask

    def scores(self, pixels: Pixels) -> Scores:
        """Scores float32 `[N, C]` of examples of its kind."""
        check_examples(self.kind, pixels)
        return in_batches(self._ask, pixels, width=len(self.classes))


def in_batches(ask: Callable[[Any], Any], items: Any, *, width: int) -> Scores:
    """The answers to any number of items, asked 64 at a time; `[0, width]` if there are no items."""
    parts = [np.asarray(ask(batch)) for batch in batches(items)]
    return np.concatenate(parts) if parts else np.zeros((0, width), np.float32)


def batches(items: Any) -> Iterator[Any]:
    """The items, 64 at a time."""
    return (items[start : start + _BATCH] for start in range(0, len(items), _BATCH))


def needed(package: str, *, extra: str) -> Any:
    """Import a library that is installed on request only; EnvironmentProblem names the extra that installs it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise EnvironmentProblem(f"{package} can't be loaded ({error}): {install(extra)}") from None


def add_to_zip(path: Path, name: str, content: str | bytes) -> None:
    """Add a small file to a zip, or to a file with a zip at its end; the bytes don't depend on the time of day."""
    with zipfile.ZipFile(path, mode="a") as archive:
        archive.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), content)
