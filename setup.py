"""Builds the CPU extension: one Cython module, one C source per instruction set, run-time dispatch."""

import hashlib
import json
import os
import platform
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.modified import newer_group

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
# name -> (architecture, extra flags, macros); a further instruction set is one more row. For tests, "amx_emulated" is
# "amx" with the tile unit in plain C, and "amx_plain" all of it, for any processor.
TARGETS = {
    "baseline": ("any", [], []),
    "avx2": ("x86", ["-mavx2", "-mfma"], [("FRBM_AVX2", None)]),
    "avx512": (
        "x86",
        ["-mavx2", "-mfma", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512"],
        [("FRBM_AVX512", None)],
    ),
    "amx": (
        "x86",
        [
            "-mavx2",
            "-mfma",
            "-mavx512f",
            "-mavx512bw",
            "-mavx512dq",
            "-mavx512vl",
            "-mprefer-vector-width=512",
            "-mamx-tile",
            "-mamx-int8",
        ],
        [("FRBM_AVX512", None), ("FRBM_TILES", None)],
    ),
    "amx_emulated": (
        "x86",
        ["-mavx2", "-mfma", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512"],
        [("FRBM_AVX512", None), ("FRBM_TILES", None), ("FRBM_EMULATED", None)],
    ),
    "amx_plain": ("any", [], [("FRBM_TILES", None), ("FRBM_EMULATED", None)]),
    "neon": ("arm64", [], [("FRBM_NEON", None)]),
    "neon_i8mm": (
        "arm64",
        ["-march=armv8.2-a+i8mm"],
        [("FRBM_NEON", None), ("FRBM_TILES", None), ("FRBM_I8MM", None)],
    ),
}
# Targets that not every compiler has: a trial
TRIALS = {
    "amx": "#include <immintrin.h>\nvoid trial(void) { _tile_zero(0); _tile_dpbsud(0, 1, 2); }\n",
    "neon_i8mm": (
        "#include <arm_neon.h>\n"
        "uint32x4_t trial(uint32x4_t c, uint8x16_t a, uint8x16_t b) { return vmmlaq_u32(c, a, b); }\n"
    ),
}
# FASTRBM_TARGETS=avx512,amx_emulated builds these and the baseline alone.
WANTED = {name.strip() for name in os.environ.get("FASTRBM_TARGETS", ",".join(TARGETS)).split(",")} | {"baseline"}
if not WANTED <= TARGETS.keys():
    sys.exit(f"FASTRBM_TARGETS must be names of {list(TARGETS)}, with commas, got {sorted(WANTED - TARGETS.keys())}")


def architecture():
    """Which the extension is being built for: "x86", "arm64", or "" for another."""
    if "x86_64" in os.environ.get("ARCHFLAGS", platform.machine()) or platform.machine() == "AMD64":
        return "x86"
    machine = os.environ.get("ARCHFLAGS") or platform.machine()
    return "arm64" if any(name in machine for name in ("arm64", "aarch64")) else ""


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


def can_build(name, compiler):
    """Whether a target is wanted and can be built: "amx" on Linux alone, whose kernel is asked for the registers."""
    target, flags, _ = TARGETS[name]
    if name not in WANTED:
        return False
    if target not in ("any", architecture()) or (name == "amx" and not sys.platform.startswith("linux")):
        return False
    if name not in TRIALS:
        return True
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "trial.c")
        source.write_text(TRIALS[name])
        try:
            compiler.compile([str(source)], output_dir=folder, extra_postargs=flags)
        except Exception as error:  # noqa: BLE001 - as above
            print(f"fastrbm: no target {name}: {error}")
            return False
    return True


class BuildTargets(build_ext):
    """Compiles tiles.c once per instruction set, all sources side by side, and links the objects."""

    def build_extension(self, ext):
        compile_args, link_args = openmp_flags(self.compiler)
        flags = FLAGS + SANITIZE
        targets = [name for name in TARGETS if can_build(name, self.compiler)]
        own = {"x86": [("FRBM_X86", None)], "arm64": [("FRBM_ARM64", None)]}.get(architecture(), [])
        macros = [*ext.define_macros, *own, *((f"FRBM_HAS_{name.upper()}", None) for name in targets)]
        jobs = [(source, self.build_temp, macros, flags + compile_args) for source in ext.sources]
        for name in targets:
            _, own_flags, own_macros = TARGETS[name]
            folder = os.path.join(self.build_temp, name)
            table = ("FRBM_TABLE", f"frbm_table_{name}")
            jobs.append((TILES, folder, [*own_macros, table], flags + own_flags))
        depends = [str(path) for path in HEADERS]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            ext.extra_objects += pool.map(lambda job: self.compile_one(ext, depends, *job), jobs)
        ext.sources = []
        ext.extra_link_args += link_args + SANITIZE
        self.force = True  # an extension that is there already may be linked of objects with other flags
        super().build_extension(ext)

    def compile_one(self, ext, depends, source, folder, macros, flags):
        """Object file of one source, as it is where it is newer than all that it was made of.

        Objects with other flags (another instruction set, no OpenMP, sanitizers) have folders of their own.
        """
        asked = json.dumps([self.compiler.executables.get("compiler_so"), macros, flags], default=str)
        folder = os.path.join(folder, hashlib.sha256(asked.encode()).hexdigest()[:12])
        (target,) = self.compiler.object_filenames([source], output_dir=folder)
        made_of = f"{target}.d"  # what the compiler has read, in the form of make
        if self.force or newer_group([source, *read_by(made_of, depends)], target, missing="newer"):
            self.compiler.compile(
                [source],
                output_dir=folder,
                macros=macros,
                include_dirs=ext.include_dirs,
                extra_postargs=[*flags, "-MMD", "-MF", made_of],
            )
        return target


def read_by(made_of, otherwise):
    """Files that the compiler has read beside those of the system, or those that it may read where it did not say."""
    try:
        text = Path(made_of).read_text()
    except OSError:
        return otherwise
    return text.replace("\\\n", " ").partition(":")[2].split()


# One wheel for all versions of Python from the oldest on (abi3): a call of a kernel takes 0.1 to 0.4 us more, a method
# of an estimator no more than before. Builds of Python without its lock have no such interface.
OLDEST = (3, 11)
STABLE = sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED")

SOURCES = ("anneal.c", "choose.c", "crew.c", "filters.c", "layout.c", "partition.c", "run.c", "train.c")
TILES = str(CPU / "src" / "tiles" / "tiles.c")
HEADERS = sorted(path for path in (CPU / "src").rglob("*.[ch]") if path.suffix == ".h" or path.name.endswith(".inc.c"))
extension = Extension(
    "fastrbm._kernels.cpu._cpu",
    sources=[
        str(CPU / "_cpu.pyx"),
        str(CPU / "src" / "maps" / "maps.c"),
        *(str(CPU / "src" / "teams" / name) for name in SOURCES),
    ],
    depends=[*map(str, HEADERS), TILES, *map(str, sorted(CPU.glob("*.pxi")))],
    include_dirs=[str(CPU / "src" / "include")],
    define_macros=[("Py_LIMITED_API", f"0x{OLDEST[0]:02x}{OLDEST[1]:02x}0000")] if STABLE else [],
    py_limited_api=STABLE,
)

# The benchmark suite stands beside src/ in the checkout and is installed as fastrbm.benchmarks, for `fastrbm bench`.
setup(
    packages=[*find_packages("src"), "fastrbm.benchmarks", "fastrbm.benchmarks.peers"],
    package_dir={"": "src", "fastrbm.benchmarks": "benchmarks"},
    ext_modules=cythonize([extension], include_path=["src"]),
    cmdclass={"build_ext": BuildTargets},
    options={"bdist_wheel": {"py_limited_api": f"cp{OLDEST[0]}{OLDEST[1]}"}} if STABLE else {},
)
