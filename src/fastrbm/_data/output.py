"""Settings of the calling thread that are no option of an estimator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_device_output: ContextVar[bool] = ContextVar("device_output", default=False)


@contextmanager
def config_context(*, device_output: bool) -> Iterator[None]:
    """Within the block, results are given as these settings say; of the calling thread or task only.

    Parameters
    ----------
    device_output : bool
        Whether `transform` and `gibbs` return arrays on the CUDA device for rows that are on it: arrays of Numba with
        ``__cuda_array_interface__``, which CuPy (``cupy.asarray``) and PyTorch (``torch.as_tensor``) take without a
        copy. Otherwise, and for rows of the host, results are NumPy arrays.
    """
    if not isinstance(device_output, bool):
        raise TypeError(f"device_output must be True or False, got {device_output!r}")
    token = _device_output.set(device_output)
    try:
        yield
    finally:
        _device_output.reset(token)


def gives_device_output() -> bool:
    """Whether results for rows on the device are to stay there."""
    return _device_output.get()
