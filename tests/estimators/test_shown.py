"""What results show of themselves: reprs with six digits, tables in notebooks, frames."""

import copy
import pickle
import warnings
from html.parser import HTMLParser

import numpy as np
import pytest

import fastrbm
from fastrbm import BernoulliRBM, Model, analysis, compat, likelihood, quantum
from fastrbm._shown import History, digits, table
from fastrbm.classifiers import DiscriminativeRBM

X = (np.random.default_rng(0).random((60, 8)) < 0.4).astype(np.float32)
RBM = BernoulliRBM(4, n_iter=3, random_state=0).fit(X)


class Cells(HTMLParser):
    """Rows of cells; tags that are not closed in their order fail."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.open, self.text = [], [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("th", "td"):
            self.rows[-1][-1] += data
        else:
            self.text += data


def test_numbers_have_six_digits():
    assert [digits(x) for x in (1 / 3, 1234567.0, 12, True, None, (0.1, 2 / 3), np.float32(1 / 3), "a")] == [
        "0.333333", "1.23457e+06", "12", "True", "None", "(0.1, 0.666667)", "0.333333", "a",
    ]  # fmt: skip


def test_tables_are_escaped_and_shortened():
    cells = Cells(table("a < b", [[f"row {i}", i] for i in range(100)], ["", "x & y"], "all > 0"))
    assert len(cells.rows) == 1 + 13 and cells.rows[0] == ["", "x & y"]
    assert cells.rows[1] == ["row 0", "0"] and cells.rows[7] == ["...", "..."] and cells.rows[-1] == ["row 99", "99"]
    assert "a < b" in cells.text and "all > 0" in cells.text


@pytest.mark.parametrize(
    "fitted",
    [
        RBM,
        compat.BernoulliRBM(3, n_iter=3, random_state=0).fit(X),
        DiscriminativeRBM(3, n_iter=3, random_state=0).fit(X, X[:, 0]),
    ],
)
def test_histories_are_dicts_that_show_themselves(fitted, tmp_path):
    history = fitted.history_
    assert isinstance(history, dict) and history["epoch"] == [1, 2, 3]
    assert list(history.to_frame().index) == [1, 2, 3] and "seconds" in history.to_frame()
    cells = Cells(history._repr_html_())
    assert cells.rows[0] == list(history) and len(cells.rows) == 4
    for other in (pickle.loads(pickle.dumps(history)), copy.deepcopy(history), copy.copy(history)):
        assert other == history and isinstance(other, History)
    if hasattr(fitted, "save"):
        fitted.save(tmp_path / "model.npz")
        assert isinstance(fastrbm.load(tmp_path / "model.npz").history_, History)


def test_partition_sums():
    found = RBM.log_partition(n_chains=40, n_temperatures=20, method="ais")
    assert f"value={found.value:.6g}" in repr(found) and "method='ais'" in repr(found)
    rows = dict(Cells(found._repr_html_()).rows)
    assert rows["value"] == f"{found.value:.6g}" and rows["n_chains"] == "40"
    assert "n_chains" not in repr(RBM.log_partition("exact"))
    doubted = likelihood.LogPartition(1.0, 0.1, (0.9, 1.1), "ais", reliable=False, message="few chains <carry> it")
    assert "few chains <carry> it" in Cells(doubted._repr_html_()).text and "message='few" in repr(doubted)


def test_models():
    model = RBM.model_
    assert repr(model) == "<Model of 8 bernoulli and 4 bernoulli units, float32>"
    assert dict(Cells(model._repr_html_()).rows)["hidden"] == "4 bernoulli"
    assert "onehot(3)" in repr(Model(np.zeros((2, 6)), np.zeros(6), np.zeros(2), "onehot(3)"))


def test_chains():
    samples = np.random.default_rng(0).normal(size=(4, 200, 2))
    health = analysis.chain_health(samples, swap_rates=[0.25, 0.5])
    frame = health.to_frame()
    np.testing.assert_array_equal(frame["r_hat"], health.r_hat)
    assert frame.shape == (2, 5)
    cells = Cells(health._repr_html_())
    assert len(cells.rows) == 3 and "swap rates 0.25, 0.5" in cells.text and "4 chains of 200 steps" in cells.text


def test_chains_for_arviz():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("arviz", reason="ArviZ is not installed")
        samples = np.random.default_rng(0).normal(size=(4, 200, 2))
        found = analysis.to_arviz(samples, ["energy", "mean"])
        np.testing.assert_array_equal(found["posterior"]["mean"].values, samples[:, :, 1])
        assert list(analysis.to_arviz(samples[:, :, 0])["posterior"].data_vars) == ["x0"]
    with pytest.raises(ValueError, match="names must be 2 different ones"):
        analysis.to_arviz(samples, ["energy", "energy"])
    with pytest.raises(ValueError, match="samples must have shape"):
        analysis.to_arviz(samples[0, 0])


def test_energies_of_wave_functions():
    psi = quantum.RBMWaveFunction(4, 4, random_state=0)
    hamiltonian = quantum.TransverseFieldIsing(4, 1.0)
    found = quantum.find_ground_state(psi, hamiltonian, method="exact", n_iterations=3, random_state=0)
    assert f"energy={found.energy:.6g}" in repr(found) and "3 steps" in repr(found)
    assert len(found.to_frame()) == 3 and dict(Cells(found._repr_html_()).rows)["steps"] == "3"
    energy = quantum.estimate_energy(psi, hamiltonian, n_chains=8, n_samples=50, random_state=0)
    assert repr(energy).startswith("EnergyEstimate(energy=") and "8 chains" in Cells(energy._repr_html_()).text
