"""The energy that the processor takes, where the system counts it: Linux's powercap, that is Intel's and AMD's RAPL.

The counters are those of the whole package: they include whatever else runs on the machine, and neither memory, disks
nor a GPU. Many systems let only root read them, and virtual machines have none.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")

_OFTEN = 60.0
"""Seconds between two looks at a counter: it starts again from 0 after some minutes at full power."""


class Meter:
    """Counts the energy of all processor packages from its making on. counters: the folders that hold them."""

    def __init__(self, folder: Path = POWERCAP) -> None:
        # intel-rapl:0 is a package; intel-rapl:0:0 is a part of it, and psys contains packages.
        self._counters = [path for path in sorted(folder.glob("intel-rapl:*")) if _is_package(path)]
        self._before = [_read(path / "energy_uj") for path in self._counters]
        self._ranges = [_read(path / "max_energy_range_uj") for path in self._counters]
        self._used = 0
        self._lock = threading.Lock()

    def joules(self) -> float | None:
        """The energy until now; None if no counter can be read."""
        with self._lock:
            if not self._counters:
                return None
            for place, path in enumerate(self._counters):
                now, before, whole = _read(path / "energy_uj"), self._before[place], self._ranges[place]
                if now is None or before is None:
                    self._counters = []
                    return None
                self._used += now - before if now >= before else now - before + (whole or 0)
                self._before[place] = now
            return self._used / 1e6


@contextmanager
def metered(folder: Path = POWERCAP) -> Iterator[Meter]:
    """A meter that looks often enough to notice each start from 0, until the block ends."""
    meter, ended = Meter(folder), threading.Event()

    def look() -> None:
        while not ended.wait(_OFTEN) and meter.joules() is not None:
            pass

    thread = threading.Thread(target=look, name="kt-energy", daemon=True)
    if meter.joules() is not None:
        thread.start()
    try:
        yield meter
    finally:
        ended.set()


def _is_package(path: Path) -> bool:
    try:
        name = (path / "name").read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return False
    return name.startswith("package") and _read(path / "energy_uj") is not None


def _read(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="ascii", errors="replace"))
    except (OSError, ValueError):
        return None
