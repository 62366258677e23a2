"""Tables that name pictures and their labels, as people and programs write them: CSV, TSV and the like.

Start at `listing.read_table`. All but `source` load nothing heavy, so that `kt new` reads a table as `kt run` will.
"""

from kt.data.tables.listing import Listed, TableLayout, is_table, read_table

__all__ = ["Listed", "TableLayout", "is_table", "read_table"]
