"""Pictures: found by their content, checked, and then read the same way for training, prediction and serving."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # finding files must not import anything heavy
    import numpy as np
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]
    """Pictures uint8 `[N, H, W, 3]`, or one picture `[H, W, 3]`: RGB from 0 to 255."""
else:
    Pixels = Any
