"""The numpy array types that signatures name; shapes stand in the docstrings."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]
AnyFloatArray = npt.NDArray[np.floating]
