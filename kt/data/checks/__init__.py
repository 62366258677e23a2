"""Checks of a data set that need only its files and their pixels: what is wrong with it, as `kt.findings`."""
