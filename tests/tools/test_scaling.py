"""Scaling curves and the table of lean strategies: what is timed, compared and written."""

import copy
import io
import itertools
import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
if not (ROOT / "benchmarks" / "scaling.py").exists():
    pytest.skip("benchmarks/ is only in the checkout", allow_module_level=True)
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks import data, isolated, lean, report, run, scaling, scaling_report  # noqa: E402
from benchmarks.lean import LeanRow, Size  # noqa: E402
from benchmarks.peers import Availability, Training  # noqa: E402
from benchmarks.scaling import Curve, Point, Scaling, Setting  # noqa: E402

import fastrbm  # noqa: E402

TINY = Size(8, 1, 60, 40, 30, 2, (5,), (1, 2))
PCD = Training(n_hidden=4, batch=32, n_epochs=1, rate=0.01, algorithm="pcd")


class Side:
    """A side whose fits take 10 ms once and `cost` seconds per row and epoch, by a clock of its own."""

    shuffles = True

    def __init__(self, clock, cost, algorithms=("pcd",)):
        self.clock, self.cost, self.algorithms = clock, cost, algorithms
        self.seen = []

    def available(self):
        return Availability(True)

    def supports(self, training):
        return Availability(training.algorithm in self.algorithms, "has PCD only")

    def fit_epochs(self, X, training, *, seed, threads, shuffle=True):
        self.seen.append((len(X), threads, shuffle))
        self.clock.now += 0.01 + self.cost * len(X) * training.n_epochs


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def scaling_with(peer_cost=4e-5, ours_cost=1e-5, **peer_options):
    clock = Clock()
    peer, ours = Side(clock, peer_cost, **peer_options), Side(clock, ours_cost, ("cd", "pcd"))
    measured = Scaling(3, pause=0.0, peers={"peer": peer}, ours=ours, clock=clock)
    measured.images = data.Images("test", np.zeros((20000, 9), np.uint8), np.zeros((1, 9), np.uint8))
    return measured, peer, ours


# Curves


def test_curves_vary_one_quantity_each():
    curves = {curve.name: curve for curve in scaling.all_curves(3)}
    assert (*curves, "lean") == scaling.NAMES
    varied = {"batch": "batch", "hidden": "n_hidden", "k": "k"}
    for name, attribute in varied.items():
        settings = curves[name].settings
        assert [getattr(setting.training, attribute) for setting in settings] == [setting.x for setting in settings]
        alike = {replace(setting, x=0, training=replace(setting.training, **{attribute: 1})) for setting in settings}
        assert len(alike) == 1 and alike.pop().threads == 3
    assert [setting.x for setting in curves["batch"].settings] == [10, 32, 64, 128, 256, 512, 1024]
    assert [setting.x for setting in curves["hidden"].settings] == [2**i for i in range(6, 14)]
    assert [setting.x for setting in curves["k"].settings] == [1, 2, 5, 10, 20, 50]
    assert {setting.training.algorithm for setting in curves["k"].settings} == {"cd"}
    assert [setting.density for setting in curves["density"].settings] == [0.01, 0.05, 0.1, 0.2, 0.3, 0.5]
    assert all(len(curve.settings) <= 2 for curve in scaling.all_curves(3, quick=True))


@pytest.mark.parametrize("threads,counts", [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (16, [1, 2, 4, 8, 16])])
def test_threads_double_up_to_those_of_the_machine(threads, counts):
    assert scaling.thread_counts(threads) == counts


def test_what_a_fit_does_once_is_not_counted():
    measured, peer, ours = scaling_with()
    (point,) = measured.points(Setting(5, PCD, 2))
    assert point.ours == pytest.approx(point.rows * 1e-5)
    assert point.ratio == pytest.approx(4)
    assert len(point.ours_seconds) == len(point.peer_seconds) == 3


def test_rows_are_whole_batches_chosen_by_our_time_and_the_same_for_the_peer():
    for cost, rows in ((1e-5, 8000), (1e-9, 20000), (1.0, 128)):  # as many as wanted, as there are, as are needed
        measured, peer, ours = scaling_with(ours_cost=cost)
        (point,) = measured.points(Setting(5, PCD, 2))
        assert abs(point.rows - rows) <= 32 and point.rows % 32 == 0
        assert {n for n, _, _ in peer.seen} == {32, point.rows}  # the warm-up has one minibatch
        assert {threads for _, threads, _ in peer.seen + ours.seen} == {2}
        assert ours.seen[-1][0] == point.rows


def test_synthetic_rows_have_the_density_asked_for():
    measured, *_ = scaling_with()
    X = measured._rows(Setting(0.1, PCD, 1, density=0.1))
    assert set(np.unique(X)) == {0, 1} and X.dtype == np.float32
    assert X.mean() == pytest.approx(0.1, abs=0.01)


def test_rows_that_make_no_batch_are_refused():
    measured, *_ = scaling_with()
    with pytest.raises(ValueError, match="batch must be at most the number of rows, 20000, got 20001"):
        measured.points(Setting(5, replace(PCD, batch=20001), 1))


def test_ours_is_measured_where_no_peer_has_the_algorithm():
    measured, *_ = scaling_with()
    skipped, alone = measured.points(Setting(5, replace(PCD, algorithm="cd"), 1))
    assert (skipped.peer, skipped.reason, skipped.failed) == ("peer", "skipped: has PCD only", False)
    assert alone.ours == pytest.approx(alone.rows * 1e-5)
    assert (alone.peer, alone.theirs, alone.ratio) == ("-", None, None)


def test_an_error_becomes_a_point_and_the_exit_status(capsys):
    measured, peer, _ = scaling_with()
    peer.fit_epochs = None
    (point,) = measured.points(Setting(5, PCD, 1))
    assert point.failed and point.reason.startswith("ERROR: TypeError")
    assert "Traceback" in capsys.readouterr().err
    results = scaling_report.Results({}, [(Curve("c", "C", "x", ()), [point])])
    assert scaling.broken(results)
    results.curves[0][1][:] = [replace(point, failed=False)]
    assert not scaling.broken(results)


def test_a_difference_that_drowned_in_noise_is_no_time():
    point = Point(1, 10, "peer", (-1.0, -2.0, 1.0), (1.0, 1.0, 1.0))
    assert point.ours is None and point.ratio is None and point.theirs == 1.0


def test_a_point_of_first_weights_and_little_else_takes_more_rows():
    measured, peer, ours = scaling_with(ours_cost=1e-6)
    (point,) = measured.points(Setting(5, PCD, 2))
    assert point.rows == 20000 // 32 * 32 and point.ours == pytest.approx(0.02)
    measured, *_ = scaling_with(ours_cost=1e-8)  # even all rows are too few
    (point,) = measured.points(Setting(5, PCD, 2))
    assert point.ours is None and point.theirs is not None


# Strategies


def test_sides_rotate():
    calls = []
    ticks = itertools.count()
    sides = {name: (lambda name=name: lambda: calls.append(name)) for name in "abc"}
    seconds = lean.rotate(sides, 3, pause=0.0, clock=lambda: next(ticks))
    assert "".join(calls) == "abcbcacab"
    assert seconds == {name: (1, 1, 1) for name in "abc"}
    with pytest.raises(ValueError, match="rounds must be at least 1, got 0"):
        lean.rotate(sides, 0)


@pytest.fixture(scope="module")
def small():
    label, rows = lean.rows_of_digits(TINY.n_train, quick=True)
    assert "digits" in label and set(np.unique(rows)) == {0, 1}
    return lean.trained(rows, TINY, 1), rows


def test_every_strategy_does_all_work_from_the_same_weights(small):
    machine, rows = small
    before = copy.deepcopy(machine.components_)
    lines = lean.compare(machine, rows, TINY, rounds=2, threads=1, pause=0.0)
    np.testing.assert_array_equal(machine.components_, before)
    works = list(dict.fromkeys(line.work for line in lines))
    assert works == [
        "CD-1, one pass of 40 rows",
        "CD-2, one pass of 40 rows",
        "sample, 5 chains, 2 steps",
        "sample_hidden, 30 rows",
    ]
    assert [line.strategy for line in lines] == lean.strategies() * len(works)
    assert lean.strategies()[0] == "dense" and "auto" not in lean.strategies()
    assert all(line.same and len(line.seconds) == 2 and line.ratio > 0 for line in lines)
    by_key = {(line.work, line.strategy): line for line in lines}
    assert by_key[works[2], "dense"].ratio == 1.0 and by_key[works[2], "dense"].skipped is None
    low = by_key[works[2], "lowbit"]
    assert 0 < low.skipped <= 1 and low.share("filtered") + low.share("recomputed") == 1


def test_a_strategy_that_changes_a_result_is_noticed(small, monkeypatch):
    sample = fastrbm.BernoulliRBM.sample

    def wrong(self, *args, **options):
        states = sample(self, *args, **options)
        return states ^ (self.strategy == "lcd")

    monkeypatch.setattr(fastrbm.BernoulliRBM, "sample", wrong)
    lines = lean.compare(*small, TINY, rounds=1, threads=1, pause=0.0)
    different = {(line.work.split(",")[0], line.strategy) for line in lines if not line.same}
    assert different == {("sample", "lcd")}
    assert scaling.broken(scaling_report.Results({}, lean=lines))


def test_an_interpreter_is_started_for_each_instruction_set(monkeypatch):
    monkeypatch.setattr(lean, "targets", lambda: ["baseline"])
    label, lines = lean.measure(rounds=1, threads=1, quick=True, pause=0.0)
    assert label.startswith("784x24, 1 epochs of CD-1 on 400 rows of enlarged")
    assert {line.target for line in lines} == {"baseline"}
    assert all(line.same and isinstance(line, LeanRow) for line in lines)


def test_a_forced_instruction_set_is_the_only_one(monkeypatch):
    from fastrbm._kernels import cpu

    monkeypatch.delenv("FASTRBM_CPU", raising=False)
    assert lean.targets() == cpu.supported_targets()
    monkeypatch.setenv("FASTRBM_CPU", cpu.current_target())
    assert lean.targets() == [cpu.current_target()]


def test_a_child_that_fails_says_why():
    with pytest.raises(RuntimeError, match=r"(?s)lean absent\.npz x child failed.*FileNotFoundError"):
        isolated.child("lean", "absent.npz", "x", '{"quick": true}')


# Reports


def results():
    curve = Curve("batch", "Batch size_: 784x256 | *", "batch size (rows)", ())
    points = [
        Point(10, 100, "scikit-learn", (0.1, 0.2, 0.3), (0.4, 0.6, 0.5), 0.0),
        Point(10, 100, "torch", reason="ERROR: a | b\nc", failed=True),
        Point(32, 100, "scikit-learn", (-1.0,), (1.0,), 0.5),
    ]
    counts = {"decisions": 100, "filtered": 90, "recomputed": 10, "products": 30, "dense_products": 120}
    none = dict.fromkeys(counts, 0)
    lines = [
        LeanRow("avx2", "sample", "dense", (0.2,), (0.2,), True, none),
        LeanRow("avx2", "sample", "lowbit", (0.1,), (0.2,), True, counts),
        LeanRow("avx2", "sample", "lcd", (0.4,), (0.2,), False, counts, 0.9),
    ]
    return scaling_report.Results(report.environment(1, 3, "test", quick=True), [(curve, points)], "a model", lines)


def test_markdown_holds_what_was_measured():
    text = scaling_report.markdown(results())
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert lines[2] == "| 10 | 100 | scikit-learn | 500 ms | 200 ms | 2e+03 us | 2.5x | - |"
    assert lines[3] == "| 10 | 100 | torch | - | - | - | - | ERROR: a / b c |"
    assert "| 32 | 100 | scikit-learn | 1e+03 ms | - | - | - | disturbed: others took 50%" in lines[4]
    assert "| avx2 | sample | lowbit | 100 ms | 2x | 75.0% | 90.0% | 10.0% | yes | - |" in lines
    assert "| lcd | 400 ms | 0.5x | 75.0% | 90.0% | 10.0% | NO | disturbed" in lines[-1]
    assert "quick run" in text and "](batch.png)" in text


def test_the_page_of_the_documentation_is_well_formed():
    core = pytest.importorskip("docutils.core")
    text = "Page\n====\n\n" + scaling_report.as_rst(results(), "performance")
    tree = core.publish_doctree(text, settings_overrides={"halt_level": 2, "report_level": 2})
    assert [node.astext() for node in tree.findall() if node.tagname == "title"] == [
        "Page",
        "Batch size_: 784x256 | *",
        "Lean strategies: a model",
    ]
    images = [node["uri"] for node in tree.findall() if node.tagname == "image"]
    assert images == ["performance/batch.png", "performance/lean.png"]
    assert sum(node.tagname == "row" for node in tree.findall()) == 4 + 4
    assert not any(node.tagname == "bullet_list" for node in tree.findall())  # a dash is what was not measured


def test_files_are_complete(tmp_path):
    pytest.importorskip("matplotlib")
    for docs, table in ((False, "scaling.md"), (True, "tables.rst")):
        folder = tmp_path / table
        scaling_report.write(results(), folder, docs=docs)
        assert {path.name for path in folder.iterdir()} == {table, "scaling.json", "batch.png", "lean.png"}
        assert (folder / "batch.png").read_bytes()[:4] == b"\x89PNG"
        content = json.loads((folder / "scaling.json").read_text())
        points = content["curves"][0]["points"]
        assert [point["ratio"] for point in points] == [2.5, None, None]
        assert content["lean"][1]["skipped"] == 0.75 and content["environment"]["rounds"] == 3


def test_pictures_show_times_per_row():
    pytest.importorskip("matplotlib")
    curve, points = results().curves[0]
    points = [*points, Point(64, 200, "scikit-learn", (0.2,), (0.8,))]
    times, ratios = scaling_report.curve_figure(curve, points).axes
    drawn = {line.get_label(): line for line in times.lines}
    np.testing.assert_allclose(drawn["fastrbm"].get_xydata(), [[10, 2000], [64, 1000]])
    np.testing.assert_allclose(drawn["scikit-learn"].get_xydata(), [[10, 5000], [64, 4000]])
    assert "torch" not in drawn
    np.testing.assert_allclose(ratios.lines[0].get_ydata(), [2.5, 4])
    for own, theirs, scales in ((0.2, -0.8, ["log", "linear"]), (-0.2, -0.8, ["linear", "linear"])):
        noise = [Point(64, 200, "scikit-learn", (own,), (theirs,))]  # there is no ratio, and no scale for one
        figure = scaling_report.curve_figure(curve, noise)
        figure.savefig(io.BytesIO(), format="png", bbox_inches="tight")
        assert [axes.get_yscale() for axes in figure.axes] == scales and noise[0].ratio is None
    (panel,) = scaling_report.lean_figure(results().lean).axes
    assert [bar.get_x() + bar.get_width() for bar in panel.patches] == pytest.approx([2, 0.5])


# Command line


def test_command_measures_writes_and_prints(monkeypatch, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    curve = Curve("k", "Steps", "k", (Setting(2, replace(PCD, algorithm="cd", k=2), 1),))
    monkeypatch.setattr(scaling, "all_curves", lambda *_, **__: [curve])
    monkeypatch.setattr(scaling, "PEERS", ("scikit-learn",))
    monkeypatch.setattr(lean, "measure", lambda **_: ("a model", results().lean))
    options = ["--scaling", "--quick", "--threads", "1", "--out", str(tmp_path)]
    assert run.main([*options, "--only", "k"]) == 0
    text = capsys.readouterr().out
    assert text.rstrip() == (tmp_path / "scaling.md").read_text().rstrip()
    assert "skipped: scikit-learn has PCD-1 only" in text
    points = json.loads((tmp_path / "scaling.json").read_text())["curves"][0]["points"]
    assert [point["peer"] for point in points] == ["scikit-learn", "-"]
    assert len(points[1]["ours_seconds"]) == 1 and math.isfinite(points[1]["ours_seconds"][0])
    assert run.main([*options, "--only", "lean"]) == 1  # a strategy gave other bits


def test_names_are_listed(capsys):
    assert run.main(["--scaling", "--list", "--only", "th*", "--only", "lea"]) == 0
    assert capsys.readouterr().out.split() == ["threads", "lean"]


@pytest.mark.parametrize(
    "options,message",
    [
        (["--docs"], "--docs is for --scaling only"),
        (["--scaling", "--docs", "--out", "x"], "--docs and --out both name a folder"),
        (["--scaling", "--docs", "--only", "k"], "--docs writes all tables"),
        (["--scaling", "--gibbs-steps", "3"], "--gibbs-steps is for the table only"),
        (["--scaling", "--only", "nothing"], "--only nothing: no such curve"),
    ],
)
def test_options_without_effect_are_refused(options, message, capsys):
    with pytest.raises(SystemExit) as error:
        run.main(options)
    assert error.value.code == 2 and message in capsys.readouterr().err


def test_an_installed_package_has_no_documentation(monkeypatch, tmp_path):
    assert scaling.documentation() == ROOT / "docs" / "performance"
    monkeypatch.setattr(scaling, "__file__", str(tmp_path / "fastrbm" / "benchmarks" / "scaling.py"))
    with pytest.raises(ValueError, match="--docs writes into the docs/ of a checkout"):
        scaling.documentation()


def test_missing_matplotlib_is_said_before_the_work(monkeypatch, tmp_path):
    monkeypatch.setattr(scaling.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ImportError, match="needs matplotlib"):
        run.main(["--scaling", "--quick", "--out", str(tmp_path)])
