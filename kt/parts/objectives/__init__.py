"""Objectives for `Phase.objective`, which a phase trains for besides the head's loss; one file for each.

An objective names the streams of examples that it needs besides the training split (`kt.data.Splits.streams`). It
computes a term from the model's outputs for each stream, which is added to the loss of a batch.
"""

from kt.parts.objectives.cdan import Cdan
from kt.parts.objectives.coral import Coral
from kt.parts.objectives.dann import Dann
from kt.parts.objectives.mcc import Mcc
from kt.parts.objectives.mmd import Mmd

__all__ = ["Cdan", "Coral", "Dann", "Mcc", "Mmd"]
