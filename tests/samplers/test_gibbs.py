"""`Gibbs` as the algorithm of an estimator."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastrbm
from fastrbm import BernoulliRBM, Gibbs, IsingRBM

X = (np.random.default_rng(3).random((40, 9)) < 0.4).astype(np.float32)
OPTIONS = {"n_components": 6, "n_iter": 2, "batch_size": 8, "random_state": 0}


@pytest.mark.parametrize("cls,rows", [(BernoulliRBM, X), (IsingRBM, 2 * X - 1)])
@pytest.mark.parametrize("persistent,name", [(True, "pcd"), (False, "cd")])
@pytest.mark.parametrize("more", [{}, {"centered": True}])
def test_it_stands_for_a_name_and_a_number_of_sweeps(cls, rows, persistent, name, more):
    as_object = cls(algorithm=Gibbs(3, persistent), **OPTIONS, **more).fit(rows)
    as_name = cls(algorithm=name, n_gibbs_steps=3, **OPTIONS, **more).fit(rows)
    assert_array_equal(as_object.components_, as_name.components_)
    assert hasattr(as_object, "h_samples_") == persistent


def test_its_options_are_options_of_a_search():
    rbm = BernoulliRBM(algorithm=Gibbs(1), **OPTIONS).set_params(algorithm__n_steps=4)
    assert rbm.algorithm.n_steps == 4


def test_model_files_hold_it(tmp_path):
    rbm = BernoulliRBM(algorithm=Gibbs(2), warm_start=True, **OPTIONS).fit(X)
    again = fastrbm.load(rbm.save(tmp_path / "a.npz"))
    assert again.algorithm.get_params() == {"n_steps": 2, "persistent": True}
    assert_array_equal(again.fit(X).components_, rbm.fit(X).components_)


@pytest.mark.parametrize(
    "options,message",
    [
        ({"algorithm": Gibbs(0)}, "n_steps must be a positive integer, got 0"),
        ({"algorithm": Gibbs(1, "yes")}, "persistent must be True or False, got 'yes'"),
        ({"algorithm": Gibbs(2), "n_gibbs_steps": 3}, "n_gibbs_steps must be 1 with algorithm=Gibbs"),
        ({"algorithm": Gibbs(2, False), "n_chains": 3}, "n_chains must be None with algorithm=Gibbs"),
        ({"algorithm": Gibbs(2), "random_stream": "sklearn"}, "algorithm must be 'pcd' with random_stream='sklearn'"),
    ],
)
def test_what_it_cannot_be_used_with(options, message):
    with pytest.raises(ValueError, match=message):
        BernoulliRBM(**OPTIONS | options).fit(X)
