"""What each phase trains, and on what: the end of the model on cached activations, or the whole model on pixels."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from kt import freeze
from kt.base.console import progress_bar, say, warn
from kt.data.splits import Splits, allocate
from kt.errors import RecipeError
from kt.frozen.cut import Cut, Uncut, cuts_ahead, find_cut, tail
from kt.frozen.encode import BATCH
from kt.frozen.encoder import Activations, Encoder
from kt.kinds.pictures import Pixels
from kt.network.model import Built
from kt.parts.augment import Augmentation, plan_of
from kt.recipe import LinearProbe, Phase, Recipe, Step, streams_of

Inputs = npt.NDArray[Any] | Activations


WHOLE = Uncut()


@dataclass(frozen=True)
class Work:
    """What a phase trains, and on what.

    model: the whole one, or its end behind a cut. train, validation: pixels uint8 `[N, H, W, 3]`, or cached activations
    float32 `[N, D]` at the cut; with `Views`, train holds all views, `[views * N, ...]`, view after view. inputs: what
    train and validation hold, in words. augment: changes a batch of train's activations, given `seed=`; None where
    nothing is to be changed. cut: where the model was cut. streams: further streams of the phase's objective, pixels or
    activations as for train and validation.
    """

    model: Any
    train: Inputs
    validation: Inputs
    inputs: str = "pixels"
    augment: Callable[..., npt.NDArray[np.float32]] | None = None
    cut: Cut | Uncut = WHOLE
    streams: Mapping[str, Inputs] = field(default_factory=dict)


class Engine:
    """Prepares the work of each phase of a run, so that frozen layers are computed once for all phases.

    phases: those of the recipe unless given. cached=False: every phase trains the whole model on pixels.
    """

    def __init__(
        self,
        built: Built,
        recipe: Recipe,
        splits: Splits,
        *,
        phases: Sequence[Step] | None = None,
        cached: bool = True,
    ) -> None:
        self._plan = plan_of(recipe.augment)
        if self._plan.features and not cached:
            raise RecipeError("FeatureAugmentation changes frozen layers' stored outputs, and --no-cache stores none.")
        self._built, self._splits, self._cached = built, splits, cached
        self._phases = recipe.phases if phases is None else phases
        self._moving = [freeze.moving(step.trainable, built.backbone) for step in self._phases]
        self._seed = recipe.seed
        self._encoder = Encoder(built)
        # The streams of all phases, in one order, so that one pass over the pictures serves every phase.
        self._streams = list(dict.fromkeys(name for step in self._phases for name in streams_of(step)))
        if lacking := [name for name in self._streams if name not in splits.streams]:
            known = ", ".join(["train", "validation", "test", *splits.streams])
            raise RecipeError(
                f"A step wants {splits.kind.many} of {lacking[0]!r}, and the data has {known}; give them in "
                "Splits.streams, or name another stream."
            )

    @cached_property
    def _train(self) -> Pixels:
        """The pictures to train on, or all their views."""
        return all_views(self._plan, self._splits.train.examples, seed=self._seed)

    def work(self, index: int) -> Work:
        """The work of a phase."""
        wanted = streams_of(self._phases[index])
        streams = {name: self._splits.streams[name].examples for name in self._streams if name in wanted}
        whole = Work(self._built.model, self._train, self._splits.validation.examples, streams=streams)
        cut = self._cut(index)
        if isinstance(cut, Uncut):
            if cut.reason:
                say(f"{cut.reason}; every epoch computes all layers")
            return self._unchanged(whole)
        more = [self._splits.streams[name].examples for name in self._streams]
        try:
            train, validation, *others = self._encoder.activations(
                [self._train, self._splits.validation.examples, *more],
                cut,
                later_cuts=self._later_cuts(index),
                # The test split, where there is one, goes through the same layers at the end (`kt.frozen.answers`).
                later_examples=len(self._splits.test or ()),
            )
        except OSError as error:
            warn(f"frozen outputs can't be stored: {error.strerror or error}; every epoch computes all layers")
            return self._unchanged(whole)
        change, features = None, self._plan.features
        if features:
            change = partial(features.on_rows, sizes=cut.sizes, channels=cut.channels)
        cached = {name: part for name, part in zip(self._streams, others, strict=True) if name in streams}
        description = f"stored outputs of {cut.name}"
        return Work(tail(self._built, cut), train, validation, description, change, cut, cached)

    def prepare(self) -> None:
        """Compute now what the phases will ask for, except where an earlier phase trains before it."""
        self.work(0)

    def _cut(self, index: int) -> Cut | Uncut:
        """Where the work of a phase is cut; nowhere if its pictures change in every epoch.

        A linear probe has no epochs and takes no mixed labels, so it gets the pictures, or their views, unchanged.
        """
        step, names = self._phases[index], self._plan.names
        if names and isinstance(step, LinearProbe):
            say(f"phase {step.name}: {names} left out, since a linear probe is solved once and has no epochs")
        cut = find_cut(self._built, self._moving[index]) if self._cached else Uncut()
        if isinstance(cut, Cut) and self._each_epoch(index):
            return Uncut(f"{names} changes the {self._splits.kind.many} in every epoch")
        return cut

    def _each_epoch(self, index: int) -> bool:
        """Whether a phase trains on differently augmented pictures in every epoch."""
        return bool(self._plan.each_epoch) and isinstance(self._phases[index], Phase)

    def _unchanged(self, whole: Work) -> Work:
        if self._plan.features:
            warn("FeatureAugmentation changes nothing in this phase, which trains on pixels")
        return whole

    def _later_cuts(self, index: int) -> list[Cut]:
        """The cuts of later phases that can be computed in the same pass."""
        changing = [later - index - 1 for later in range(index + 1, len(self._phases)) if self._each_epoch(later)]
        later = self._moving[index + 1 :]
        return cuts_ahead(self._built, later, trained=self._moving[index].weights, uncut=changing)


def all_views(plan: Augmentation, pixels: Pixels, *, seed: int) -> Pixels:
    """The augmented copies of pictures `[N, H, W, 3]`, view after view: uint8 `[views * N, H, W, 3]`.

    Without views, the pictures themselves. seed: the recipe's.
    """
    if plan.views is None:
        return pixels
    views = allocate(plan.views.views * len(pixels), pixels.shape[1:])
    with progress_bar("augmenting", len(views)) as bar:
        start = 0
        batches = partial(_repeated, pixels, plan.views.views)
        for batch in plan.copies(batches, shape=pixels.shape[1:], seed=seed):
            views[start : start + len(batch)] = batch
            start += len(batch)
            bar.advance(len(batch))
    return views


def _repeated(pixels: Pixels, times: int) -> Iterable[Pixels]:
    for _ in range(times):
        for start in range(0, len(pixels), BATCH):
            yield pixels[start : start + BATCH]
