"""The models that are served: the newest version of each and those with a label, reloaded when folders change.

A new version is opened and warmed up beside the old one, then takes over. The old one is released once the last request
that uses it is answered. If a version can't be opened, the log and its status say so, and the earlier version stays.
"""

import gc
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kt.base.names import printable
from kt.errors import KtError, ReleaseError, one_line
from kt.predict.decide import Wanted
from kt.releases.versions import models, version_labels, versions
from kt.serve.batching import BatchScheduler
from kt.serve.refusal import Code, Refusal, invalid
from kt.serve.servable import Servable

log = logging.getLogger("kt.serve")

LOADING, AVAILABLE, UNLOADING, END = "LOADING", "AVAILABLE", "UNLOADING", "END"


@dataclass(frozen=True)
class VersionStatus:
    """A version's state, in TensorFlow Serving's words, and its error if it failed."""

    version: int
    state: str
    error: str = ""


@dataclass
class _Model:
    folder: Path
    available: dict[int, Servable] = field(default_factory=dict)
    retired: list[Servable] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    states: dict[int, VersionStatus] = field(default_factory=dict)
    failed: dict[int, object] = field(default_factory=dict)  # with the folder's state, to try again once it changes


def find_models(folders: Sequence[Path]) -> dict[str, Path]:
    """Model folders by name. A folder that holds versions is a model; one that holds models means all of them.

    Raises ReleaseError if there is no model, or if two have the same name.
    """
    by_name: dict[str, Path] = {}
    for folder in folders:
        named = [folder] if versions(folder) else [folder / name for name in models(folder)]
        if not named:
            raise ReleaseError(
                f"{folder} holds no version of a model; name a folder such as saved_models/apples, or saved_models."
            )
        for model in named:
            name = model.resolve().name
            if printable(name) != name or ":" in name:
                log.error("a model is left out: no address can have its name", extra={"model": printable(model)})
                continue
            if by_name.setdefault(name, model).resolve() != model.resolve():
                raise ReleaseError(f"{by_name[name]} and {model} have one name; rename one of the folders.")
    if not by_name:
        names = ", ".join(printable(folder) for folder in folders)
        raise ReleaseError(f"No model in {names} can be served: rename folders with control characters or ':'.")
    return by_name


class ModelStore:
    """Opens versions and gives them to requests; `close` ends the thread that watches the folders."""

    def __init__(
        self, folders: dict[str, Path], scheduler: BatchScheduler, *, engine: str, drift_window: int, wanted: Wanted
    ) -> None:  # fmt: skip
        self._scheduler, self._engine, self._drift_window, self._wanted = scheduler, engine, drift_window, wanted
        self._models = {name: _Model(folder) for name, folder in folders.items()}
        self._lock = threading.Lock()  # guards what requests read; loading happens outside of it
        self._loading = threading.Lock()
        self._closing = threading.Event()
        self._watcher: threading.Thread | None = None

    @property
    def names(self) -> list[str]:
        """The names of the models, sorted."""
        return sorted(self._models)

    @property
    def ready(self) -> bool:
        """Whether every model has a version that answers."""
        return all(model.available for model in self._models.values())

    def hurry(self) -> None:
        """From now on, run waiting pictures at once."""
        self._scheduler.hurry()

    def watch(self, seconds: float) -> None:
        """Check the folders for changes in a thread. seconds: between two checks."""
        self._watcher = threading.Thread(target=self._watch, args=(seconds,), name="model-store", daemon=True)
        self._watcher.start()

    def close(self) -> None:
        """End the thread that watches the folders."""
        self._closing.set()
        if self._watcher is not None:
            self._watcher.join()

    @contextmanager
    def using(self, name: str, *, version: int | None = None, label: str | None = None) -> Iterator[Servable]:
        """Hold a version for the time of a request: by its number or label, or else the newest one.

        Version 0 means the newest too, as ovmsclient uses it; TensorFlow Serving would look for a version 0, but kt's
        versions begin at 1. Raises Refusal with TensorFlow Serving's message if there is no such version.
        """
        with self._lock:
            use = self._find(name, version=version or None, label=label).in_use()
            servable = use.__enter__()  # under the lock, because it could be released between finding and holding it
        try:
            yield servable
        finally:
            use.__exit__(None, None, None)

    def _find(self, name: str, *, version: int | None, label: str | None) -> Servable:
        model = self._models.get(name)
        if model is not None and label is not None:
            if label not in model.labels:
                raise invalid(f"Unrecognized servable version label: {label}")
            version = model.labels[label]
        if model is None or not model.available or (version is not None and version not in model.available):
            wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise Refusal(Code.NOT_FOUND, f"Servable not found for request: {wanted}")
        return model.available[max(model.available) if version is None else version]

    def status(self, name: str, *, version: int | None = None, label: str | None = None) -> list[VersionStatus]:
        """The state of one version, or of all versions since the start, newest first."""
        with self._lock:
            model = self._models.get(name)
            if model is not None and label is not None:
                if label not in model.labels:
                    raise invalid(f"Unrecognized servable version label: {label}")
                version = model.labels[label]
            states = model.states if model is not None else {}
            if version is None and not states:
                raise Refusal(Code.NOT_FOUND, f"Could not find any versions of model {name}")
            if version is not None and version not in states:
                raise Refusal(Code.NOT_FOUND, f"Could not find version {version} of model {name}")
            return [states[each] for each in sorted(states, reverse=True) if version in (None, each)]

    def labels(self, name: str) -> dict[str, int]:
        """The version that each label of a model stands for."""
        with self._lock:
            return dict(self._models[name].labels)

    def loaded(self, name: str) -> list[int]:
        """The versions that answer, rising."""
        with self._lock:
            return sorted(self._models[name].available)

    def refresh(self) -> None:
        """Bring the served versions up to date with the folders, once."""
        with self._loading:
            for name, model in self._models.items():
                self._refresh(name, model)

    def _watch(self, seconds: float) -> None:
        while not self._closing.wait(seconds):
            try:
                self.refresh()
            except Exception as error:  # noqa: BLE001 - the server goes on with what it has
                log.error("cannot look at the models' folders", extra={"error": one_line(error)})

    def _refresh(self, name: str, model: _Model) -> None:
        existing = versions(model.folder)
        labels = self._labels_of(name, model)
        wanted = {version for version in labels.values() if self._opened(name, model, version, existing)}
        for version in reversed(existing):  # the newest that can be opened
            if self._opened(name, model, version, existing):
                wanted.add(version)
                break
        with self._lock:
            model.labels = labels
            if wanted:  # a folder that was emptied or moved away doesn't stop the service
                for version in model.available.keys() - wanted:
                    model.retired.append(model.available.pop(version))
                    model.states[version] = VersionStatus(version, UNLOADING)
        self._release(name, model)

    def _labels_of(self, name: str, model: _Model) -> dict[str, int]:
        try:
            return version_labels(model.folder)
        except KtError as error:
            log.error("labels cannot be read; they stay as they were", extra={"model": name, "error": str(error)})
            return model.labels

    def _opened(self, name: str, model: _Model, version: int, existing: Sequence[int]) -> bool:
        """Whether the version answers; it is opened first if it is new."""
        if version in model.available:
            return True
        folder = model.folder / str(version)
        if version not in existing or model.failed.get(version) == (seen := _state_of(folder)):
            return False
        self._set_state(model, VersionStatus(version, LOADING))
        try:
            servable = Servable(
                name, version=version, folder=folder, scheduler=self._scheduler, engine=self._engine,
                drift_window=self._drift_window, wanted=self._wanted,
            )  # fmt: skip
        except Exception as error:  # noqa: BLE001 - TensorFlow raises nearly anything on a damaged model
            model.failed[version] = seen
            self._set_state(model, VersionStatus(version, END, error=one_line(error)))
            log.error("version refused", extra={"model": name, "version": version, "error": one_line(error)})
            return False
        with self._lock:
            model.failed.pop(version, None)
            model.available[version] = servable
            model.states[version] = VersionStatus(version, AVAILABLE)
        log.info("version serves", extra={"model": name, "version": version})
        return True

    def _set_state(self, model: _Model, status: VersionStatus) -> None:
        with self._lock:
            model.states[status.version] = status

    def _release(self, name: str, model: _Model) -> None:
        """Release retired versions that no request uses any more."""
        with self._lock:
            free = [servable.version for servable in model.retired if servable.idle]
            model.retired = [servable for servable in model.retired if not servable.idle]
            for version in free:
                if version not in model.available:  # it may have been opened again for a label meanwhile
                    model.states[version] = VersionStatus(version, END)
        if free:
            collect()  # TensorFlow's loaded models are full of reference cycles
            log.info("version released", extra={"model": name, "version": free[0], "versions": free})


def collect() -> None:
    """Free reference cycles, and exclude all present objects from later garbage collection.

    TensorFlow has a million objects. If Python counted them, it would run a full collection only after a quarter of a
    million new objects, however much memory these hold, and each full collection would pause the server.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def _state_of(folder: Path) -> object:
    """The names, sizes and times of a folder's files, which show whether it has changed."""
    try:
        files = [(str(path.relative_to(folder)), path.stat()) for path in sorted(folder.rglob("*"))]
    except OSError:  # it is changing now
        return None
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in files]
