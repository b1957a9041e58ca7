"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.crew import CORES

PACKAGES = ("numpy", "scipy", "torch", "jax", "jaxlib", "autograd", "mpi4py", "mpich", "openmpi")


def describe_machine() -> dict[str, Any]:
    """Processor, cores, memory, and the versions of everything that computes."""
    versions = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": processor(),
        "cores": CORES,
        "memory_gb": memory(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions,
        "blas": blas(),
        "variables": {name: value for name, value in sorted(os.environ.items()) if name.startswith(TUNING)},
    }


TUNING = ("OPENBLAS_", "OMP_", "MKL_", "MALLOC_", "GLIBC_", "LD_PRELOAD", "XLA_")  # variables that change figures


def processor() -> str:
    """Model name of the processor."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def memory() -> float | None:
    """Gigabytes."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (ValueError, OSError, AttributeError):
        return None


def blas() -> str:
    """NumPy's library of matrix products, with the kernels that it chose where that can be asked."""
    built: Any = np.show_config(mode="dicts")
    found = built.get("Build Dependencies", {}).get("blas", {})
    name = f"{found.get('name', 'unknown')} {found.get('version', '')}".strip()
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return name
    kernels = {info["architecture"] for info in threadpool_info() if info.get("architecture")}
    return f"{name}, kernels for {', '.join(sorted(kernels))}" if kernels else name
