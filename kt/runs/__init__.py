"""Runs and their folders: what a run was asked for, how far it is, and whether a process works on it."""

from kt.base.run_folder import LATEST
from kt.runs.folder import mark_latest, new_run
from kt.runs.record import Asked, Record, at_work, begin, finish, go_on, read

__all__ = ["LATEST", "Asked", "Record", "at_work", "begin", "finish", "go_on", "mark_latest", "new_run", "read"]
