"""What the models share: `Run` and the few functions that a train.py calls."""

from common.options import BaseOptions, Count, Decay, NonNegative, Positive, Whole
from common.run import Run
from common.updates import bce, descend, evaluating, moving_average, noise_like

__all__ = ["BaseOptions", "Count", "Decay", "NonNegative", "Positive", "Run", "Whole",
           "bce", "descend", "evaluating", "moving_average", "noise_like"]
