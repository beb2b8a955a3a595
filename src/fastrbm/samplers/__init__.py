"""Samplers: populations of chains with `init` and `step`."""

from .fast import FastPCD
from .gibbs import Gibbs
from .tempered import TemperedSamples, temper
from .tempering import TemperedState, Tempering

__all__ = ["FastPCD", "Gibbs", "TemperedSamples", "TemperedState", "Tempering", "temper"]
