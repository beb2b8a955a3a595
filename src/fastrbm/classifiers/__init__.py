"""Classifiers and an outlier detector made of restricted Boltzmann machines."""

from .features import RBMClassifier
from .free_energy import FreeEnergyClassifier
from .outliers import RBMOutlierDetector

__all__ = [
    "FreeEnergyClassifier",
    "RBMClassifier",
    "RBMOutlierDetector",
]
