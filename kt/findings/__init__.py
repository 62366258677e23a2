"""Findings: what is wrong with a data set, as values, their file, and the decisions that they propose.

The checks that make them are in `kt.data.checks` and `kt.checkup`. Imports nothing heavy.
"""

from kt.findings.finding import (
    ACTIONS,
    KINDS,
    SEVERITIES,
    Finding,
    Fix,
    read_findings,
    worst_first,
    write_findings,
)
from kt.findings.fixes import COLUMNS, as_lines, write_fixes

__all__ = [
    "ACTIONS",
    "COLUMNS",
    "KINDS",
    "SEVERITIES",
    "Finding",
    "Fix",
    "as_lines",
    "read_findings",
    "worst_first",
    "write_findings",
    "write_fixes",
]
