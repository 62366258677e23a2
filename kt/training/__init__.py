"""Training a model by the steps of a recipe.

Start at `kt.training.main.train`. A step of one's own gets a `Session` (`kt.recipe.Step`).
"""

from kt.training.calibration import Calibrated, calibrate
from kt.training.fitting import compile_for
from kt.training.main import check_phases, seed_everything, train, training_key
from kt.training.results import Best, PhaseResult
from kt.training.session import Session

__all__ = [
    "Best",
    "Calibrated",
    "PhaseResult",
    "Session",
    "calibrate",
    "check_phases",
    "compile_for",
    "seed_everything",
    "train",
    "training_key",
]
