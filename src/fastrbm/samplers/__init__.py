"""Samplers: populations of chains with `init` and `step`."""

from .gibbs import Gibbs

__all__ = ["Gibbs"]
