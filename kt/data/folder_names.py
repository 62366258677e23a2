"""What the name of a folder tells: whether it only sorts pictures, is a way to look at things, or a part of a whole."""

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
    """The words of a name, without case and numbers."""
    return set(re.findall(r"[^\W\d_]+", key_of(name)))


def is_batch(name: str) -> bool:
    """Whether it may hold any classes: a batch, a fold, a session, a site, a date, or a split."""
    return bool(words(name) & _BATCHES or _DATE.fullmatch(name) or split_of(name))


def sorts(name: str) -> bool:
    """Whether a folder of this name only sorts pictures: by year, month, part, view or split. A day may be a thing."""
    return _sorts(name, _PARTS) and not re.search(r"\d{4}\D?\d\d\D?\d\d", name)


def sorts_within(name: str) -> bool:
    """The same of folders that several classes have: sessions, sites and days sort there too."""
    return _sorts(name, _BATCHES)


def _sorts(name: str, parts: frozenset[str]) -> bool:
    found = words(name)
    return bool(_DATE.fullmatch(name) or (found and found <= parts | _VIEWS | _CALENDAR) or split_of(name))


def views(name: str) -> bool:
    """Whether a folder of this name is a way to look at things: from the front, by one of several cameras."""
    found = words(name)
    return bool(found) and found <= _VIEWS
