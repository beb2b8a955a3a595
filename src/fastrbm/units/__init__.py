"""Unit types: exponential families that layers are made of."""

from ._base import Unit, get_unit, register, softplus, unit_names
from .bernoulli import Bernoulli
from .binomial import Binomial
from .gaussian import Gaussian
from .ising import Ising
from .mixed import Mixed
from .onehot import OneHot
from .relu import ReLU

__all__ = [
    "Bernoulli",
    "Binomial",
    "Gaussian",
    "Ising",
    "Mixed",
    "OneHot",
    "ReLU",
    "Unit",
    "get_unit",
    "register",
    "softplus",
    "unit_names",
]
