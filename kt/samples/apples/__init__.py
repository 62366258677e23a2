"""Good and bad apples, drawn by kt: a data source like any other."""
