"""Unit types: exponential families that layers are made of."""

from ._base import Unit, get_unit, register, softplus, unit_names
from .bernoulli import Bernoulli

__all__ = ["Bernoulli", "Unit", "get_unit", "register", "softplus", "unit_names"]
