"""What was measured on a device is read from a file, and changes no result."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from fastrbm import BernoulliRBM
from fastrbm._kernels.cuda import tuning
from fastrbm._kernels.cuda.tuning import Tuned

ROOT = Path(__file__).resolve().parents[2]


def test_what_is_written_is_read(tmp_path, monkeypatch):
    file = tmp_path / "tuning.json"
    monkeypatch.delenv(tuning.VARIABLE, raising=False)
    assert tuning.tuned("one") == Tuned()
    tuning.write(file, "one", Tuned(4096, 1.5))
    tuning.write(file, "two", Tuned(large_from=0.25))
    tuning.write(file, "one", Tuned(8192, 2.0))
    monkeypatch.setenv(tuning.VARIABLE, str(file))
    assert tuning.tuned("one") == Tuned(8192, 2.0) and tuning.tuned("two") == Tuned(None, 0.25)
    assert tuning.tuned("three") == Tuned()


BAD = [
    "",
    "[]",
    "3",
    '{"one": {"large_from": Infinity}}',
    *(
        json.dumps({"one": values})
        for values in (
            3, {"auto_work": 0}, {"auto_work": 1.5}, {"auto_work": True}, {"large_from": -1}, {"large_from": "x"},
            {"other": 1},
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_other_files_are_refused_by_name(text, tmp_path, monkeypatch):
    file = tmp_path / "tuning.json"
    file.write_text(text)
    monkeypatch.setenv(tuning.VARIABLE, str(file))
    with pytest.raises(ValueError, match="tuning.json"):
        tuning.tuned("one")


def test_a_file_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv(tuning.VARIABLE, str(tmp_path / "none.json"))
    with pytest.raises(ValueError, match=tuning.VARIABLE):
        tuning.tuned("one")


@pytest.mark.only_on("emulated", "device", reason="the simulator has one shape of blocks")
def test_shapes_of_blocks_follow_the_file_and_the_bits_do_not(tmp_path, monkeypatch):
    pytest.importorskip("numba_cuda")
    from fastrbm._kernels.cuda import availability, launching
    from fastrbm._kernels.cuda.kernels.tiles import LARGE, SMALL

    X = (np.random.default_rng(0).random((70, 40)) < 0.4).astype(np.float32)
    found = []
    for large_from, tile in ((1e-6, LARGE), (1e6, SMALL)):
        tuning.write(tmp_path / "t.json", availability.device_name(), Tuned(large_from=large_from))
        monkeypatch.setenv(tuning.VARIABLE, str(tmp_path / "t.json"))
        launching._large_from.cache_clear()
        assert launching.choose_tile(64, 64) is tile
        found.append(BernoulliRBM(9, batch_size=35, n_iter=1, random_state=0, device="cuda").fit(X).components_)
    launching._large_from.cache_clear()
    np.testing.assert_array_equal(*found)


@pytest.fixture
def crossing():
    if not (ROOT / "benchmarks").exists():
        pytest.skip("benchmarks/ is only in the checkout")
    sys.path.insert(0, str(ROOT))
    from benchmarks import gpu_crossing

    return gpu_crossing


@pytest.mark.only_on("emulated", "device", reason="the simulator has one shape of blocks")
def test_tiles_are_measured(crossing, monkeypatch):
    from benchmarks.gpu_cases import Deadline

    monkeypatch.setattr(crossing, "_CALLS", 1)
    monkeypatch.setattr(crossing, "MULTIPLES", (0.5, 1.0))
    found = {}
    rows = list(crossing.measure_tiles(Deadline(100), found, 33, 40))
    assert [row.case for row in rows] == ["tiles-0.5", "tiles-1", "tiles"] and found["large_from"] in (0.5, 1.0, 2.0)
    (row,) = crossing.measure_tiles(Deadline(0), found)
    assert row.reason == "no time left"


def test_the_least_multiple_from_which_large_tiles_win(crossing):
    assert crossing.best_from([1, 1, 1, 1, 1], [2, 2, 1, 0.9, 0.5]) == 1.0
    assert crossing.best_from([1, 1, 1, 1, 1], [0.5, 2, 1, 0.9, 0.5]) == 1.0
    assert crossing.best_from([1, 1, 1, 1, 1], [0.5] * 5) == 0.25
    assert crossing.best_from([1, 1, 1, 1, 1], [2] * 5) == 8.0
