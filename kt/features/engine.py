"""What each phase trains, and on what: the end of the model on stored frozen outputs, or the whole of it on pixels."""

import errno
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.augment import FeatureAugmentation, Views, augmented
from kt.cache import features_home
from kt.console import progress_bar, say, warn
from kt.data.splits import Pixels, Splits, allocate
from kt.errors import EnvironmentProblem, RecipeError
from kt.features.cut import Border, Uncut, encoder, extension, find_border, is_behind, rest
from kt.features.encode import BATCH, ahead, encoder_for
from kt.features.fingerprint import fingerprint
from kt.features.store import About, Hash, Rows, Store, hashes
from kt.graph import leaves
from kt.model import Built
from kt.numbers import size as size_of
from kt.recipe import Recipe

IN_MEMORY = 2**28
"""Bytes of a phase's stored outputs up to which they are copied into memory; more stay on disk, memory-mapped."""

WITHOUT_DISK = 2**31
"""Bytes of stored outputs that are held in memory where the disk can't take them."""

Inputs = npt.NDArray[Any] | Rows


@dataclass(frozen=True)
class Work:
    """What a phase trains, and on what.

    model: the whole one, or its end behind a border. train, validation: pixels uint8 `[N, H, W, 3]`, or rows float32
    `[N, D]` of what crosses the border; with `Views`, train holds all of them, `[views * N, ...]`, view after view.
    inputs: what train and validation hold, in words. augment: changes a batch of train's rows, given `seed=`; None
    where nothing is to be changed.
    """

    model: Any
    train: Inputs
    validation: Inputs
    inputs: str = "pixels"
    augment: Callable[..., npt.NDArray[np.float32]] | None = None


@dataclass(eq=False)
class _Stored:
    """A border and the rows at it. key: the fingerprint of what is before it; None for what can't be described."""

    border: Border
    store: Store
    key: str | None


class Engine:
    """Prepares the work of each phase of a run, so that what is frozen is computed once for all of them.

    cached=False: every phase trains the whole model on pixels.
    """

    def __init__(self, built: Built, recipe: Recipe, splits: Splits, *, cached: bool = True) -> None:
        augment = recipe.augment
        if isinstance(augment, FeatureAugmentation) and not cached:
            raise RecipeError("FeatureAugmentation changes frozen layers' stored outputs, and --no-cache stores none.")
        self._built, self._recipe, self._splits = built, recipe, splits
        self._cached = cached and (augment is None or isinstance(augment, Views | FeatureAugmentation))
        self._train = all_views(augment, splits.train.pixels) if isinstance(augment, Views) else splits.train.pixels
        self._hashes: tuple[list[Hash], list[Hash]] | None = None
        self._stored: list[_Stored] = []

    def work(self, index: int) -> Work:
        """The work of a phase, whose `trainable` has set the flags."""
        whole = Work(self._built.model, self._train, self._splits.validation.pixels)
        border = find_border(self._built) if self._cached else Uncut()
        if isinstance(border, Uncut):
            if border.reason:
                say(f"{border.reason}; every epoch computes all layers")
            return self._unchanged(whole)
        try:
            train, validation = self._rows([border, *self._ahead(index)])
        except OSError as error:
            warn(f"frozen outputs can't be stored: {error.strerror or error}; every epoch computes all layers")
            return self._unchanged(whole)
        augment = self._recipe.augment
        change = None
        if isinstance(augment, FeatureAugmentation):
            change = partial(augment.on_rows, sizes=border.sizes, channels=border.channels)
        return Work(rest(self._built, border), train, validation, f"stored outputs of {border.name}", change)

    def _unchanged(self, whole: Work) -> Work:
        if isinstance(self._recipe.augment, FeatureAugmentation):
            warn("FeatureAugmentation changes nothing in this phase, which trains on pixels")
        return whole

    def _ahead(self, index: int) -> list[Border]:
        """The borders of the phases to come whose frozen part no phase trains before: one pass gives theirs too."""
        backbone, phases = self._built.backbone, self._recipe.phases
        borders: list[Border] = []
        trained: set[int] = set()
        for phase in phases[index + 1 :]:
            trained |= {id(weight) for leaf in leaves(backbone) for weight in leaf.trainable_weights}
            phase.trainable(backbone)
            border = find_border(self._built)
            if isinstance(border, Border) and trained.isdisjoint(map(id, encoder(self._built, [border]).weights)):
                borders.append(border)
        phases[index].trainable(backbone)
        return borders

    def _rows(self, borders: Sequence[Border]) -> tuple[Inputs, Inputs]:
        """The rows of train and validation at the first border; what is missing is computed, at the others too."""
        if self._hashes is None:
            self._hashes = list(hashes(self._train)), list(hashes(self._splits.validation.pixels))
        wanted = list(dict.fromkeys([*self._hashes[0], *self._hashes[1]]))
        stored = self._with_stores(borders)
        if stored[0].store.missing(wanted):
            self._compute([one for one in stored if one.store.missing(wanted)], wanted)
        else:
            say(f"frozen layers: outputs of {len(wanted):,} pictures at hand")
        found = [stored[0].store.rows(part) for part in self._hashes]
        if len(wanted) * borders[0].width * 4 <= IN_MEMORY:
            return found[0].in_memory(), found[1].in_memory()
        return found[0], found[1]

    def _with_stores(self, borders: Sequence[Border]) -> list[_Stored]:
        """The borders with their stores, those that are new opened; of two that are the same, one."""
        self._stored = [one for one in self._stored if one.key is not None]  # the others can't be told to be up to date
        found: list[_Stored] = []
        for border in borders:
            key = fingerprint(encoder(self._built, [border]))
            if key is None and found:
                continue  # a later phase could not find it again
            known = next((one for one in self._stored if key is not None and one.key == key), None)
            if known is None:
                known = _Stored(border, _open(border, key, backbone=str(self._built.backbone.name)), key)
                self._stored.append(known)
            if known not in found:
                found.append(known)
        return found

    def _compute(self, lacking: Sequence[_Stored], wanted: Sequence[Hash]) -> None:
        """Compute what is missing; into memory where the disk can't take it. OSError where that is too much."""
        try:
            self._compute_into_stores(lacking, wanted)
        except OSError as error:
            if not any(one.store.on_disk for one in lacking):
                raise
            warn(f"frozen outputs are not kept for the next run: {error.strerror or error}; kt cache shows what is")
            for one in lacking:
                one.store = Store(None, one.store.about)
            self._compute_into_stores(lacking, wanted)

    def _compute_into_stores(self, lacking: Sequence[_Stored], wanted: Sequence[Hash]) -> None:
        started = time.perf_counter()
        missing = [one.store.missing(wanted) for one in lacking]
        held = sum(one.border.width for one in lacking if not one.store.on_disk) * 4 * len(wanted)
        if held > WITHOUT_DISK:
            raise OSError(errno.ENOMEM, f"{held / 2**30:.1f} GiB would have to be held in memory")
        needed = [key for key in wanted if any(key in each for each in missing)]
        borders = [one.border for one in lacking]
        source = self._nearest(borders, needed)
        model, fetch = self._way(source, borders)
        # The test split, where there is one, goes through the same part at the end (`kt.features.answers`).
        pictures = len(needed) + len(self._splits.test or ())
        compute, engine = encoder_for(model, pictures=pictures, probe=fetch(needed[:BATCH]))
        with ExitStack() as stack, progress_bar("frozen layers", len(needed)) as bar:
            writers = [
                stack.enter_context(one.store.writer(len(each))) for one, each in zip(lacking, missing, strict=True)
            ]
            chunks = [needed[start : start + BATCH] for start in range(0, len(needed), BATCH)]
            for keys, inputs in ahead(fetch, chunks):
                left = compute(inputs)
                for one, each, writer in zip(lacking, missing, writers, strict=True):
                    own, left = left[: len(one.border.tensors)], left[len(one.border.tensors) :]
                    fresh = [place for place, key in enumerate(keys) if key in each]
                    writer.add([keys[place] for place in fresh], np.concatenate(own, axis=1)[fresh])
                bar.advance(len(keys))
        seconds = time.perf_counter() - started
        size = sum(len(each) * one.border.width * 4 for one, each in zip(lacking, missing, strict=True))
        where = "" if source is None else f" from those at {source.border.name}"
        say(
            f"frozen layers: computed once for {len(needed):,} pictures{where} by {engine}, {seconds:.1f} s, "
            f"{len(needed) / seconds:.0f} images/s, {size_of(size)}"
        )

    def _way(
        self, source: _Stored | None, borders: Sequence[Border]
    ) -> tuple[Any, Callable[[Sequence[Hash]], npt.NDArray[Any]]]:
        """The model that gives what crosses the borders, and a function that gives its inputs by pictures' hashes."""
        if source is None:
            return encoder(self._built, borders), self._pixels()
        return extension(self._built, source.border, borders), source.store.rows_of

    def _nearest(self, borders: Sequence[Border], needed: Sequence[Hash]) -> _Stored | None:
        """Stored outputs from which the borders can be computed, instead of from pixels."""
        for one in reversed(self._stored):
            behind = all(is_behind(border, one.border, self._built) for border in borders)
            if behind and one.border not in borders and not one.store.missing(needed):
                unchanged = one.key is not None and one.key == fingerprint(encoder(self._built, [one.border]))
                if unchanged:  # no phase has trained what is before it since
                    return one
        return None

    def _pixels(self) -> Callable[[Sequence[Hash]], Pixels]:
        """A function that gives the pixels of pictures by their hashes."""
        assert self._hashes is not None
        validation = self._splits.validation.pixels
        places = {key: (validation, place) for place, key in enumerate(self._hashes[1])}
        places |= {key: (self._train, place) for place, key in enumerate(self._hashes[0])}
        return lambda keys: np.stack([part[place] for part, place in map(places.__getitem__, keys)])


def all_views(views: Views, pixels: Pixels) -> Pixels:
    """The augmented copies of pictures `[N, H, W, 3]`, view after view: uint8 `[views * N, H, W, 3]`."""
    found = allocate(views.views * len(pixels), (int(pixels.shape[1]), int(pixels.shape[2])))
    with progress_bar("augmenting", len(found)) as bar:
        start = 0
        batches = partial(_again_and_again, pixels, views.views)
        for batch in augmented(views.augment, batches, shape=pixels.shape[1:]):
            found[start : start + len(batch)] = batch
            start += len(batch)
            bar.advance(len(batch))
    return found


def _again_and_again(pixels: Pixels, times: int) -> Iterable[Pixels]:
    for _ in range(times):
        for start in range(0, len(pixels), BATCH):
            yield pixels[start : start + BATCH]


def _open(border: Border, key: str | None, *, backbone: str) -> Store:
    about = About(backbone, border.name, border.width, "float32")
    if key is None:
        return Store(None, about)
    try:
        return Store(features_home() / key[:40], about)
    except EnvironmentProblem as error:
        warn(f"frozen outputs are not kept for the next run: {error}")
        return Store(None, about)
