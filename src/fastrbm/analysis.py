"""Whether chains have mixed: R-hat, effective sample sizes and autocorrelation times of what they visit.

The statistics are those of Vehtari, Gelman, Simpson, Carpenter and Bürkner, "Rank-normalization, folding, and
localization: an improved R-hat for assessing convergence of MCMC", Bayesian Analysis 16 (2021), called V below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import ndtri
from scipy.stats import rankdata

from ._checks import check_integer
from ._shown import digits, frame, table

__all__ = ["ChainHealth", "chain_health", "to_arviz"]

MOST_R_HAT = 1.01
#: effective samples for a verdict: this many of a chain, and no more than of four chains, as V advise
ENOUGH_OF_A_CHAIN, CHAINS_ENOUGH = 100, 4


@dataclass(frozen=True)
class ChainHealth:
    """What `chain_health` found; vectors have one entry for each quantity.

    Attributes
    ----------
    n_chains, n_steps : int
    mean : ndarray of float64, shape (n_quantities,)
    standard_error : ndarray of float64, shape (n_quantities,)
        Of the mean, the chains taken together.
    autocorrelation_time : ndarray of float64, shape (n_quantities,)
        1 + 2 sum of autocorrelations, in steps: as many steps of a chain are worth one independent draw.
    effective_sample_size : ndarray of float64, shape (n_quantities,)
        Of the ranks ("bulk") of all chains together.
    r_hat : ndarray of float64, shape (n_quantities,)
        1 where chains agree; infinite where each of them stands still at a place of its own.
    swap_rates : ndarray of float64, shape (n_temperatures - 1,), or None
        Of tempered chains, as given.
    """

    n_chains: int
    n_steps: int
    mean: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    autocorrelation_time: NDArray[np.float64]
    effective_sample_size: NDArray[np.float64]
    r_hat: NDArray[np.float64]
    swap_rates: NDArray[np.float64] | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against the chains having mixed.

        Every quantity has an R-hat below 1.01 and an effective sample size of at least 100 for each chain, of four at
        most: 400 from four chains on. Never true for a quantity that is constant.
        """
        enough = ENOUGH_OF_A_CHAIN * min(self.n_chains, CHAINS_ENOUGH)
        return bool((self.r_hat < MOST_R_HAT).all() and (self.effective_sample_size >= enough).all())

    def __str__(self) -> str:
        lines = [
            f"{self.n_chains} chains of {self.n_steps} steps: {'no sign against mixing' if self.ok else 'NOT MIXED'}",
            f"{'':>4} {'mean':>12} {'std. error':>11} {'autocorr.':>10} {'ess':>10} {'r_hat':>8}",
        ]
        columns = self.mean, self.standard_error, self.autocorrelation_time, self.effective_sample_size, self.r_hat
        for i, (mean, error, time, ess, r_hat) in enumerate(zip(*columns, strict=True)):
            lines.append(f"{i:>4} {mean:>12.6g} {error:>11.3g} {time:>10.3g} {ess:>10.1f} {r_hat:>8.4f}")
        if self.swap_rates is not None:
            lines.append("swap rates " + " ".join(f"{rate:.2f}" for rate in self.swap_rates))
        return "\n".join(lines)

    def _columns(self) -> dict[str, NDArray[np.float64]]:
        return {
            "mean": self.mean,
            "standard_error": self.standard_error,
            "autocorrelation_time": self.autocorrelation_time,
            "effective_sample_size": self.effective_sample_size,
            "r_hat": self.r_hat,
        }

    def to_frame(self) -> Any:
        """Return a pandas frame with a row for each quantity; ImportError without pandas."""
        return frame(self._columns())

    def _repr_html_(self) -> str:
        columns = self._columns()
        rows = [[str(i), *row] for i, row in enumerate(zip(*columns.values(), strict=True))]
        title = str(self).partition("\n")[0]
        note = "" if self.swap_rates is None else "swap rates " + ", ".join(map(digits, self.swap_rates))
        return table(title, rows, ["quantity", *columns], note)


def to_arviz(samples: ArrayLike, names: Sequence[str] | None = None) -> Any:
    """Make what ArviZ plots and diagnoses of scalars recorded along chains.

    Parameters
    ----------
    samples : array-like, shape (n_chains, n_steps) or (n_chains, n_steps, n_quantities)
        As of `chain_health`.
    names : sequence of str or None
        Of the quantities; None: "x0", "x1", ...

    Returns
    -------
    arviz.InferenceData, or xarray.DataTree from ArviZ 1 on
        With the quantities in its group "posterior".

    Raises
    ------
    ImportError
        Without ArviZ.
    ValueError
        For other shapes, values that are not finite, and another number of names.
    """
    try:
        import arviz
    except ImportError as error:
        raise ImportError("to_arviz needs ArviZ: pip install arviz") from error
    x = _checked(samples)
    x = x.reshape(*x.shape[:2], -1)
    names = [f"x{i}" for i in range(x.shape[2])] if names is None else list(names)
    if len(names) != x.shape[2] or len(set(names)) != len(names):
        raise ValueError(f"names must be {x.shape[2]} different ones, one for each quantity, got {names}")
    posterior = {name: x[:, :, i] for i, name in enumerate(names)}
    if int(arviz.__version__.partition(".")[0]) >= 1:
        return arviz.from_dict({"posterior": posterior})
    return arviz.from_dict(posterior=posterior)


def _checked(samples: ArrayLike) -> NDArray[np.float64]:
    x = np.asarray(samples, dtype=np.float64)
    if x.ndim not in (2, 3) or 0 in x.shape or x.shape[1] < 4:
        raise ValueError(
            "samples must have shape (n_chains, n_steps) or (n_chains, n_steps, n_quantities) with at least 4 steps, "
            f"got {x.shape}"
        )
    if not np.isfinite(x).all():
        raise ValueError("samples must be finite, got NaN or infinity")
    return x


def chain_health(samples: ArrayLike, *, max_lag: int | None = None, swap_rates: ArrayLike | None = None) -> ChainHealth:
    """Diagnose chains by scalars recorded along them, such as energies or means.

    Parameters
    ----------
    samples : array-like, shape (n_chains, n_steps) or (n_chains, n_steps, n_quantities)
        Finite; at least 4 steps. Burn-in should have been left away.
    max_lag : int or None
        Longest autocorrelation that is summed; None for all that half a chain has. The sum ends earlier where the
        initial monotone sequence does.
    swap_rates : array-like, shape (n_temperatures - 1,), or None
        Acceptance rates of tempered chains, to be kept with the rest.

    Returns
    -------
    ChainHealth

    Raises
    ------
    ValueError
        For wrong shapes, values that are not finite, or rates outside [0, 1].

    Notes
    -----
    A quantity that never changes has a standard error of 0, and NaN for the autocorrelation time, the effective sample
    size and R-hat: it tells nothing about mixing.

    All chains are split in halves, so that one which drifts disagrees with itself. R-hat is the larger one of that of
    the rank-normalised values and that of the rank-normalised distances from the median. The effective sample size is
    that of the rank-normalised values. Mean, standard error and autocorrelation time are those of the values
    themselves. Sums of autocorrelations are Geyer's initial monotone sequence of those of all chains together, V (10).

    References
    ----------
    Vehtari, Gelman, Simpson, Carpenter, Bürkner, Bayesian Analysis 16 (2021).
    Geyer, "Practical Markov chain Monte Carlo", Statistical Science 7 (1992).
    """
    x = _checked(samples)
    if max_lag is not None:
        check_integer("max_lag", max_lag, otherwise="None")
    rates = None
    if swap_rates is not None:
        rates = np.array(swap_rates, dtype=np.float64)
        if rates.ndim != 1 or not ((rates >= 0) & (rates <= 1)).all():
            raise ValueError(f"swap_rates must be a vector of numbers in [0, 1], got {swap_rates!r}")
    n_chains, n_steps = x.shape[:2]
    quantities = np.moveaxis(x.reshape(n_chains, n_steps, -1), 2, 0)
    mean, error, time, ess, r_hat = np.array([_one(quantity, max_lag) for quantity in quantities]).T
    return ChainHealth(n_chains, n_steps, mean, error, time, ess, r_hat, rates)


def _one(x: NDArray[np.float64], max_lag: int | None) -> tuple[float, float, float, float, float]:
    """Mean, standard error, autocorrelation time, effective sample size and R-hat of one quantity."""
    if x.min() == x.max():
        return float(x[0, 0]), 0.0, np.nan, np.nan, np.nan
    half = x.shape[1] // 2
    split = np.concatenate([x[:, :half], x[:, -half:]])  # without the middle of an odd number
    time, variance = _autocorrelation_time(split, max_lag)
    normal = _rank_normal(split)
    ess = split.size / _autocorrelation_time(normal, max_lag)[0]
    folded = _rank_normal(np.abs(split - np.median(split)))
    r_hat = max(_r_hat(normal), _r_hat(folded))
    return float(x.mean()), float(np.sqrt(variance * time / x.size)), time, ess, r_hat


def _rank_normal(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Normal quantiles of the ranks of all values, V (14)."""
    return ndtri((rankdata(x, method="average") - 0.375) / (x.size + 0.25)).reshape(x.shape)


def _within_and_all(x: NDArray[np.float64]) -> tuple[float, float]:
    """Mean variance within chains, and the estimate of the variance of the distribution; V (1) to (3)."""
    n = x.shape[1]
    # constant chains must have exactly no variance, whatever their means are rounded to
    still = x.min(axis=1) == x.max(axis=1)
    within = float(np.where(still, 0.0, x.var(axis=1, ddof=1)).mean())
    return within, within * (n - 1) / n + float(x.mean(axis=1).var(ddof=1))


def _r_hat(x: NDArray[np.float64]) -> float:
    """Potential scale reduction, V (4)."""
    within, total = _within_and_all(x)
    if within == 0:
        # distances from the median may all be the same although the values are not: no disagreement then
        return np.inf if total > 0 else 1.0
    return float(np.sqrt(total / within))


def _autocorrelation_time(x: NDArray[np.float64], max_lag: int | None) -> tuple[float, float]:
    """Autocorrelation time of chains taken together, and the variance it belongs to."""
    m, n = x.shape
    centred = x - x.mean(axis=1, keepdims=True)
    spectrum = np.square(np.abs(rfft(centred, next_fast_len(2 * n), axis=1))).mean(axis=0)
    covariance = irfft(spectrum, next_fast_len(2 * n))[:n] / n
    within, total = _within_and_all(x)
    # V (10); what the means of chains differ by never decorrelates
    rho = 1 - (within - covariance) / total
    rho[0] = 1.0
    if max_lag is not None:
        rho = rho[: max_lag + 1]
    pairs = np.append(rho, np.zeros(len(rho) % 2)).reshape(-1, 2).sum(axis=1)
    ends = np.flatnonzero(pairs <= 0)
    pairs = np.minimum.accumulate(pairs[: ends[0] if len(ends) else len(pairs)])
    # chains that swing to and fro have short times; V bounds the effective sample size by S log10(S)
    return max(float(2 * pairs.sum() - 1), 1 / np.log10(m * n)), total
