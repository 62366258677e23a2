"""Checks of a data set that need a frozen backbone's features: likely wrong labels, pictures unlike the others.

`kt.checkup.features` computes the features once for all of them. The checks themselves take features as arrays, so they
know no backbone. Checks that need only files and pixels are in `kt.data.checks`.
"""
