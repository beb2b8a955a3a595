"""What an estimate of a partition sum is: a value, how sure it is, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, stdtrit

from .._shown import digits, table

CONFIDENCE = 0.95
#: intervals are wider than Student's t by this: weights are skewed, and come in groups of those of one mode
_SAFETY = 1.2


class Moments(NamedTuple):
    """Means under a model, float64, of the values of its units.

    Attributes
    ----------
    visible : ndarray, shape (n_visible,)
        <v>.
    hidden : ndarray, shape (n_hidden,)
        <h>.
    pairs : ndarray, shape (n_hidden, n_visible)
        <h v>, the mean of the product for every pair of a hidden and a visible unit.
    """

    visible: NDArray[np.float64]
    hidden: NDArray[np.float64]
    pairs: NDArray[np.float64]


@dataclass(frozen=True)
class LogPartition:
    """Log of a partition sum in nats; ``float()`` gives the value.

    Attributes
    ----------
    value : float
    stderr : float
        Standard error of the value; 0 for an exact sum.
    interval : (float, float)
        95 % confidence interval, which holds the value. With "bracket" from the lower end of the forward estimate to
        the upper end of the reverse one, and wider where the two contradict each other or the value's own error is
        larger. Where the value is not reliable it reaches as far as the evidence allows: its upper end is infinite
        where only a lower bound is known.
    method : str
        "exact", "ais", "mais", "smc", "reverse", "bracket", "tempering" or "trajectory".
    ess : float
        Effective number of chains: (sum w)^2 / sum w^2 of weighted ones, the smaller one of a bracket; of "smc" the
        number of independent ancestors; of "tempering" that of independent samples of the model. Infinite for an exact
        sum.
    seconds : float
    n_chains, n_temperatures : int
        0 for an exact sum.
    reliable : bool
        False where the evidence says that the value may be far off: few chains carry the weight, populations are far
        apart, or other starts of the path have found what this one missed.
    message : str
        Why the value is not reliable; empty where it is.
    moments : Moments or None
        On request, with an exact sum.
    log_probabilities : ndarray of float64, shape (2 ** n,), or None
        On request, with an exact sum: of all states of the layer summed over, the smaller one (the hidden one of equal
        layers). Bit k of an index is the state of unit k, set for the larger value. With a one-hot layer, which is
        the one summed over then, of shape (n,): index k for unit k. With a Gaussian layer of the other one.
    """

    value: float
    stderr: float
    interval: tuple[float, float]
    method: str
    ess: float = np.inf
    seconds: float = 0.0
    n_chains: int = 0
    n_temperatures: int = 0
    reliable: bool = True
    message: str = ""
    moments: Moments | None = field(default=None, repr=False)
    log_probabilities: NDArray[np.float64] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse what is no number, and let the interval hold the value, which rounding may have moved."""
        if not np.isfinite(self.value):
            raise ValueError(
                f"log Z is {self.value}: the parameters of the model are so large that energies overflow; scale them "
                "down, or use float64"
            )
        low, high = self.interval
        object.__setattr__(self, "interval", (min(low, self.value), max(high, self.value)))

    def shifted(self, by: float) -> LogPartition:
        """Add a constant to the value and the interval."""
        low, high = self.interval
        return replace(self, value=self.value + by, interval=(low + by, high + by))

    def __float__(self) -> float:
        return self.value

    def _facts(self) -> dict[str, Any]:
        facts = {"value": self.value, "stderr": self.stderr, "interval": self.interval, "method": self.method}
        if self.n_chains:
            facts |= {"ess": self.ess, "n_chains": self.n_chains, "n_temperatures": self.n_temperatures}
        return facts | {"seconds": self.seconds, "reliable": self.reliable}

    def __repr__(self) -> str:
        facts = self._facts() | ({"message": self.message} if self.message else {})
        shown = (f"{k}={x!r}" if isinstance(x, str) else f"{k}={digits(x)}" for k, x in facts.items())
        return f"LogPartition({', '.join(shown)})"

    def _repr_html_(self) -> str:
        return table("log partition sum, in nats", self._facts().items(), note=self.message)


class Estimate(NamedTuple):
    """Log of a mean of weights."""

    value: float
    stderr: float
    low: float
    high: float
    ess: float


def with_rare(e: Estimate, n: float) -> Estimate:
    """Widen an interval by what states may weigh that none of `n` chains has met.

    With a probability of 95 % these have a share of 3 / n at most (the rule of three).
    """
    rare = float(np.log1p(3 / n))
    return e._replace(low=e.low - rare, high=e.high + rare)


def log_mean(log_weights: NDArray[np.float64]) -> Estimate:
    """Log of the mean of weights, with its standard error and a 95 % interval.

    The standard error is that of the delta method, the interval Student's t, a fifth wider, around the log of the mean.
    Both are right
    where many chains share the weight. Where few do (an effective sample size below half of n) a sample lacks the
    rare heavy weights of the mean, so the upper end is at least Cox's for the mean of a log-normal variable,
    m + s^2/2 + t sqrt(s^2/n + s^4/(2 (n - 1))) with m, s of the log weights, which are near normal as sums over many
    temperatures.

    References
    ----------
    Zhou and Gao, "Confidence intervals for the log-normal mean", Statistics in Medicine 16 (1997), for Cox's method.
    """
    n = len(log_weights)
    value = float(logsumexp(log_weights) - np.log(n))
    if n == 1:
        return Estimate(value, np.inf, -np.inf, np.inf, 1.0)
    w = np.exp(log_weights - log_weights.max())
    ess = float(w.sum() ** 2 / np.square(w).sum())
    stderr = float(w.std(ddof=1) / w.mean() / np.sqrt(n))
    t = _SAFETY * float(stdtrit(n - 1, 0.5 + CONFIDENCE / 2))
    high = value + t * stderr
    if ess < n / 2:
        m, s2 = float(log_weights.mean()), float(log_weights.var(ddof=1))
        high = max(high, float(m + s2 / 2 + t * np.sqrt(s2 / n + s2 * s2 / (2 * (n - 1)))))
    return Estimate(value, stderr, value - t * stderr, high, ess)


def acceptance_ratio(forward: NDArray[np.float64], reverse: NDArray[np.float64]) -> float:
    """Log of a ratio of partition sums from log weights both ways: Bennett's acceptance ratio.

    Parameters
    ----------
    forward : ndarray
        Log weights, whose exponentials have the ratio as their mean.
    reverse : ndarray
        Log weights the other way, whose exponentials have its inverse.

    References
    ----------
    Bennett, "Efficient estimation of free energy differences from Monte Carlo data", J. Comput. Phys. 22 (1976);
    Shirts et al., Phys. Rev. Lett. 91, 140601 (2003).
    """
    from scipy.optimize import brentq
    from scipy.special import expit

    if not (np.isfinite(forward).all() and np.isfinite(reverse).all()):
        return np.nan
    balance = np.log(len(forward) / len(reverse))

    def excess(x: float) -> float:
        return float(expit(forward - x - balance).sum() - expit(reverse + x + balance).sum())

    ends = np.concatenate([forward, -reverse])
    low, high = float(ends.min()) - abs(balance) - 50, float(ends.max()) + abs(balance) + 50
    return float(brentq(excess, low, high, xtol=1e-10, maxiter=2000))
