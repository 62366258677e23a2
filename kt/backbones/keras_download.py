"""Keras's own download of weights, with time limits, under KT_OFFLINE, and without printing to standard output."""

import contextlib
import queue
import socket
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import keras

from kt.backbones.catalogue import WeightsEntry
from kt.backbones.fetch import cache_directory, locate
from kt.base.environment import offline
from kt.errors import WeightsError

T = TypeVar("T")

_FIRST_ANSWER = 5.0  # seconds until the server must have answered at all
_STALL = 15.0  # seconds without a byte


def download_entry(entry: WeightsEntry) -> Path:
    """Let Keras fetch the file of a catalogue entry, top included. Raises WeightsError if it fails or differs."""
    call_with_download(lambda: getattr(keras.applications, entry.constructor)(weights="imagenet"))
    path = locate(entry)
    if path:
        return path
    if (cache_directory() / entry.file).exists():
        raise WeightsError(f"what Keras downloaded as {entry.file} has the wrong SHA-256")
    # Keras chooses its home when it is imported, and falls back to a temporary directory if it can't write there.
    raise WeightsError(
        f"Keras keeps its files elsewhere than in {cache_directory()}; set KERAS_HOME before Keras loads"
    )


def call_with_download(construct: Callable[[], T]) -> tuple[T, list[str]]:
    """Call a function that may download through Keras; returns its result and the addresses that it fetched.

    Raises WeightsError if an address was requested and the call failed; other errors pass. Keras has no option for time
    limits, but downloads through urllib. So urllib's opener is replaced during the call and restored afterwards.
    """
    gate = _Gate()
    with _opener(gate), contextlib.redirect_stdout(sys.stderr):
        try:
            return construct(), gate.asked
        except Exception as error:
            if gate.asked:
                raise WeightsError(" ".join(str(error).split())[:300]) from error
            raise


class _Gate(urllib.request.BaseHandler):
    """Handles every request before it is sent: refuses under KT_OFFLINE, and checks whether the server answers."""

    handler_order = 100

    def __init__(self) -> None:
        self.asked: list[str] = []

    def default_open(self, request: urllib.request.Request) -> None:
        """Returning None lets the request pass; a URLError stops it."""
        self.asked.append(request.full_url)
        if offline():
            raise urllib.error.URLError("KT_OFFLINE forbids fetching")
        _await_any_answer(request.full_url)


@contextlib.contextmanager
def _opener(gate: _Gate) -> Iterator[None]:
    stall, before = socket.getdefaulttimeout(), getattr(urllib.request, "_opener", None)
    socket.setdefaulttimeout(_STALL)
    urllib.request.install_opener(urllib.request.build_opener(gate))
    try:
        yield
    finally:
        urllib.request.install_opener(before)  # None means urllib's default opener
        socket.setdefaulttimeout(stall)


def _await_any_answer(address: str) -> None:
    """Raise URLError unless the server answers a HEAD request soon.

    The request runs in a thread, because a socket's timeout limits neither the name's resolution nor the number of its
    addresses: in a network that drops packets, a plain request would take minutes.
    """
    answers: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

    def ask() -> None:
        try:
            request = urllib.request.Request(address, method="HEAD")  # noqa: S310
            urllib.request.build_opener().open(request, timeout=_FIRST_ANSWER).close()
            answers.put(None)
        except urllib.error.HTTPError:
            answers.put(None)  # a server that refuses HEAD can be reached all the same
        except Exception as error:  # noqa: BLE001 - passed to the thread that waits
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        problem = answers.get(timeout=_FIRST_ANSWER)
    except queue.Empty:
        problem = urllib.error.URLError(f"no answer within {_FIRST_ANSWER:.0f} s")
    if isinstance(problem, urllib.error.URLError):
        raise problem
    if problem is not None:
        raise urllib.error.URLError(str(problem))
