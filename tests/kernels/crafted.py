"""Inputs made to read or write outside of buffers: each must be a ValueError or TypeError, also under ``python -O``."""

import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from fastrbm import BernoulliRBM, GaussianRBM, SoftmaxRBM, load
from fastrbm._kernels import ChainState, PackedBits, Parameters, Rule, TrainingPlan, Update, pack
from fastrbm._kernels.cpu import CpuBackend
from fastrbm._kernels.cpu.packing import pack_csr
from fastrbm._kernels.cpu.runtime import extension as native
from fastrbm._kernels.draws import Draw, Stream

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # it is a program, too
from model_files import parts_of, put_together  # noqa: E402

N, M, H = 40, 70, 20
RNG = np.random.default_rng(0)
BITS = pack(RNG.random((N, M)) < 0.4)
HIDDEN = pack(RNG.random((N, H)) < 0.4)
WEIGHTS = RNG.normal(size=(H, M)).astype(np.float32)
A, B = np.zeros(M, np.float32), np.zeros(H, np.float32)
PARAMETERS = Parameters(WEIGHTS, A, B)
FIXED = native.quantise_weights(WEIGHTS, True, 1)
DRAW = Draw(1, 2, Stream.HIDDEN)
DENSE = BITS.dense(np.float32)
UNITS = ("bernoulli", "bernoulli")


def f32(*shape):
    return np.zeros(shape, np.float32)


def u64(*shape):
    return np.zeros(shape, np.uint64)


def fitted(cls=BernoulliRBM, **options):
    x = DENSE if cls is BernoulliRBM else RNG.normal(size=(N, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return cls(H, n_iter=1, random_state=0, **options).fit(x)


def changed(cls=BernoulliRBM, **attributes):
    """A fitted estimator with arrays set by hand."""
    rbm = fitted(cls)
    for name, value in attributes.items():
        setattr(rbm, name, value)
    return rbm


def train(order=None, rows=None, parameters=None, slots=(), plan=None, chains=HIDDEN, units=UNITS):
    parameters = parameters or Parameters(WEIGHTS.copy(), A.copy(), B.copy())
    plan = plan or TrainingPlan(seed=1, batch_size=10, persistent=True, n_sweeps=1, rate=0.1)
    order = np.arange(N) if order is None else np.asarray(order)
    CpuBackend(1).train(parameters, slots, BITS if rows is None else rows, order, plan, units, ChainState(0, chains))


def native_training(n_rows, order, rows=BITS.words):
    words = np.zeros((2, 64), np.uint32)
    plan = TrainingPlan(seed=1, batch_size=10, persistent=True, n_sweeps=1, rate=0.1)
    parameters = Parameters(WEIGHTS.copy(), A.copy(), B.copy())
    run = native.Training(parameters, [], plan, UNITS, 0, n_rows, words, 10, False, False, 1)
    run.run(rows, None, np.asarray(order), ChainState(0, None), None)


def gradient_of_bits(hidden, shares=None, parameters=None):
    parameters = parameters or Parameters(WEIGHTS.copy(), A.copy(), B.copy())
    model = (BITS.words, HIDDEN.words, None)
    native.gradient_of_bits((BITS.words, hidden, shares), model, parameters, [], Update(Rule(), 0.1), 1)


def sparse(indices, shape=(2, 5), form=sp.csr_matrix):
    """A matrix whose indices were changed after SciPy had looked at them."""
    x = form((np.ones(2, np.float32), ([0, 1], [1, 2])), shape=shape)
    if x.format == "coo":
        x.coords[1][:] = indices
    else:
        x.indices[:] = indices
    return x


def file_with(rbm=None, header=None, **arrays):
    """Load a model file some arrays or numbers of which were replaced."""

    rbm = rbm or fitted(algorithm="pt", optimizer="adam", regularizers=())
    with tempfile.TemporaryDirectory() as folder:
        path = rbm.save(Path(folder, "model.npz"))
        text, kept = parts_of(path)
        for key, value in (header or {}).items():
            part, _, name = key.rpartition("__")
            (text[part] if part else text)[name] = value
        unknown = arrays.keys() - kept.keys()
        if unknown:
            raise AssertionError(f"the file has no {unknown}")
        kept |= arrays
        load(put_together(path, text, kept))


def shrunk(name, rows=slice(None, -1)):
    """Load a file one array of which has lost a row."""
    rbm = fitted(algorithm="pt", optimizer="adam")
    with tempfile.TemporaryDirectory() as folder:
        with np.load(rbm.save(Path(folder, "model.npz"))) as archive:
            part = archive[name][rows]
    file_with(rbm, **{name: part})


COMPONENTS = f32(H, M)
CASES = {
    # arrays set by hand
    "fewer columns, transform": lambda: changed(components_=f32(H, M - 1)).transform(DENSE),
    "fewer columns, all arrays": lambda: changed(components_=f32(H, 3), intercept_visible_=f32(3)).transform(DENSE),
    "more columns, all arrays": lambda: changed(components_=f32(H, M + 1), intercept_visible_=f32(M + 1)).transform(
        DENSE
    ),
    "more columns, score": lambda: changed(components_=f32(H, 3 * M), intercept_visible_=f32(3 * M)).score_samples(
        DENSE
    ),
    "more rows of components": lambda: changed(components_=f32(5 * H, M)).score_samples(DENSE),
    "fewer rows of components": lambda: changed(components_=f32(1, M)).sample(3, 2),
    "short hidden bias, transform": lambda: changed(intercept_hidden_=f32(1)).transform(DENSE),
    "short hidden bias, sample": lambda: changed(intercept_hidden_=f32(1)).sample(4, 3),
    "short visible bias, free energy": lambda: changed(intercept_visible_=f32(2)).free_energy(DENSE),
    "short visible bias, gibbs": lambda: changed(intercept_visible_=f32(2)).gibbs(DENSE),
    "short visible bias, log Z": lambda: changed(intercept_visible_=f32(2)).log_partition("exact"),
    "flat components": lambda: changed(components_=f32(H * M)).transform(DENSE),
    "matrix as bias": lambda: changed(intercept_hidden_=f32(H, 1)).transform(DENSE),
    "short bias, partial_fit": lambda: changed(intercept_visible_=f32(2)).partial_fit(DENSE),
    "short bias, Gaussian": lambda: changed(GaussianRBM, intercept_visible_=f32(2)).reconstruct(np.zeros((3, 5))),
    # sparse matrices
    "csr index beyond, fit": lambda: BernoulliRBM(4, n_iter=1).fit(sparse([10**6, 2])),
    "csr index beyond, transform": lambda: changed().transform(sparse([10**9, 2], (2, M))),
    "csr index below": lambda: BernoulliRBM(4, n_iter=1).fit(sparse([-5, 2])),
    "csc index beyond": lambda: BernoulliRBM(4, n_iter=1).fit(sparse([10**6, 1], form=sp.csc_matrix)),
    "coo index beyond": lambda: BernoulliRBM(4, n_iter=1).fit(sparse([10**6, 1], form=sp.coo_matrix)),
    "bsr index beyond": lambda: BernoulliRBM(4, n_iter=1).fit(
        sp.bsr_matrix((np.ones((1, 1, 1)), np.array([10**6], np.int32), np.array([0, 1, 1], np.int32)), shape=(2, 5))
    ),
    "packed csr": lambda: pack_csr(np.array([0, 1]), np.array([700]), (1, 5)),
    "packed csr, rows overlap": lambda: pack_csr(np.array([0, 9, 1]), np.array([1]), (2, 5)),
    "packed csr, long index": lambda: pack_csr(np.array([0, 1]), np.array([2**32 + 1]), (1, 5)),
    # native calls
    "pack_rows": lambda: native.pack_rows(f32(5, 70), 1, u64(5, 1), 1),
    "pack_rows, fewer rows": lambda: native.pack_rows(f32(5, 70), 1, u64(4, 2), 1),
    "transpose_bits": lambda: native.transpose_bits(BITS.words, 300, u64(300, 1), 1),
    "draw_bits": lambda: native.draw_bits(f32(5, 70), DRAW, u64(5, 1), 1),
    "draw_bits, fewer rows": lambda: native.draw_bits(f32(5, 70), DRAW, u64(1, 2), 1),
    "draw_inputs": lambda: native.draw_inputs(f32(5, 70), DRAW, u64(5, 1), 1),
    "decide, words": lambda: native.decide(np.zeros(17, np.uint32), f32(17)),
    "decide, inputs": lambda: native.decide(np.zeros(16, np.uint32), f32(15)),
    "onehot_rows": lambda: native.onehot_rows(f32(5, 6), 4, None, None, 1),
    "onehot_rows, no output": lambda: native.onehot_rows(f32(5, 6), 3, DRAW, None, 1),
    "run_rows, bias": lambda: native.run_rows(BITS.words, FIXED, f32(H - 1), False, 1, means=f32(N, H)),
    "run_rows, means": lambda: native.run_rows(BITS.words, FIXED, B, False, 1, means=f32(N - 1, H)),
    "run_rows, words": lambda: native.run_rows(BITS.words[:, :1].copy(), FIXED, B, False, 1, means=f32(N, H)),
    "run_rows, energy": lambda: native.run_rows(
        BITS.words, FIXED, B, False, 1, visible_bias=f32(2), energy=np.zeros(N)
    ),
    "run_rows, no bias": lambda: native.run_rows(BITS.words, FIXED, B, False, 1, energy=np.zeros(N)),
    "run_rows, none": lambda: native.run_rows(None, FIXED, B, False, 1, means=f32(N, H)),
    "dense_inputs": lambda: native.dense_inputs(DENSE, WEIGHTS, B, False, f32(N - 5, H), False, 1),
    "dense_inputs, weights": lambda: native.dense_inputs(DENSE, f32(H, M + 3), B, False, f32(N, H), False, 1),
    "dense_inputs, reversed": lambda: native.dense_inputs(DENSE[::-1], WEIGHTS, B, False, f32(N, H), False, 1),
    "dense_inputs, broadcast": lambda: native.dense_inputs(
        np.broadcast_to(DENSE[:1], DENSE.shape), WEIGHTS, B, False, f32(N, H), False, 1
    ),
    "dense_gradient": lambda: native.dense_gradient(f32(N, H), f32(N + 3, M), 1.0, f32(H, M), 1),
    "pseudo, inputs": lambda: native.pseudo_likelihood(f32(N, 3), WEIGHTS, A, BITS.words, None, np.zeros(N), 1),
    "pseudo, bits": lambda: native.pseudo_likelihood(f32(N, H), WEIGHTS, A, BITS.words[:5], None, np.zeros(N), 1),
    "pseudo, nothing": lambda: native.pseudo_likelihood(f32(N, H), WEIGHTS, A, None, None, np.zeros(N), 1),
    "pseudo, dense": lambda: native.pseudo_likelihood(f32(N, H), WEIGHTS, A, None, f32(N, 3), np.zeros(N), 1),
    "fixed weights": lambda: native.FixedWeights(3, 4, False, 1).fill(WEIGHTS),
    "run_chains, lanes": lambda: native.run_chains(
        np.zeros((1, 64), np.uint32), np.zeros((3, 64), np.uint32), 65, FIXED, A, B, DRAW, 1, 1
    ),
    "run_chains, words": lambda: native.run_chains(
        np.zeros((1, 64), np.uint32), np.zeros((1, 64), np.uint32), 64, FIXED, A, B, DRAW, 1, 1
    ),
    "run_chains, bias": lambda: native.run_chains(
        np.zeros((1, 64), np.uint32), np.zeros((3, 64), np.uint32), 64, FIXED, f32(3), B, DRAW, 1, 1
    ),
    "ascend, slots": lambda: native.ascend(Update(Rule("adam", 0.9), 0.1), PARAMETERS, [], PARAMETERS, 1),
    "ascend, short slot": lambda: native.ascend(
        Update(Rule("rmsprop", 0.9), 0.1), PARAMETERS, [Parameters(f32(3), A, B)], PARAMETERS, 1
    ),
    "ascend, gradient": lambda: native.ascend(Update(Rule(), 0.1), PARAMETERS, [], Parameters(WEIGHTS, A, f32(2)), 1),
    "gradient, hidden states": lambda: gradient_of_bits(HIDDEN.words[:5]),
    "gradient, hidden means": lambda: gradient_of_bits(f32(5, H)),
    "gradient, width of hidden means": lambda: gradient_of_bits(f32(len(BITS), H + 1)),
    "gradient, hidden layers of two kinds": lambda: gradient_of_bits(f32(len(BITS), H)),
    "gradient, shares": lambda: gradient_of_bits(HIDDEN.words, np.zeros(3)),
    "gradient, weights": lambda: gradient_of_bits(HIDDEN.words, parameters=Parameters(f32(H, 500), f32(500), f32(H))),
    "gradient, biases": lambda: gradient_of_bits(HIDDEN.words, parameters=Parameters(WEIGHTS.copy(), f32(3), f32(H))),
    # training
    "order beyond": lambda: train(order=[0, N]),
    "order below": lambda: train(order=[-1, 0]),
    "more rows than were laid out": lambda: native_training(5, range(20)),
    "rows of other width": lambda: native_training(20, range(20), u64(N, 1)),
    "rows too narrow": lambda: train(rows=PackedBits(u64(N, 1), 20)),
    "no slots for Adam": lambda: train(plan=TrainingPlan(1, 10, True, 1, 0.1, rule=Rule("adam", 0.9))),
    "biases of another model": lambda: train(parameters=Parameters(WEIGHTS.copy(), f32(3), B.copy())),
    # files
    "file, weights": lambda: shrunk("components_"),
    "file, visible bias": lambda: shrunk("intercept_visible_"),
    "file, hidden bias": lambda: shrunk("intercept_hidden_"),
    "file, slot": lambda: shrunk("slot_0_0"),
    "file, tempered states": lambda: shrunk("tempered_hidden"),
    "file, temperatures": lambda: shrunk("tempered_betas", slice(1, None)),
    "file, marks": lambda: shrunk("tempered_marks"),
    "file, exchanges": lambda: shrunk("tempered_swap_tries"),
    "file, acceptance": lambda: shrunk("tempered_acceptance"),
    "file, falling temperatures": lambda: file_with(tempered_betas=np.linspace(1, 0, 10)),
    "file, marks of anything": lambda: file_with(tempered_marks=np.full(100, 77, np.int8)),
    "file, words of states": lambda: file_with(tempered_hidden=u64(100, 9)),
    "file, no words": lambda: file_with(tempered_hidden=u64(100, 0)),
    "file, states beyond the last unit": lambda: file_with(tempered_hidden=~u64(100, 1)),
    "file, flat states": lambda: file_with(tempered_hidden=u64(100)),
    "file, float64 beside float32": lambda: file_with(intercept_hidden_=np.zeros(H)),
    "file, weights not finite": lambda: file_with(components_=np.full((H, M), np.nan, np.float32)),
    "file, text": lambda: file_with(components_=np.array(["a"])),
    "file, features": lambda: file_with(header={"n_features": M + 1}),
    "file, step": lambda: file_with(header={"state__step": -1}),
    "file, seed": lambda: file_with(header={"state__seed": 2**64}),
    "file, epoch": lambda: file_with(header={"state__epoch": 1.5}),
    "file, slots": lambda: file_with(header={"state__slots": 9}),
    "file, scale": lambda: file_with(header={"input_scale": 0}),
    "file, rounds": lambda: file_with(header={"tempered__round": -1}),
    "file, chains": lambda: file_with(fitted(), chains=u64(10, 7)),
    "file, categories": lambda: file_with(
        SoftmaxRBM(3, n_iter=1).fit(np.arange(12).reshape(4, 3) % 3), header={"fitted__n_categories_": 10**6}
    ),
}


def outcome(name):
    """None where the input was refused as it should be, else what happened."""
    try:
        CASES[name]()
    except (ValueError, TypeError):
        return None
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is reported
        return repr(error)
    return "accepted"


if __name__ == "__main__":
    wrong = {name: found for name in CASES if (found := outcome(name)) is not None}
    sys.exit(f"not refused: {wrong}" if wrong else 0)
