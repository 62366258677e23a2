"""What this machine has (versions, processors) and whether it may fetch. It loads nothing heavy."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("kt-transfer", "keras", "tensorflow", "tensorflow-datasets", "keras-cv", "jax", "torch", "numpy", "pillow",
            "scikit-learn", "click")  # fmt: skip


def versions() -> dict[str, str]:
    """The version of Python and of each installed package that affects results."""
    installed = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            continue
    return installed


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def offline() -> bool:
    """Whether KT_OFFLINE forbids fetching: any value does, except an empty one, 0, false, no and off."""
    return os.environ.get("KT_OFFLINE", "").strip().lower() not in {"", "0", "false", "no", "off"}


def machine() -> dict[str, str | int]:
    """The system, its processor and how many cores this process may use."""
    return {"system": platform.platform(), "processor": _processor(), "cores": cores()}


def _processor() -> str:
    if sys.platform == "linux":
        try:
            with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:  # noqa: PTH123 - not a path of ours
                for line in lines:
                    if line.startswith("model name"):
                        return line.partition(":")[2].strip()
        except OSError:
            pass
    return platform.processor() or platform.machine()
