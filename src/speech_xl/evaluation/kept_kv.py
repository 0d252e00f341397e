"""What a KV memory keeps of the audio, measured: one definition of `kept_kv_bytes` for every record and table."""

from __future__ import annotations

from collections.abc import Sequence

from speech_xl.model.kv_memory import KVMemory


def kept_kv(memory: KVMemory, prefix: int, frames: Sequence[int]) -> list[dict[str, int]]:
    """Of each row of a memory, the fields of its records:

    * `kept_kv_bytes`: bytes of keys and values that stay of the audio, over all layers, in the number format they are
      held in. The prompt's prefix (the same for every session and method) and padding are not counted.
    * `kept_kv_tokens`: as many tokens, the mean over the layers where those keep unlike numbers
    * `total_kv_tokens`: the speech frames that were heard, which is what all KV would have

    Args:
        memory: after listening, before anything was asked.
        prefix: tokens of the prompt before the audio.
        frames: speech frames of each row.
    """
    a_token = memory.token_bytes
    return [
        {
            "kept_kv_tokens": round(size / a_token) if a_token else 0,
            "total_kv_tokens": int(total),
            "kept_kv_bytes": size,
        }
        for size, total in zip(memory.audio_bytes(prefix), frames, strict=True)
    ]
