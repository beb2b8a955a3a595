"""Dask: rows of its arrays and frames, and searches on its workers."""

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from sklearn.model_selection import GridSearchCV

import fastrbm
from fastrbm import BernoulliRBM
from fastrbm.distributed import map_rows

da = pytest.importorskip("dask.array", reason="dask is not installed")
dd = pytest.importorskip("dask.dataframe", reason="dask is not installed")

X = (np.random.default_rng(0).random((300, 12)) < 0.3).astype(np.float32)
RBM = BernoulliRBM(5, random_state=0).fit(X)


@pytest.mark.parametrize("chunk", [300, 70, 1])
def test_arrays(chunk):
    rows = da.from_array(X, chunks=(chunk, -1))
    for method in ("transform", "score_samples", "reconstruct"):
        lazy = map_rows(RBM, rows, method)
        wanted = getattr(RBM, method)(X)
        assert lazy.shape == wanted.shape and lazy.dtype == wanted.dtype and lazy.numblocks[0] == rows.numblocks[0]
        np.testing.assert_array_equal(lazy.compute(scheduler="threads"), wanted)


def test_frames():
    names = [f"c{i}" for i in range(12)]
    frame = pd.DataFrame(X, columns=names, index=np.arange(300) * 2)
    rbm = BernoulliRBM(5, random_state=0).fit(frame)
    rows = dd.from_pandas(frame, npartitions=4)
    features = map_rows(rbm, rows).compute()
    np.testing.assert_array_equal(features.to_numpy(), rbm.transform(frame))
    assert list(features.columns) == list(rbm.get_feature_names_out()) and list(features.index) == list(frame.index)
    scores = map_rows(rbm, rows, "score_samples").compute()
    np.testing.assert_array_equal(scores.to_numpy(), rbm.score_samples(frame))
    assert scores.name == "score_samples"


def test_rows_of_an_array_are_trained_on_out_of_core():
    rows = da.from_array(X, chunks=(70, -1))
    np.testing.assert_array_equal(BernoulliRBM(5, random_state=0).fit(rows).components_, RBM.components_)


def test_what_cannot_be_mapped():
    with pytest.raises(ValueError, match="rechunk"):
        map_rows(RBM, da.from_array(X, chunks=(70, 4)))
    with pytest.raises(TypeError, match="Dask array or frame, got ndarray"):
        map_rows(RBM, X)
    with pytest.raises(ValueError, match=r"method must be one of .*transform"):
        map_rows(RBM, da.from_array(X), "fit")
    with pytest.raises(ValueError, match="got 'predict'"):
        map_rows(RBM, da.from_array(X), "predict")


def test_searches_on_the_workers_of_a_cluster():
    distributed = pytest.importorskip("dask.distributed", reason="dask.distributed is not installed")

    def search():
        grid = GridSearchCV(BernoulliRBM(random_state=0, n_iter=2), {"n_components": [3, 5]}, cv=2)
        return grid.fit(X).cv_results_["mean_test_score"]

    alone = search()
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster),
        parallel_config(backend="dask"),
    ):
        np.testing.assert_array_equal(search(), alone)
    with parallel_config(backend="loky", n_jobs=2):
        np.testing.assert_array_equal(search(), alone)


def test_models_are_sent_to_workers():
    distributed = pytest.importorskip("dask.distributed", reason="dask.distributed is not installed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster),
    ):
        rows = da.from_array(X, chunks=(100, -1))
        np.testing.assert_array_equal(map_rows(RBM, rows).compute(), RBM.transform(X))
    assert fastrbm.__version__
