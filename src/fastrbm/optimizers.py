"""What turns a gradient into a change of the parameters."""

from __future__ import annotations

from typing import Any, ClassVar

from sklearn.base import BaseEstimator

from ._checks import check_flag, check_number
from ._kernels import Rule
from ._kernels.rules import RULES
from .schedules import check_scheduled, is_schedule, value_at

__all__ = ["Adam", "Optimizer", "RMSprop", "SGD", "get_optimizer"]


class Optimizer(BaseEstimator):
    """Base of the optimisers. Their arithmetic is in the kernels (`fastrbm._kernels.rules`)."""

    #: name of the option that is the kernels' momentum; None without one
    _momentum: ClassVar[str | None] = None

    def validate(self) -> None:
        """Raise ValueError unless the options are usable."""
        if self._momentum is None:
            return
        momentum = getattr(self, self._momentum)
        check_scheduled(self._momentum, momentum)
        if not is_schedule(momentum):
            check_number(self._momentum, momentum, 0, 1, include_high=False)

    def momentum_at(self, epoch: int, n_epochs: int) -> float:
        """Momentum (Adam: beta 1) in a pass; 0 without one."""
        if self._momentum is None:
            return 0.0
        value = value_at(self._momentum, getattr(self, self._momentum), epoch, n_epochs, 0.0, 1.0)
        return check_number(self._momentum, value, 0, 1, include_high=False)

    @property
    def _uses_momentum(self) -> bool:
        momentum = 0 if self._momentum is None else getattr(self, self._momentum)
        return is_schedule(momentum) or momentum != 0

    def n_slots(self) -> int:
        """Arrays of the size of the parameters that are kept between updates; by default the velocity of momentum."""
        return int(self._uses_momentum)

    def rule(self) -> Rule:
        """What the kernels are told, besides rate and momentum."""
        raise TypeError(f"{type(self).__name__} does not have a rule")


class SGD(Optimizer):
    """Stochastic gradient ascent with momentum.

    velocity <- momentum * velocity + learning_rate * gradient; parameters <- parameters + velocity.

    Parameters
    ----------
    momentum : float or schedule, default=0.0
        In [0, 1). 0 keeps no velocity.
    nesterov : bool, default=False
        Add momentum * velocity + learning_rate * gradient in the place of the velocity: Nesterov's gradient, taken
        at the parameters that momentum alone would lead to (Sutskever et al., ICML 2013, in the form of Bengio,
        Boulanger-Lewandowski, Pascanu, ICASSP 2013). Needs a momentum.
    """

    _momentum = "momentum"

    def __init__(self, momentum: Any = 0.0, nesterov: bool = False):
        self.momentum = momentum
        self.nesterov = nesterov

    def validate(self) -> None:
        """Raise ValueError unless the options are usable."""
        super().validate()
        check_flag("nesterov", self.nesterov)
        if self.nesterov and not self._uses_momentum:
            raise ValueError("nesterov=True needs a momentum above 0")

    def rule(self) -> Rule:
        """See `Optimizer.rule`."""
        return Rule("nesterov" if self.nesterov else "sgd")


class RMSprop(Optimizer):
    """Gradients divided by the root of their running mean square (Tieleman, Hinton, 2012, Coursera lecture 6e).

    Parameters
    ----------
    decay : float, default=0.9
        Of the running mean square, in [0, 1).
    momentum : float or schedule, default=0.0
        In [0, 1): velocity <- momentum * velocity + change; parameters <- parameters + velocity.
    epsilon : float, default=1e-6
        Added to the root; positive. The rounding of float32 gradients, up to 1e-7 where the truth is 0, must not count
        as one.
    """

    _momentum = "momentum"

    def __init__(self, decay: float = 0.9, momentum: Any = 0.0, epsilon: float = 1e-6):
        self.decay = decay
        self.momentum = momentum
        self.epsilon = epsilon

    def validate(self) -> None:
        """Raise ValueError unless the options are usable."""
        super().validate()
        check_number("decay", self.decay, 0, 1, include_high=False)
        check_number("epsilon", self.epsilon, 0, include_low=False)

    def n_slots(self) -> int:
        """The mean squares, and the velocity with momentum."""
        return 1 + int(self._uses_momentum)

    def rule(self) -> Rule:
        """See `Optimizer.rule`."""
        return Rule("rmsprop", float(self.decay), float(self.epsilon))


class Adam(Optimizer):
    """Adaptive moments (Kingma, Ba, ICLR 2015), with AMSGrad (Reddi, Kale, Kumar, ICLR 2018) as an option.

    Parameters
    ----------
    beta1 : float or schedule, default=0.9
        Decay of the running mean of the gradient, in [0, 1).
    beta2 : float, default=0.999
        Decay of its running mean square, in [0, 1).
    epsilon : float, default=1e-6
        Added to the root; positive. The rounding of float32 gradients, up to 1e-7 where the truth is 0, must not count
        as one.
    amsgrad : bool, default=False
        Divide by the largest mean square so far in the place of the current one.
    """

    _momentum = "beta1"

    def __init__(self, beta1: Any = 0.9, beta2: float = 0.999, epsilon: float = 1e-6, amsgrad: bool = False):
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.amsgrad = amsgrad

    def validate(self) -> None:
        """Raise ValueError unless the options are usable."""
        super().validate()
        check_number("beta2", self.beta2, 0, 1, include_high=False)
        check_number("epsilon", self.epsilon, 0, include_low=False)
        check_flag("amsgrad", self.amsgrad)

    def n_slots(self) -> int:
        """Two running means, and the largest with AMSGrad."""
        return 3 if self.amsgrad else 2

    def rule(self) -> Rule:
        """See `Optimizer.rule`."""
        return Rule("amsgrad" if self.amsgrad else "adam", float(self.beta2), float(self.epsilon))


_NAMES = {"sgd": SGD, "rmsprop": RMSprop, "adam": Adam}


def get_optimizer(optimizer: Any) -> Optimizer:
    """Resolve the estimator option ``optimizer``: a name, or an object of this module."""
    if isinstance(optimizer, str) and optimizer in _NAMES:
        return _NAMES[optimizer]()
    if isinstance(optimizer, Optimizer):
        optimizer.validate()
        if optimizer.rule().kind not in RULES:
            raise ValueError(f"rule must be one of {sorted(RULES)}, got {optimizer.rule().kind!r} of {optimizer!r}")
        return optimizer
    raise ValueError(f"optimizer must be one of {sorted(_NAMES)} or an object such as Adam(), got {optimizer!r}")
