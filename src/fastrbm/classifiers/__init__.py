"""Classifiers, features of images and an outlier detector made of restricted Boltzmann machines."""

from .discriminative import DiscriminativeRBM
from .features import RBMClassifier
from .free_energy import FreeEnergyClassifier
from .outliers import RBMOutlierDetector
from .patches import PatchFeatures

__all__ = [
    "DiscriminativeRBM",
    "FreeEnergyClassifier",
    "PatchFeatures",
    "RBMClassifier",
    "RBMOutlierDetector",
]
