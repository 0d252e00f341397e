"""Which number format to train in where the config leaves it open: bfloat16 only where the machine has units for it."""

import platform
from functools import cache
from pathlib import Path

import torch

BF16, FLOAT32 = "bf16-mixed", "32-true"
# How Linux names instructions that multiply bfloat16: Intel's and AMD's AVX-512, Intel's AMX, and ARM's.
BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


def best_precision(accelerator: str) -> str:
    """``bf16-mixed`` on a GPU or a processor with bfloat16 units, else ``32-true``.

    accelerator: the trainer's: auto, cpu, gpu, cuda, ... A processor without such instructions can be fifty times
    slower in bfloat16 than in float32. What it has is asked, not timed: the answer is the same at every start.
    """
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return BF16 if torch.cuda.is_bf16_supported(including_emulation=False) else FLOAT32
    if accelerator not in ("auto", "cpu"):
        return FLOAT32
    return BF16 if BF16_FLAGS & processor_flags() else FLOAT32


@cache
def processor_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Instruction sets of the processor as Linux names them; empty where the system doesn't say."""
    key = "Features" if platform.machine() in ("aarch64", "arm64") else "flags"
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return frozenset()
    named = (line.partition(":")[2] for line in lines if line.split(":")[0].strip() == key)
    return frozenset(next(named, "").split())
