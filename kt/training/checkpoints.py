"""Checkpoints of training: after a kill each phase goes on as if it had never stopped, with the same numbers.

A checkpoint holds the weights, those of an objective's layers too, the optimizer with its step in the schedule, the
states of random generators, the best weights so far and the history. Everything else that is random follows from the
seed, the phase and the epoch (`kt.training.batches.Order`).
"""

import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kt.base.beside import beside
from kt.base.console import warn
from kt.base.stages import Kept, Stage, key_of
from kt.errors import one_line

SHARE = 0.02
"""The largest share of the training time that checkpoints may take. Where epochs are short, several share one
checkpoint."""

Weights = list[npt.NDArray[Any]]
Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass
class Reached:
    """How far a phase is.

    history: a list for each figure, one value an epoch. best: where the best weights so far come from, from
    `Best.as_kept`. weights, best_weights: of the whole model; None where they are those that the phase began with.
    scores: of the best weights on validation. seconds: the time that the phase took. seeds: the states that the layers
    draw random numbers from. result: of the phase, as plain data. Seeds and result are set once the phase has ended.
    """

    history: dict[str, list[float]] = field(default_factory=dict)
    best: dict[str, Any] = field(default_factory=dict)
    weights: Weights | None = None
    best_weights: Weights | None = None
    scores: npt.NDArray[np.float32] | None = None
    seconds: float = 0.0
    seeds: Weights | None = None
    result: dict[str, Any] | None = None

    @property
    def epochs(self) -> int:
        """How many epochs are done."""
        return len(self.history.get("loss", ()))


class Checkpoint:
    """The checkpoint of one phase of a training: keeps how far it is, and gives it back in another process.

    start: the weights of the whole model as the phase begins; only weights that differ from them are written. random:
    gives the states of random generators outside the model, such as those of an augmentation.
    """

    def __init__(self, stage: Stage | None, start: Weights, random: Callable[[], Sequence[Any]]) -> None:
        self._stage, self._start, self._random = stage, start, random
        self._kept: Kept | None = stage.kept() if stage else None
        self._writing: Callable[[], None] | None = None
        self._next, self._failed = 0.0, False

    def reached(self) -> Reached | None:
        """How far the phase was when its process ended; None where it has not begun."""
        if self._kept is None:
            return None
        facts, arrays = self._kept.told, self._kept.arrays
        scores = arrays.get("scores", {}).get("scores")
        return Reached(
            history={name: values.tolist() for name, values in arrays.get("history", {}).items()},
            best=facts["best"],
            weights=self._whole(arrays.get("weights")),
            best_weights=self._whole(arrays.get("best")),
            scores=scores,
            seconds=facts["seconds"],
            seeds=list(arrays.get("seeds", {}).values()),
            result=facts["result"],
        )

    def go_on(self, model: Any) -> None:
        """Restore the optimizer, an objective's layers and all random generators. model: the compiled one."""
        assert self._kept is not None
        state = self._kept.arrays.get("state", {})
        model.optimizer.build(model.trainable_variables)
        _assign(model.optimizer.variables, state, "optimizer")
        _assign(_own_weights(model), state, "own")
        _assign(_seeds_of(model), state, "seeds")
        _assign(self._random(), state, "random")
        _put_generators(state)

    @property
    def due(self) -> bool:
        """Whether an epoch that ends now is to be kept."""
        return self._stage is not None and not self._failed and time.perf_counter() >= self._next

    def keep(self, reached: Reached, model: Any = None) -> None:
        """Write how far the phase is, in the background; a phase that has ended is on the disk when this returns.

        model: the one that is fitted; None once the phase has ended. If the disk takes nothing, training goes on and a
        warning says so once.
        """
        if self._stage is None or self._failed:
            return
        started = time.perf_counter()
        state = {}
        if model is not None:
            optimizer, seeds = _values(model.optimizer.variables, "optimizer"), _values(_seeds_of(model), "seeds")
            own = _values(_own_weights(model), "own")
            state = {**optimizer, **own, **seeds, **_values(self._random(), "random"), **_generators()}
        sets: dict[str, Arrays] = {
            # Arrays, because JSON has no value for NaN or infinity.
            "history": {name: np.array(values, np.float64) for name, values in reached.history.items()},
            "weights": self._changed(reached.weights),
            "best": self._changed(reached.best_weights),
            "scores": {} if reached.scores is None else {"scores": reached.scores},
            "seeds": {str(place): seed for place, seed in enumerate(reached.seeds or ())},
            "state": state,
        }
        facts = {
            "epochs": reached.epochs,
            "best": reached.best,
            "seconds": reached.seconds,
            "result": reached.result,
        }
        took = time.perf_counter() - started
        self._wait()
        self._writing = beside(lambda: self._write(facts, sets))
        if reached.result is not None:
            self._wait()
        self._rest_after(took)

    def _write(self, facts: Mapping[str, Any], sets: Mapping[str, Arrays]) -> None:
        assert self._stage is not None
        started = time.perf_counter()
        self._stage.keep(facts, **{name: arrays for name, arrays in sets.items() if arrays})
        self._rest_after(time.perf_counter() - started)

    def _rest_after(self, seconds: float) -> None:
        """Write no further checkpoint until these seconds are at most `SHARE` of the time."""
        self._next = max(self._next, time.perf_counter() + seconds / SHARE)

    def _wait(self) -> None:
        """Wait until the checkpoint in the background is written."""
        writing, self._writing = self._writing, None
        if writing is None:
            return
        try:
            writing()
        except OSError as error:
            self._failed = True
            warn(f"how far training is can't be kept, so that a run that is ended now begins again: {one_line(error)}")

    def _changed(self, weights: Weights | None) -> dict[str, npt.NDArray[Any]]:
        """The weights that differ from those of the start, by their places."""
        if weights is None:
            return {}
        pairs = enumerate(zip(weights, self._start, strict=True))
        return {str(place): now for place, (now, before) in pairs if not np.array_equal(now, before)}

    def _whole(self, changed: Mapping[str, npt.NDArray[Any]] | None) -> Weights:
        return [(changed or {}).get(str(place), before) for place, before in enumerate(self._start)]


@dataclass(frozen=True)
class Checkpoints:
    """Where a training keeps its checkpoints. folder: None keeps none. key: of `training_key`."""

    folder: Path | None = None
    key: str = ""

    def of(self, index: int, name: str, start: Weights, *, random: Callable[[], Sequence[Any]] = tuple) -> Checkpoint:
        """The checkpoint of a phase. index: its place among the phases, from 0."""
        if self.folder is None:
            return Checkpoint(None, start, random)
        return Checkpoint(Stage(self.folder / f"{index + 1}-{name}", key_of(self.key, index, name)), start, random)


def seed_states(function: Any) -> list[Any]:
    """The states of the seed generators that a Keras layer, or a function that refers to layers, draws from.

    They are in the same order in every process. A preprocessing layer makes further generators when tf.data traces it.
    """
    states: dict[int, Any] = {}
    for layer in _layers_of(function):
        for part in [layer, *_flattened(layer)]:
            own = [value for value in vars(part).values() if isinstance(value, keras.random.SeedGenerator)]
            for generator in [*own, *getattr(part, "_backend_generators", {}).values()]:
                states.setdefault(id(generator.state), generator.state)
    return list(states.values())


def seeds_of(model: Any) -> Weights:
    """The states that a model's layers draw random numbers from; `put_seeds` puts them back."""
    return list(_values(_seeds_of(model), "").values())


def put_seeds(model: Any, seeds: Weights) -> None:
    """Restore the states that a model's layers draw random numbers from, as `seeds_of` gave them."""
    for variable, value in zip(_seeds_of(model), seeds, strict=True):
        variable.assign(value)


def seed_anew(states: Iterable[Any], *seed: int) -> None:
    """Set all states to numbers that follow from `seed` alone, whatever was drawn before."""
    for place, state in enumerate(states):
        state.assign([zlib.crc32(repr((*seed, place)).encode()) & 0x7FFFFFFF, 0])  # int32 on torch


def _layers_of(function: Any) -> Iterable[Any]:
    """The layer itself, or the layers that a function has in its closure or uses as globals; for a list, of each."""
    if isinstance(function, list | tuple):
        return [layer for part in function for layer in _layers_of(part)]
    function = getattr(function, "func", function)
    if isinstance(function, keras.layers.Layer):
        return [function]
    cells = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    code, names = getattr(function, "__code__", None), getattr(function, "__globals__", {})
    used = [names[name] for name in code.co_names if name in names] if code is not None else []
    return [value for value in (*cells, *used) if isinstance(value, keras.layers.Layer)]


def _flattened(layer: Any) -> Iterable[Any]:
    with suppress(AttributeError):
        return list(layer._flatten_layers(include_self=False))
    return ()


def _seeds_of(model: Any) -> list[Any]:
    """The states that a model's layers draw random numbers from: variables that are neither weights nor metrics."""
    others = {id(variable) for variable in (*model.weights, *model.metrics_variables)}
    optimizer = getattr(model, "optimizer", None)
    others |= {id(variable) for variable in (optimizer.variables if optimizer is not None else ())}
    return [variable for variable in model.variables if id(variable) not in others]


def _own_weights(model: Any) -> list[Any]:
    """The weights that a fitted model has and the whole model has not: those of an objective's layers."""
    return list(getattr(model, "own_weights", ()))


def _generators() -> dict[str, npt.NDArray[Any]]:
    """The states of the backend's own generators: on torch, Keras's dropout draws from them."""
    if keras.backend.backend() != "torch":
        return {}
    import torch

    states = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        states |= {f"cuda/{number}": state for number, state in enumerate(torch.cuda.get_rng_state_all())}
    return {name: np.array(state) for name, state in states.items()}


def _put_generators(arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    if keras.backend.backend() != "torch":
        return
    import torch

    torch.set_rng_state(torch.from_numpy(arrays["torch"]))
    if torch.cuda.is_available():
        states = [torch.from_numpy(state) for name, state in arrays.items() if name.startswith("cuda/")]
        torch.cuda.set_rng_state_all(states)


def _values(variables: Iterable[Any], name: str) -> dict[str, npt.NDArray[Any]]:
    arrays = (np.array(keras.ops.convert_to_numpy(variable)) for variable in variables)
    return {f"{name}/{place}": array for place, array in enumerate(arrays)}


def _assign(variables: Iterable[Any], arrays: Mapping[str, npt.NDArray[Any]], name: str) -> None:
    for place, variable in enumerate(variables):
        variable.assign(arrays[f"{name}/{place}"])
