"""What a fit copies between host and device, as the emulated device counts it."""

from collections import Counter

import numpy as np
import pytest

from fastrbm import RBM, BernoulliRBM, GaussianRBM, IsingRBM, PottsRBM, SoftmaxRBM
from fastrbm.regularizers import Clip, DropConnect, Dropout, MaxNorm, WeightUncertainty
from fastrbm.samplers import Tempering

pytestmark = pytest.mark.only_on("emulated", reason="the emulated device counts its copies")
pytest.importorskip("numba_cuda")

BITS = (np.random.default_rng(0).random((45, 12)) < 0.4).astype(np.float32)
GREY = np.random.default_rng(1).random((45, 12)).astype(np.float32)
ORDER, FLAG, FINITE = 8 * len(BITS), 12, 4


def of_a_pass(estimator, X, **more):
    """What a fit of 3 passes does more than one of 2: bytes of copies to the device and to the host, and launches."""
    from ptx.compiled import EMULATION
    from ptx.driver import INSTALLED

    sizes, found = INSTALLED[-1].copies.sizes, []
    for n_iter in (2, 3):
        EMULATION.clear()
        before = {way: len(of) for way, of in sizes.items()}
        estimator.set_params(n_iter=n_iter, random_state=0, device="cuda").fit(X, **more)
        launched = Counter(k.partition(":")[0] for (k, _, _), n in EMULATION.launched.items() for _ in range(n))
        found.append([*(Counter(sizes[way][n:]) for way, n in before.items()), launched])
    to_device, to_host, launched = (longer - shorter for shorter, longer in zip(*found, strict=True))
    return sorted(to_device.elements()), sorted(to_host.elements()), launched


@pytest.mark.parametrize("batch_size", [15, 5])
@pytest.mark.parametrize("X", [BITS, GREY, np.rint(255 * GREY).astype(np.uint8)], ids=["bits", "grey", "levels"])
@pytest.mark.parametrize("algorithm", ["cd", "pcd"])
@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop"])
def test_a_pass_is_one_launch_copies_an_order_and_reads_two_flags(X, batch_size, algorithm, optimizer):
    """However many minibatches it has: how far it came and whether weights fit, and whether parameters are finite."""
    scale = dict(input_scale=1 / 255) if X.dtype == np.uint8 else {}
    rbm = BernoulliRBM(6, batch_size=batch_size, algorithm=algorithm, optimizer=optimizer, **scale)
    assert of_a_pass(rbm, X) == ([ORDER], [FINITE, FLAG], {"pass_kernel": 1, "not_usable_kernel": 3})


@pytest.mark.parametrize("batch_size", [15, 5])
@pytest.mark.parametrize(
    "estimator,X",
    [
        (IsingRBM(6), 2 * BITS - 1),
        (RBM(6, visible="ising", algorithm="cd"), 2 * BITS - 1),
        (PottsRBM(6), BITS),
        (RBM(6, hidden="onehot(3)"), BITS),
        (GaussianRBM(6, learning_rate=0.01), GREY),
    ],
    ids=["spins", "visible spins", "potts", "hidden classes", "gaussian"],
)
def test_so_is_one_of_other_units(estimator, X, batch_size):
    kernel = "gaussian_pass_kernel" if isinstance(estimator, GaussianRBM) else "pass_kernel"
    counted = of_a_pass(estimator.set_params(batch_size=batch_size), X)
    assert counted == ([ORDER], [FINITE, FLAG], {kernel: 1, "not_usable_kernel": 3})


def test_adam_takes_the_scales_of_its_means_along():
    scales = 3 * 2 * 4  # two numbers for each minibatch
    assert of_a_pass(BernoulliRBM(6, batch_size=15, optimizer="adam"), BITS)[:2] == ([scales, ORDER], [FINITE, FLAG])


COMPOSED = {
    "centred": (BernoulliRBM(6, batch_size=15, centered=True), BITS),
    "centred grey": (BernoulliRBM(6, batch_size=15, centered=True), GREY),
    "fast weights": (BernoulliRBM(6, batch_size=15, algorithm="fpcd"), BITS),
    "dropout": (BernoulliRBM(6, batch_size=15, regularizers=Dropout(0.3)), BITS),
    "limits": (BernoulliRBM(6, batch_size=15, regularizers=[MaxNorm(0.02), Clip(norm=0.05)]), BITS),
    "noise": (BernoulliRBM(6, batch_size=15, regularizers=[WeightUncertainty(), DropConnect(0.2)]), BITS),
    "learned": (GaussianRBM(6, batch_size=15, sigma="learned"), GREY),
    "float64": (BernoulliRBM(6, batch_size=15, centered=True, dtype=np.float64, optimizer="adam"), BITS),
    "softmax": (SoftmaxRBM(5, n_categories=3, batch_size=15), np.rint(2 * GREY[:, :4])),
    "counts": (RBM(5, visible="binomial(3)", hidden="relu", batch_size=15, learning_rate=0.01), np.rint(3 * GREY)),
}


@pytest.mark.parametrize("name", COMPOSED)
def test_composed_minibatches_copy_nothing_and_read_flags_alone(name):
    estimator, X = COMPOSED[name]
    to_device, to_host, _ = of_a_pass(estimator, X)
    assert to_device == [ORDER]
    # do weights and means fit a product of integers, at most three of each a minibatch; and are parameters finite
    assert set(to_host) <= {FINITE, FLAG} and len(to_host) <= 3 * 5 + 1


def test_weights_of_rows_are_copied_once_a_pass():
    to_device, to_host, _ = of_a_pass(BernoulliRBM(6, batch_size=15), BITS, sample_weight=1 + GREY[:, 0])
    assert to_device == sorted([ORDER, 4 * len(BITS)]) and set(to_host) <= {FINITE, FLAG}


def test_tempering_decides_on_the_host_and_leaves_states_on_the_device():
    """Logs of probabilities are read, and the order of the rows after an exchange is copied."""
    rbm = BernoulliRBM(6, batch_size=15, n_chains=5, algorithm=Tempering(betas=[0, 0.5, 1]))
    to_device, to_host, _ = of_a_pass(rbm, BITS)
    order, energies = 8 * 3 * 5, 8 * 2 * 5
    assert Counter(to_device) == {ORDER: 1, order: 3}
    assert set(to_host) <= {FINITE, FLAG, energies} and Counter(to_host)[energies] == 3 * 2
