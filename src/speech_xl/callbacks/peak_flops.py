"""Peak bf16 speed of known accelerators, for MFU."""

from __future__ import annotations

import re

# Dense bf16 tensor-core TFLOP/s with float32 accumulation, from NVIDIA's data sheets, without sparsity. (Lightning's
# own table mixes dense, sparse and non-tensor figures.) A device matches when its name holds every word of a key; more
# specific keys stand first.
_PEAK_TFLOPS: tuple[tuple[str, float], ...] = (
    ("GB200", 2500.0),
    ("B200", 2250.0),
    ("GH200", 989.0),
    ("H200 NVL", 835.0),
    ("H200", 989.0),
    ("H100 NVL", 835.0),
    ("H100 PCIe", 756.0),
    ("H100", 989.0),
    ("H800 PCIe", 756.0),
    ("H800", 989.0),
    ("H20", 148.0),
    ("A100", 312.0),
    ("A800", 312.0),
    ("A40", 149.7),
    ("A30", 165.0),
    ("A10", 125.0),
    ("A10G", 70.0),
    ("L40S", 362.0),
    ("L40", 181.0),
    ("L4", 121.0),
    ("RTX 6000 Ada", 364.0),
    ("RTX A6000", 154.8),
    ("RTX 5090", 209.5),
    ("RTX 4090", 165.0),
    ("RTX 3090 Ti", 80.0),
    ("RTX 3090", 71.0),
)
# Cut-down or shared devices that carry a known name but not its speed.
_NOT_THE_WHOLE = {"laptop", "mobile", "max-q", "mig", "d"}


def peak_flops_of(device_name: str) -> float | None:
    """Peak bf16 FLOP/s of the CUDA device of that name (as torch reports it), or None where it isn't known."""
    words = {word for word in re.split(r"[\s_]+", device_name.lower()) if word}
    words |= {part for word in words for part in word.split("-")}
    if words & _NOT_THE_WHOLE:
        return None
    for key, tflops in _PEAK_TFLOPS:
        if set(key.lower().split()) <= words:
            return tflops * 1e12
    return None
