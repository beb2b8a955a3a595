"""Pictures: what is drawn where, in which colours, and what is refused."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastrbm import BernoulliRBM, plot

pytest.importorskip("matplotlib", reason="pictures need matplotlib")
from matplotlib.figure import Figure  # noqa: E402

RNG = np.random.default_rng(0)


def pixels(figure):
    """The picture in data form: one value per pixel, gaps masked."""
    return np.ma.masked_invalid(figure.axes[0].images[0].get_array())


def tile(figure, row, column, shape):
    """The tile at a place of the grid, brought back to its own pixels."""
    height, width = shape
    zoom = -(-20 // min(shape))
    top, left = row * (height * zoom + 1), column * (width * zoom + 1)
    big = pixels(figure)[top : top + height * zoom, left : left + width * zoom]
    assert_array_equal(big, big[::zoom, ::zoom].repeat(zoom, 0).repeat(zoom, 1))
    return big[::zoom, ::zoom]


@pytest.mark.parametrize("draw", [plot.plot_filters, plot.plot_samples])
@pytest.mark.parametrize("shape", [(2, 3), (5, 1), (28, 28)])
def test_every_image_is_at_its_place(draw, shape):
    rows = RNG.random((7, shape[0] * shape[1]))
    figure = draw(rows, shape, columns=3)
    for k, row in enumerate(rows):
        assert_array_equal(tile(figure, k // 3, k % 3, shape), row.reshape(shape))
    assert pixels(figure).count() == 7 * rows.shape[1] * (-(-20 // min(shape))) ** 2


@pytest.mark.parametrize("draw", [plot.plot_filters, plot.plot_samples])
def test_count_and_grid(draw):
    rows = RNG.random((150, 400))
    size = lambda figure: tuple((length + 1) // 21 for length in pixels(figure).shape)  # noqa: E731
    assert size(draw(rows, (20, 20))) == (10, 10)
    assert size(draw(rows, (20, 20), 12, columns=6)) == (2, 6)
    assert size(draw(rows, (20, 20), 150)) == (12, 13)
    assert size(draw(rows[:1], (20, 20))) == (1, 1)
    assert size(draw(rows[:3], (20, 20), columns=5)) == (1, 5)


def test_filters_have_one_symmetric_scale():
    weights = np.concatenate([-RNG.random((9, 400)), 0.1 * RNG.random((9, 400))])
    weights[0, 0] = 50.0
    figure = plot.plot_filters(weights, (20, 20))
    low, high = figure.axes[0].images[0].get_clim()
    assert low == -high and high == pytest.approx(1.0, abs=0.01)  # not 50: one outlier does not set the scale
    centre = figure.axes[0].images[0].cmap(0.5)
    assert_allclose(centre[:3], 1.0, atol=0.05)
    assert len(figure.axes[0].child_axes) == 1  # the colour bar


def test_filters_of_an_estimator():
    fitted = SimpleNamespace(components_=RNG.standard_normal((4, 6)).astype(np.float32))
    assert_array_equal(pixels(plot.plot_filters(fitted, (2, 3))), pixels(plot.plot_filters(fitted.components_, (2, 3))))


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_degenerate_filters_are_drawn_all_the_same(tmp_path, value):
    figure = plot.plot_filters(np.full((4, 6), value), (2, 3))
    assert plot.save_png(figure, tmp_path / "x.png").stat().st_size > 0


def test_sparse_filters_keep_a_scale():
    weights = np.zeros((10, 400))
    weights[3, 7] = 2.0
    assert plot.plot_filters(weights, (20, 20)).axes[0].images[0].get_clim() == (-2.0, 2.0)


@pytest.mark.parametrize(
    ("samples", "limits"),
    [
        (np.eye(6, dtype=bool), (0, 1)),
        (np.eye(6, dtype=np.uint8), (0, 1)),
        (np.zeros((2, 6)), (0, 1)),
        (np.full((2, 6), 0.3, dtype=np.float32), (0, 1)),
        (np.array([[0, 3, 9, 0, 0, 0]], dtype=np.uint8), (0, 255)),
        (np.array([[-1.0, 3, 1, 1, 1, 1]]), (-1, 3)),
    ],
)
def test_scale_of_samples(samples, limits):
    assert plot.plot_samples(samples, (2, 3)).axes[0].images[0].get_clim() == limits


def test_learning_curve_draws_each_metric_in_its_own_panel():
    history = {
        "epoch": [3, 4, 5],
        "seconds": [0.1, 0.1, 0.1],
        "pseudo_likelihood": [-20.0, None, -15.0],
        "note": ["a", "b", "c"],
        "my_score": np.array([1, 2, 3]),
        "empty": [],
    }
    for given in (history, SimpleNamespace(history_=history)):
        figure = plot.plot_learning_curve(given)
        first, second = figure.axes
        assert first.get_title(loc="left").startswith("pseudo-likelihood")
        assert second.get_title(loc="left") == "my score"
        x, y = first.lines[0].get_data()
        assert_array_equal(x, [3, 4, 5])
        assert_array_equal(y, [-20, np.nan, -15])
        assert_array_equal(second.lines[0].get_ydata(), [1, 2, 3])


def test_learning_curve_counts_epochs_itself_and_draws_what_is_asked():
    history = {"seconds": [0.3, 0.2], "b": [1, 2], "a": [3, 4]}
    figure = plot.plot_learning_curve(history, metrics=["seconds", "a"])
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["seconds", "a"]
    assert_array_equal(figure.axes[0].lines[0].get_xdata(), [1, 2])


def test_given_axes_are_used():
    figure = Figure()
    whole, part = figure.subfigures(1, 2)
    left, right = whole.subplots(1, 2)
    assert plot.plot_samples(np.eye(6), (2, 3), ax=left, title="heading") is figure
    assert left.images and left.get_title() == "heading"
    assert plot.plot_filters(np.eye(6), (2, 3), ax=right) is figure
    assert right.images
    panels = part.subplots(1, 2)
    assert plot.plot_learning_curve({"a": [1], "b": [2]}, ax=panels) is figure
    assert all(len(ax.lines) == 1 for ax in panels)
    assert plot.plot_learning_curve({"a": [1]}, ax=panels[0], title="both") is figure


def test_png_is_written_into_a_new_folder(tmp_path):
    path = plot.save_png(plot.plot_samples(np.eye(6), (2, 3)), str(tmp_path / "new" / "x.PNG"), dpi=50)
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


SIX = np.zeros((4, 6))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: plot.plot_filters(SIX, (3, 3)),
            ValueError,
            r"components must have shape .*9.* got \(4, 6\)",
        ),
        (lambda: plot.plot_samples(SIX, (3, 3)), ValueError, r"samples must have shape .*9.* got \(4, 6\)"),
        (lambda: plot.plot_samples(SIX[0], (2, 3)), ValueError, "samples must have shape"),
        (lambda: plot.plot_samples(SIX[:0], (2, 3)), ValueError, "samples must have shape"),
        (lambda: plot.plot_samples(SIX, (6,)), ValueError, r"shape must be \(height, width\)"),
        (lambda: plot.plot_samples(SIX, (0, 6)), ValueError, r"shape must be \(height, width\)"),
        (
            lambda: plot.plot_samples(SIX, (2, 3), 5),
            ValueError,
            "n, the rows of .* to draw, must be an integer from 1 to 4",
        ),
        (
            lambda: plot.plot_filters(SIX, (2, 3), 0),
            ValueError,
            "n, the rows of .* to draw, must be an integer from 1 to 4",
        ),
        (lambda: plot.plot_filters(SIX, (2, 3), columns=0), ValueError, "columns must be a positive integer"),
        (lambda: plot.plot_filters(SIX, (2, 3), ax=3), TypeError, "ax must be a matplotlib Axes"),
        (lambda: plot.plot_learning_curve([1, 2]), TypeError, "history must be a mapping.* got list"),
        (lambda: plot.plot_learning_curve({}), ValueError, "history must hold a list of numbers"),
        (lambda: plot.plot_learning_curve({"a": ["x"]}), ValueError, "history must hold a list of numbers"),
        (lambda: plot.plot_learning_curve({"a": [1]}, metrics=["b"]), ValueError, "metrics must be among"),
        (
            lambda: plot.plot_learning_curve({"a": [1], "b": 2}, metrics=["a", "b"]),
            ValueError,
            "history must",
        ),
        (lambda: plot.plot_learning_curve({"epoch": [1], "a": [1, 2]}), ValueError, "one number per epoch"),
        (lambda: plot.plot_learning_curve({"a": [1], "b": [2]}, ax=[3]), ValueError, "ax must hold one Axes"),
        (lambda: plot.save_png(None, "x.pdf"), ValueError, "path must end in .png"),
        (lambda: plot.plot_learning_curve({"epoch": [1], "seconds": [2.0]}), ValueError, "validation_fraction"),
        (
            lambda: plot.plot_filters(BernoulliRBM(), (2, 3)),
            TypeError,
            "with components_; got BernoulliRBM",
        ),
        (lambda: plot.plot_filters(SIX, 6), ValueError, r"shape must be \(height, width\)"),
        (lambda: plot.plot_samples(SIX * np.nan, (2, 3)), ValueError, "samples must hold numbers"),
        (lambda: plot.plot_curves([1, 2]), TypeError, "curves must be a mapping"),
        (lambda: plot.plot_confusion_matrix([0, 1], [0, 1], names=["a"]), ValueError, "one name for each of 2"),
    ],
)
def test_refuses(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_without_matplotlib_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (
        lambda: plot.plot_filters(SIX, (2, 3)),
        lambda: plot.plot_samples(SIX, (2, 3)),
        lambda: plot.plot_learning_curve({"a": [1]}),
    ):
        with pytest.raises(ImportError, match=r'pip install "fastrbm\[plot\]"'):
            draw()


def test_own_axes_are_drawn_on_without_pyplot(tmp_path):
    code = f"""
import sys
from fastrbm import plot
assert not any(name.startswith("matplotlib") for name in sys.modules)
from matplotlib.figure import Figure
for draw, data in ((plot.plot_filters, [[1.0, -1.0]]), (plot.plot_samples, [[1.0, 0.0]])):
    plot.save_png(draw(data, (1, 2), ax=Figure().add_subplot()), {str(tmp_path / "x.png")!r})
plot.plot_learning_curve({{"a": [1, 2]}}, ax=Figure().add_subplot())
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "draw",
    [lambda **o: plot.plot_filters(SIX, (2, 3), **o), lambda **o: plot.plot_samples(SIX, (2, 3), **o),
     lambda **o: plot.plot_learning_curve({"a": [1, 2], "b": [2, 1]}, **o)],
)  # fmt: skip
def test_figures_are_shown_by_pyplot_unless_axes_are_given(draw):
    from matplotlib import pyplot

    pyplot.close("all")
    figure = draw()
    assert pyplot.gcf() is figure and pyplot.get_fignums() == [figure.number]  # what show() and notebooks look at
    pyplot.close(figure)
    if draw.__code__.co_names[1] != "plot_learning_curve":
        draw(ax=Figure().add_subplot())
    assert pyplot.get_fignums() == []
