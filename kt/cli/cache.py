"""`kt cache`: shows what kt keeps to be faster the next time, and removes it."""

import shutil
import time
from pathlib import Path
from typing import Any

import click

from kt.base.console import tell, tell_json
from kt.cli.options import json_option

KINDS = {
    "features": "outputs of frozen layers",
    "encoders": "frozen layers converted for LiteRT",
    "tfds": "data sets that tensorflow-datasets has prepared",
    "unpacked": "pictures from zips",
    "scans": "thumbnails and facts of files that were checked",
}


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """Show what is kept for the next run, and clear it.

    All of it can be made again; it only saves time. Pretrained weights lie elsewhere: kt weights.
    """
    if context.invoked_subcommand:
        return
    listing = _listing()
    if as_json:
        tell_json(listing, indent=2)
    else:
        tell(*_for_people(listing))


@command.command()
@click.argument("kind", type=click.Choice(["all", *KINDS]), default="features")
def clear(kind: str) -> None:
    """Remove what is kept of a KIND: features (the default), encoders, tfds, unpacked, scans, or all
    of them."""
    from kt.base.cache import cache_home

    for name in KINDS if kind == "all" else [kind]:
        folder = cache_home() / name
        size = _size(folder)
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists():
            shutil.rmtree(folder)
        tell(f"{name}: {size / 1e6:,.1f} MB removed")


def _listing() -> dict[str, Any]:
    from kt.base.cache import LIMIT, cache_home, entries

    home = cache_home()
    kept = [
        {
            **entry.about,
            "pictures": entry.pictures,
            "bytes": entry.bytes,
            "used": time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used)),
            "path": str(entry.folder),
        }
        for entry in reversed(entries(home / "features"))
    ]
    sizes = {name: _size(home / name) for name in KINDS}
    return {"cache": str(home), "bytes": sizes, "features_limit": LIMIT, "features": kept}


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _for_people(listing: dict[str, Any]) -> list[str]:
    lines = [f"cache: {listing['cache']}"]
    for name, what in KINDS.items():
        lines.append(f"  {name:<10}{listing['bytes'][name] / 1e6:>10,.1f} MB   {what}")
    if listing["features"]:
        lines += ["", "features, the last used first:"]
    for entry in listing["features"]:
        what = f"{entry.get('backbone', '(unknown)')} at {entry.get('border', '(unknown)')}"
        lines.append(f"  {entry['used']}  {entry['bytes'] / 1e6:>8,.1f} MB  {entry['pictures']:>7,} pictures  {what}")
    return [
        *lines,
        "",
        f"Features take at most {listing['features_limit'] / 2**30:.0f} GiB; kt cache clear removes them.",
    ]
