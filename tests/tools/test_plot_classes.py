"""Pictures that need labels, curves and distributions: what is drawn, on which axes, and what is refused."""

import numpy as np
import pytest

from fastrbm import plot

pyplot = pytest.importorskip("matplotlib.pyplot")
RNG = np.random.default_rng(0)
Y = np.repeat([7, 8, 9], 20)
HIDDEN = (np.eye(3)[np.repeat([0, 1, 2], 20)] @ RNG.random((3, 5)) > 0.5).astype(float)
DRAWN = {
    "confusion": (plot.plot_confusion_matrix, (Y, np.roll(Y, 1)), {}),
    "embedding": (plot.plot_embedding, (RNG.normal(size=(60, 2)), Y), {}),
    "hidden states": (plot.plot_hidden_states, (HIDDEN, Y), {}),
    "activations": (plot.plot_activations, (HIDDEN, Y), {}),
    "curves": (plot.plot_curves, ({"a": ([1, 2, 3], [3, 2, 1]), "b": ([1, 2], [1, 2], [0.1, 0.2])},), {"log_y": True}),
    "distributions": (plot.plot_distributions, ({"a": RNG.normal(size=50), "b": RNG.normal(size=20)},), {}),
}


@pytest.fixture(autouse=True)
def closed():
    yield
    pyplot.close("all")


@pytest.mark.parametrize("name", DRAWN)
def test_figures_of_their_own_and_given_axes(name):
    function, arguments, options = DRAWN[name]
    figure = function(*arguments, title="a title", **options)
    assert figure.axes[0].get_title() == "a title" and figure.number in pyplot.get_fignums()
    plot.close(figure)
    assert not pyplot.get_fignums()
    given, axes = pyplot.subplots(1, 2)
    assert function(*arguments, ax=axes[1], **options) is given
    assert not axes[0].has_data() and axes[1].has_data()
    figure.savefig("/dev/null", format="png")


def test_what_a_confusion_matrix_shows():
    figure = plot.plot_confusion_matrix([0, 0, 1, 1], [0, 1, 1, 1], names=["no", "yes"])
    assert [text.get_text() for text in figure.axes[0].texts] == ["1", "1", "0", "2"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["no", "yes"]


def test_what_hidden_states_show():
    states = np.array([[1, 0], [1, 0], [0, 1], [0, 1]])
    figure = plot.plot_hidden_states(states, ["a", "a", "a", "b"], n_most=1)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["01", "others"]
    heights = [round(bar.get_height(), 6) for bar in axes.patches]
    assert heights == [round(1 / 3, 6), round(2 / 3, 6), 1.0, 0.0]  # a: state, others; b: state, others
    wide = plot.plot_hidden_states(RNG.random((60, 17)), Y, n_most=2).axes[0]
    assert [label.get_text() for label in wide.get_xticklabels()] == ["1", "2", "others"]
    one_hot = plot.plot_hidden_states(np.array([[0.4, 0.3, 0.3], [0.2, 0.2, 0.6]]), [0, 1]).axes[0]
    assert {label.get_text() for label in one_hot.get_xticklabels()} == {"100", "001", "others"}


def test_what_activations_show():
    hidden = np.array([[0.0, 1.0, 0.2], [1.0, 0.0, 0.4]])
    image = plot.plot_activations(hidden, [0, 1], sort=False).axes[0].images[0]
    np.testing.assert_allclose(image.get_array(), hidden)
    image = plot.plot_activations(hidden, [0, 1]).axes[0].images[0]  # by the class that a unit is most active for
    np.testing.assert_allclose(image.get_array(), hidden[:, [1, 0, 2]])


def test_what_curves_show():
    axes = plot.plot_curves({"a": ([1, 2], [3, 4])}, lines={"published": 3.5}, x="update", log_x=True).axes[0]
    assert axes.get_xscale() == "log" and axes.get_yscale() == "linear" and axes.get_xlabel() == "update"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["published", "a"]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [3, 4])


def test_distributions_count_what_is_finite():
    axes = plot.plot_distributions({"a": [0.0, 1.0, np.nan, np.inf], "b": [2.0]}, bins=4).axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a (2)", "b (1)"]


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: plot.plot_embedding(np.zeros((3, 3)), [0, 1, 2]), "points must have shape"),
        (lambda: plot.plot_embedding(np.zeros((3, 2)), [0, 1]), "points must have shape"),
        (lambda: plot.plot_embedding(np.zeros((2, 2)), [0, 1], names=["a"]), "one name for each of 2 classes"),
        (lambda: plot.plot_hidden_states(np.zeros((0, 2)), []), "hidden must have shape"),
        (lambda: plot.plot_hidden_states(np.zeros((2, 2)), [0, 1], n_most=0), "n_most must be"),
        (lambda: plot.plot_activations(np.zeros((2, 2)), [0]), "hidden must have shape"),
        (lambda: plot.plot_activations(np.zeros((2, 2)), [0, 1], sort=1), "sort must be True or False"),
        (lambda: plot.plot_curves({}), "at least one curve"),
        (lambda: plot.plot_curves({"a": ([1, 2], [1])}), "of one length"),
        (lambda: plot.plot_curves({"a": ([1, 2],)}), "must be \\(x, y\\)"),
        (lambda: plot.plot_distributions({"a": [np.nan]}), "must hold finite numbers"),
        (lambda: plot.plot_distributions({}), "must hold finite numbers"),
        (lambda: plot.plot_distributions({"a": [1.0]}, bins=0), "bins must be"),
    ],
)
def test_what_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
    assert not pyplot.get_fignums()
