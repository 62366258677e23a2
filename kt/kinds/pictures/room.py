"""Room for large pictures: several may be decoded at a time only as far as memory allows."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

AT_ONCE = 100_000_000
"""So many pixels are decoded at a time, or one picture: 8 bytes a pixel, so about 800 MB."""

SMALL = 4_000_000
"""A picture with no more pixels than this needs no room."""


class Room:
    """Pixels that may be decoded at a time, by threads or by the processes that they talk to; who asks first is first.

    pixels: how many in all. A picture that has more takes all the room.
    """

    def __init__(self, pixels: int = AT_ONCE) -> None:
        self._most = self._free = pixels
        self._changed, self._turn = threading.Condition(), threading.Lock()

    @contextmanager
    def asking(self) -> Iterator[Callable[[int], None]]:
        """A function that waits for room for a number of pixels, in place of what it had before. 0 gives it back.

        At the end of the context it is given back as well.
        """
        held = 0

        def ask(pixels: int) -> None:
            nonlocal held
            self._give(held)
            held = 0
            held = self._take(pixels) if pixels > SMALL else 0

        try:
            yield ask
        finally:
            self._give(held)

    def _take(self, pixels: int) -> int:
        wanted = min(pixels, self._most)
        with self._turn, self._changed:  # a turn each, so that small ones do not keep a large one waiting for ever
            self._changed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        return wanted

    def _give(self, pixels: int) -> None:
        if pixels:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()
