"""Unit types: exponential families that layers are made of."""

from ._base import Unit, get_unit, register, softplus, unit_names
from .bernoulli import Bernoulli
from .gaussian import Gaussian
from .ising import Ising
from .onehot import OneHot

__all__ = ["Bernoulli", "Gaussian", "Ising", "OneHot", "Unit", "get_unit", "register", "softplus", "unit_names"]
