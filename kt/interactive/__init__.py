"""kt from Python: one call trains on a folder of pictures, and one object holds the results."""

from kt.interactive.call import train
from kt.interactive.result import Result

__all__ = ["Result", "train"]
