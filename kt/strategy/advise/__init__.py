"""Advice on what to transfer and how much, in a minute: by the data's size and its similarity to the source.

Frozen features of several depths are computed once for each picture; everything else is arithmetic on them. The test
split is never used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from kt.base.console import progress_bar, say, warn
from kt.checkup.apart import told_apart, unaccepted
from kt.data.splits import Splits, kind_of_pictures
from kt.recipe import TOP
from kt.strategy.advise.advice import Advice, place
from kt.strategy.advise.choice import with_gains
from kt.strategy.advise.depths import Candidate, DepthFeatures, at_size, depth_features, of_pixels, pretrained
from kt.strategy.advise.pictures import check_enough, to_learn
from kt.strategy.advise.probes import ProbedBackbone, ProbedFeatures, probe_depth
from kt.strategy.depths import spread_sample

__all__ = ["Advice", "Candidate", "ProbedFeatures", "advise", "pretrained"]


def advise(splits: Splits, candidates: Mapping[str, Candidate], *, seed: int = 0) -> Advice:
    """Probe the pictures to learn from with each backbone, and say what to do. candidates: backbones by their names.

    Raises DataError if there is nothing to compare, WeightsError if a backbone's weights can't be had.
    """
    check_enough(splits)
    sample = spread_sample(splits, seed=seed)
    labels, groups = to_learn(sample)
    pixels = probe_depth(of_pixels(sample), labels, groups, classes=splits.classes, seed=seed)
    measured: list[ProbedBackbone] = []
    for name, candidate in candidates.items():
        own = at_size(sample, candidate.image_size)
        kind = kind_of_pictures(own)
        say(f"{name}: frozen features of {len(labels):,} pictures at {kind.in_words()}, none of them of test")
        probes = [pixels]
        depths = depth_features(candidate, own, seed=seed)
        if not measured and (warning := _several_times(depths, sample, seed=seed)):
            warn(warning)
            splits = replace(splits, notes=(*splits.notes, warning))
        with progress_bar("probing", len(depths), unit="depths") as bar:
            for depth in depths:
                probes.append(probe_depth(depth, labels, groups, classes=splits.classes, seed=seed))
                bar.advance()
        measured.append(ProbedBackbone(name, tuple(probes), kind.image_size))
    return place(with_gains(measured, labels, groups, seed=seed), splits, measured_pictures=len(labels), seed=seed)


def _several_times(depths: Sequence[DepthFeatures], sample: Splits, *, seed: int) -> str:
    """A warning if pictures seem to show the same thing and no group says so; else ""."""
    labels, groups = to_learn(sample)
    top = next(depth.rows for depth in depths if depth.name == TOP)
    return unaccepted(
        told_apart(top, labels, groups, groups, classes=len(sample.classes), nouns=sample.kind, seed=seed)
    )
