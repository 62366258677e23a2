"""Makes HTML from templates and data: names are escaped, figures are formatted for people."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath
from typing import Any

import jinja2
from markupsafe import Markup

from kt.base import numbers
from kt.base.console import in_lines


@dataclass(frozen=True)
class Script:
    """The only script of a page. text: as it stands in the page. policy: the page's Content-Security-Policy."""

    text: Markup
    policy: str


@cache
def page_script() -> Script:
    """The script of every page, and a policy that lets nothing else run: it names the script by its SHA-256.

    A page asks no server for anything: pictures are `data:` addresses, and there is nothing else to load.
    """
    text = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Script(
        Markup(text),  # noqa: S704 - a file of this folder
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'",
    )


def filled(template: str, data: Any, *, charts: Sequence[Markup] = ()) -> Markup:
    """A template of this folder, filled with `data` and `charts`.

    template: its name without `.html.jinja`, such as `sections/artifacts`. A field that the data lack is an error.
    """
    text = _strict().get_template(f"{template}.html.jinja").render(data=data, charts=charts)
    return Markup(text)  # noqa: S704 - the template escapes what it is given


@cache
def environment() -> jinja2.Environment:
    """The environment for templates with JSON data, in which anything may be missing."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=_plain,
        undefined=jinja2.ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals["script"] = page_script()
    for name in ("figure", "change", "scientific", "percent", "interval", "count", "size", "duration", "number"):
        templates.filters[name] = getattr(numbers, name)
    templates.filters["sort_key"] = _sort_key
    return templates


@cache
def _strict() -> jinja2.Environment:
    """The environment for templates with typed data: a missing field raises an error."""
    return environment().overlay(undefined=jinja2.StrictUndefined)


def _sort_key(value: Any) -> str:
    """What a table is sorted by where the cell's text is no plain number: the number itself; empty if there is none."""
    return f"{value:.9g}" if numbers.known(value) else ""


def _plain(value: Any) -> Any:
    """The value without control characters or bytes that are not UTF-8, which names may have."""
    if isinstance(value, str | PurePath) and not isinstance(value, Markup):
        return in_lines(str(value).split("\n"))
    return value
