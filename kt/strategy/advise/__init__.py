"""What to transfer, and how much, told from the pictures in a minute: size, similarity to the source, and the reasons.

Frozen features of several depths are computed once for each picture; all the rest is arithmetic on them. Pictures to
test on are never looked at.
"""

from collections.abc import Mapping

from kt.console import progress_bar, say
from kt.data.splits import Splits
from kt.strategy.advise.advice import Advice, place
from kt.strategy.advise.depths import Candidate, frozen_features, of_pixels, pretrained
from kt.strategy.advise.pictures import check_enough, to_learn
from kt.strategy.advise.probes import Measured, Probe, probe
from kt.strategy.depths import drawn

__all__ = ["Advice", "Candidate", "Probe", "advise", "pretrained"]


def advise(splits: Splits, candidates: Mapping[str, Candidate], *, seed: int = 0) -> Advice:
    """Measure the pictures to learn from under each backbone, by its name, and say what to do.

    Raises DataError where there is nothing to compare, WeightsError where a backbone's weights can't be had.
    """
    check_enough(splits)
    sample = drawn(splits, seed=seed)
    labels, groups = to_learn(sample)
    pixels = probe(of_pixels(sample), labels, groups, classes=splits.classes, seed=seed)
    found = []
    for name, candidate in candidates.items():
        say(f"{name}: frozen features of {len(labels):,} pictures, none of them of test")
        probes = [pixels]
        depths = frozen_features(candidate, sample, seed=seed)
        with progress_bar("probing", len(depths), unit="depths") as bar:
            for depth in depths:
                probes.append(probe(depth, labels, groups, classes=splits.classes, seed=seed))
                bar.advance()
        found.append(Measured(name, tuple(probes)))
    return place(found, splits, measured_pictures=len(labels), seed=seed)
