"""Model files as tests take them apart, and put them together again with checksums that are right."""

import json

import numpy as np

from fastrbm._estimator.archive import digest, digest_of_text


def parts_of(path):
    """Header and arrays, without the checksums."""
    with np.load(path) as archive:
        arrays = dict(archive)
    header = json.loads(str(arrays.pop("header")))
    del arrays["checksum"], header["sha256"]
    return header, arrays


def put_together(path, header, arrays):
    """Write a file of changed parts; returns its path."""
    sums = {name: digest(x) for name, x in arrays.items()}
    return put_text(path, json.dumps({"sha256": sums, **header}), arrays)


def put_text(path, text, arrays):
    """The same with the text of a header."""
    np.savez(path, header=np.array(text), checksum=np.array(digest_of_text(text)), **arrays)
    return path
