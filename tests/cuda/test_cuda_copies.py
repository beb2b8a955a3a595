"""What a fit copies between host and device, as the emulated device counts it."""

from collections import Counter

import numpy as np
import pytest

from fastrbm import BernoulliRBM, GaussianRBM, IsingRBM, PottsRBM

pytestmark = pytest.mark.only_on("emulated", reason="the emulated device counts its copies")
pytest.importorskip("numba_cuda")

BITS = (np.random.default_rng(0).random((45, 12)) < 0.4).astype(np.float32)
GREY = np.random.default_rng(1).random((45, 12)).astype(np.float32)
ORDER, FLAG, FINITE = 8 * len(BITS), 8, 4


def of_a_pass(estimator, X):
    """What a fit of 3 passes does more than one of 2: bytes of copies to the device and to the host, and launches."""
    from ptx.compiled import EMULATION
    from ptx.driver import INSTALLED

    sizes, found = INSTALLED[-1].copies.sizes, []
    for n_iter in (2, 3):
        EMULATION.clear()
        before = {way: len(of) for way, of in sizes.items()}
        estimator.set_params(n_iter=n_iter, random_state=0, device="cuda").fit(X)
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
    assert of_a_pass(rbm, X) == ([ORDER], [FINITE, FLAG], {"pass_kernel": 1, "not_finite_kernel": 3})


def test_adam_takes_the_scales_of_its_means_along():
    scales = 3 * 2 * 4  # two numbers for each minibatch
    assert of_a_pass(BernoulliRBM(6, batch_size=15, optimizer="adam"), BITS)[:2] == ([scales, ORDER], [FINITE, FLAG])


@pytest.mark.parametrize(
    "estimator,X,flags",
    [
        (IsingRBM(6, batch_size=15), 2 * BITS - 1, []),
        (GaussianRBM(6, batch_size=15, learning_rate=0.01), GREY, 3 * [FLAG]),
        (PottsRBM(6, batch_size=15), BITS, 3 * [FINITE, FINITE, FLAG]),
    ],
    ids=["spins", "gaussian", "potts"],
)
def test_minibatches_of_other_units_copy_nothing_and_read_flags_alone(estimator, X, flags):
    """Whether weights and means fit, where a layer of bits needs to know."""
    to_device, to_host, _ = of_a_pass(estimator, X)
    assert to_device == [ORDER] and to_host == sorted([FINITE, *flags])
