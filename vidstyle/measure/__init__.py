"""How steady and how painted a result is. Every figure has one definition, here.

Pictures are (H, W, 3) float32 RGB in [0, 1].
"""

from vidstyle.measure.clips import FrameMeasured, measure_video
from vidstyle.measure.measurement import Measurement, WorstPair
from vidstyle.measure.style import JUDGE_SIDE, StyleJudge, native_side
from vidstyle.measure.warping import SOURCE_FLOOR, PairError, WarpError, along

__all__ = [
    "JUDGE_SIDE",
    "SOURCE_FLOOR",
    "FrameMeasured",
    "Measurement",
    "PairError",
    "StyleJudge",
    "WarpError",
    "WorstPair",
    "along",
    "measure_video",
    "native_side",
]
