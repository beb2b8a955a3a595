"""What a fit copies between host and device, as the emulated device counts it."""

from collections import Counter

import numpy as np
import pytest

from fastrbm import BernoulliRBM

pytestmark = pytest.mark.only_on("emulated", reason="the emulated device counts its copies")
pytest.importorskip("numba_cuda")

BITS = (np.random.default_rng(0).random((45, 12)) < 0.4).astype(np.float32)
GREY = np.random.default_rng(1).random((45, 12)).astype(np.float32)
ORDER, FLAG, FINITE = 8 * len(BITS), 8, 4


def copies_of_a_pass(X, **options):
    """Bytes of each copy of one pass, to the device and to the host: what a fit of 3 passes has more than one of 2."""
    from ptx.compiled import EMULATION
    from ptx.driver import INSTALLED

    sizes, found, launched = INSTALLED[-1].copies.sizes, [], []
    for n_iter in (2, 3):
        EMULATION.clear()
        before = {way: len(of) for way, of in sizes.items()}
        BernoulliRBM(6, n_iter=n_iter, random_state=0, device="cuda", **options).fit(X)
        found.append([Counter(sizes[way][n:]) for way, n in before.items()])
        launched.append(Counter())
        for (kernel, _, _), n in EMULATION.launched.items():
            launched[-1][kernel.partition(":")[0]] += n
    assert launched[1] - launched[0] == {"pass_kernel": 1, "not_finite_kernel": 3}
    return [sorted((longer - shorter).elements()) for shorter, longer in zip(*found, strict=True)]


@pytest.mark.parametrize("batch_size", [15, 5])
@pytest.mark.parametrize("X", [BITS, GREY, np.rint(255 * GREY).astype(np.uint8)], ids=["bits", "grey", "levels"])
@pytest.mark.parametrize("algorithm", ["cd", "pcd"])
@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop"])
def test_a_pass_copies_the_order_of_its_rows_and_reads_two_flags(X, batch_size, algorithm, optimizer):
    """However many minibatches it has: how far it came and whether weights fit, and whether parameters are finite."""
    scale = dict(input_scale=1 / 255) if X.dtype == np.uint8 else {}
    options = dict(batch_size=batch_size, algorithm=algorithm, optimizer=optimizer, **scale)
    assert copies_of_a_pass(X, **options) == [[ORDER], [FINITE, FLAG]]


def test_adam_takes_the_scales_of_its_means_along():
    scales = 3 * 2 * 4  # two numbers for each minibatch
    assert copies_of_a_pass(BITS, batch_size=15, optimizer="adam") == [[scales, ORDER], [FINITE, FLAG]]
