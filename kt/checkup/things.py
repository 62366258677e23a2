"""Things photographed several times under names that do not tell: which pictures seem to show one thing.

If the pictures of a thing lie on both sides of a split, a model is tested on what it has learned by heart, and its
figures are too good. Two kinds of evidence count, and neither needs a threshold that a person sets:

* **Features**, less the mean of their class. A picture's nearest neighbours of its own class are compared with its
  nearest neighbours of other classes, which can't show the same thing. Photographs of different things are about as far
  from each other in both cases, since features have many dimensions; shots of one thing are far nearer. If `ENOUGH`
  pictures have a partner that is nearer than `FAR_NEARER` times that distance, and clearly fewer have one in another
  class, the set shows things several times. Then the differences within such pairs teach how shots of one thing differ
  in this set (light, crop, angle: the within-class covariance of linear discriminant analysis), and distances that
  ignore these differences find further partners, which teach more. What is near is judged by the groups around: a
  picture joins a group that is much nearer than the next few groups are. So a class with kinds of its own, whose things
  are all alike, is not one thing.
* **Order.** Running numbers in file names, and times, say which pictures were taken one after the other. This counts
  only if it is proven on the data: neighbours in order must be nearer in features than other pairs of their class.
  Where it is proven, it alone joins the pictures that it orders.

Labels are trusted: pictures of different classes are never joined. Few wrong labels do no harm.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import squareform
from sklearn.utils.extmath import randomized_svd

from kt.checkup.order import TakenInOrder, neighbours_in_order
from kt.linear import one_thread
from kt.linear.space import scale_of

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

FAR_NEARER = 0.62
"""Two pictures of a class surely show one thing if they are nearer than this times the usual distance to other classes.
"""

ENOUGH = 0.04
"""The share of pictures with such a partner from which a set is said to show things several times.

`benchmarks/things.py`: of independent photographs 0 to 0.02 have such a partner, of bursts nearly all, and of shots
with other light, crop and angle 0.08 to 0.3.
"""

CLEARLY = 2.0
"""How many standard errors there must be between the shares with a partner in the own class and in another one."""

NEAR = 0.66
"""If a set shows things several times, pictures of a class show one thing below this times the usual distance."""

OTHERS = 5
"""The neighbour of other classes that gives the usual distance. It isn't the first, which may have a wrong label."""

AMONG = 20
"""The number of a picture's nearest neighbours of its class among which partners are looked for."""

NEARER, ALIKE = 0.85, 0.95
"""Groups are joined if their mean distance is below this share of the usual one: `NEARER` where they seem to show one
thing, `ALIKE` for the cautious figure.

By `benchmarks/things.py`, on its first draw: from 0.8 to 0.9 about as many pairs of groups are joined wrongly as are
missed, of tiles, clothes, leaves and apples alike.
"""

AROUND = 6
"""The usual distance of a picture in the further looks is that to this many-th nearest other group, of any class."""

ROUNDS, SETTLED = 6, 0.02
"""The most further looks; they end when the number of groups changes by less than this share."""

DIRECTIONS = 128
"""The principal components in which the further looks measure."""

SHRINK = 0.3
"""How much of the mean variance is added to each direction of the differences within things."""

LARGEST = 4000
"""The most pictures of a class for the further looks, whose memory grows with their square."""

PROJECTED = 512
"""The coordinates that features are projected to at random if there are more than `MANY` pictures (Johnson and
Lindenstrauss, 1984: distances change by about 3%)."""

MANY = 5000

_BLOCK = 2**24
"""The number of distances that are in memory at once."""


@dataclass(frozen=True, eq=False)
class Things:
    """Which pictures seem to show one thing.

    numbers: int64 `[N]`; pictures of one thing have the same number, counted from 0 in the order of the pictures.
    share: the share of pictures that have another of the same thing, as far as was found. by: the evidence that was
    used, "features", "numbers" or "times"; empty if the set seems to show each thing once, and then numbers are those
    of the groups that were given. alike: int64 `[N]`, coarser numbers, in which groups that are hardly farther from
    each other than shots of one thing are one; None if there are none. Some of these show different things, so they are
    no proposal.
    """

    numbers: Ints
    share: float
    by: tuple[str, ...]
    alike: Ints | None = None

    @property
    def found(self) -> bool:
        """Whether the set seems to show things several times."""
        return bool(self.by)

    def groups(self) -> list[Ints]:
        """The pictures of each thing that has several, the largest first."""
        order = np.argsort(self.numbers, kind="stable")
        parts = np.split(order, np.flatnonzero(np.diff(self.numbers[order])) + 1)
        return sorted((part for part in parts if len(part) > 1), key=lambda part: (-len(part), int(part[0])))


def find_things(
    rows: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    names: Sequence[str] | None = None,
    times: npt.ArrayLike | None = None,
    groups: Sequence[str] | None = None,
    seed: int = 0,
) -> Things:
    """Which of the pictures with features `[N, D]` and labels `[N]` seem to show one thing.

    names: relative paths; running numbers in them count if neighbours are alike. times: when each picture was taken, in
    seconds, NaN where unknown. groups: what is known already, copies among it; pictures of one group are one thing, and
    only what joins different groups is news. All depths of a backbone show it a little better than the top alone.
    """
    features, classes = np.asarray(rows, np.float32), np.asarray(labels, np.int64)
    known = _numbered(groups, len(classes))
    with one_thread():
        space = _Space.of(features, classes, known)
        if space is None:
            return Things(known, 0.0, ())
        by: list[str] = []
        links: list[Ints] = []
        alike: list[Ints] = []
        if space.partnered() >= ENOUGH:
            by.append("features")
            near = space.links(NEAR)
            further, coarser = _looked_again(features, space, near, seed=seed)
            links, alike = [near, further], [near, further, coarser]
        for order in neighbours_in_order(names, times, classes):
            if len(proven := _proven(order, space, seed=seed)):
                by.append(order.what)
                ordered = order.places(len(classes))
                links, alike = (
                    [each[~ordered[each].all(axis=1)] for each in some] + [proven] for some in (links, alike)
                )
    joined = np.concatenate(links) if links else np.empty((0, 2), np.int64)
    share = space.share(joined)
    if share < ENOUGH:
        return Things(known, share, ())
    return Things(_joined(known, joined), share, tuple(by), _joined(known, np.concatenate(alike)))


def share_with_partner(rows: npt.ArrayLike, labels: npt.ArrayLike, groups: Sequence[str] | None = None) -> float:
    """The share of pictures that seem to show the same thing as another one, by features alone, in one quick look.

    rows: `[N, D]`. labels: `[N]`. groups: what is known already; a partner of the same group does not count. The set
    seems to show things several times if the result is at least `ENOUGH`. If the pictures are a sample of a set, fewer
    of them have a partner. 0 if there is a single class, or if about as many have such a picture in another class.
    """
    features, classes = np.asarray(rows, np.float32), np.asarray(labels, np.int64)
    with one_thread():
        space = _Space.of(features, classes, _numbered(groups, len(classes)))
        return 0.0 if space is None else space.partnered()


# --------------------------------------------------------------------------------------------------------- first look


@dataclass(frozen=True, eq=False)
class _Space:
    """Features in which distances are compared, and what distance is usual for each picture.

    unit: standardised features of length 1, float32 `[N, D]`. labels, known: int64 `[N]`. usual: float32 `[N]`, the
    distance to pictures of other classes. nearest, distances: `[N, AMONG]`, the nearest pictures of the same class and
    another known group; infinitely far where there are fewer. elsewhere, away: `[N]`, the nearest picture of another
    class, and its distance.
    """

    unit: Floats
    labels: Ints
    known: Ints
    usual: Floats
    nearest: Ints
    distances: Floats
    elsewhere: Ints
    away: Floats

    @classmethod
    def of(cls, rows: Floats, labels: Ints, known: Ints) -> "_Space | None":
        """None if no class has another one beside it, so that nothing shows what distance is usual."""
        counts = np.bincount(labels)
        if len(labels) - counts.max(initial=0) < OTHERS or counts.max(initial=0) < 2:
            return None
        return cls.measured(_unit(_standardised(rows, labels)), labels, known)

    @classmethod
    def measured(cls, unit: Floats, labels: Ints, known: Ints) -> "_Space":
        """Measure all distances, some rows at a time."""
        number = len(labels)
        among = min(AMONG, number)
        nearest, distances = np.empty((number, among), np.int64), np.empty((number, among), np.float32)
        others = np.empty((number, min(2 * OTHERS, number)), np.float32)
        nearest_elsewhere = np.empty(number, np.int64)
        step = max(16, _BLOCK // number)
        for start in range(0, number, step):
            part = slice(start, start + step)
            apart = np.sqrt(np.maximum(0, 2 - 2 * (unit[part] @ unit.T)))
            own = labels[part, None] == labels[None]
            elsewhere = np.where(own, np.inf, apart)
            nearest_elsewhere[part] = elsewhere.argmin(axis=1)
            others[part] = np.sort(np.partition(elsewhere, others.shape[1] - 1, axis=1)[:, : others.shape[1]], axis=1)
            apart[~own | (known[part, None] == known[None])] = np.inf
            places = np.argpartition(apart, among - 1, axis=1)[:, :among]
            nearest[part], distances[part] = places, np.take_along_axis(apart, places, axis=1)
        usual = np.maximum(_usual(others, labels), 1e-6)
        return cls(unit, labels, known, usual, nearest, distances, nearest_elsewhere, others[:, 0])

    def links(self, limit: float) -> Ints:
        """Pairs `[P, 2]` of the same class and of different known groups, nearer than `limit` times what is usual."""
        one, place = np.nonzero(np.isfinite(self.distances))
        other = self.nearest[one, place]
        near = self.distances[one, place] < limit * np.sqrt(self.usual[one] * self.usual[other])
        return np.stack([one[near], other[near]], axis=1)

    def partnered(self) -> float:
        """The share of pictures with a partner that is far nearer than usual; 0 if that may be chance.

        Pictures of other classes show how often different things are that near, as in a set of dark pictures. There
        must be more partners than these by twice the standard error of the difference.
        """
        share = self.share(self.links(FAR_NEARER))
        by_chance = float(np.mean(self.away < FAR_NEARER * np.sqrt(self.usual * self.usual[self.elsewhere])))
        error = float(np.sqrt((share + by_chance) / len(self.labels)))
        return share if share - by_chance >= CLEARLY * error else 0.0

    def relative(self, pairs: Ints) -> Floats:
        """The distance of each pair `[P, 2]`, as a share of what is usual."""
        one, other = pairs[:, 0], pairs[:, 1]
        apart = np.empty(len(pairs), np.float32)
        for start in range(0, len(pairs), 4096):
            part = slice(start, start + 4096)
            alike = np.einsum("pd,pd->p", self.unit[one[part]], self.unit[other[part]])
            apart[part] = np.sqrt(np.maximum(0, 2 - 2 * alike))
        return np.asarray(apart / np.sqrt(self.usual[one] * self.usual[other]))

    def share(self, links: Ints) -> float:
        """The share of pictures in any of the pairs `[P, 2]`."""
        return len(np.unique(links)) / len(self.labels)


def _usual(others: Floats, labels: Ints) -> Floats:
    """The distance within which a picture would have as many of its class as it has of the others at `OTHERS`.

    others: `[N, 2 * OTHERS]`, the distances to the nearest pictures of other classes, in rising order. If there are
    more of the others than of its class, the nearest of them is nearer; how much is told by the dimension of the
    features (Levina and Bickel, Maximum Likelihood Estimation of Intrinsic Dimension, 2004).
    """
    last = np.where(np.isfinite(others), others, np.nan)
    grown = np.log(np.nanmax(last, axis=1, keepdims=True) / np.maximum(last, 1e-6))
    dimension = float(np.clip(1 / max(1e-6, np.nanmedian(np.nanmean(grown, axis=1))), 10, 40))
    counts = np.bincount(labels)[labels]
    factor = ((len(labels) - counts) / counts) ** (1 / dimension)
    return np.asarray(others[:, OTHERS - 1] * np.clip(factor, 0.8, 1.25), np.float32)


def _standardised(rows: Floats, labels: Ints) -> Floats:
    """Features less the mean of their class, of comparable scale, float32; fewer coordinates if there are many rows.

    With the means, pictures of a class that is far from the others would all seem to show one thing.
    """
    means = np.zeros((int(labels.max()) + 1, rows.shape[1]))
    for start in range(0, len(rows), 1024):  # rows may be mapped from a file, and a class is most of them
        part = slice(start, start + 1024)
        for label in np.unique(labels[part]):
            means[label] += rows[part][labels[part] == label].sum(axis=0, dtype=np.float64)
    means /= np.maximum(np.bincount(labels), 1)[:, None]
    some = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MANY)).astype(int))
    apart = means[labels[some]]
    for start in range(0, len(some), 1024):  # in place, since these are hundreds of megabytes
        part = slice(start, start + 1024)
        apart[part] = rows[some[part]] - apart[part]
    scale = scale_of(apart)
    del apart
    narrow = len(rows) > MANY and rows.shape[1] > PROJECTED
    width = PROJECTED if narrow else rows.shape[1]
    projection = np.random.default_rng(0).normal(0, 1, (rows.shape[1] if narrow else 0, PROJECTED)).astype(np.float32)
    standard = np.empty((len(rows), width), np.float32)
    for start in range(0, len(rows), 1024):
        part = slice(start, start + 1024)
        own = np.asarray((rows[part] - means[labels[part]]) / scale, np.float32)
        standard[part] = own @ projection if narrow else own
    return standard


def _unit(rows: npt.NDArray[np.floating]) -> Floats:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), np.float32)


# ------------------------------------------------------------------------------------------------------- further looks


def _looked_again(rows: Floats, space: _Space, links: Ints, *, seed: int) -> tuple[Ints, Ints]:
    """Further pairs `[P, 2]` by distances that ignore how shots of one thing differ, and more that are only alike.

    Each look learns from the groups that the one before found, so that the groups grow until they stay.
    """
    nothing = np.empty((0, 2), np.int64)
    if np.bincount(space.labels).max() > LARGEST:
        return nothing, nothing
    standard = _standardised(rows, space.labels)
    directions = min(DIRECTIONS, *(side - 1 for side in standard.shape))
    turned, widths, _ = randomized_svd(standard, directions, random_state=seed)
    places = turned * widths
    numbers, pairs = _joined(space.known, links), nothing
    for _ in range(ROUNDS):
        pairs = _near_groups(places, space, numbers, limit=NEARER)
        before, numbers = int(numbers.max()) + 1, _joined(space.known, pairs)
        if abs(int(numbers.max()) + 1 - before) <= SETTLED * before:
            break
    return pairs, _near_groups(places, space, numbers, limit=ALIKE)


def _near_groups(places: npt.NDArray[np.floating], space: _Space, numbers: Ints, *, limit: float) -> Ints:
    """Pairs `[P, 2]` of pictures in clusters of a class whose mean distance is below a share of the usual one.

    places: principal components `[N, K]`. numbers: `[N]`, the groups to learn from.
    """
    labels = space.labels
    again = _Space.measured(_unit(places @ _ignoring(places, numbers)), labels, space.known)
    usual = np.minimum(again.usual, _usual_around(again.unit, numbers))
    found = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) > 1:
            own = again.unit[members]
            apart = np.sqrt(np.maximum(0, 2 - 2 * own @ own.T)) / np.sqrt(np.outer(*[usual[members]] * 2))
            np.fill_diagonal(apart, 0)
            clusters = fcluster(linkage(squareform(apart, checks=False), "average"), limit, "distance")
            first = members[np.unique(clusters, return_index=True)[1]]
            found.append(np.stack([members, first[np.unique(clusters, return_inverse=True)[1]]], axis=1))
    pairs = np.concatenate(found)
    return np.asarray(pairs[space.known[pairs[:, 0]] != space.known[pairs[:, 1]]])


def _usual_around(unit: Floats, numbers: Ints) -> Floats:
    """The mean distance of each picture to the pictures of the `AROUND`-th nearest other group, float32 `[N]`."""
    order = np.argsort(numbers, kind="stable")
    sizes = np.bincount(numbers)
    if len(sizes) <= AROUND:
        return np.full(len(unit), np.inf, np.float32)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    usual = np.empty(len(unit), np.float32)
    step = max(16, _BLOCK // len(unit))
    for start in range(0, len(unit), step):
        part = np.arange(start, min(start + step, len(unit)))
        apart = np.sqrt(np.maximum(0, 2 - 2 * (unit[part] @ unit[order].T)))
        means = np.add.reduceat(apart, starts, axis=1) / sizes
        means[np.arange(len(part)), numbers[part]] = np.inf
        usual[part] = np.partition(means, AROUND - 1, axis=1)[:, AROUND - 1]
    return np.maximum(usual, 1e-6)


def _ignoring(places: npt.NDArray[np.floating], numbers: Ints) -> npt.NDArray[np.float64]:
    """A transformation `[K, K]` of coordinates `[N, K]`, after which differences within things are alike everywhere."""
    sizes = np.bincount(numbers)
    several = sizes[numbers] > 1
    means = np.zeros((len(sizes), places.shape[1]))
    np.add.at(means, numbers, places)
    offsets = (places - (means / sizes[:, None])[numbers])[several]
    within = offsets.T @ offsets / max(1, several.sum() - (sizes > 1).sum())
    within += (SHRINK * np.trace(within) / len(within) + 1e-12) * np.eye(len(within))
    values, vectors = np.linalg.eigh(within)
    return np.asarray(vectors / np.sqrt(np.maximum(values, 1e-12)))


# -------------------------------------------------------------------------------------------------------------- order

WRONG = 0.05
"""The share of things, found in a proven order, that may be two, as estimated. Frames of a film have many right
neighbours for each wrong one, so the share of wrong neighbours would not do.
"""

ORDERS = 99
"""The random orders that the real one is compared with: an order that says nothing passes once in 100 sets."""


def _proven(order: TakenInOrder, space: _Space, *, seed: int) -> Ints:
    """The neighbours in order `[P, 2]` that show one thing; none unless neighbours are nearer than in any random order.

    Of all neighbours, twice the share that is farther apart than half of the random pairs shows different things. The
    limit is the largest distance up to which these join no more than `WRONG` of the things that are left.
    """
    pairs = order.pairs[space.known[order.pairs[:, 0]] != space.known[order.pairs[:, 1]]]
    if len(pairs) < 20:
        return np.empty((0, 2), np.int64)
    random = np.random.default_rng(seed)
    apart = space.relative(pairs)
    shuffled = [space.relative(order.shuffled(pairs, random)) for _ in range(ORDERS)]
    if apart.mean() >= min(float(each.mean()) for each in shuffled):
        return np.empty((0, 2), np.int64)
    usual = np.sort(np.concatenate(shuffled))
    wrong = min(1.0, 2 * float((apart > np.median(usual)).mean()))
    limits = np.sort(apart)
    false = wrong * len(limits) * np.searchsorted(usual, limits) / len(usual)
    left = order.number - np.arange(1, len(limits) + 1)
    within = np.flatnonzero(false <= WRONG * left)
    return np.asarray(pairs[apart <= limits[within.max()]]) if len(within) else np.empty((0, 2), np.int64)


# ------------------------------------------------------------------------------------------------------------ numbers


def _numbered(groups: Sequence[str] | None, number: int) -> Ints:
    """A number for each picture, the same within a group, counted in the order of the pictures."""
    if groups is None:
        return np.arange(number)
    first: dict[str, int] = {}
    return np.array([first.setdefault(group, len(first)) for group in groups], np.int64)


def _joined(known: Ints, links: Ints) -> Ints:
    """The number of each picture's thing: what is known, joined by pairs `[P, 2]` of pictures."""
    size = int(known.max(initial=-1)) + 1
    edges = known[links]
    graph = coo_array((np.ones(len(edges), bool), (edges[:, 0], edges[:, 1])), shape=(size, size))
    component = connected_components(graph, directed=False)[1][known]
    _, first, inverse = np.unique(component, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)
