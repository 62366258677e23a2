"""Findings are in `kt.findings`."""

from kt.findings import ACTIONS, KINDS, SEVERITIES, Finding, Fix, read_findings, worst_first, write_findings

__all__ = ["ACTIONS", "KINDS", "SEVERITIES", "Finding", "Fix", "read_findings", "worst_first", "write_findings"]
