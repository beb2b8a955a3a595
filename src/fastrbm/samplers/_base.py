"""What a sampler is: options that train a model, and populations of chains with `init` and `step`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from .._kernels import Backend, Parameters
from .._kernels.contract import States


class Sampler(BaseEstimator):
    """Options that the estimators take as ``algorithm``; constructor arguments are kept as they are given."""

    def validate(self) -> None:
        """Raise ValueError unless the options are usable."""


class Population(ABC):
    """Chains of a `PopulationSampler` and what goes with them; its steps change it in place."""

    #: under which model files keep it
    name: ClassVar[str]

    @property
    @abstractmethod
    def model_chains(self) -> States:
        """Hidden states of the chains that sample the model itself."""

    @abstractmethod
    def numbers(self) -> dict[str, Any]:
        """What goes into the header of a model file: numbers and flags by name."""

    @abstractmethod
    def arrays(self) -> dict[str, NDArray[Any]]:
        """What goes into a model file as arrays, by name; `fastrbm._kernels.bits.stored` makes one of states."""

    @classmethod
    @abstractmethod
    def restore(cls, numbers: dict[str, Any], arrays: dict[str, NDArray[Any]], n_hidden: int) -> Population:
        """Make the population of which these are the `numbers` and `arrays`."""


class PopulationSampler(Sampler, ABC):
    """A sampler whose chains go on from call to call: `fit` takes the model's half of the gradient from them."""

    @abstractmethod
    def init(self, n_chains: int, parameters: Parameters, units: tuple[str, str], seed: int) -> Any:
        """Start `n_chains` chains of the model; every draw is addressed by the seed."""

    @abstractmethod
    def continues(self, population: Any, n_chains: int) -> bool:
        """Whether a population is one of this sampler with so many chains, which `step` can go on with."""

    @abstractmethod
    def step(
        self,
        state: Any,
        parameters: Parameters,
        units: tuple[str, str],
        seed: int,
        backend: Backend,
        n_rounds: int = 1,
    ) -> States:
        """Move the chains on in place; return the visible states of those that sample the model itself."""
