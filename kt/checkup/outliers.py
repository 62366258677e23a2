"""Pictures unlike the others: far from all pictures of their class, in the features of the network's top.

The distance is that to a near picture of the same class and another group (Ramaswamy, Rastogi and Shim, Efficient
Algorithms for Mining Outliers from Large Data Sets, SIGMOD 2000). The fifth is taken, not the first, since foreign
pictures often come several at a time; the same class, since foreign ones spread over the classes. How far is too far is
measured by what most distances are, which a few foreign pictures hardly move.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kt.checkup.features import BLOCK, Features
from kt.familiar.nearest import unit
from kt.findings import Finding, Fix
from kt.linear import one_thread
from kt.linear.space import Floats

Ints = npt.NDArray[np.int64]

NEIGHBOUR = 5
"""The neighbour whose distance counts."""

LIMIT = 3.25
"""How many standard deviations above the median of its class a distance must be. See `Distances.deviations`."""

FEWEST = 30
"""A class with fewer distances than this is judged by those of all classes; with fewer than this in all, none is."""

MOST = 3000
"""The most pictures of a class that others are compared with; of more, a random sample."""

_NORMAL = {0.75: 0.6745, 0.9: 1.2816}


@dataclass(frozen=True, eq=False)
class Distances:
    """How far each of N pictures is from its class. values: float64 `[N]`, 0 to 2; NaN where its class is too small.

    deviations: `[N]`, how many standard deviations the logarithm of the distance lies above its class's median. The
    standard deviation is that of a normal distribution with the same upper quartile or upper tenth, whichever is less,
    so that some foreign pictures hardly change it. nearest: int64 `[N]`, the nearest picture of the class and another
    group; -1 where there is none.
    """

    values: Floats
    deviations: Floats
    nearest: Ints


def outliers(
    features: Features,
    labels: npt.ArrayLike,
    groups: Sequence[str],
    names: Sequence[str],
    *,
    classes: Sequence[str],
    limit: float = LIMIT,
    seed: int = 0,
) -> list[Finding]:
    """A finding for each picture that is unlike the others of its class, the most unlike first, to be left out.

    labels: `[N]`, indices into the classes, -1 for none. groups: of each picture; a picture of the same group is no
    proof that such pictures belong here, so it doesn't count. Copies belong to one group. names: the pictures' paths
    relative to the data. limit: in standard deviations. At the default, of the sets that were measured as they are, no
    more than one picture in 250 was listed (benchmarks/README.md, Wrong labels).
    """
    known = np.asarray(labels, np.int64)
    found = distances(features, known, groups, seed=seed)
    far = np.flatnonzero(np.nan_to_num(found.deviations, nan=-np.inf) > limit)
    return [
        _finding(place, found, known, names, classes, limit=limit)
        for place in far[np.argsort(-found.deviations[far], kind="stable")].tolist()
    ]


def distances(features: Features, labels: Ints, groups: Sequence[str], *, seed: int = 0) -> Distances:
    """How far each picture is from its class, by the features of the network's top.

    Where a class has at most `NEIGHBOUR` pictures of other groups than a picture's, the farthest of them counts, if
    there are at least two.
    """
    rows = features.top()
    for start in range(0, len(rows), BLOCK):
        rows[start : start + BLOCK] = unit(rows[start : start + BLOCK])
    _, number = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    values, nearest = np.full(len(rows), np.nan), np.full(len(rows), -1, np.int64)
    random = np.random.default_rng(seed)
    with one_thread():
        for label in np.unique(labels[labels >= 0]):
            own = np.flatnonzero(labels == label)
            others = np.sort(random.choice(own, MOST, replace=False)) if len(own) > MOST else own
            for start in range(0, len(own), BLOCK):
                part = own[start : start + BLOCK]
                like = (rows[part] @ rows[others].T).astype(np.float64)
                like[number[part][:, None] == number[others][None]] = -np.inf
                order = np.argsort(-like, axis=1, kind="stable")[:, :NEIGHBOUR]
                near = np.take_along_axis(like, order, axis=1)
                count = np.isfinite(near).sum(axis=1)
                some, several = count > 0, count > 1
                nearest[part[some]] = others[order[some, 0]]
                last = near[several, count[several] - 1]
                values[part[several]] = np.sqrt(np.maximum(2 - 2 * last, 0.0))
    return Distances(values, _deviations(values, labels), nearest)


def _deviations(values: Floats, labels: Ints) -> Floats:
    """As `Distances.deviations`; NaN where there are too few distances, or most of them are the same."""
    logs = np.log(np.maximum(values, 1e-6))
    deviations = _above(logs)
    for label in np.unique(labels):
        own = labels == label
        if np.isfinite(logs[own]).sum() >= FEWEST:
            deviations[own] = _above(logs[own])
    return deviations


def _above(logs: Floats) -> Floats:
    """How many standard deviations logarithms lie above their median."""
    known = logs[np.isfinite(logs)]
    if len(known) < FEWEST:
        return np.full(len(logs), np.nan)
    middle = float(np.median(known))
    deviation = min((float(np.quantile(known, share)) - middle) / reach for share, reach in _NORMAL.items())
    return (logs - middle) / deviation if deviation > 1e-6 else np.full(len(logs), np.nan)


def _finding(
    place: int, found: Distances, labels: Ints, names: Sequence[str], classes: Sequence[str], *, limit: float
) -> Finding:  # fmt: skip
    name, label = names[place], classes[labels[place]]
    distance, deviations = float(found.values[place]), float(found.deviations[place])
    middle = float(np.nanmedian(found.values[labels == labels[place]]))
    why = f"{deviations:.1f} standard deviations farther from its class than is usual"
    return Finding(
        kind="outlier",
        severity="note",
        items=(name,),
        words=f"{name} is unlike the other pictures of {label}: {why}.",
        advice=f"Look at it; if it does not show {label}, leave it out.",
        fixes=(Fix(name, "leave_out", why=why),),
        score=round(1 - limit / (2 * deviations), 4),
        figures={"distance": distance, "median_distance": middle, "deviations": deviations, "limit": limit},
        beside=(names[int(found.nearest[place])],),
    )
