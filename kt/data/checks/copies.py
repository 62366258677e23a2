"""Copies: which files are the same picture, in one class, across splits that the data gives, or under two labels.

Files are copies if their bytes or their pixels are equal; near copies are found by `kt.data.duplicates`. One finding is
one cluster, with the picture to keep in front: the largest one, then the first by name. A cluster with two labels is a
conflict, since kt can't know which label is right; one in two splits is a leak, since the test would measure memory.
Two shots of one thing, such as frames of a film, are no copies: they are proposed as a group, which stays in one split.
"""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from kt.base.stages import Stage, key_of
from kt.data.checks.scan import Scan
from kt.data.duplicates import Copies, Ways, find_copies
from kt.data.items import SPLITS
from kt.findings import Finding, Fix

Numbers = npt.NDArray[np.int64]

FLAT = 1.0
"""Pictures of one colour, with less contrast than this many levels, are copies only if all their pixels are equal."""

DOUBT = 0.1
"""If more than this share of all pictures is a near copy of one with another label, no fixes are proposed.

So it is if one camera took all pictures from one place, or if classes differ in what a mirror changes.
"""

FOUND_BY = 2
"""Increased when `kt.data.duplicates` finds other copies, so that what was found before is not used."""

_NAMED = 4


def check_copies(
    scan: Scan, *, labels: Sequence[str] | None = None, splits: Sequence[str | None] | None = None
) -> list[Finding]:
    """The clusters of copies among the readable files of a data set.

    labels: the class of each file of `scan`; without them no cluster has two labels. splits: the split of each file as
    far as the data gives one, else None.
    """
    readable = np.flatnonzero(scan.readable)
    if len(readable) < 2:
        return []
    pictures = _Pictures(
        names=[scan.names[row] for row in readable.tolist()],
        labels=["" if labels is None else labels[row] for row in readable.tolist()],
        splits=[None if splits is None else splits[row] for row in readable.tolist()],
        bytes=[scan.sha256[row] for row in readable],
        pixels=[scan.pixels_sha256[row] or scan.sha256[row] for row in readable],
        sizes=scan.sizes[readable],
    )
    shown = np.asarray(scan.contrast)[readable] >= FLAT
    return _found(pictures, *_numbers(scan, readable, pictures, shown))


def copies_among(
    names: Sequence[str],
    labels: Sequence[str],
    splits: Sequence[str | None],
    *,
    hashes: Sequence[str],
    sizes: npt.NDArray[np.integer],
    copies: Copies,
) -> list[Finding]:
    """The same of pictures that were read for a run, whose copies are known. hashes: SHA-256 of each file."""
    pixels = [str(number) for number in copies.exact.tolist()]
    pictures = _Pictures(names, labels, splits, bytes=hashes, pixels=pixels, sizes=sizes.astype(np.int64))
    return _found(pictures, copies.photographs_alone().near, copies)


def _found(pictures: "_Pictures", numbers: Numbers, copies: Copies) -> list[Finding]:
    """The findings. numbers: the number of each picture's cluster."""
    ways = {
        (int(one), int(other)): row for row, (one, other) in enumerate(copies.pairs) if numbers[one] == numbers[other]
    }
    found = [_Cluster.of(members, pictures) for members in _members(numbers)]
    kept = np.ones(len(pictures.names), bool)
    for cluster in found:
        kept[[row for row in cluster.rows if cluster.left_out(row, pictures)]] = False
    for row, (one, other) in enumerate(copies.pairs.tolist()):
        if not copies.ways.same[row]:
            continue
        # A picture between two clusters is near to both: if all of a pair would stay, it is a cluster of its own.
        if numbers[one] != numbers[other] and kept[one] and kept[other]:
            cluster = _Cluster.of([one, other], pictures)
            found.append(cluster)
            ways[(one, other)] = row
            kept[[each for each in cluster.rows if cluster.left_out(each, pictures)]] = False
    doubtful = _doubtful(copies, pictures)
    return [
        *_crowd(copies, pictures),
        *(_finding(cluster, pictures, copies.ways, ways, doubtful=doubtful) for cluster in found),
        *_shots(numbers, copies, pictures),
    ]


@dataclass(frozen=True)
class _Pictures:
    """What is known of each readable picture. bytes, pixels: hashes. sizes: int64 `[N, 2]`."""

    names: Sequence[str]
    labels: Sequence[str]
    splits: Sequence[str | None]
    bytes: Sequence[str]
    pixels: Sequence[str]
    sizes: Numbers

    def rank(self, row: int) -> int:
        """How late the picture's split is; -1 if the data gives none."""
        split = self.splits[row]
        return SPLITS.index(split) if split in SPLITS else -1


@dataclass(frozen=True)
class _Cluster:
    """The rows of a cluster's pictures, the one to keep in front, and its kind."""

    rows: tuple[int, ...]
    kind: str

    @classmethod
    def of(cls, rows: Sequence[int], pictures: _Pictures) -> "_Cluster":
        kept = sorted(
            rows,
            key=lambda row: (-pictures.rank(row), -int(pictures.sizes[row].prod()), pictures.names[row]),
        )
        if len({pictures.labels[row] for row in rows}) > 1:
            kind = "label_conflict"
        elif len({pictures.rank(row) for row in rows} - {-1}) > 1:
            kind = "leak"
        elif len({pictures.pixels[row] for row in rows}) == 1:
            kind = "copy"
        else:
            kind = "near_copy"
        return cls(tuple(kept), kind)

    def left_out(self, row: int, pictures: _Pictures) -> bool:
        """Whether the picture is proposed to be left out."""
        if self.kind == "label_conflict":
            return True
        if self.kind == "leak":
            return pictures.rank(row) < pictures.rank(self.rows[0])
        return row != self.rows[0]


def _numbers(
    scan: Scan, readable: Numbers, pictures: _Pictures, shown: npt.NDArray[np.bool_]
) -> tuple[Numbers, Copies]:
    """The number of each picture's cluster, int64 `[N]`, and the copies by thumbnails, as indices of `pictures`."""
    by_pixels: dict[str, int] = {}
    numbers = np.array([by_pixels.setdefault(each, len(by_pixels)) for each in pictures.pixels], np.int64)
    firsts = np.unique(numbers, return_index=True)[1]
    rows = firsts[shown[firsts]]
    if len(rows) < 2:
        return numbers, Copies(numbers, numbers, np.empty((0, 2), np.int64))
    classes = np.unique(pictures.labels, return_inverse=True)[1].astype(np.int64)
    copies = _kept(
        scan,
        key_of(FOUND_BY, [pictures.pixels[row] for row in rows], classes[rows].tolist()),
        lambda: find_copies(scan.thumbnails, classes[rows], rows=readable[rows], progress=True),
    )
    # Numbers of clusters by thumbnails come after those by pixels, so that none is taken twice.
    joined = np.arange(len(firsts))
    joined[numbers[rows]] = len(firsts) + copies.photographs_alone().near
    pairs = rows[copies.pairs].reshape(-1, 2)
    return joined[numbers], Copies(numbers, joined[numbers], pairs, copies.crowded, copies.ways)


def _kept(scan: Scan, key: str, find: Callable[[], Copies]) -> Copies:
    """What `find` gives, from the data set's place in the cache if it was found before. key: of the pictures."""
    if scan.place is None:
        return find()
    home = scan.place / "copies"
    stage = Stage(home / key[:32], key)
    if (kept := stage.kept()) is not None:
        found, ways = kept.arrays["found"], kept.arrays["ways"]
        return Copies(**found, crowded=bool(kept.told["crowded"]), ways=Ways(**ways))
    copies = find()
    shutil.rmtree(home, ignore_errors=True)  # of other pictures, or of another kt
    with suppress(OSError):  # a full disk: it is found anew the next time
        stage.keep(
            {"crowded": copies.crowded},
            found={name: getattr(copies, name) for name in ("exact", "near", "pairs")},
            ways=vars(copies.ways),
        )
    return copies


def _members(numbers: Numbers) -> list[list[int]]:
    """The rows of each number that more than one row has, in the order of their first rows."""
    order = np.argsort(numbers, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)
    return sorted(group.tolist() for group in groups if len(group) > 1)


def _doubtful(copies: Copies, pictures: _Pictures) -> bool:
    labels = np.unique(pictures.labels, return_inverse=True)[1]
    differ = labels[copies.pairs[:, 0]] != labels[copies.pairs[:, 1]]
    return len(np.unique(copies.pairs[differ])) > DOUBT * len(pictures.names)


def _crowd(copies: Copies, pictures: _Pictures) -> list[Finding]:
    if not copies.crowded:
        return []
    return [
        Finding(
            kind="near_copy",
            severity="note",
            items=(),
            words=f"Most of the {len(pictures.names):,} pictures are nearly alike to many others, so only exact copies "
            "were looked for.",
            advice="If they were taken in series, say which ones show the same thing (group_by, or a column group).",
        )
    ]


def _finding(
    cluster: _Cluster, pictures: _Pictures, ways: Ways, rows: Mapping[tuple[int, int], int], *, doubtful: bool
) -> Finding:
    names = [pictures.names[row] for row in cluster.rows]
    each = [_how(cluster.rows[0], row, pictures, ways, rows) for row in cluster.rows[1:]]
    scores = [score for _, score in each]
    words, advice, severity = _said(cluster, pictures, [how for how, _ in each])
    fixes: tuple[Fix, ...] = ()
    if cluster.kind == "label_conflict" and doubtful:
        severity = "warning"
        advice = (
            "Look whether such pictures are the same at all: many nearly alike pictures of this set have different "
            "labels, as they do if one camera took them all from one place, or if the classes are left and right."
        )
    else:
        why = {
            "label_conflict": "the same picture has another label too",
            "leak": f"{names[0]} of {pictures.splits[cluster.rows[0]]} is the same picture",
        }.get(cluster.kind, f"the same picture as {names[0]}")
        fixes = tuple(
            Fix(pictures.names[row], "leave_out", why=why) for row in cluster.rows if cluster.left_out(row, pictures)
        )
    return Finding(
        kind=cluster.kind,
        severity=severity,
        items=tuple(names),
        words=words,
        advice=advice,
        fixes=fixes,
        score=round(min(scores), 4),
        figures={"pictures": len(names), "likeness": round(min(scores), 4)},
    )


def _said(cluster: _Cluster, pictures: _Pictures, hows: Sequence[str]) -> tuple[str, str, str]:
    """Words, advice and severity of a finding."""
    first, others = cluster.rows[0], cluster.rows[1:]
    if cluster.kind == "label_conflict":
        told = [f"{pictures.names[first]} ({pictures.labels[first]})"]
        told += [
            f"{pictures.names[row]} ({pictures.labels[row]}; {how})" for row, how in zip(others, hows, strict=True)
        ]
        return (
            f"One picture has several labels: {_listed(told)}.",
            "Keep it under the right label and leave the others out; --fix leaves out all of them, since kt can't know "
            "which is right.",
            "error",
        )
    told = [f"{pictures.names[row]} ({how})" for row, how in zip(others, hows, strict=True)]
    are = "is" if len(told) == 1 else "are"
    if cluster.kind == "leak":
        given = sorted({str(pictures.splits[row]) for row in cluster.rows if pictures.splits[row]}, key=_place)
        return (
            f"{_listed(told)} {are} the same picture as {pictures.names[first]}, and they lie in "
            f"{' and '.join(given)}.",
            f"Leave it out of {_listed(given[:-1])}: a picture that was learned says nothing about new ones in "
            f"{given[-1]}.",
            "error",
        )
    if cluster.kind == "copy":
        return (
            f"{_listed(told)} {are} an exact copy of {pictures.names[first]}."
            if len(told) == 1
            else f"{_listed(told)} are exact copies of {pictures.names[first]}.",
            "Keep one: a copy counts the same picture twice.",
            "warning",
        )
    return (
        f"{_listed(told)} {are} nearly the same picture as {pictures.names[first]}.",
        "Keep the largest, unless you want each of them.",
        "note",
    )


def _shots(numbers: Numbers, copies: Copies, pictures: _Pictures) -> list[Finding]:
    """A finding for each thing that several photographs show. numbers: the number of each picture's cluster."""
    two = numbers[copies.pairs[~copies.ways.same]]
    two = two[two[:, 0] != two[:, 1]]
    count = int(numbers.max(initial=-1)) + 1
    things = connected_components(coo_array((np.ones(len(two), bool), two.T), shape=(count, count)), directed=False)[1]
    found = [rows for rows in _members(things[numbers]) if len(np.unique(numbers[rows])) > 1]
    digits = len(str(len(found)))
    return [_shot(rows, pictures, value=f"shots-{place:0{digits}}") for place, rows in enumerate(found, 1)]


def _shot(rows: Sequence[int], pictures: _Pictures, *, value: str) -> Finding:
    rows = sorted(rows, key=lambda row: pictures.names[row])
    names = [pictures.names[row] for row in rows]
    splits = sorted({str(pictures.splits[row]) for row in rows if pictures.splits[row]}, key=_place)
    labels = sorted({pictures.labels[row] for row in rows})
    where = [f" lie in {_listed(splits)}"] if len(splits) > 1 else []
    where += [f" have the labels {_listed(labels)}"] if len(labels) > 1 else []
    return Finding(
        kind="group",
        severity="warning" if where else "note",
        items=tuple(names),
        words=f"{_listed(names)} seem to be shots of one thing, taken from nearly the same place"
        f"{''.join(f', and{each}' for each in where)}.",
        advice="If they are, accept the group: it stays in one split and counts as one thing; none need be left out.",
        fixes=tuple(Fix(name, "group", value, why=f"a shot of what {names[0]} shows") for name in names),
        figures={"pictures": len(names)},
    )


def _place(split: str) -> int:
    return SPLITS.index(split) if split in SPLITS else -1


def _listed(parts: Iterable[str]) -> str:
    """As a list in a sentence; long ones are cut."""
    named = [*parts]
    if len(named) > _NAMED:
        named = [*named[: _NAMED - 1], f"{len(named) - _NAMED + 1} more"]
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"


_TURNED = {
    1: "mirrored top to bottom",
    2: "mirrored",
    3: "turned upside down",
    4: "mirrored and turned by 90 degrees",
    5: "turned by 90 degrees",
    6: "turned by 90 degrees",
    7: "mirrored and turned by 90 degrees",
}
"""What each of `kt.data.duplicates.views.TURNS` is."""

_LIGHTER = 1.07


def _how(
    first: int, other: int, pictures: _Pictures, ways: Ways, rows: Mapping[tuple[int, int], int]
) -> tuple[str, float]:
    """How the other picture is like the first, in words, and how sure that is, from 0 to 1."""
    if pictures.bytes[first] == pictures.bytes[other]:
        return "the same bytes", 1.0
    if pictures.pixels[first] == pictures.pixels[other]:
        return "the same pixels", 1.0
    resized = "another size" if (pictures.sizes[first] != pictures.sizes[other]).any() else "saved again"
    row = rows.get((min(first, other), max(first, other)))
    if row is None:
        return "much alike", 0.5
    first_is_part = bool(ways.part_first[row]) == (first < other)
    factor = float(ways.factor[row])
    if first_is_part:
        factor = 1 / factor
    said = [_TURNED[int(ways.turn[row])]] if ways.turn[row] else []
    if ways.cropped[row]:
        said.append("with more around it" if first_is_part else "cropped")
    if factor > _LIGHTER:
        said.append("brighter")
    elif factor < 1 / _LIGHTER:
        said.append("darker")
    return ", ".join(said) or resized, float(ways.score[row])
