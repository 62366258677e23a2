"""Data sources, one file each: a source is called without arguments and returns `Splits`."""


def place_field(source: object) -> str | None:
    """The name of the field that says where a source reads from, a folder or a table; None if it has no such field."""
    field = getattr(type(source), "reads_from", None)
    return field if isinstance(field, str) else None
