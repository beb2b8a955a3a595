"""Record the golden hashes: ``python tests/golden/golden_record.py [part of a name]``.

Hashes are promises about bits, so they are renewed only where a change of results is meant, with the reason in the
commit. A group of results is marked portable if it is the same, bit for bit, with the kernels of NumPy and of the BLAS
for other processors; elsewhere its hash holds for the machine and the versions it was recorded with, and on others its
figures do, to a tolerance that they are seen to keep.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("NUMBA_ENABLE_CUDASIM", "1")

RECORD = Path(__file__).with_name("hashes.json")
#: relative to the larger of the figure and 1e-3
TOLERANCE = 2e-3

# Stand-ins for other processors: libraries as they are there. Results of our own kernels must not depend on any of it.
_OTHERS = (
    {
        "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR",
        "FASTRBM_CPU": "avx2",
    },
    {
        "OPENBLAS_CORETYPE": "Nehalem",
        "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 F16C AVX AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL "
        "AVX512_SPR",
        "FASTRBM_CPU": "baseline",
    },
)


def machine() -> dict[str, Any]:
    """Versions and kernels that the last bits of NumPy's results come from."""
    import numpy as np
    import scipy
    import sklearn
    from threadpoolctl import threadpool_info

    features = np.show_config(mode="dicts")["SIMD Extensions"]["found"]  # type: ignore[index]
    blas = sorted({str(x.get("architecture")) for x in threadpool_info() if x["user_api"] == "blas"})
    versions = [np.__version__, scipy.__version__, sklearn.__version__]
    return {"versions": versions, "simd": sorted(features), "blas": blas}


def agree(now: list[float], before: list[float]) -> bool:
    """Whether figures are the same to the tolerance."""
    return all(abs(x - y) <= TOLERANCE * max(abs(y), 1e-3) for x, y in zip(now, before, strict=True))


def _all(part: str) -> dict[str, Any]:
    from golden_cases import CASES, compute

    return {name: compute(name) for name in CASES if part in name}


def _elsewhere(part: str, settings: dict[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", __file__, "--print", part]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    """Compute, compare with other kernels of the libraries, and write."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--print"]:
        json.dump(_all(arguments[1]), sys.stdout)
        return
    part = arguments[0] if arguments else ""
    here = _all(part)
    others = [_elsewhere(part, settings) for settings in _OTHERS]
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {"cases": {}}
    if part and record["machine"] != machine():
        raise SystemExit("a part can be recorded only with the machine and the versions of the whole")
    record["machine"] = machine()
    loose = 0
    for name, groups in here.items():
        for group, value in groups.items():
            if group == "refused":
                continue
            given = [other[name][group] for other in others]
            if all(x[0] == value[0] for x in given):
                groups[group] = value[0]
            elif not all(agree(x[1], value[1]) for x in given):
                groups[group] = [value[0]]  # a draw near a tie has gone the other way
                loose += 1
        record["cases"][name] = groups
    lines = (f" {json.dumps(name)}: {json.dumps(groups)}" for name, groups in record["cases"].items())
    head = f'{{"machine": {json.dumps(record["machine"])},\n"cases": {{\n'
    RECORD.write_text(head + ",\n".join(lines) + "\n}}\n")
    groups = [g for name in record["cases"].values() for g in name.values()]
    print(f"{len(record['cases'])} cases, {len(groups)} groups: {sum(isinstance(g, str) for g in groups)} portable, ")
    print(f"{loose} of which other kernels gave other draws")


if __name__ == "__main__":
    main()
