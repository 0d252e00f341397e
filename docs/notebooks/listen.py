# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Listen, ask, and watch the memory grow
#
# A trained model hears a recording. Of each interval of a few seconds it keeps the keys and values (KV) of *Speech
# Summarization Tokens* (SSTs) and drops those of the speech frames. At a *ratio* of 8, one SST stands for eight frames.
# This notebook asks what is left at several ratios, and what it costs in bytes.
#
# The stage that comes with a clone knows read English, and its LLM has 4.5 M parameters: it makes many mistakes. You
# need a clone, `pip install -e .`, and a recording `chapter.flac`. Whisper-base (290 MB) is downloaded on first use.
# The output below is of the first 25 s of a chapter of LibriSpeech's dev-clean (1272-128104, CC BY 4.0).

# %%
from itertools import accumulate

import matplotlib.pyplot as plt
import soundfile

from speech_xl import SpeechXL

model = SpeechXL.from_pretrained("experiments/trained/read_speech")
memory = model.listen("chapter.flac", ratio=4)
answer = memory.ask(model.transcript.instruction)
print(answer.text)

# %% [markdown]
# `[0.4]` is a timestamp: the second at which the next words begin. The answer says what it was given from:

# %%
print(f"{answer.audio_seconds_heard:.1f} s of audio heard, all of {memory.seconds:.1f} s")
print(
    f"{answer.kept_kv_bytes / 2**10:.0f} KiB of keys and values kept, full attention would hold "
    f"{answer.full_kv_bytes / 2**10:.0f} KiB"
)
print("finished" if answer.finished else "cut at the token limit")

# %% [markdown]
# ## Ratios
#
# The audio is heard anew at each ratio. This stage was trained at 4x and 8x; it was never trained at 16x.

# %%
print("| ratio | kept KV | transcript, first 60 characters |")
print("|---|---|---|")
for ratio in (4, 8, 16):
    heard = model.listen("chapter.flac", ratio=ratio)
    said = heard.ask(model.transcript.instruction)
    print(f"| {ratio}x | {said.kept_kv_bytes / 2**10:.0f} KiB | {model.transcript.words(said.text)[:60]} |")

# %% [markdown]
# ## A live source
#
# Audio may come in chunks of any size. The memory is the same, bit by bit, as of the whole file. Here chunks of half a
# second come from the file, and the ratio changes in the middle: it holds for the intervals that end later.

# %%
sound, rate = soundfile.read("chapter.flac", dtype="float32")
live = model.listen(ratio=4)
for start in range(0, len(sound), rate // 2):
    if start >= len(sound) / 2:
        live.ratio = 8
    live.push(sound[start : start + rate // 2], rate=rate)
live.finish()  # the audio has ended: what was held back is heard
for interval in live.intervals[:2] + live.intervals[-2:]:
    print(
        f"{interval.start_seconds:5.1f} s to {interval.end_seconds:5.1f} s at {interval.ratio}x: "
        f"{interval.kept_kv_bytes:,} of {interval.full_kv_bytes:,} bytes"
    )

# %% [markdown]
# ## What is kept, and what full attention would hold

# %%
ends = [interval.end_seconds for interval in live.intervals]
figure, axes = plt.subplots(figsize=(6, 3.2))
for name, label in (("full_kv_bytes", "full attention"), ("kept_kv_bytes", "SSTs: 4x, then 8x")):
    sizes = [total / 2**20 for total in accumulate(getattr(interval, name) for interval in live.intervals)]
    axes.step([0, *ends], [0, *sizes], where="post", label=label)
axes.set(xlabel="seconds of audio", ylabel="KV of the audio, MiB")
axes.legend()
figure.tight_layout()

# %% [markdown]
# ## Keep a memory for later
#
# A saved memory goes on where it was, with the weights that it was made with. A fork goes its own way.

# %%
memory.save("chapter.memory")
again = model.load_memory("chapter.memory")
branch = again.fork()
branch.push("chapter.flac")
print(f"{again.seconds:.1f} s remembered, {branch.seconds:.1f} s in the fork")
print(again.ask(model.transcript.instruction).text == answer.text)
