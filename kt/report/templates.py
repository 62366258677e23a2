"""Makes HTML from templates and data: names are escaped, figures are formatted for people."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from kt.base import numbers
from kt.base.console import in_lines


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
    for name in ("figure", "change", "scientific", "percent", "interval", "count", "size", "duration", "number"):
        templates.filters[name] = getattr(numbers, name)
    return templates


@cache
def _strict() -> jinja2.Environment:
    """The environment for templates with typed data: a missing field raises an error."""
    return environment().overlay(undefined=jinja2.StrictUndefined)


def _plain(value: Any) -> Any:
    """The value without control characters or bytes that are not UTF-8, which names may have."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return in_lines(value.split("\n"))
    return value
