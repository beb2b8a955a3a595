"""The benchmark protocol itself: what it times, how it judges, what it writes."""

import itertools
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
if not (ROOT / "benchmarks" / "run.py").exists():
    pytest.skip("benchmarks/ is only in the checkout", allow_module_level=True)
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks import annealing, calls, data, protocol, quality, report, run, scale, sharing  # noqa: E402
from benchmarks.cases import Bench, Case, all_cases  # noqa: E402
from benchmarks.peers import (  # noqa: E402
    Availability,
    Parameters,
    Training,
)
from benchmarks.protocol import Measure, Timing, alternate, judge, verdict_of  # noqa: E402

from fastrbm import _versions  # noqa: E402
from fastrbm.likelihood import log_partition  # noqa: E402

N_VISIBLE = 784


def random_parameters(rng, n_hidden=7, n_visible=12, scale=0.5):
    sizes = ((n_hidden, n_visible), n_hidden, n_visible)
    return Parameters(*(rng.normal(0, scale, size).astype(np.float32) for size in sizes))


YES = Availability(True)
#: What a case without target may end with, since the tests may run on a busy machine.
UNTARGETED = (protocol.NO_TARGET, protocol.DISTURBED)


class Side:
    """A side whose 'training' sets the visible biases to the data's, with its odds spoilt by `damage`."""

    shuffles = True

    def __init__(self, name, *, damage=0.0, available=YES):
        self.name, self.damage, self._available = name, damage, available
        self.seen = []

    def available(self):
        return self._available

    def supports(self, training):
        return Availability(training.algorithm == "cd", "has CD only")

    def version(self):
        return "1"

    def fit_epochs(self, X, training, *, seed, threads, shuffle=True):
        self.seen.append((len(X), seed, threads))
        mean = np.clip(X.mean(axis=0), 0.01, 0.99)
        bias = np.log(mean / (1 - mean)) + self.damage
        return Parameters(np.zeros((training.n_hidden, X.shape[1])), np.zeros(training.n_hidden), bias)

    def transform(self, parameters, X, *, threads):
        return quality.hidden_means(parameters, X) + self.damage


def bench_with(peer, ours, rounds=2):
    bench = Bench(threads=1, rounds=rounds, pause=0.0, peers={peer.name: peer}, ours=ours)
    rows = data.synthetic(130)
    bench.images = data.Images("test", rows[:100], rows[100:])
    return bench


def training_case(algorithm="cd", target=None):
    training = Training(n_hidden=4, batch=32, n_epochs=1, rate=0.1, algorithm=algorithm)
    return Case("train", "an epoch", "peer", target, "train", training=training)


# Timing


def test_sides_alternate_and_swap_their_order():
    calls = []
    alternate(lambda i: calls.append(("peer", i)), lambda i: calls.append(("ours", i)), 3, pause=0.0)
    assert calls == [("peer", 0), ("ours", 0), ("ours", 1), ("peer", 1), ("peer", 2), ("ours", 2)]


def test_warm_up_comes_first_and_is_not_timed():
    calls = []
    ticks = itertools.count()
    timing = alternate(
        lambda _: calls.append("peer"),
        lambda _: calls.append("ours"),
        1,
        warm_up=(lambda: calls.append("warm"),),
        pause=0.0,
        clock=lambda: next(ticks),
    )
    assert calls[0] == "warm"
    assert timing.peer_seconds == timing.ours_seconds == (1,)
    assert next(ticks) == 4  # two readings a call, none for the warm-up


def test_ratio_is_that_of_the_medians_and_keeps_the_rounds():
    timing = Timing(peer_seconds=(4.0, 40.0, 6.0), ours_seconds=(1.0, 2.0, 3.0))
    assert timing.ratio == 3.0
    assert timing.round_ratios == (4.0, 20.0, 2.0)


def test_results_are_kept_in_order_of_the_rounds():
    timing = alternate(lambda i: ("p", i), lambda i: ("o", i), 3, pause=0.0)
    assert timing.peer_results == (("p", 0), ("p", 1), ("p", 2))
    assert timing.ours_results == (("o", 0), ("o", 1), ("o", 2))


def test_own_work_is_not_counted_as_that_of_others(monkeypatch):
    # In 10 seconds two processors work for 18, this program for 12: the others keep 0.6 of a processor busy.
    for threads, share in ((2, 0.3), (1, 0.0)):
        readings = iter([(10.0, 100.0, 1.0, 2), (28.0, 120.0, 13.0, 2)])
        monkeypatch.setattr(protocol.Neighbours, "_read", staticmethod(lambda readings=readings: next(readings)))
        assert protocol.Neighbours(threads).share() == pytest.approx(share)


def test_share_of_others_is_unknown_where_the_system_does_not_tell(monkeypatch):
    monkeypatch.setattr(protocol.Neighbours, "_read", staticmethod(lambda: None))
    assert protocol.Neighbours(1).share() is None


def test_at_least_one_round_is_asked_for():
    with pytest.raises(ValueError, match="rounds must be at least 1, got 0"):
        alternate(lambda _: None, lambda _: None, 0)


# Judging


@pytest.mark.parametrize(
    ("better", "ours", "ok"),
    [("higher", -102.0, False), ("higher", -90.0, True), ("lower", -90.0, False), ("lower", -102.0, True)],
)
def test_worse_is_told_from_better(better, ours, ok):
    assert judge(Measure("figure", better, relative=0.01), [-100.0], [ours]).ok is ok


@pytest.mark.parametrize("ours", [-102.0, -98.0])
def test_equal_means_equal_both_ways(ours):
    assert not judge(Measure("figure", "equal", absolute=1.0), [-100.0], [ours]).ok
    assert judge(Measure("figure", "equal", absolute=2.5), [-100.0], [ours]).ok


def test_tolerance_grows_with_the_scatter_of_the_peer_only():
    measure = Measure("figure", "higher", relative=0.01)
    steady, scattered = [-100.0, -100.0, -100.0], [-90.0, -100.0, -110.0]
    assert judge(measure, scattered, steady).tolerance == pytest.approx(3 * 10 * math.sqrt(2 / 3))
    assert judge(measure, steady, scattered).tolerance == pytest.approx(1.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_quality_that_is_not_finite_never_passes(bad):
    for better in ("higher", "lower", "equal"):
        assert not judge(Measure("figure", better, absolute=1e9), [-100.0], [bad]).ok
        assert not judge(Measure("figure", better, relative=0.1), [math.nan], [-100.0]).ok


def test_verdicts():
    good, bad = (judge(Measure("q", "higher"), [0.0], [value]) for value in (1.0, -1.0))
    assert verdict_of(good, 8.0, 8.0) == protocol.MET
    assert verdict_of(good, 7.9, 8.0) == protocol.MISSED
    assert verdict_of(good, 7.9, None) == protocol.NO_TARGET
    assert verdict_of(good, 7.9, 8.0, quick=True) == protocol.RAN
    assert verdict_of(good, 100.0, 8.0, others=0.05) == protocol.MET
    assert verdict_of(good, 100.0, 8.0, others=0.5) == protocol.DISTURBED
    assert verdict_of(bad, 100.0, 8.0, others=0.5) == protocol.FAILED
    assert verdict_of(bad, 100.0, 8.0) == protocol.FAILED
    assert verdict_of(bad, 100.0, 8.0, quick=True) == protocol.FAILED


# Quality figures


def test_pseudo_likelihood_is_that_of_the_definition():
    rng = np.random.default_rng(0)
    parameters = random_parameters(rng)
    V = (rng.random((5, 12)) < 0.5).astype(np.float32)
    expected = 0.0
    for row in V:
        for i in range(12):
            flipped = row.copy()
            flipped[i] = 1 - flipped[i]
            gain = quality.free_energy(parameters, row[None]) - quality.free_energy(parameters, flipped[None])
            expected -= np.logaddexp(0, gain[0])
    assert quality.pseudo_likelihood(parameters, V, n_flips=12) == pytest.approx(expected / 5, rel=1e-10)


def test_sampled_features_estimate_the_whole_pseudo_likelihood():
    rng = np.random.default_rng(1)
    parameters = random_parameters(rng, n_visible=96, scale=0.2)
    V = (rng.random((400, 96)) < 0.5).astype(np.float32)
    part, whole = (quality.pseudo_likelihood(parameters, V, n_flips=n) for n in (32, 96))
    assert part == pytest.approx(whole, rel=0.02)


def test_reconstruction_error_of_a_model_of_the_mean():
    V = np.full((10, 12), 0.25, dtype=np.float32)
    bias = np.full(12, math.log(0.25 / 0.75))
    parameters = Parameters(np.zeros((3, 12)), np.zeros(3), bias)
    assert quality.reconstruction_error(parameters, V) == pytest.approx(0.0, abs=1e-12)


# Cases


def test_every_case_has_its_own_name_a_known_peer_and_a_method():
    cases, peers = all_cases(), Bench(threads=1).peers
    assert len({case.name for case in cases}) == len(cases)
    for case in cases:
        assert case.peer in peers or case.peer in ("-", "one by one")
        assert callable(getattr(Bench, case.kind))


def test_both_sides_get_the_same_whole_batches_seeds_and_threads():
    peer, ours = Side("peer"), Side("fastrbm")
    bench_with(peer, ours, rounds=3).run(training_case())
    assert peer.seen == ours.seen
    assert peer.seen[1:] == [(96, 0, 1), (96, 1, 1), (96, 2, 1)]


def test_equal_quality_passes_and_worse_quality_fails():
    row = bench_with(Side("peer"), Side("fastrbm")).run(training_case())
    assert row.verdict in UNTARGETED
    assert row.quality.peer == row.quality.ours
    row = bench_with(Side("peer"), Side("fastrbm", damage=1.0)).run(training_case(target=1e-9))
    assert row.verdict == protocol.FAILED
    assert "pseudo-likelihood: worse than the peer's by" in row.reason
    assert row.ratio is not None


def test_wrong_transform_fails():
    case = Case("transform", "transform", "peer", None, "transform", n_hidden=4)
    assert bench_with(Side("peer"), Side("fastrbm")).run(case).verdict in UNTARGETED
    assert bench_with(Side("peer"), Side("fastrbm", damage=1e-3)).run(case).verdict == protocol.FAILED


def test_missing_peer_is_reported_as_skipped_with_its_reason():
    peer = Side("peer", available=Availability(False, "not installed: no module"))
    row = bench_with(peer, Side("fastrbm")).run(training_case(target=8.0))
    assert (row.verdict, row.reason, row.target) == (protocol.SKIPPED, "not installed: no module", "8x")
    assert peer.seen == []


def test_missing_algorithm_is_reported_as_skipped():
    row = bench_with(Side("peer"), Side("fastrbm")).run(training_case("pcd"))
    assert (row.verdict, row.reason) == (protocol.SKIPPED, "has CD only")


def test_exception_becomes_a_line_and_the_exit_status(capsys):
    ours = Side("fastrbm")
    ours.fit_epochs = None
    row = bench_with(Side("peer"), ours).run(training_case())
    assert row.verdict == protocol.ERROR
    assert "TypeError" in row.reason
    assert report.broken([row])
    assert "Traceback" in capsys.readouterr().err


def test_patterns_select_by_substring_or_glob():
    cases = all_cases()
    assert run.select(cases, []) == cases
    assert {case.name for case in run.select(cases, ["import", "gibbs-*-torch"])} == {
        "import",
        "gibbs-h500-torch",
        "gibbs-h500-c1000-torch",
    }
    with pytest.raises(SystemExit):
        run.main(["--only", "no such case"])


def test_command_runs_without_data_and_says_so(monkeypatch, tmp_path, capsys):
    datasets = pytest.importorskip("fastrbm.datasets")

    def nothing(**_):
        raise datasets.DatasetNotFoundError("none")

    monkeypatch.setattr(datasets, "load_fashion_mnist", nothing)
    options = ["--quick", "--threads", "1", "--out", str(tmp_path)]
    assert run.main([*options, "--only", "train-cd1-h256-b256-torch", "--only", "transform-*"]) == 0
    text = capsys.readouterr().out
    assert text.rstrip() == (tmp_path / "results.md").read_text().rstrip()
    assert "synthetic stand-in" in text
    assert "quick run" in text
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert {row["verdict"] for row in rows} <= {protocol.RAN, protocol.SKIPPED}


def test_stand_in_images_are_deterministic_and_structured():
    rows = data.synthetic(50)
    assert rows.dtype == np.uint8
    assert rows.shape == (50, N_VISIBLE)
    np.testing.assert_array_equal(rows, data.synthetic(50))
    assert 0.05 < (rows > data.THRESHOLD).mean() < 0.5


# Tables of single modules


def test_the_table_of_annealed_estimates_is_printed(capsys):
    options = ["--seeds", "2", "--temperatures", "5", "--methods", "mais", "bracket"]
    assert annealing.main(options) == 0
    out = capsys.readouterr().out
    assert out.count("\n| ") == 1 + len(annealing.STARTS) + 2 and "log Z" in out
    assert annealing.main([*options, "--models", "digits"]) == 0
    lines = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[3:]]
    assert [line[0] for line in lines] == ["| digits"] * 2 + ["| times 3"] * 2 + ["| long"] * 2


def test_calls_take_turns_and_the_least_is_told(capsys, monkeypatch):
    told, now = [], iter(np.cumsum([0, 5, 0, 3, 0, 2, 0, 9, 0, 4, 0, 1, 0, 7, 0, 6]))
    sides = {"peer": lambda: told.append("peer"), "fastrbm": lambda: told.append("fastrbm")}
    assert calls.least(sides, 2, 2, lambda: next(now)) == {"peer": 3, "fastrbm": 1}
    assert told == ["peer"] * 2 + ["fastrbm"] * 4 + ["peer"] * 2
    monkeypatch.setattr(calls, "SHAPES", ((8, 4),))
    assert calls.main(["--rounds", "1", "--calls", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(calls.DTYPES) + 1 and all(line.count("x |") == 2 for line in lines[2:])
    with pytest.raises(SystemExit):
        calls.main(["--rounds", "0"])


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ({"model name": "A", "cpu family": "25", "model": "17"}, "A (family 25, model 17)"),
        ({"model name": "A"}, "A"),
        ({"CPU implementer": "0x41", "CPU part": "0xd40"}, "machine (implementer 0x41, part 0xd40)"),
        ({}, "machine"),
    ],
)
def test_processors_are_named_with_their_generation(monkeypatch, facts, name):
    monkeypatch.setattr(_versions, "processor_facts", lambda: facts)
    monkeypatch.setattr(_versions.platform, "processor", lambda: "")
    monkeypatch.setattr(_versions.platform, "machine", lambda: "machine")
    assert _versions.processor_name() == name
    assert report.environment(1, 1, "data", quick=True)["cpu"] == name


def test_works_take_turns_beside_others_and_beside_busy_processors(capsys, monkeypatch):
    done = []
    turns = sharing.take_turns(lambda: done.append("ours"), lambda: done.append("other"), 2)
    assert done[2:] == ["ours"] * 2 + ["other"] * 2 + ["ours", "other"] * 2
    assert sharing.Turns(2.0, 3.0, 10.0).ratio == 2.0 and turns.ratio > 0
    monkeypatch.setattr(sharing, "N_FIT", 64)
    monkeypatch.setattr(sharing, "N_TRANSFORM", 128)
    monkeypatch.setattr(sharing, "N_HIDDEN", 8)
    monkeypatch.setattr(sharing, "BESIDE_BUSY", ((100, 1),))
    assert sharing.main(["--rounds", "1", "--turns", "2"]) == 0
    first, second = capsys.readouterr().out.split("\n\n")
    assert first.count("NumPy's BLAS") == first.count("HistGradientBoosting") == 2
    assert "| 100 rows, 1 passes |" in second
    with pytest.raises(SystemExit):
        sharing.main(["--turns", "0"])


def test_passes_over_growing_data_are_told_with_their_exponents(capsys):
    assert scale.exponent((10, 1000), (2.0, 200.0)) == pytest.approx(1.0)
    at = scale.QUICK["rows"][0]
    rows = scale.sparse_rows(at)
    assert rows.shape == (at.n_rows, at.n_visible) and rows.has_canonical_format
    np.testing.assert_array_equal(rows.sum(axis=1).ravel(), at.ones)
    assert scale.main(["--quick", "--series", "rows", "disk", "--threads", "1"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line[2:3].isdigit()]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [int(line[0]) for line in cells] == [200, 2000, 500, 5000]
    assert all(float(line[3]) > 0 for line in cells)
    assert [line[4] == "-" for line in cells] == [True, True, False, False]
    assert [line[6] == "-" for line in cells] == [True, False, True, False]
    with pytest.raises(SystemExit):
        scale.main(["--threads", "0"])


def test_a_file_of_rows_is_read_as_it_was_written(tmp_path):
    at = scale.QUICK["disk"][1]
    scale.write_rows(tmp_path / "rows.bin", at)
    rows = np.concatenate(list(scale.read_rows(tmp_path / "rows.bin", at)))
    assert rows.shape == (at.n_rows, at.n_visible)
    np.testing.assert_array_equal(rows.sum(axis=1), at.ones)


def test_models_of_all_pairs_have_rows_of_their_units():
    for name, model, rows in itertools.islice(annealing.pairs(), 0, None, 8):
        assert f"{model.visible}-{model.hidden}" == name and rows.shape[1] == model.weights.shape[1]
        assert np.isfinite(float(log_partition(model, "exact")))


# Reports


def example_rows():
    bench = bench_with(Side("peer"), Side("fastrbm"))
    skipped = bench_with(Side("peer", available=Availability(False, "a | b\nc")), Side("fastrbm"))
    return [bench.run(training_case(target=8.0)), skipped.run(training_case())]


def test_markdown_table_is_well_formed():
    text = report.markdown(example_rows(), report.environment(1, 2, "test", quick=True))
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1
    assert "skipped: a / b c" in lines[-1]
    assert "Data: test" in text


def test_json_is_well_formed_and_complete(tmp_path):
    where = report.environment(1, 2, "test", quick=False)
    rows = example_rows()
    report.write(rows, where, tmp_path / "out")
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert (tmp_path / "out" / "results.md").read_text().startswith("# ")
    assert {"cpu", "cores", "versions", "threads", "date", "data"} <= set(content["environment"])
    first, second = content["rows"]
    assert first["quality"]["ok"] is True
    assert len(first["peer_values"]) == len(first["round_ratios"]) == 2
    assert second["verdict"] == protocol.SKIPPED


def test_json_has_no_words_outside_the_standard():
    row = protocol.Row("c", "w", "p", "-", protocol.FAILED, ratio=math.nan, peer_values=(math.inf,))
    assert json.loads(report.as_json([row], {}))["rows"][0]["ratio"] is None


def test_report_names_no_place_on_the_machine():
    text = json.dumps(report.environment(1, 1, "test", quick=False))
    assert str(Path.home()) not in text
    assert sys.prefix not in text
