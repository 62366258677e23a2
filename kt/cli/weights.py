"""`kt weights`: lists pretrained weights, which of them are at hand, and where each comes from."""

from dataclasses import asdict
from typing import Any

import click

from kt.base.console import say, tell, tell_json


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print the list for a script.")
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """List pretrained weights and where each comes from."""
    if context.invoked_subcommand:
        return
    listing = _listing()
    if as_json:
        tell_json(listing, indent=2)
    else:
        tell(*_for_people(listing))


@command.command()
@click.argument("name")
def get(name: str) -> None:
    """Fetch the weights NAME into the cache, so that runs need no network; prints the file's path."""
    from kt.backbones.catalogue import entry_named
    from kt.backbones.fetch import obtain

    path, origin = obtain(entry_named(name))
    say(f"{name}: from the {origin}, SHA-256 checked")
    tell(path)


def _listing() -> dict[str, Any]:
    """The catalogue with each entry's state, and the other weight files that Keras has in its cache."""
    from kt.backbones.catalogue import CATALOGUE
    from kt.backbones.fetch import cache_directory, locate
    from kt.base.environment import offline

    cache = cache_directory()
    entries = []
    for entry in CATALOGUE:
        exists = (cache / entry.file).exists()
        state = "at hand" if locate(entry) else "wrong file in the cache, not used" if exists else "not fetched"
        entries.append({**asdict(entry), "state": state, "path": str(cache / entry.file) if exists else None})
    known = {entry.file for entry in CATALOGUE}
    files = sorted(path.name for path in cache.glob("*") if path.suffix in {".h5", ".keras"} and path.is_file())
    others = [name for name in files if name not in known]
    return {"cache": str(cache), "offline": offline(), "weights": entries, "other_files": others}


def _for_people(listing: dict[str, Any]) -> list[str]:
    lines = [f"cache: {listing['cache']}" + ("   (KT_OFFLINE: nothing is fetched)" if listing["offline"] else "")]
    for entry in listing["weights"]:
        lines += [
            "",
            f"{entry['name']}   {entry['state']}",
            f"  backbone  {entry['library']}.{entry['constructor']}, {entry['note']}",
            f"  file      {entry['file']}, {entry['size'] / 1e6:.1f} MB",
            f"  SHA-256   {entry['sha256']}",
            f"  from      {entry['origin']}",
            f"  package   {entry['package']} {entry['version']}, a wheel of {entry['wheel_size'] / 1e6:.1f} MB",
            f"  input     {entry['preprocessing']}",
            f"  licence   {entry['licence']}",
        ]
    if listing["other_files"]:
        lines += ["", "also in Keras's cache, fetched by Keras and not checked by kt:"]
        lines += [f"  {name}" for name in listing["other_files"]]
    return [*lines, "", "Other backbones of keras.applications: Keras downloads, or --set weights=/path/to/file."]
