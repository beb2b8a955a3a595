"""The exponential function by multiplications and additions alone, which are rounded alike by all processors.

Those of libraries choose their instructions, and so their last bits, by the processor.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: (ln 2)^k / k!, from the 12th on: remainder of the series 2e-16 for |f| <= 1/2
SERIES = (
    2.5678435993488205e-11, 4.445538271870811e-10, 7.054911620801121e-09, 1.0178086009239696e-07,
    1.3215486790144305e-06, 1.5252733804059838e-05, 1.540353039338161e-04, 1.3333558146428443e-03,
    9.618129107628477e-03, 5.550410866482158e-02, 2.402265069591007e-01, 6.931471805599453e-01, 1.0,
)  # fmt: skip


def exponentials(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """e^x for x <= 0."""
    t = np.maximum(x * 1.4426950408889634, -1000.0)
    whole = np.rint(t)
    f = t - whole
    p = np.full_like(f, SERIES[0])
    for c in SERIES[1:]:
        p = p * f + c
    return np.ldexp(p, whole.astype(np.int32))
