"""How good states are: free energies and pseudo-likelihoods on the device."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..contract import Parameters
from ..pseudo import pseudo_likelihood
from ..reference import ReferenceBackend
from .kernels.elementwise import ROW_THREADS, energy_kernel, pseudo_kernel
from .kernels.target import launch
from .layers import Layers
from .memory import download, empty, host_parameters, on_host, to_device


class Scores(Layers):
    """The part of the backend that says how good states are."""

    def free_energy(self, unit: str, states: Any, parameters: Parameters) -> NDArray[np.float64]:
        """See `Backend.free_energy`: Bernoulli hidden neurons; others by the formula of the reference."""
        if unit != "bernoulli" or parameters.weights.dtype != np.float32:
            return ReferenceBackend().free_energy(unit, on_host(states), host_parameters(parameters))
        return self._score(energy_kernel, states, parameters)

    def pseudo_likelihood(
        self, unit: str, states: Any, parameters: Parameters, visible: str = "bernoulli"
    ) -> NDArray[np.float64]:
        """See `Backend.pseudo_likelihood`: Bernoulli neurons in both layers; others on the host."""
        if visible != "bernoulli":
            return pseudo_likelihood(visible, unit, on_host(states), host_parameters(parameters))
        if unit != "bernoulli" or parameters.weights.dtype != np.float32:
            return ReferenceBackend().pseudo_likelihood(unit, on_host(states), host_parameters(parameters))
        return self._score(pseudo_kernel, states, parameters, to_device(parameters.weights))

    def _score(self, kernel: Any, states: Any, parameters: Parameters, *between: Any) -> NDArray[np.float64]:
        n = states.shape[0]
        if n == 0:
            return np.zeros(0)
        score = empty(n, np.float64)
        inputs = to_device(self.inputs(states, parameters.weights, parameters.hidden_bias))
        blocks = min(n, 1 << 16)
        bias = to_device(parameters.visible_bias)
        launch(kernel, blocks, ROW_THREADS, self.dense_values(states, np.float32), inputs, *between, bias, score)
        return download(score)
