"""Classifiers whose features, or whose whole work, are restricted Boltzmann machines."""

from __future__ import annotations

from .discriminative import DiscriminativeRBM

__all__ = ["DiscriminativeRBM"]
