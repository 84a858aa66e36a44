"""What the models share: `Run` and the few functions that a train.py calls."""

from common.models import beside, trained
from common.options import BaseOptions, Count, Decay, NonNegative, Positive, Share, Whole
from common.run import Run
from common.updates import bce, descend, distorted, evaluating, moving_average, noise_like

__all__ = ["BaseOptions", "Count", "Decay", "NonNegative", "Positive", "Run", "Share", "Whole",
           "bce", "beside", "descend", "distorted", "evaluating", "moving_average", "noise_like", "trained"]
