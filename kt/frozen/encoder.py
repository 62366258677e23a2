"""Cached activations of frozen layers for any examples, computed once and kept."""

import errno
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kt.base.cache import features_home
from kt.base.console import progress_bar, say, warn
from kt.base.numbers import size as size_of
from kt.errors import EnvironmentProblem
from kt.frozen.cut import Cut, encoder, extension, is_behind
from kt.frozen.encode import BATCH, encoder_for, prefetched
from kt.frozen.fingerprint import fingerprint
from kt.frozen.store import CachedRows, Hash, Store, StoredLayers, hashes
from kt.network.model import Built

IN_MEMORY = 2**28
"""Up to this many bytes, cached activations are copied into memory; above it they stay on disk, memory-mapped."""

WITHOUT_DISK = 2**31
"""Bytes of cached activations that are held in memory where the disk can't take them."""

Examples = npt.NDArray[Any] | tuple[npt.NDArray[Any], ...]
"""What a model takes: an array `[N, ...]`, or one for each of its inputs, in their order."""

Activations = npt.NDArray[Any] | CachedRows
"""Cached activations, float32 `[N, D]`, in memory or on the disk."""


@dataclass(eq=False)
class _Stored:
    """A cut and the activations at it. key: the fingerprint of the layers before it; None where they have none."""

    cut: Cut
    store: Store
    key: str | None


class Encoder:
    """Gives the cached activations of a model at its cuts, and computes those that are missing.

    It may be asked again after layers have trained: activations that changed are computed anew, from the nearest cut
    before which nothing trained.
    """

    def __init__(self, built: Built) -> None:
        self._built = built
        self._stored: list[_Stored] = []
        self._hashed: list[tuple[Examples, list[Hash]]] = []

    def activations(
        self, parts: Sequence[Examples], cut: Cut, *, later_cuts: Sequence[Cut] = (), later_examples: int = 0
    ) -> list[Activations]:
        """The activations of each part's examples at a cut.

        later_cuts: cuts that will be asked for too; one pass over the examples computes theirs as well. later_examples:
        how many more examples go through the same layers later, which may make converting the layers pay. Raises
        OSError where there is no room for the activations.
        """
        keys = [self._hashes(part) for part in parts]
        wanted = list(dict.fromkeys(key for part in keys for key in part))
        stored = self._with_stores([cut, *later_cuts])
        if stored[0].store.missing(wanted):
            lacking = [each for each in stored if each.store.missing(wanted)]
            self._compute(lacking, parts, wanted, later_examples=later_examples)
        else:
            say(f"frozen layers: outputs of {len(wanted):,} {self._built.nouns.many} at hand")
        rows = [stored[0].store.rows(part) for part in keys]
        if len(wanted) * cut.width * 4 <= IN_MEMORY:
            return [part.in_memory() for part in rows]
        return [*rows]

    def _hashes(self, examples: Examples) -> list[Hash]:
        """The hash of each example. Hashes of an array that was asked for before are not computed again."""
        known = next((keys for array, keys in self._hashed if array is examples), None)
        if known is None:
            known = list(hashes(examples))
            self._hashed.append((examples, known))
        return known

    def _with_stores(self, cuts: Sequence[Cut]) -> list[_Stored]:
        """The cuts with their stores, opened where they are new. Equal cuts share one store."""
        self._stored = [known for known in self._stored if known.key is not None]  # without a key they may be outdated
        stored: list[_Stored] = []
        for cut in cuts:
            key = fingerprint(encoder(self._built, [cut]))
            if key is None and stored:
                continue  # a later phase could not find it again
            own = next((known for known in self._stored if key is not None and known.key == key), None)
            if own is None:
                own = _Stored(cut, opened_store(cut, key, backbone=str(self._built.backbone.name)), key)
                self._stored.append(own)
            if own not in stored:
                stored.append(own)
        return stored

    def _compute(
        self, lacking: Sequence[_Stored], parts: Sequence[Examples], wanted: Sequence[Hash], *, later_examples: int
    ) -> None:
        """Compute what is missing, into memory if the disk can't take it. Raises OSError if memory can't either."""
        try:
            self._compute_into_stores(lacking, parts, wanted, later_examples=later_examples)
        except OSError as error:
            if not any(stored.store.on_disk for stored in lacking):
                raise
            warn(f"frozen outputs are not kept for the next run: {error.strerror or error}; kt cache shows what is")
            for stored in lacking:
                stored.store = Store(None, stored.store.about)
            self._compute_into_stores(lacking, parts, wanted, later_examples=later_examples)

    def _compute_into_stores(
        self, lacking: Sequence[_Stored], parts: Sequence[Examples], wanted: Sequence[Hash], *, later_examples: int
    ) -> None:
        started = time.perf_counter()
        missing = [stored.store.missing(wanted) for stored in lacking]
        held = sum(stored.cut.width for stored in lacking if not stored.store.on_disk) * 4 * len(wanted)
        if held > WITHOUT_DISK:
            raise OSError(errno.ENOMEM, f"{held / 2**30:.1f} GiB would have to be held in memory")
        needed = [key for key in wanted if any(key in keys for keys in missing)]
        cuts = [stored.cut for stored in lacking]
        source = self._nearest(cuts, needed)
        model, fetch = self._model_and_inputs(source, cuts, parts)
        compute, computed_by = encoder_for(model, pictures=len(needed) + later_examples, probe=fetch(needed[:BATCH]))
        nouns = self._built.nouns
        with ExitStack() as stack, progress_bar("frozen layers", len(needed), unit=f"{nouns.unit}s") as bar:
            writers = [
                stack.enter_context(stored.store.writer(len(absent)))
                for stored, absent in zip(lacking, missing, strict=True)
            ]
            chunks = [needed[start : start + BATCH] for start in range(0, len(needed), BATCH)]
            for keys, inputs in prefetched(fetch, chunks):
                left = compute(inputs)
                for stored, absent, writer in zip(lacking, missing, writers, strict=True):
                    own, left = left[: len(stored.cut.tensors)], left[len(stored.cut.tensors) :]
                    fresh = [place for place, key in enumerate(keys) if key in absent]
                    writer.add([keys[place] for place in fresh], np.concatenate(own, axis=1)[fresh])
                bar.advance(len(keys))
        seconds = time.perf_counter() - started
        size = sum(len(absent) * stored.cut.width * 4 for stored, absent in zip(lacking, missing, strict=True))
        where = "" if source is None else f" from those at {source.cut.name}"
        say(
            f"frozen layers: computed once for {len(needed):,} {nouns.many}{where} by {computed_by}, {seconds:.1f} s, "
            f"{len(needed) / seconds:.0f} {nouns.unit}s/s, {size_of(size)}"
        )

    def _model_and_inputs(
        self, source: _Stored | None, cuts: Sequence[Cut], parts: Sequence[Examples]
    ) -> tuple[Any, Callable[[Sequence[Hash]], Examples]]:
        """The model that gives what crosses the cuts, and a function that gives its inputs for examples' hashes."""
        if source is None:
            return encoder(self._built, cuts), self._inputs(parts)
        return extension(self._built, source.cut, cuts), source.store.rows_of

    def _nearest(self, cuts: Sequence[Cut], needed: Sequence[Hash]) -> _Stored | None:
        """Stored activations from which those at the cuts can be computed; None where the inputs are needed."""
        for stored in reversed(self._stored):
            behind = all(is_behind(cut, stored.cut, self._built) for cut in cuts)
            if behind and stored.cut not in cuts and not stored.store.missing(needed):
                unchanged = stored.key is not None and stored.key == fingerprint(encoder(self._built, [stored.cut]))
                if unchanged:  # no layer before it has trained since
                    return stored
        return None

    def _inputs(self, parts: Sequence[Examples]) -> Callable[[Sequence[Hash]], Examples]:
        """A function that gives the model's inputs for examples' hashes."""
        places = {key: (part, place) for part in parts for place, key in enumerate(self._hashes(part))}

        def fetch(keys: Sequence[Hash]) -> Examples:
            chosen = [places[key] for key in keys]
            examples = [_example(part, place) for part, place in chosen]
            inputs: Examples = keras.tree.map_structure(lambda *arrays: np.stack(arrays), *examples)
            return inputs

        return fetch


def _example(part: Examples, place: int) -> Any:
    return keras.tree.map_structure(lambda array: array[place], part)


def opened_store(cut: Cut, key: str | None, *, backbone: str, own: str = "") -> Store:
    """The store of the activations at a cut; in memory if they have no key, or the cache can't be written.

    own: the name of a set of examples whose activations lie apart from those of others.
    """
    about = StoredLayers(backbone, cut.name, cut.width, "float32")
    if key is None:
        return Store(None, about)
    try:
        return Store(features_home() / (f"{key[:40]}-{own}" if own else key[:40]), about)
    except EnvironmentProblem as error:
        warn(f"frozen outputs are not kept for the next run: {error}")
        return Store(None, about)
