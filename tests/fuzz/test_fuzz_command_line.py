"""Lines that are anything: an exit status that is documented, and never a traceback."""

import contextlib
import io
import tempfile
from pathlib import Path

import numpy as np
from fuzzing import fuzz
from hypothesis import given
from hypothesis import strategies as st

from cli_cases import BITS, run
from fastrbm import BernoulliRBM

FOLDER = Path(tempfile.mkdtemp())
np.save(FOLDER / "rows.npy", BITS)
np.savetxt(FOLDER / "rows.csv", BITS, fmt="%d", delimiter=",")
(FOLDER / "broken.npz").write_bytes(b"PK no")
MODEL = BernoulliRBM(3, n_iter=1, random_state=0).fit(BITS).save(FOLDER / "model.npz")
FILES = [
    FOLDER / name
    for name in ("rows.npy", "rows.csv", "model.npz", "broken.npz", "nowhere.npy", "out.npz", "out.csv", ".")
]
VALUES = st.one_of(
    st.integers(-3, 12).map(str),
    st.floats(width=16).map(str),
    st.text(max_size=5).filter(lambda x: "\0" not in x),
    st.sampled_from(FILES).map(str),
    st.sampled_from(
        ["cd", "adam", "SGD(0.1)", "Linear(1, 0)", "Tempering(3)", "L2(1e-3), L1(", "__import__('os')", "none"]
    ),
)
OPTIONS = st.sampled_from(
    [
        "--out",
        "--components",
        "--epochs",
        "--batch-size",
        "--learning-rate",
        "--algorithm",
        "--optimizer",
        "--seed",
        "--model",
        "--resume",
        "--checkpoint",
        "--checkpoint-every",
        "--threads",
        "--visible",
        "--regularizers",
        "--init",
        "--n",
        "--steps",
        "--quiet",
        "--force",
        "--binarize",
        "--scale",
        "--chains",
        "--momentum",
        "--visible-bias",
        "--nothing",
    ]
)
COMMANDS = st.sampled_from(["train", "transform", "sample", "info", "evaluate", "tune", "train", "train", "x"])
USUAL = {
    "train": ["--out", str(FOLDER / "out.npz"), "--components", "3", "--epochs", "1", "--force"],
    "transform": ["--out", str(FOLDER / "out.csv"), "--force"],
}


@fuzz
@given(
    COMMANDS,
    st.lists(st.sampled_from(FILES[:4]), max_size=2),
    st.lists(st.tuples(OPTIONS, st.none() | VALUES), max_size=3),
)
def test_any_line(command, files, options):
    if command == "tune":  # searches take longer than what is asked here
        options = [*options, ("--nothing", None)]
    line = [command, *files, *USUAL.get(command, [])]
    for name, value in options:
        line += [name] if value is None else [name, value]
    with (
        contextlib.chdir(FOLDER),
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        status = run(*line)
    assert status in (0, 1, 2, None), line
    said = out.getvalue() + err.getvalue()
    assert "Traceback" not in said
    if status in (1, 2):
        assert "fastrbm" in err.getvalue() and "error" in err.getvalue(), line
    MODEL.exists() or BernoulliRBM(3, n_iter=1, random_state=0).fit(BITS).save(MODEL)
