"""The kernels under AddressSanitizer (with UndefinedBehaviorSanitizer) and under ThreadSanitizer.

    python tests/bench/sanitize_kernels.py [address] [thread]

Builds the library with each sanitizer and runs the unit tests of the kernels with it: random nonsense, numbers, the
CUDA side on an emulated device, and concurrent callers. The sanitizer's runtime is preloaded into Python, so that only
the library is watched, and the memory that onnxruntime hands to it. Ends with 1 where a sanitizer or a test complains.

ThreadSanitizer does not see how onnxruntime's thread pool hands work on; `ort.h` tells it what the pool promises.
What it finds within onnxruntime is left out: a complaint counts where one of the two accesses is ours.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from onnxprune.kernels.compilation import build

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[2]
FLAGS = {
    "address": ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-g", "-O1"),
    "thread": ("-fsanitize=thread", "-g", "-O1"),
}
RUNTIMES = {"address": ("libasan.so", "libubsan.so"), "thread": ("libtsan.so",)}
OPTIONS = {
    # Python and onnxruntime keep memory until the end
    "address": {"ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:allocator_may_return_null=1"},
    "thread": {"TSAN_OPTIONS": "halt_on_error=0:exitcode=0:report_signal_unsafe=0"},
}
TESTS = {
    "address": [f"tests/unit/kernels/test_{name}.py" for name in ("malformed", "numbers", "cuda_numbers")],
    "thread": ["tests/unit/kernels/test_two_lives.py"],
}
OURS = re.compile(r"#[01] .*(?:kernels/src/|onnxprune::)")
FUZZ_ROUNDS = "1000"


def main(words: Sequence[str] | None = None) -> int:
    """Builds and runs; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sanitizers", nargs="*", metavar="address|thread")
    wanted = parser.parse_args(words).sanitizers or list(FLAGS)
    if unknown := set(wanted) - set(FLAGS):
        parser.error(f"there is no sanitizer {sorted(unknown)[0]!r}")
    with tempfile.TemporaryDirectory() as folder:
        failed = [name for name in wanted if _run(name, Path(folder)) != 0]
    print("clean" if not failed else f"complaints under: {', '.join(failed)}")
    return 1 if failed else 0


def _run(name: str, folder: Path) -> int:
    library = build(folder / f"{name}.so", extra_flags=FLAGS[name])
    runtimes = [_runtime(file) for file in RUNTIMES[name]]
    environment = {
        **os.environ,
        **OPTIONS[name],
        "LD_PRELOAD": ":".join(runtimes),
        "ONNXPRUNE_TEST_LIBRARY": str(library),
        "ONNXPRUNE_FUZZ_ROUNDS": FUZZ_ROUNDS,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    if name == "thread":
        environment["TSAN_OPTIONS"] += f":log_path={folder / 'report'}"
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "-m", "not slow", *TESTS[name]]
    print(f"{name}: {' '.join(command)}", flush=True)
    status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    reports = [
        part for path in folder.glob("report*") for part in path.read_text().split("=" * 18) if "WARNING" in part
    ]
    ours = [report for report in reports if OURS.search(report)]
    print(*ours, sep="\n")
    print(f"{name}: status {status}; {len(ours)} complaints, and {len(reports) - len(ours)} within onnxruntime")
    return status or len(ours)


def _runtime(file: str) -> str:
    done = subprocess.run(["g++", f"-print-file-name={file}"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
