"""Rows of a table: numbers and categories, as a model takes them."""
