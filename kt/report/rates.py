"""What a learning-rate range test found: a page for people, `lr-find.json` for programs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kt.files import replace_json, replace_text
from kt.report import charts
from kt.report.page import environment


def write_rates(found: Mapping[str, Any], directory: Path) -> Path:
    """Write `lr-find.json` and `lr-find.html` into an existing directory, and return the page's path.

    found: the content of the former, as docs/cli.md tells it.
    """
    replace_json(directory / "lr-find.json", found)
    page = environment().get_template("rates.html.jinja").render(found=found, chart=charts.against_rate(found))
    replace_text(directory / "lr-find.html", page)
    return directory / "lr-find.html"
