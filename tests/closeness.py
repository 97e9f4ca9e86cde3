"""Whether numbers agree but for rounding, which depends on the processor."""

import numpy as np


def assert_close(found, expected, tolerance, *, size=None, name=""):
    """Check that no element is off by more than a share of itself and of the size of all.

    What came out of sums has rounding of the size of what was added: a small element among large ones has it too.

    Args:
        found: an array.
        expected: an array of its shape; NaN where `found` is NaN.
        tolerance: the share.
        size: of all; the largest expected magnitude if it is not given.
        name: of the arrays, for the message.
    """
    expected = np.asarray(expected)
    size = np.max(np.abs(expected), initial=0, where=np.isfinite(expected)) if size is None else size
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * float(size), err_msg=name)
