"""Builds the CPU extension: one Cython module, one C source per instruction set, run-time dispatch."""

import os
import platform
import sys
import tempfile
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

CPU = Path("src/fastrbm/_kernels/cpu")
# Arithmetic must not be contracted or reassociated: all targets return the same bits. (Partition sums alone ask for
# fused multiply-adds, by name.)
FLAGS = [
    "-O3",
    "-std=c11",
    "-Wno-sign-compare",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-Wno-psabi",
]
# FASTRBM_SANITIZE=address,undefined instruments the extension (CONTRIBUTING says how to run the tests with it).
SANITIZE = [f"-fsanitize={os.environ['FASTRBM_SANITIZE']}", "-g"] if os.environ.get("FASTRBM_SANITIZE") else []
# name -> (extra flags, macros); a further instruction set is one more row
TARGETS = {
    "baseline": ([], []),
    "avx2": (["-mavx2", "-mfma"], [("FRBM_AVX2", None)]),
    "avx512": (
        ["-mavx2", "-mfma", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512"],
        [("FRBM_AVX512", None)],
    ),
}


def is_x86():
    """Whether the extension is being built for x86-64."""
    return "x86_64" in os.environ.get("ARCHFLAGS", platform.machine()) or platform.machine() == "AMD64"


def openmp_flags(compiler):
    """Compile and link flags for OpenMP, or nothing where a trial build fails or FASTRBM_OPENMP=0 is set."""
    if os.environ.get("FASTRBM_OPENMP") == "0":
        return [], []
    candidates = [(["-fopenmp"], ["-fopenmp"])]
    if sys.platform == "darwin":
        candidates.append((["-Xpreprocessor", "-fopenmp"], ["-lomp"]))
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "trial.c")
        source.write_text("#include <omp.h>\nint trial(void) { return omp_get_max_threads(); }\n")
        for compile_args, link_args in candidates:
            try:
                objects = compiler.compile([str(source)], output_dir=folder, extra_postargs=compile_args)
                compiler.link_shared_object(objects, str(Path(folder, "trial.so")), extra_postargs=link_args)
                return compile_args, link_args
            except Exception as error:  # noqa: BLE001 - compilers fail in many ways; each means "no OpenMP"
                print(f"fastrbm: no OpenMP with {compile_args}: {error}")
    print("fastrbm: building without OpenMP; the kernels will use one thread")
    return [], []


class BuildTargets(build_ext):
    """Compiles tiles.c once per instruction set and links all of them in."""

    def build_extension(self, ext):
        source = str(CPU / "src" / "tiles.c")
        x86 = is_x86()
        for name, (flags, macros) in TARGETS.items():
            if name != "baseline" and not x86:
                continue
            folder = os.path.join(self.build_temp, name)
            macros = [*macros, ("FRBM_TABLE", f"frbm_table_{name}")]
            ext.extra_objects += self.compiler.compile(
                [source], output_dir=folder, macros=macros, extra_postargs=FLAGS + flags + SANITIZE
            )
        if x86:
            ext.define_macros.append(("FRBM_X86", None))
        compile_args, link_args = openmp_flags(self.compiler)
        ext.extra_compile_args += FLAGS + compile_args + SANITIZE
        ext.extra_link_args += link_args + SANITIZE
        super().build_extension(ext)


SOURCES = ("anneal.c", "choose.c", "lean.c", "partition.c", "run.c", "train.c")
extension = Extension(
    "fastrbm._kernels.cpu._cpu",
    sources=[str(CPU / "_cpu.pyx"), *(str(CPU / "src" / name) for name in SOURCES)],
    depends=[*map(str, sorted((CPU / "src").glob("*.[ch]"))), *map(str, sorted(CPU.glob("*.pxi")))],
    include_dirs=[str(CPU / "src")],
)

# The benchmark suite stands beside src/ in the checkout and is installed as fastrbm.benchmarks, for `fastrbm bench`.
setup(
    packages=[*find_packages("src"), "fastrbm.benchmarks", "fastrbm.benchmarks.peers"],
    package_dir={"": "src", "fastrbm.benchmarks": "benchmarks"},
    ext_modules=cythonize([extension], include_path=["src"]),
    cmdclass={"build_ext": BuildTargets},
)
