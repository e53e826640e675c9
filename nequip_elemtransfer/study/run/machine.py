"""What a study was run on, for its report."""

import os
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path


@cache
def machine() -> dict[str, str]:
    """Processor, number of cores, GPU if there is one, and versions of what decides the numbers."""
    import torch

    gpu = {"gpu": torch.cuda.get_device_name(0)} if torch.cuda.is_available() else {}
    versions = {name: version(name) for name in ("torch", "nequip", "nequip-elemtransfer")}
    return {"processor": _processor(), "cores": str(os.cpu_count()), **gpu, **versions}


def _processor() -> str:
    """The processor's own name where Linux tells it, else the kind of processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
