"""Tables that name pictures and their labels, as people and programs write them: CSV, TSV and the like.

Start at `listing.read_table`. Nothing here imports anything heavy, so that `kt new` reads a table exactly as `kt run`
will.
"""

from kt.data.tables.listing import ListedPicture, TableLayout, is_table, read_table

__all__ = ["ListedPicture", "TableLayout", "is_table", "read_table"]
