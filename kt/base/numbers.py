"""Figures as text for a person, on the page and in the terminal; a dash where there is no figure."""

from typing import Any, TypeGuard

NOTHING = "\u2013"


def known(value: Any) -> TypeGuard[float]:
    """Whether the value is a number: neither `None` nor a template's undefined value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def figure(value: Any, digits: int = 3) -> str:
    """A metric, `0.866`."""
    return f"{value:.{digits}f}" if known(value) else NOTHING


def change(value: Any) -> str:
    """A difference with its sign, `+0.012`, with a typographic minus; `0.000` has no sign."""
    if not known(value):
        return NOTHING
    text = f"{abs(value):.3f}"
    sign = "+" if value > 0 else "\u2212"
    return text if float(text) == 0 else sign + text


def scientific(value: Any) -> str:
    """A small difference, `3.1e-07`; no difference is `0`."""
    return NOTHING if not known(value) else "0" if value == 0 else f"{value:.1e}"


def percent(value: Any) -> str:
    """A share from 0 to 1, `99.8%`; `100%` only if it is exactly 1."""
    if not known(value):
        return NOTHING
    if value == 1:
        return "100%"
    return f"{min(value * 100, 99.9):.1f}%"


def interval(value: Any, digits: int = 3) -> str:
    """`0.841 to 0.889`."""
    return f"{figure(value[0], digits)} to {figure(value[1], digits)}" if value else NOTHING


def count(value: Any) -> str:
    """A whole number with thin spaces between the thousands, `2 257 984`."""
    return f"{value:,.0f}".replace(",", "\u202f") if known(value) else NOTHING


def size(value: Any) -> str:
    """Bytes as `9.1 MB` (a million bytes), as shops for phone apps count them."""
    if not known(value):
        return NOTHING
    if value < 1e6:
        return f"{value / 1e3:.0f} kB"
    return f"{value / 1e6:.1f} MB" if value < 1e9 else f"{value / 1e9:.2f} GB"


def duration(value: Any) -> str:
    """Seconds as `4.2 s`, `38 s`, `3 min 05 s` or `2 h 10 min`."""
    if not known(value):
        return NOTHING
    if value < 60:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    minutes, seconds = divmod(round(value), 60)
    return f"{minutes} min {seconds:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def number(value: Any) -> str:
    """A setting as it was given, `1e-05`, `0.2`, `10`."""
    return f"{value:g}" if known(value) else NOTHING if value is None else str(value)
