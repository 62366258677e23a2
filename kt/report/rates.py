"""The result of a learning-rate range test: a page for people, `lr-find.json` for programs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kt import kinds
from kt.base.files import replace_json, replace_text
from kt.base.run_folder import RATES, RATES_PAGE
from kt.report import charts
from kt.report.templates import environment


def write_rates(found: Mapping[str, Any], directory: Path) -> Path:
    """Write `lr-find.json` and `lr-find.html` into an existing directory, and return the page's path.

    found: the content of the former, as in docs/cli.md.
    """
    replace_json(directory / RATES, found)
    nouns = kinds.nouns(found.get("kind"))
    chart = charts.against_rate(found, nouns)
    page = environment().get_template("rates.html.jinja").render(found=found, nouns=nouns, chart=chart)
    replace_text(directory / RATES_PAGE, page)
    return directory / RATES_PAGE
