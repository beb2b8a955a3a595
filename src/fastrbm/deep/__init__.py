"""Stacks of restricted Boltzmann machines: deep belief networks, and networks that are fine-tuned from them."""

from .augment import Flip, Shift
from .autoencoder import DBNAutoencoder
from .belief import DeepBeliefNetwork
from .boltzmann import DeepBoltzmannMachine
from .classifier import DBNClassifier
from .export import to_onnx, to_torch

__all__ = [
    "DBNAutoencoder",
    "DBNClassifier",
    "DeepBeliefNetwork",
    "DeepBoltzmannMachine",
    "Flip",
    "Shift",
    "to_onnx",
    "to_torch",
]
