"""What the commands say where something is missing or cannot be written, and that nothing is left behind."""

import re
import struct

import pytest

from fastrbm._cli.main import main

HEADER = {
    "empty": (b"", "it is empty"),
    "other": (b"PNG!", "not an IDX file"),
    "cut": (struct.pack(">HBB2I", 0, 8, 3, 5, 28), "truncated in the IDX header, after 12 bytes"),
    "short": (struct.pack(">HBB3I", 0, 8, 3, 5, 2, 2) + b"abc", "truncated; the header announces 20 bytes"),
    "small": (
        struct.pack(">HBB3I", 0, 8, 3, 1, 2, 2) + b"abcd",
        r"an array of shape \(1, 2, 2\), expected \(60000, 784\)",
    ),
    "long": (struct.pack(">HBB3I", 0, 8, 3, 60000, 28, 28) + bytes(60000 * 784 + 1), "bytes left over"),
}


def said(capsys, *arguments):
    """What a command that fails says on stderr."""
    try:
        status = main(list(arguments))
    except SystemExit as stop:
        status = stop.code
    assert status in (1, 2)
    return capsys.readouterr().err


def test_places_without_a_data_set_have_a_line_each(tmp_path, capsys):
    lines = said(capsys, "train", "mnist", "--data-dir", str(tmp_path), "--out", str(tmp_path / "a.npz")).splitlines()
    assert lines[0] == "fastrbm: error: mnist was not found. Looked at:"
    assert lines[1] == f"  - --data-dir, {tmp_path / 'mnist'}: no such folder"
    assert lines[2].startswith(f"  - --data-dir, {tmp_path}: it lacks train-images")
    assert lines[3].startswith("Put train-images-idx3-ubyte.gz") and "--data-dir" in lines[3] and len(lines) == 4


@pytest.mark.parametrize("kind", HEADER)
def test_damaged_data_files_are_named_with_what_came_and_the_remedy(kind, tmp_path, capsys):
    content, message = HEADER[kind]
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(struct.pack(">HBBI", 0, 8, 1, 1) + b"a")
    text = said(capsys, "train", "mnist", "--data-dir", str(tmp_path), "--out", str(tmp_path / "a.npz"))

    assert re.search(f"train-images-idx3-ubyte: .*{message}.*Copy or download it again", text), text
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("foo=1:2", "argument --space: must name options of BernoulliRBM, got 'foo'; there are "),
        ("learning_rate=3:1", "argument --space: learning_rate must have a low end that is at most the high one"),
        ("n_components=-3:8", "argument --space: n_components must be"),
        ("n_components=a:b", "argument --space: n_components must be low:high or low:high:log, two numbers, got 'a:b'"),
        ("", "argument --space: must be name=low:high"),
    ],
)
def test_spaces_are_checked_before_data_are_read(space, message, tmp_path, capsys):
    pytest.importorskip("optuna")
    text = said(capsys, "tune", str(tmp_path / "missing.csv"), "--space", space, "--out", str(tmp_path / "a.npz"))
    assert message in text


def test_accuracy_without_labels_says_what_to_do(tmp_path, capsys):
    pytest.importorskip("optuna")
    out = ["--metric", "accuracy", "--out", str(tmp_path / "a.npz")]
    assert "DATA digits is taken without: write rows and labels to a file" in said(capsys, "tune", "digits", *out)
    table = tmp_path / "table.csv"
    table.write_text("1,0\n0,1\n" * 5)
    assert f"say which column of {table} has them by --label COLUMN" in said(capsys, "tune", str(table), *out)


@pytest.mark.parametrize("out", ["new", "new/inner"])
def test_a_command_that_fails_leaves_no_empty_folder(out, tmp_path, capsys):
    missing = ["--data-dir", str(tmp_path / "nowhere"), "--quiet"]
    said(capsys, "reproduce", "mnist-likelihood", "--out", str(tmp_path / out), *missing)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "new").mkdir()  # what was there stays
    said(capsys, "reproduce", "mnist-likelihood", "--out", str(tmp_path / out), *missing)
    assert (tmp_path / "new").is_dir() and list((tmp_path / "new").iterdir()) == []


def test_demo_leaves_no_empty_folder(tmp_path, capsys, monkeypatch):
    def fails(out, **_):
        (out / "digits").mkdir()
        (out / "digits").rmdir()
        raise ValueError("no")

    monkeypatch.setattr("fastrbm._cli.demo.run", fails)
    assert said(capsys, "demo", "--out", str(tmp_path / "new")) == "fastrbm: error: no\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["reproduce", "digits", "--quick"], ["demo", "--quick"]], ids=lambda x: x[0])
def test_folders_that_cannot_be_made_are_named(command, tmp_path, capsys, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    file = tmp_path / "file"
    file.write_text("")
    assert said(capsys, *command, "--out", str(file)) == f"fastrbm: error: --out: {file} is a file; give a folder\n"
    monkeypatch.setattr("fastrbm._cli.output.tempfile.TemporaryFile", refused)
    text = said(capsys, *command, "--out", str(tmp_path / "new"))
    assert text == (
        f"fastrbm: error: --out: the folder {tmp_path / 'new'} cannot be made or written in (Permission denied); "
        "choose another\n"
    )
    assert not (tmp_path / "new").exists()
