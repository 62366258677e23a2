"""Checks for parts of your own: whether they keep the same rules as kt's parts."""

from kt.testing.formats import check_format
from kt.testing.kinds import check_kind
from kt.testing.sources import check_source

__all__ = ["check_format", "check_kind", "check_source"]
