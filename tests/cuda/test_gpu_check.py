"""`gpu_check` without a device: kernels on the simulator, the PyTorch peer on the CPU, what is read and printed."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import logsumexp

ROOT = Path(__file__).resolve().parents[2]
if not (ROOT / "benchmarks" / "gpu_check.py").exists():
    pytest.skip("benchmarks/ is only in the checkout", allow_module_level=True)
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks import gpu_check, gpu_crossing, gpu_exercise, gpu_programs  # noqa: E402
from benchmarks.gpu_cases import Deadline, Lines, in_turn  # noqa: E402
from benchmarks.gpu_compare import compare  # noqa: E402
from benchmarks.gpu_crossing import Point  # noqa: E402
from benchmarks.peers import Parameters, Training, torch_cuda_peer  # noqa: E402
from benchmarks.peers.cupy_peer import CuPy  # noqa: E402
from benchmarks.peers.likelihood_peer import ScipySums  # noqa: E402
from benchmarks.protocol import ERROR, FAILED, MISSED, NO_TARGET, PASSED, SKIPPED, Row  # noqa: E402

from fastrbm._kernels.cuda import availability  # noqa: E402

pytestmark = pytest.mark.only_on(
    "simulator", "device", reason="the kernels that it runs are those of test_ptx_families.py"
)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def random_parameters(n_hidden=6, n_visible=12, scale=0.5):
    rng = np.random.default_rng(0)
    shapes = ((n_hidden, n_visible), n_hidden, n_visible)
    return Parameters(*(rng.normal(0, scale, shape).astype(np.float32) for shape in shapes))


def random_rows(n=48, n_visible=12):
    return (np.random.default_rng(1).random((n, n_visible)) < 0.4).astype(np.float32)


# -- the exercise --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "family", ["layers", "chains", "lean", "annealing", "gradients", "scores", "partition", "packing"]
)
def test_kernels_are_exercised(family):
    pytest.importorskip("numba_cuda", reason="numba-cuda is not installed")
    checks = list(gpu_exercise.run("tiny", [family]))
    assert checks and all(check.ok for check in checks), "\n".join(map(str, checks))


def test_training_is_exercised(monkeypatch):
    pytest.importorskip("numba_cuda", reason="numba-cuda is not installed")
    # the other rules have the same path, and tests of their own
    monkeypatch.setattr(gpu_exercise, "RULES", {"amsgrad": gpu_exercise.RULES["amsgrad"]})
    checks = list(gpu_exercise.run("tiny", ["training", "grey_rows", "composed", "streaming", "dense", "units"]))
    assert len(checks) >= 19 and all(check.ok for check in checks), "\n".join(map(str, checks))


def test_results_that_differ_are_counted():
    check = compare("x", [np.array([1.0, 2.0]), 4.0], [np.array([1.0, 2.5]), 2.0], allowed=0.5)
    assert (check.different, check.compared, check.largest, check.ok) == (2, 3, 1.0, False)
    assert not compare("x", np.array([np.nan]), np.array([0.0]), allowed=1).ok
    assert not compare("x", np.zeros(2), np.zeros(3)).ok
    assert not compare("x", np.zeros(2, np.float32), np.zeros(2)).ok


def test_a_broken_family_is_reported_and_keeps_back_no_other(monkeypatch, capsys):
    pytest.importorskip("numba_cuda", reason="numba-cuda is not installed")

    def broken(self):
        raise ValueError("no such thing")

    monkeypatch.setattr(gpu_exercise.Exercise, "scores", broken)
    assert gpu_exercise.main("tiny", ["scores", "packing"]) == 1
    said = capsys.readouterr().out
    assert "WRONG scores: ValueError: no such thing" in said and "ok    packing: unpacked bits" in said
    assert said.endswith("1 wrong\n")


# -- what other programs print -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tail,status,verdict",
    [
        ("===== 246 passed, 3 skipped, 1 warning in 169.36s (0:02:49) =====", 0, PASSED),
        ("FAILED tests/test_a.py::test_b[1] - assert 0\n1 failed, 2 passed in 3.21s", 1, FAILED),
        ("ERROR tests/test_a.py\n1 error in 0.10s", 2, FAILED),
        ("3 skipped in 0.01s", 0, FAILED),
        ("Segmentation fault", -11, ERROR),
    ],
)
def test_summaries_of_pytest(tail, status, verdict):
    row = gpu_programs.tests_row(f"some output\n{tail}\n", status)
    assert row.verdict == verdict
    if "FAILED" in tail:
        assert row.reason == "1 failed, 2 passed: FAILED tests/test_a.py::test_b[1]"


MEMCHECK = "========= COMPUTE-SANITIZER\n{}\n========= ERROR SUMMARY: {} errors\n"
RACECHECK = (
    "========= COMPUTE-SANITIZER\n{}\n========= RACECHECK SUMMARY: {} hazards displayed ({} errors, {} warnings)\n"
)
INVALID = "========= Invalid __global__ write of size 4 bytes\nok    layers\nall right"


@pytest.mark.parametrize(
    "tool,output,verdict,said",
    [
        ("memcheck", MEMCHECK.format("all right", 0), PASSED, "0 errors"),
        ("memcheck", MEMCHECK.format(INVALID, 2), FAILED, "Invalid __global__ write"),
        ("memcheck", MEMCHECK.format("WRONG chains: 1 of 2 differ", 0), FAILED, "WRONG chains"),
        ("memcheck", MEMCHECK.format("Killed", 0), ERROR, "did not finish"),
        ("memcheck", "========= Error: Device not supported. Please refer to", SKIPPED, "Device not supported"),
        ("memcheck", "no module named x\n", ERROR, "no module named x"),
        ("racecheck", RACECHECK.format("all right", 0, 0, 0), PASSED, "0 hazards"),
        ("racecheck", RACECHECK.format("all right", 2, 0, 2), FAILED, "2 warnings"),
    ],
)
def test_summaries_of_sanitizers(tool, output, verdict, said):
    row = gpu_programs.sanitizer_row(tool, output, 0)
    assert row.verdict == verdict and said in row.reason and row.case == tool


def test_a_sanitizer_that_is_missing_is_skipped_with_the_reason(monkeypatch):
    monkeypatch.setattr(gpu_programs, "find_sanitizer", lambda: None)
    row = gpu_programs.run("memcheck", 1.0)
    assert row.verdict == SKIPPED and "not on the PATH" in row.reason


def test_a_program_that_takes_too_long_is_ended_with_its_children():
    nested = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    output, status = gpu_programs.run_program([sys.executable, "-c", f"print('begun', flush=True); {nested}"], 2.0)
    assert status is None and output == "begun\n"
    assert not gpu_programs.running


# -- the table and the exit status ---------------------------------------------------------------------------------


def test_names_are_selected():
    assert gpu_check.select([]) == list(gpu_check.NAMES)
    assert gpu_check.select(["cd-h256"]) == ["cd-h256-b256", "pcd-h256-b256"]
    assert gpu_check.select(["*check"], skip=["memcheck"]) == ["racecheck"]


def test_a_broken_part_is_a_row():
    def part():
        yield Row("a", "a", "-", "-", PASSED)
        raise RuntimeError("an illegal\nmemory access")

    rows = list(gpu_check.guarded("part", part))
    assert [row.verdict for row in rows] == [PASSED, ERROR]
    assert rows[1].reason.startswith("RuntimeError: an illegal memory access (test_gpu_check.py:")


def test_programs_run_and_one_that_breaks_is_a_row(monkeypatch):
    def run(name, seconds):
        assert 0 < seconds <= 60
        if name == "memcheck":
            raise OSError("no such program")
        return Row(name, name, "-", "-", PASSED)

    monkeypatch.setattr(gpu_programs, "run", run)
    rows = list(gpu_check.run(["tests", "memcheck", "racecheck"], Lines(1), Deadline(60)))
    assert [(row.case, row.verdict) for row in rows] == [("tests", PASSED), ("memcheck", ERROR), ("racecheck", PASSED)]


def test_the_order_is_that_of_what_is_learned():
    names = gpu_check.NAMES
    assert names[0] == gpu_programs.FAMILIES and names[-2:] == gpu_programs.TOOLS and names[-3] == "tests"


def test_a_run_is_resumed(monkeypatch, tmp_path, capsys):
    file = tmp_path / "out.json"
    timed = Row("cd-h256-b256-fp32", "CD", "PyTorch", "2x", PASSED, "", 3.0, (2.0, 4.0), quality=None)
    first = [
        Row("families", "layers", "CPU kernels", "same bits", PASSED), timed,
        Row("ais-fp32", "AIS", "-", "-", ERROR, "broke"), Row("exact", "log Z", "-", "-", SKIPPED, "no time left"),
        Row("tests", "cut off", "-", "-", PASSED),
    ]  # fmt: skip

    def interrupted():
        yield from first
        os.kill(os.getpid(), signal.SIGTERM)
        yield timed

    prepared(monkeypatch, interrupted)
    assert gpu_check.main(["--json", str(file)]) == 1
    asked = []
    monkeypatch.setattr(gpu_check, "run", lambda names, *_: asked.extend(names) or iter([]))
    assert gpu_check.main(["--json", str(file), "--resume"]) == 0
    assert not {"families", "cd-h256-b256"}.intersection(asked)
    assert {"ais", "exact", "tests", "memcheck", "racecheck", "pcd-h256-b256"}.issubset(asked)
    rows = json.loads(file.read_text())["rows"]
    assert [row["case"] for row in rows] == ["families", timed.case] and rows[1]["round_ratios"] == [2.0, 4.0]
    capsys.readouterr()


def test_resuming_needs_a_file(capsys):
    with pytest.raises(SystemExit):
        gpu_check.main(["--resume"])
    assert "--resume needs --json FILE" in capsys.readouterr().err


def test_parts_without_time_are_rows():
    rows = list(gpu_check.run(["gibbs", "exact"], Lines(1), Deadline(0)))
    assert [(row.verdict, row.reason) for row in rows] == [(SKIPPED, "no time left")] * 2


def prepared(monkeypatch, rows):
    """Let `main` believe in a device and have these rows."""
    monkeypatch.setattr(availability, "why_not", lambda: None)
    monkeypatch.setattr(availability, "simulated", lambda: False)
    where = {"device": "a device", "notes": [], "versions": {"fastrbm": "0"}, "libraries": [], "cores": 2}
    where |= dict.fromkeys(
        ("date", "cpu", "system", "load_average", "threads", "rounds", "data", "python", "kernels"), "x"
    )
    monkeypatch.setattr(gpu_check, "environment", lambda lines: where)
    monkeypatch.setattr(gpu_check, "run", lambda *_: rows())


@pytest.mark.parametrize("verdict,status", [(PASSED, 0), (MISSED, 0), (SKIPPED, 0), (FAILED, 1), (ERROR, 1)])
def test_exit_status(monkeypatch, capsys, tmp_path, verdict, status):
    row = Row("gibbs-fp32", "Gibbs", "PyTorch", "2x", verdict, "because", 1.5, (1.5,), "s", 3.0, 2.0)
    prepared(monkeypatch, lambda: iter([row]))
    assert gpu_check.main(["--json", str(tmp_path / "out.json")]) == status
    printed = capsys.readouterr().out
    assert "Device: a device." in printed
    assert f"| Gibbs | PyTorch | 2x | 1.5x | 1.5..1.5 | 3 s | 2 s | - | - | - | {verdict}: because |" in printed
    assert json.loads((tmp_path / "out.json").read_text())["rows"][0]["verdict"] == verdict


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_table_is_printed_after_an_interrupt(monkeypatch, capsys, number):
    def rows():
        yield Row("tests", "the tests", "-", "all", PASSED)
        os.kill(os.getpid(), number)
        yield Row("late", "never", "-", "-", PASSED)

    before = signal.getsignal(number)
    prepared(monkeypatch, rows)
    assert gpu_check.main([]) == 1
    printed = capsys.readouterr().out
    assert "the tests" in printed and "never" not in printed and "interrupted" in printed
    assert signal.getsignal(number) is before


def test_without_a_device_the_reason_is_printed(monkeypatch, capsys):
    monkeypatch.setattr(availability, "why_not", lambda: "there is no driver")
    assert gpu_check.main([]) == gpu_check.NO_DEVICE == 3
    assert capsys.readouterr().out == "nothing was checked: there is no driver\n"


def test_the_simulator_is_no_device():
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "gpu_check.py"], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 3, done.stderr
    assert "nothing was checked" in done.stdout


def test_the_exercise_is_a_command(monkeypatch):
    monkeypatch.setattr(availability, "why_not", lambda: None)
    monkeypatch.setattr(gpu_exercise, "main", lambda size, parts: 1 if size == "tiny" else 0)
    assert gpu_check.main(["--exercise"]) == 0
    assert gpu_check.main(["--exercise", "--size", "tiny"]) == 1
    monkeypatch.setattr(availability, "why_not", lambda: "there is no driver")
    assert gpu_check.main(["--exercise"]) == 3


def test_nothing_to_do_is_refused(capsys):
    with pytest.raises(SystemExit) as stopped:
        gpu_check.main(["--only", "tests", "--skip-tests"])
    assert stopped.value.code == gpu_check.USAGE and "nothing to do" in capsys.readouterr().err


# -- where the device begins to win --------------------------------------------------------------------------------


def test_crossing():
    points = [
        Point(10, 1.0, 2.0),
        Point(100, 2.0, 1.0),
        Point(1000, 2.0, 3.0),
        Point(4000, 9.0, 3.0),
        Point(9000, 9, 1),
    ]
    assert gpu_crossing.crossing(points) == 4000
    assert "put AUTO_WORK = 4000 into cuda.availability" in gpu_crossing.advice(points, True)
    assert gpu_crossing.crossing(points[:3]) is None
    assert "leave AUTO_WORK None" in gpu_crossing.advice(points[:3], True)
    assert "the least that was measured" in gpu_crossing.advice(points[3:], True)
    assert "larger sizes were not measured" in gpu_crossing.advice(points, False)


def test_the_crossing_is_measured():
    rows = list(gpu_crossing.measure(random_rows(64), 1, Deadline(60), "reference", [(12, 4, 8)]))
    assert [row.verdict for row in rows] == [NO_TARGET] * 2
    assert "12x4, batch 8: 384 multiply-adds" in rows[0].work and "AUTO_WORK" in rows[1].reason
    assert rows[0].ratio == pytest.approx(rows[0].peer_value / rows[0].ours_value)
    late = list(gpu_crossing.measure(random_rows(64), 1, Deadline(0), "reference", [(12, 4, 8)]))
    assert [row.verdict for row in late] == [SKIPPED, NO_TARGET]


# -- the PyTorch peer, on the CPU ----------------------------------------------------------------------------------


class Halves:
    """In the place of draws: whether a probability is above a half, so that formulas can be followed."""

    def sample(self, P, out):
        return out.copy_((P > 0.5).float())


@pytest.mark.parametrize("algorithm", ["cd", "pcd"])
def test_an_epoch_of_the_peer_is_the_formula(algorithm):
    pytest.importorskip("torch")
    X, training = random_rows(), Training(6, 16, 1, 0.1, algorithm, k=2)
    run = torch_cuda_peer.Epochs(X, training, "cpu")
    run.begin(0)
    W, b, a = (x.astype(np.float64) for x in run.parameters())
    run.loop.bits_v = run.loop.bits_h = Halves()
    run.go()
    H = np.zeros((16, 6))
    for first in range(0, 48, 16):
        V = X[run._order.numpy()[first : first + 16]]
        mean = sigmoid(V @ W.T + b)
        if algorithm == "cd":
            H = (mean > 0.5).astype(float)
        model = (sigmoid(H @ W + a) > 0.5).astype(float)
        H = (sigmoid(model @ W.T + b) > 0.5).astype(float)
        model = (sigmoid(H @ W + a) > 0.5).astype(float)
        after = sigmoid(model @ W.T + b)
        gradients = mean.T @ V - after.T @ model, (mean - after).sum(0), (V - model).sum(0)
        H = (after > 0.5).astype(float)
        W, b, a = (x + 0.1 / 16 * g for x, g in zip((W, b, a), gradients, strict=True))
    for got, wanted in zip(run.parameters(), (W, b, a), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-6)


@pytest.mark.parametrize("bits", ["compare", "fused"])
def test_draws_of_the_peer_have_their_probabilities(bits):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    P = torch.tensor([0.0, 0.2, 0.9, 1.0]).expand(20000, 4).contiguous()
    drawn = torch_cuda_peer.bits_of(bits, "cpu")(P.shape, None).sample(P, torch.empty_like(P))
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    np.testing.assert_allclose(drawn.mean(0).numpy(), [0, 0.2, 0.9, 1], atol=0.015)


def test_a_run_of_the_peer_begins_again():
    pytest.importorskip("torch")
    run = torch_cuda_peer.Epochs(random_rows(), Training(6, 16, 1, 0.1, "pcd"), "cpu")
    results = []
    for seed in (3, 4, 3):
        run.begin(seed)
        run.go()
        results.append(run.parameters().W)
    np.testing.assert_array_equal(results[0], results[2])
    assert (results[0] != results[1]).any()


def test_chains_of_the_peer_reach_the_distribution():
    pytest.importorskip("torch")
    parameters = random_parameters(3, 4)
    states = ((np.arange(16)[:, None] >> np.arange(4)) & 1).astype(np.float64)
    log_p = states @ parameters.a + np.logaddexp(0, states @ parameters.W.T + parameters.b).sum(1)
    wanted = np.exp(log_p - logsumexp(log_p)) @ states
    run = torch_cuda_peer.Chains(parameters, np.zeros((20000, 4), np.float32), 30, "cpu")
    run.begin(0)
    run.go()
    np.testing.assert_allclose(run.states().mean(0), wanted, atol=0.02)


def test_annealing_of_the_peer_finds_the_exact_sum():
    pytest.importorskip("torch")
    parameters = random_parameters()
    exact = ScipySums().partition(*parameters, threads=1)
    run = torch_cuda_peer.Annealing(parameters, 2000, 100, "cpu")
    run.begin(0)
    run.go()
    log_weights = run.log_weights_of_chains()
    assert abs(logsumexp(log_weights) - np.log(2000) - exact) < 0.05
    run.go()
    assert (run.log_weights_of_chains() != log_weights).any()


# -- lines ---------------------------------------------------------------------------------------------------------


def test_sides_take_turns_for_as_long_as_there_is_time():
    calls = []

    def side(name):
        return lambda number: (calls.append((name, number)), (1.0, number))[1]

    timing = in_turn(side("peer"), side("ours"), 2, Deadline(60))
    assert calls == [("ours", 0), ("peer", 0), ("peer", 0), ("ours", 0), ("ours", 1), ("peer", 1)]
    assert timing.peer_results == timing.ours_results == (0, 1)
    assert len(in_turn(side("peer"), side("ours"), 9, Deadline(0)).ours_seconds) == 1


@pytest.fixture(scope="module")
def lines():
    """Tiny problems, all of them on the CPU."""
    return Lines(
        1, rounds=2, quick=True, device="cpu", torch_device="cpu", epochs=1, n_chains=40, n_steps=2, n_annealed=20,
        n_temperatures=5, n_summed=5, n_rows=600, n_hidden=20,
    )  # fmt: skip


def test_agreement_of_a_device_with_itself(lines):
    rows = list(lines.agreement())
    assert [row.verdict for row in rows] == [PASSED] * 4
    assert rows[0].reason.startswith("0 of ")


@pytest.mark.parametrize("name", ["pcd-h256-b256", "gibbs", "ais"])
def test_lines_against_the_peer(lines, name):
    pytest.importorskip("torch")
    rows = list(lines.measured(name, Deadline(60)))
    cases = [f"{name}-fp32", f"{name}-tf32"]
    if name != "ais":
        cases += [f"{name}-bf16", f"{name}-jax", f"{name}-cupy"]
    assert [row.case for row in rows] == cases
    for row in rows:
        if row.verdict == SKIPPED:
            assert row.case.endswith("jax") and "not installed" in row.reason
            continue
        assert row.ratio > 0 and row.quality is not None and row.verdict in ("ran (quick)", FAILED)
    assert rows[0].peer == "PyTorch, graph, fp32" and rows[1].target == "-"


def test_a_peer_without_a_device_is_a_row(lines):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a device")
    row, of_jax, of_cupy = replace(lines, torch_device="cuda").measured("gibbs", Deadline(1))
    assert row.verdict == of_jax.verdict == of_cupy.verdict == SKIPPED and "sees no device" in row.reason


@pytest.mark.parametrize("name", ["pcd-h256-b256", "cd-h256-b256", "gibbs"])
def test_what_is_written_for_cupy_runs_on_numpy(lines, name):
    row = lines._by_hand(name, CuPy("numpy"), Deadline(60))
    assert row.case == f"{name}-cupy" and row.ratio > 0 and row.quality is not None and row.verdict == "ran (quick)"


def test_exact_sums_are_given_up_when_they_take_too_long(lines, monkeypatch):
    from benchmarks import gpu_cases

    (row,) = lines.measured("exact", Deadline(60))
    assert row.ours_value > 0 and "log Z" in row.reason
    monkeypatch.setattr(gpu_cases, "_SUM_PATIENCE", -1.0)
    (row,) = lines.measured("exact", Deadline(60))
    assert row.verdict == MISSED and "given up" in row.reason
