"""Samplers: populations of chains with `init` and `step`."""

from .gibbs import Gibbs
from .tempered import TemperedSamples, temper
from .tempering import TemperedState, Tempering

__all__ = ["Gibbs", "TemperedSamples", "TemperedState", "Tempering", "temper"]
