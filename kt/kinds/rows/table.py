"""Reads tables of rows with pyarrow: CSV and Parquet, with the types of their columns."""

from pathlib import Path
from typing import Any

from kt.errors import DataError, one_line


def read_rows_table(path: Path) -> Any:
    """The file as a pyarrow table. Raises DataError with the reason if it can't be read as one."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    if not path.is_file():
        raise DataError(f"There is no table {path}; expected a CSV or a Parquet file.")
    try:
        with path.open("rb") as file:
            is_parquet = file.read(4) == b"PAR1"
        return parquet.read_table(path) if is_parquet else csv.read_csv(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} is no table that can be read, CSV or Parquet: {one_line(error)[:200]}") from None


def is_number(table: Any, name: str) -> bool:
    """Whether a column holds numbers; true and false are not numbers."""
    import pyarrow as pa

    kind = table.schema.field(name).type
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))
