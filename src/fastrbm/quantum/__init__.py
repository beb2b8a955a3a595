"""Restricted Boltzmann machines as wave functions: ground states of spin chains (Carleo, Troyer, Science 355, 2017)."""

from .energies import EnergyEstimate, estimate_energy
from .exact import ExactGroundState, exact_ground_state, free_fermion_energy
from .hamiltonians import Heisenberg, SpinHamiltonian, TransverseFieldIsing
from .search import GroundState, find_ground_state
from .wavefunction import RBMWaveFunction

__all__ = [
    "EnergyEstimate",
    "ExactGroundState",
    "GroundState",
    "Heisenberg",
    "RBMWaveFunction",
    "SpinHamiltonian",
    "TransverseFieldIsing",
    "estimate_energy",
    "exact_ground_state",
    "find_ground_state",
    "free_fermion_energy",
]
