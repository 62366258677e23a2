"""Test pictures that look otherwise than those of train: figures from train then say little about them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kt.checkup.features import Features
from kt.findings import Finding
from kt.kinds.kind import Nouns
from kt.learnability.features import Known, chosen
from kt.learnability.likeness import MOST, Likeness, likeness
from kt.linear import one_thread

Ints = npt.NDArray[np.int64]


def unlike_test(
    features: Features,
    labels: Ints,
    groups: Sequence[str],
    names: Sequence[str],
    splits: Sequence[str | None],
    *,
    nouns: Nouns,
    seed: int = 0,
) -> list[Finding]:
    """One finding if the test split that the data gives differs from train and validation; labels of test aren't used.

    labels: int64 `[N]`, indices into the classes, -1 for none. groups: of each picture; those of one count as one.
    names: relative paths. splits: of each picture, as the data gives them; None or empty where it does not. At most 500
    pictures of each side are compared, as `kt run` does.
    """
    given, known = np.array([split or "" for split in splits]), np.asarray(groups, dtype=str)
    learned = np.flatnonzero(np.isin(given, ("train", "validation")) & (labels >= 0))
    tested = np.flatnonzero(given == "test")
    if not len(learned) or not len(tested):
        return []
    learned = learned[chosen(labels[learned], seed=seed)]
    if len(tested) > MOST:
        tested = np.sort(np.random.default_rng(seed).choice(tested, MOST, replace=False))
    with one_thread():
        found = likeness(
            Known(features.at(learned), labels[learned], known[learned]),
            Known(features.at(tested), np.zeros(len(tested), np.int64), known[tested]),
            [names[place] for place in tested.tolist()],
            seed=seed,
        )
    return _findings(found, nouns)


def _findings(found: Likeness, nouns: Nouns) -> list[Finding]:
    if not found.differ or found.auc is None or found.interval is None or found.p is None:
        return []
    low, high = found.interval
    said = found.warning(nouns)
    figures = {"auc": found.auc, "auc_low": low, "auc_high": high, "p": found.p}
    return [
        Finding(
            kind="unlike_test",
            severity="warning",
            items=found.most_unlike,
            words=f"{said[0].upper()}{said[1:]}.",
            advice=f"Look at the {nouns.many} of test that differ most; put some of their kind into train if the model "
            "will meet them, and take only figures of test for what it will do.",
            figures=figures,
        )
    ]
