"""What the name of a folder says: whether the folder only sorts pictures, is a camera's view, or a part of the data."""

import re

from kt.data.labels import key_of
from kt.data.split_words import split_of


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PARTS = _set(
    "fold folds batch batches part parts set subset split chunk shard dataset data section portion version archive "
    "folder dir"
)
_BATCHES = _PARTS | _set(
    "session round phase block run site hospital clinic center centre camera cam device source lot series"
)
_VIEWS = _set(
    "front back rear side left right top bottom close closeup near far above below inside outside detail macro wide "
    "view angle rgb depth nir ir uv thermal camera cam sensor"
)
_CALENDAR = _set(
    "january february march april may june july august september october november december jan feb mar apr jun jul aug "
    "sep sept oct nov dec monday tuesday wednesday thursday friday saturday sunday mon tue wed thu fri sat sun "
    "spring summer autumn fall winter morning noon evening night day week month year"
)
_DATE = re.compile(r"(19|20)\d\d([-_. ]?\d\d?([-_. ]?\d\d?)?)?")


def words(name: str) -> set[str]:
    """The words of a name, in lower case and without numbers."""
    return set(re.findall(r"[^\W\d_]+", key_of(name)))


def is_batch(name: str) -> bool:
    """Whether a folder of this name may hold several classes: a batch, fold, session, site, date or split."""
    return bool(words(name) & _BATCHES or _DATE.fullmatch(name) or split_of(name))


def sorts(name: str) -> bool:
    """Whether a folder of this name only sorts pictures: by year, month, part, view or split.

    A full date does not count: the pictures of one day may be a group.
    """
    return _sorts(name, _PARTS) and not re.search(r"\d{4}\D?\d\d\D?\d\d", name)


def sorts_within(name: str) -> bool:
    """The same for a folder name that several classes share: there, sessions, sites and full dates sort too."""
    return _sorts(name, _BATCHES)


def _sorts(name: str, parts: frozenset[str]) -> bool:
    own = words(name)
    return bool(_DATE.fullmatch(name) or (own and own <= parts | _VIEWS | _CALENDAR) or split_of(name))


def views(name: str) -> bool:
    """Whether a folder of this name is a view: from the front, or by one of several cameras."""
    own = words(name)
    return bool(own) and own <= _VIEWS
