"""Which number format to train in where the config leaves it open: bfloat16 only where the machine is fast at it."""

import time

import torch

BF16, FLOAT32 = "bf16-mixed", "32-true"


def best_precision(accelerator: str) -> str:
    """``bf16-mixed`` on a GPU with bfloat16 units and on a processor that multiplies faster in it, else ``32-true``.

    accelerator: the trainer's: auto, cpu, gpu, cuda, ... A processor without such instructions can be fifty times
    slower in bfloat16 than in float32; whether one has them is measured, which holds for every make.
    """
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return BF16 if torch.cuda.is_bf16_supported(including_emulation=False) else FLOAT32
    if accelerator not in ("auto", "cpu"):
        return FLOAT32
    return BF16 if matmul_seconds(torch.bfloat16) < matmul_seconds(torch.float32) else FLOAT32


def matmul_seconds(dtype: torch.dtype, size: int = 512, repeats: int = 3) -> float:
    """Shortest time of one [size, size] product on the processor, after one that warms up."""
    factor = torch.ones(size, size, dtype=dtype)
    times = []
    for _ in range(1 + repeats):
        start = time.perf_counter()
        torch.matmul(factor, factor)
        times.append(time.perf_counter() - start)
    return min(times[1:])
