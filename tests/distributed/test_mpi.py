"""The same bits under ``mpirun -n 1, 2, 3, 4``; processes that are killed, asked to end, or fail."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fastrbm
from fastrbm import BernoulliRBM

pytest.importorskip("mpi4py", reason="mpi4py is not installed")
HERE = Path(__file__).parent
#: beside the interpreter, where the wheel of Open MPI puts it, or wherever the system has it
MPIRUN = shutil.which("mpirun", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
pytestmark = [
    pytest.mark.skipif(MPIRUN is None, reason="there is no mpirun here"),
    pytest.mark.timeout(300),
]


def started(n, *command):
    environment = os.environ | {
        "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "PRTE_ALLOW_RUN_AS_ROOT": "1",
        "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMP_NUM_THREADS": "1",
        # more processes than processors, none of them bound to one
        "OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_MCA_hwloc_base_binding_policy": "none",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe", "PRTE_MCA_hwloc_default_binding_policy": "none",
    }  # fmt: skip
    return subprocess.Popen(
        [MPIRUN, "-n", str(n), *map(str, command)], env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def script(n, *arguments):
    return started(n, sys.executable, HERE / "script.py", *arguments)


def ended(process, seconds=120):
    """What it printed, what it said, and its status."""
    try:
        out, said = process.communicate(timeout=seconds)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return out, said, process.returncode


def output(process):
    out, said, status = ended(process)
    assert status == 0, said
    return out


def test_any_number_of_processes_has_the_same_bits():
    wanted = output(script(1, "fits"))
    assert len(wanted.splitlines()) == 17
    for n in (2, 3, 4):
        assert output(script(n, "fits")) == wanted


def test_a_killed_process_ends_the_job_which_goes_on_from_its_checkpoint(tmp_path):
    began = time.monotonic()
    _, _, status = ended(script(3, "die", tmp_path))
    assert status != 0 and time.monotonic() - began < 60
    assert len(list(tmp_path.glob("checkpoint-*.npz"))) == 2
    wanted = output(script(1, "alone"))
    assert output(script(2, "resume", tmp_path)) == wanted
    assert wanted.split()[1] == "8"


def test_a_killed_process_ends_the_others_within_ten_seconds(tmp_path):
    process = script(3, "die", tmp_path)
    while "pass 2" not in process.stdout.readline():
        assert process.poll() is None
    began = time.monotonic()
    assert ended(process)[2] != 0
    assert time.monotonic() - began < 10


def test_the_signal_of_a_scheduler_is_answered_by_a_checkpoint(tmp_path):
    process = script(2, "long", tmp_path)
    while "pass 2" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)  # mpirun passes it on
    began = time.monotonic()
    assert ended(process)[2] != 0
    assert time.monotonic() - began < 10
    assert output(script(2, "resume", tmp_path)) == output(script(1, "alone"))


def test_a_process_that_fails_alone_says_why_and_ends_all():
    began = time.monotonic()
    _, said, status = ended(script(2, "fail"))
    assert status != 0 and "only here" in said
    assert time.monotonic() - began < 30


def test_the_command_line(tmp_path):
    X = (np.random.default_rng(0).random((300, 40)) < 0.3).astype(np.uint8)
    np.save(tmp_path / "X.npy", X)

    def train(n, *more):
        command = [sys.executable, "-m", "fastrbm", "train", tmp_path / "X.npy", "--out", tmp_path / "model.npz"]
        return started(n, *command, "--n-components", 70, "--seed", 3, "--learning-rate", 0.1, *more)

    out = output(train(2, "--epochs", 3, "--batch-size", 50))
    assert out.count("wrote") == 1
    got = fastrbm.load(tmp_path / "model.npz")
    alone = BernoulliRBM(70, n_iter=3, batch_size=50, random_state=3).set_params(**options_of(got)).fit(X)
    np.testing.assert_array_equal(got.components_, alone.components_)
    folder = tmp_path / "checkpoints"
    output(train(3, "--epochs", 2, "--batch-size", 50, "--checkpoint", folder, "--checkpoint-every", "1 pass"))
    output(train(2, "--epochs", 3, "--checkpoint", folder, "--resume"))
    again = fastrbm.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(again.components_, alone.components_)


def test_a_command_that_fails_in_one_process_ends_in_all(tmp_path):
    np.save(tmp_path / "X0.npy", np.eye(6))
    line = f"exec {sys.executable} -m fastrbm train {tmp_path}/X$OMPI_COMM_WORLD_RANK.npy --out {tmp_path}/model.npz"
    began = time.monotonic()
    _, said, status = ended(started(2, "sh", "-c", line))
    assert status == 1 and "X1.npy" in said and "process 1: " in said
    assert time.monotonic() - began < 60 and not (tmp_path / "model.npz").exists()


def options_of(rbm):
    """What the command line sets by itself."""
    return {name: value for name, value in rbm.get_params(deep=False).items() if name not in ("callbacks", "verbose")}
