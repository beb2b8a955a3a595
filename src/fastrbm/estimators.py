"""scikit-learn estimators: units, a signature and documentation each, over one base."""

from __future__ import annotations

from typing import Any

from ._estimator.files import Stored
from ._estimator.fitting import Fitting
from ._estimator.gaussian import GaussianRBM, LearnedSigma
from ._estimator.options import check_units
from ._estimator.sampling import Sampling
from ._estimator.scoring import Scoring
from ._estimator.sklearn_helpers import SklearnHelpers
from ._estimator.softmax import SoftmaxRBM
from .units import get_unit

__all__ = ["RBM", "BernoulliRBM", "GaussianRBM", "IsingRBM", "LearnedSigma", "PottsRBM", "SoftmaxRBM"]


class BernoulliRBM(Fitting, Scoring, Sampling, Stored, SklearnHelpers):
    """Bernoulli restricted Boltzmann machine; takes the place of scikit-learn's.

    Binary visible and hidden units, trained by contrastive divergence or by persistent chains. Values of X in [0, 1]
    are read as probabilities that a visible unit is on.

    Parameters
    ----------
    n_components : int, default=256
        Hidden units.
    learning_rate : float or schedule, default=0.1
        Step along the mean gradient of a minibatch. Schedules are objects of `fastrbm.schedules`, or functions of
        (pass, number of passes); they are asked once a pass.
    batch_size : int or schedule, default=10
        Rows of a minibatch, all rows at most. Larger ones (64 and more) use the processor far better.
    n_iter : int, default=10
        Passes over the data.
    steps_per_epoch : int or None, default=None
        Minibatches of a pass; None for all rows once. Fewer take the first rows of the pass's order (with `shuffle`
        rows at random), more go round again.
    verbose : int, default=0
        Non-zero prints lines with the mean pseudo-likelihood (reconstruction error where visible units are not binary)
        of 100 to 1000 rows of X, always the same, and the time since the line before: after each pass, or as often as a
        tenth of the training's work allows.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the draws. Results are the same bits for any number of threads, any instruction set and any division
        of the work.
    algorithm : {"pcd", "cd", "fpcd", "pt", "exact", "em"} or object, default="pcd"
        Persistent contrastive divergence (stochastic maximum likelihood), contrastive divergence (or
        ``fastrbm.Gibbs(...)`` for these two), persistent chains with fast weights (or
        ``fastrbm.samplers.FastPCD(...)``), parallel tempering (or ``fastrbm.samplers.Tempering(...)``), or the exact
        gradient of the log-likelihood by listing the states of the smaller layer (those of 20 binary units at most),
        the yardstick of the others. "em" is expectation maximisation for one-hot hidden layers (`PottsRBM`).
    n_gibbs_steps : int or schedule, default=1
        Gibbs sweeps per minibatch, the k of CD-k and PCD-k; rounds of exchanges with tempering.
    strategy : {"auto", "dense", "delta", "bounds", "lcd", "lowbit"}, default="auto"
        How layers are drawn whose states alone are wanted (`sample`, `sample_hidden`, `gibbs`, the sweeps of CD-k
        before the last): with whole products or lean ones. The states are the same, bit for bit; "auto" takes what
        was measured to be fastest. `fastrbm.count_work` tells what was spared. float32 only; with ``device="cuda"``
        for the chains of `sample` alone.
    precision : {"full", "fast"}, default="full"
        "fast" rounds the weights to 16 bits in the products of `fit`, `transform`, `sample` and their like (not in the
        gradient, scores and free energies): approximate, faster with AVX-512, the same bits on every instruction
        set. Weights whose sums reach 512 are used in full. `fit` rounds Gaussian visible states to 16 bits, too, where
        they multiply weights (not with ``device="cuda"``). float32 only.
    hidden_statistics : {"mean", "sampled"}, default="mean"
        What the gradient takes of the hidden layer: its means, as scikit-learn does, or states drawn from them,
        which is noisier and cheaper (counting bits instead of adding means).
    n_chains : int or None, default=None
        Persistent chains (at each temperature); None for `batch_size`, the largest of a schedule, but no more than
        there are rows (or 256). CD, whose chains start at the rows, takes None only.
    optimizer : {"sgd", "rmsprop", "adam"} or object, default="sgd"
        Objects of `fastrbm.optimizers` have options: ``SGD(momentum=0.9, nesterov=True)``, ``RMSprop(decay=0.9)``,
        ``Adam(amsgrad=True)``.
    regularizers : object or sequence of them, default=()
        Of `fastrbm.regularizers`: L1, L2, SparsityTarget, MaxNorm, Dropout, DropConnect, WeightUncertainty, Clip. Their
        options have names for a search: ``regularizers__l2__strength`` (two of a kind: ``l2-1``, ``l2-2``).
    centered : bool, default=False
        Centred gradients: visible and hidden units enter less their running means, which makes training independent
        of flips of the data (Melchior, Fischer, Wiskott, JMLR 17, 2016).
    init : {"normal", "xavier", "lc"}, object or array of shape (n_components, n_features), default="normal"
        Weights at the start; see `fastrbm.init`. "normal" has standard deviation 0.01.
    visible_bias : {"zeros", "data"}, default="zeros"
        Visible biases at the start; "data": those with which a model without weights has the means of the data. Take it
        for images, so that the first passes need not find the means.
    temperature : float, default=1.0
        Divides the energy of the model, in training and afterwards.
    random_stream : {"philox", "sklearn"}, default="philox"
        "sklearn" consumes NumPy's draws in scikit-learn's order and reproduces its fit to rounding (with
        ``shuffle=False``); slower, for checks and migration.
    stochastic_input : bool, default=False
        Draw v ~ Bernoulli(x) anew each time a grey row is used. For visible units of two values.
    shuffle : bool, default=True
        New order of the rows in each pass.
    warm_start : bool, default=False
        `fit` goes on where the last one stopped, for `n_iter` further passes: the same bits as one longer fit (unless
        a schedule looks at the number of passes in all, which is that of the passes done and asked for).
    validation_fraction : float, default=0.0
        Share of the rows that is held out, always the same ones for a seed, and scored in `history_`, as often as a
        tenth of the training's work allows and after the last pass (NaN elsewhere): "validation_log_likelihood"
        (exact or annealed, see `fastrbm.callbacks.LogLikelihood`) of binary rows where that is quick, else
        "free_energy_gap", or what `early_stopping` names.
    early_stopping : bool or {"log_likelihood", "pseudo_likelihood", "free_energy_gap"}, default=False
        Stop when the score of the held-out rows has not got better for `n_iter_no_change` passes, and put the best
        parameters back. Needs `validation_fraction`.
    n_iter_no_change : int, default=5
        Passes without a gain before `early_stopping` ends the fit, after the next one that is scored.
    tol : float, default=0.0
        Gain that counts, in nats.
    scoring : {"auto", "pseudo_likelihood", "log_likelihood"}, default="auto"
        What `score` returns; "auto" is the pseudo-likelihood (`score_samples`) of binary visible units, else the
        log-likelihood. "pseudo_likelihood" needs no log Z, whatever the units and their number.
    callbacks : object, function or sequence of them, default=()
        `fastrbm.callbacks.Callback` objects or functions of the run, called after each pass. Callbacks of scikit-learn
        (1.9 and later) come by `set_callbacks`.
    device : {"auto", "cpu", "cuda", "reference"}, default="auto"
        Kernels: native CPU, CUDA (``pip install "fastrbm[cuda]"``), or plain NumPy. "auto" is the CPU: the
        size from which a CUDA device is faster has not been measured.
    n_threads : int or None, default=None
        Threads; None for what OpenMP would use, -1 for all processors the process may run on, -2 for all but one, and
        so on. Small problems use fewer.
    dtype : numpy.float32, numpy.float64 or None, default=None
        Type of parameters and arithmetic; None is float32 whatever the type of X.
    input_scale : float or "auto", default="auto"
        What values of X are multiplied with to lie in [0, 1]. "auto": 1, but 1/255 for uint8 images, which are uint8
        values of more than 8 levels, some of them above 31, or with a 255 among them; the first data decide.
    out_of_range : {"warn", "error", "allow"}, default="warn"
        What is done with values of X outside [0, 1]: "warn" and "allow" use them as they are, as scikit-learn does,
        "warn" with a `fastrbm.DataRangeWarning`; "error" raises ValueError. Values that rounding has put there, as
        `sklearn.preprocessing.MinMaxScaler` does, are clipped in silence.

    Attributes
    ----------
    components_ : ndarray, shape (n_components, n_features)
        Weights.
    intercept_hidden_ : ndarray, shape (n_components,)
        Biases of the hidden units.
    intercept_visible_ : ndarray, shape (n_features,)
        Biases of the visible units.
    h_samples_ : ndarray, shape (n_chains, n_components)
        Hidden states of the persistent chains ("pcd", "fpcd"; "pt": of those of the model itself).
    input_scale_ : float
        What values are multiplied with: `input_scale`; by default uint8 values, by 1 or 1/255.
    weight_deviation_ : ndarray, shape (n_components, n_features)
        Standard deviations of the weights, with `WeightUncertainty`.
    n_iter_ : int
        Passes finished.
    best_iteration_ : int
        The pass whose parameters `early_stopping` kept.
    history_ : dict of list
        One entry per pass: "epoch", "seconds", and what callbacks recorded.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    See Also
    --------
    fastrbm.compat.BernoulliRBM : The same with scikit-learn's draws and tolerance as defaults.

    References
    ----------
    Hinton, "Training products of experts by minimizing contrastive divergence", Neural Computation 14 (2002).
    Tieleman, "Training restricted Boltzmann machines using approximations to the likelihood gradient", ICML 2008.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm import BernoulliRBM
    >>> X = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
    >>> BernoulliRBM(n_components=2, random_state=0).fit(X).transform(X).shape
    (4, 2)
    """

    _units = ("bernoulli", "bernoulli")


class IsingRBM(Fitting, Scoring, Sampling, Stored):
    """Restricted Boltzmann machine of spins: visible and hidden units are -1 or +1.

    The model of `BernoulliRBM` with s = 2 x - 1 for each unit x, and another gradient: that of the couplings of spins.
    Kernels are the same (spins are kept as bits).

    Parameters
    ----------
    n_components : int, default=256
        Hidden units.
    **options
        As of `BernoulliRBM`. X must hold -1 and +1, and others raise; with ``out_of_range="allow"`` other values are
        used as means of spins.

    Attributes
    ----------
    components_, intercept_visible_, intercept_hidden_ : ndarray
        Couplings and fields of the spins; others as of `BernoulliRBM`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm import IsingRBM
    >>> X = np.array([[-1, -1, 1], [1, 1, -1], [1, 1, 1]])
    >>> IsingRBM(2, random_state=0).fit(X).sample(1, 10).shape
    (1, 3)
    """

    _units = ("ising", "ising")


class PottsRBM(Fitting, Scoring, Sampling, Stored):
    """Binary visible units and one hidden unit of `n_components` states: exactly one of the hidden units is 1.

    The distribution of the visible layer is a mixture of `n_components` products of Bernoulli distributions, so its
    likelihood is exact at any size, and so is its gradient (``algorithm="exact"``). ``algorithm="em"`` trains it by
    expectation maximisation, the better way: `learning_rate`, at most 1, is then the share by which a minibatch
    replaces what was known (Cappe, Moulines, "On-line expectation-maximization algorithm for latent
    data models", J. R. Stat. Soc. B 71, 2009); 1 with a `batch_size` of all rows is the classical algorithm.

    Parameters
    ----------
    n_components : int, default=256
        States of the hidden layer.
    **options
        As of `BernoulliRBM`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm import PottsRBM
    >>> X = np.array([[0, 0, 1], [1, 1, 0], [1, 1, 1]])
    >>> PottsRBM(2, random_state=0).fit(X).transform(X).sum(axis=1).round(6)
    array([1., 1., 1.])
    """

    _units = ("bernoulli", "onehot")


class RBM(Fitting, Scoring, Sampling, Stored):
    """Restricted Boltzmann machine of any units.

    Parameters
    ----------
    n_components : int, default=256
        Hidden units.
    visible, hidden : str or Unit, default="bernoulli"
        Units of `fastrbm.units`, as objects or by their specs: "bernoulli", "ising", "onehot" (one of the whole layer),
        "onehot(5)" (groups of 5), "gaussian" (variance 1; see `GaussianRBM` for others), "relu", "binomial(3)",
        "mixed(gaussian*3,bernoulli*2)" for different columns.
    **options
        As of `BernoulliRBM`.

    Notes
    -----
    The energy must be normalisable: two real-valued layers are only while their weights are small (see
    `fastrbm.Model`).

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm import RBM
    >>> X = np.array([[0, 3], [1, 2], [3, 3]])
    >>> RBM(2, visible="binomial(3)", random_state=0).fit(X).transform(X).shape
    (3, 2)
    """

    def __init__(
        self, n_components: int = 256, *, visible: Any = "bernoulli", hidden: Any = "bernoulli", **options: Any
    ):
        super().__init__(n_components, **options)
        self.visible = visible
        self.hidden = hidden

    @property
    def units(self) -> tuple[str, str]:
        """Specs of the (visible, hidden) units."""
        return get_unit(self.visible).spec, get_unit(self.hidden).spec

    def _check_options(self) -> None:
        check_units(self, "visible", "hidden")
        super()._check_options()
