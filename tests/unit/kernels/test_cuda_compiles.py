"""The kernels compile for every generation of devices, with registers and shared memory for the blocks they promise."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from cuda_emulation import ELEMENTS, source

REGISTERS = 65536
SHARED_BYTES = 99 * 1024  # of a block, on the devices that have least
USED = re.compile(r"Used (\d+) registers")
PRODUCT = re.compile(r"^PRODUCT\((\d+), (\d+), (\d+), (\d+), (\d+), (\d+)\)", re.MULTILINE)


def test_stages_fit_into_shared_memory() -> None:
    shapes = [tuple(map(int, found)) for found in PRODUCT.findall(source())]
    assert len(shapes) == 6
    for rows, outputs, _, _, stages, _ in shapes:
        assert stages * (rows + outputs) * 128 <= SHARED_BYTES


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="there is no nvcc to compile the kernels with")
@pytest.mark.parametrize("architecture", [80, 90, 100])
@pytest.mark.parametrize("element", ELEMENTS)
def test_kernels_compile_without_spilling(element: str, architecture: int, tmp_path: Path) -> None:
    (tmp_path / "source.cu").write_text(source(), encoding="utf-8")
    defines = [f"-DELEMENT={ELEMENTS[element]}", "-DPRODUCTS=1", "-DCOPIES=1"]
    command = ["nvcc", "-cubin", f"-arch=sm_{architecture}", "-std=c++17", "--resource-usage", *defines]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "out"), str(tmp_path / "source.cu")],
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert set(re.findall(r"(\d+) bytes spill", said)) == {"0"}, said
    # what a processor's registers allow is what __launch_bounds__ promises
    blocks = {f"product_{m}x{n}": 32 * int(a) * int(b) * int(c) for m, n, a, b, _, c in PRODUCT.findall(source())}
    registers = {}
    for part in said.split("Compiling entry function '")[1:]:
        registers[part.partition("'")[0]] = int(USED.findall(part)[-1])
    assert set(blocks) | {"copy_weight", "copy_image", "copy_rows"} == set(registers)
    for name, threads in blocks.items():
        assert registers[name] * threads <= REGISTERS, name
