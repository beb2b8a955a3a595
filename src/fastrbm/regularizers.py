"""What keeps a model simple while it is trained: penalties, limits and noise.

`L1`, `L2` and a `Clip` of values work inside the optimiser's kernels; the others act on the gradient, the weights or
the states of each minibatch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from ._checks import check_number

__all__ = ["L1", "L2", "Clip", "DropConnect", "Dropout", "MaxNorm", "SparsityTarget", "WeightUncertainty"]


class Regularizer(BaseEstimator):
    """What keeps a model simple: the base of the regularisers."""

    def validate(self) -> None:
        """Raise ValueError unless the options are usable."""
        raise TypeError(f"{type(self).__name__} does not check its options")


class _Penalty(Regularizer):
    def validate(self) -> None:
        """Raise ValueError unless the options are usable."""
        check_number("strength", self.strength, 0)


class L1(_Penalty):
    """Penalty on magnitudes: strength times the sum of the magnitudes of the weights is taken from the log-likelihood.

    The gradient of the weights is lessened by strength * sign(weights), 0 at 0: weights that do not help end up near 0.
    Biases are left alone (Hinton, "A practical guide to training restricted Boltzmann machines", UTML TR 2010-003,
    section 10).

    Parameters
    ----------
    strength : float, default=1e-4
        Not negative.
    """

    def __init__(self, strength: float = 1e-4):
        self.strength = strength


class L2(_Penalty):
    """Weight decay: strength / 2 times the sum of the squared weights is taken from the log-likelihood.

    The gradient of the weights is lessened by strength * weights; biases are left alone, as is usual (Hinton, "A
    practical guide to training restricted Boltzmann machines", UTML TR 2010-003, section 10).

    Parameters
    ----------
    strength : float, default=1e-4
        Not negative. Typical values lie between 1e-5 and 1e-2.
    """

    def __init__(self, strength: float = 1e-4):
        self.strength = strength


class Clip(Regularizer):
    """Limits that the gradient is kept within.

    Parameters
    ----------
    value : float or None, default=None
        Largest magnitude of an entry, penalties included.
    norm : float or None, default=None
        Largest Euclidean length of the gradient of all parameters together, before penalties; longer ones are scaled
        down (Pascanu, Mikolov, Bengio, ICML 2013).
    """

    def __init__(self, value: float | None = None, norm: float | None = None):
        self.value = value
        self.norm = norm

    def validate(self) -> None:
        """Raise ValueError unless the options are usable."""
        if self.value is None and self.norm is None:
            raise ValueError("Clip needs a value or a norm, got neither")
        for name in ("value", "norm"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), 0, include_low=False)


class MaxNorm(Regularizer):
    """Limit of the Euclidean length of the weights into each hidden unit; longer ones are scaled down after an update.

    Srebro, Shraibman, COLT 2005; with dropout: Srivastava et al., JMLR 15 (2014).

    Parameters
    ----------
    limit : float, default=4.0
        Positive.
    """

    def __init__(self, limit: float = 4.0):
        self.limit = limit

    def validate(self) -> None:
        """Raise ValueError unless the options are usable."""
        check_number("limit", self.limit, 0, include_low=False)


class SparsityTarget(Regularizer):
    """Pulls the mean activation of each hidden unit towards a target.

    With q the running mean of a unit's activation over the data and p the target, the gradient of its total input is
    lessened by strength * (q - p): that of its bias by this, that of its weights by this times the mean of the
    visible units. It is the gradient of the cross-entropy between p and q (Hinton, "A practical guide to training
    restricted Boltzmann machines", UTML TR 2010-003, section 11; Lee, Ekanadham, Ng, NIPS 2007).

    Parameters
    ----------
    target : float, default=0.1
        Mean of T(h) of each hidden unit: in (0, 1) for Bernoulli units.
    strength : float, default=0.1
        Not negative.
    decay : float, default=0.9
        Of the running mean over minibatches, in [0, 1).
    """

    def __init__(self, target: float = 0.1, strength: float = 0.1, decay: float = 0.9):
        self.target = target
        self.strength = strength
        self.decay = decay

    def validate(self) -> None:
        """Raise ValueError unless the options are usable."""
        check_number("target", self.target)
        check_number("strength", self.strength, 0)
        check_number("decay", self.decay, 0, 1, include_high=False)


class _Drop(Regularizer):
    def validate(self) -> None:
        """Raise ValueError unless the options are usable."""
        check_number("rate", self.rate, 0, 1, include_high=False)


class Dropout(_Drop):
    """Hidden units that are absent (0) for a row or a chain of a minibatch, drawn anew each time.

    Both phases use them (Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, "Dropout", JMLR 15 (2014), section
    8: each row trains one of the models that share weights). The fitted model has all units; nothing is rescaled. Not
    with ``algorithm="exact"`` and parallel tempering, whose states have all units.

    Parameters
    ----------
    rate : float, default=0.5
        Probability of being absent, in [0, 1).
    """

    def __init__(self, rate: float = 0.5):
        self.rate = rate


class DropConnect(_Drop):
    """Weights that are 0 for a minibatch, drawn anew each time (Wan et al., ICML 2013).

    Both phases use them; a weight that is absent does not get a gradient.

    Parameters
    ----------
    rate : float, default=0.5
        Probability of being absent, in [0, 1).
    """

    def __init__(self, rate: float = 0.5):
        self.rate = rate


class WeightUncertainty(Regularizer):
    """Gaussian weights: each weight has a mean and a standard deviation that are both trained.

    A minibatch uses W = mean + s eps with s = log(1 + e^rho) and eps normal; the gradient g of W moves the mean by g
    and rho by g eps times the derivative of s, and the Kullback-Leibler divergence to the prior N(0, prior^2), divided
    by the number of rows, is taken from the log-likelihood (Blundell, Cornebise, Kavukcuoglu, Wierstra, "Weight
    uncertainty in neural networks", ICML 2015, section 3.2). The step of rho is learning_rate times its gradient,
    whatever the optimiser. The fitted weights are the means; the deviations are in ``weight_deviation_``.

    Parameters
    ----------
    initial : float, default=0.01
        Standard deviation at the start; positive.
    prior : float, default=1.0
        Standard deviation of the prior; positive.
    """

    def __init__(self, initial: float = 0.01, prior: float = 1.0):
        self.initial = initial
        self.prior = prior

    def validate(self) -> None:
        """Raise ValueError unless the options are usable."""
        check_number("initial", self.initial, 0, include_low=False)
        check_number("prior", self.prior, 0, include_low=False)


def weight_deviation(rho: NDArray[Any]) -> NDArray[Any]:
    """Compute the standard deviations log(1 + e^rho) of weights under `WeightUncertainty`."""
    return np.logaddexp(rho, rho.dtype.type(0))


class Regularization(NamedTuple):
    """The regularisers of a fit, by what they act on.

    Attributes
    ----------
    l1, l2 : float
        Sums over the penalties given.
    clip_value, clip_norm : float
        0 for none.
    sparsity, max_norm, dropout, drop_connect, uncertainty : objects of this module, or None
    """

    l1: float = 0.0
    l2: float = 0.0
    clip_value: float = 0.0
    clip_norm: float = 0.0
    sparsity: SparsityTarget | None = None
    max_norm: MaxNorm | None = None
    dropout: Dropout | None = None
    drop_connect: DropConnect | None = None
    uncertainty: WeightUncertainty | None = None

    @property
    def in_kernels(self) -> bool:
        """Whether the optimiser's kernels do all of it."""
        return not self.clip_norm and all(part is None for part in self[4:])


_SINGLE: dict[type[Regularizer], str] = {
    SparsityTarget: "sparsity",
    MaxNorm: "max_norm",
    Dropout: "dropout",
    DropConnect: "drop_connect",
    WeightUncertainty: "uncertainty",
}
#: everything that the estimator option takes
REGULARIZERS: tuple[type[Regularizer], ...] = (L1, L2, Clip, *_SINGLE)


def get_regularization(regularizers: Any) -> Regularization:
    """Resolve the estimator option ``regularizers``."""
    if isinstance(regularizers, Regularizer):
        regularizers = (regularizers,)
    if not isinstance(regularizers, (tuple, list)):
        raise TypeError(
            f"regularizers must be a regularizer such as L2(1e-4), or a tuple or list of some, got {regularizers!r}"
        )
    found: dict[str, Any] = {}
    for one in regularizers:
        if not isinstance(one, REGULARIZERS):
            names = ", ".join(kind.__name__ for kind in REGULARIZERS)
            raise ValueError(f"regularizers must hold objects of {names}, got {one!r}")
        one.validate()
        if isinstance(one, (L1, L2)):
            name = "l1" if isinstance(one, L1) else "l2"
            found[name] = found.get(name, 0.0) + float(one.strength)
            continue
        parts = {"clip_value": one.value, "clip_norm": one.norm} if isinstance(one, Clip) else {_SINGLE[type(one)]: one}
        for name, part in parts.items():
            if part is not None:
                if name in found:
                    raise ValueError(f"regularizers must hold one {type(one).__name__} at most, got {regularizers!r}")
                found[name] = part
    return Regularization(**found)
