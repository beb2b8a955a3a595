"""Samplers: what trains a model as ``algorithm``, and populations of chains with `init` and `step`."""

from ._base import Population, PopulationSampler, Sampler
from .fast import FastPCD
from .gibbs import Gibbs
from .tempered import TemperedSamples, temper
from .tempering import TemperedState, Tempering
from .trajectory import TrajectoryState, TrajectoryTempering

__all__ = [
    "POPULATIONS",
    "SAMPLERS",
    "FastPCD",
    "Gibbs",
    "Population",
    "PopulationSampler",
    "Sampler",
    "TemperedSamples",
    "TemperedState",
    "Tempering",
    "TrajectoryState",
    "TrajectoryTempering",
    "temper",
]

#: samplers that estimators know by name
SAMPLERS: dict[str, type[Sampler]] = {"fpcd": FastPCD, "pt": Tempering}
#: populations that model files may hold
POPULATIONS: dict[str, type[Population]] = {cls.name: cls for cls in (TemperedState,)}
