# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Train SSTs, and compare them
#
# Three ways to remember speech, on the same audio and the same LLM:
#
# * *full KV*: the LLM keeps the keys and values (KV) of every speech frame;
# * *Speech Summarization Tokens (SSTs)*: a few trained tokens take the content of an interval, and the KV of its frames
#   is dropped;
# * *mean pooling*: frames are averaged before the LLM, and it is trained on the averages in the same way.
#
# A *ratio* of 4 keeps a quarter of the KV tokens. Everything is small: speech by espeak-ng, the tiny encoder and LLM of
# a clone, a few hundred steps. It shows how an experiment is made, not how good a method is: [Results](../results.md)
# has longer trainings, on real speech and with several seeds.
#
# You need a clone and `pip install -e .`. Nothing is downloaded. It took 20 minutes on a CPU core that was busy
# with other work too.

# %%
import json
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt

REHEARSE = []  # ["--rehearse"] takes two steps of everything, to see that all of it works

# %% [markdown]
# ## The experiment
#
# One file holds all of it: what the stages share, the stages, and what is compared. `like` takes another stage's keys,
# `from` its weights. So SSTs and mean pooling start from the same weights and train for as many steps, and full KV
# (`full_kv`) goes on for as many steps too. [Experiment files](../experiments_files.md) explains every key.

# %%
EXPERIMENT = """
model:
  init_args:
    encoder:
      class_path: HFEncoder
      init_args: {name: experiments/models/tiny/encoder, pretrained: true, overlap_seconds: 1.0}
    adapter: {class_path: PosteriorAdapter, init_args: {stride: 2}}     # 25 encoder frames a second become 12.5
    frame_code: {class_path: TimeCode, init_args: {scale: 2.0}}
    llm: {class_path: LLM, init_args: {name: experiments/models/tiny/llm, pretrained: true}}
    max_tokens_per_second: 16.0
    warmup_steps: 20
data:
  corpus:
    class_path: EmbeddedSpeech
    init_args: {train_hours: 0.7, dev_sessions: 4, test_sessions: 20, min_seconds: 10.0, max_seconds: 30.0}
  tasks: {asr: 1.0}
  eval_tasks: [asr]
  transcript: {class_path: Timestamps, init_args: {step_seconds: 0.2, words: true, max_gap_seconds: 2.0}}
  partition: {class_path: FixedWindows, init_args: {seconds: 4.0}}      # length of an interval
  max_duration: 120                                                     # seconds of audio a batch
  limit_dev: 4
trainer:
  accelerator: auto
  devices: 1
  max_epochs: -1
  gradient_clip_val: 1.0
  check_val_every_n_epoch: null
  num_sanity_val_steps: 0
  enable_model_summary: false

stages:
  align:                              # the adapter alone learns to spell; the LLM is not run
    from: null
    model:
      class_path: CTCAlignment
      init_args:
        trainable: {"adapter.*": 3.0e-3}
        extensions: [{class_path: TokenCTC, init_args: {weight: 10.0, flat_steps: 100}}]
    data: {max_duration: 240}
    trainer: {max_steps: 250, val_check_interval: 250}
  full_kv:                            # the LLM learns to transcribe without compression, for as long as the other two
    from: align
    model: {class_path: SemanticAlignment, init_args: {trainable: {"adapter.*": 8.0e-4, "llm.*": 8.0e-4}}}
    trainer: {max_steps: 60, val_check_interval: 60}
  sst:                                # the content of an interval moves into SSTs
    from: align
    model:
      class_path: SSTCompression
      init_args:
        sst: {projections: full}
        trainable: {"sst.*": 8.0e-4, "adapter.*": 8.0e-4, "llm.*": 8.0e-4}
        eval_ratios: [4, 8]
    curriculum:
      class_path: RatioCurriculum
      init_args: {unit: step, schedule: [{start: 0, ratios: [1, 2, 4]}, {start: 30, ratios: [2, 4, 8]}]}
    trainer: {max_steps: 60, val_check_interval: 60}
  pooled:                             # frames are averaged before the LLM
    like: sst
    model: {class_path: MeanPooling}

compare:
  table: {base: full_kv, sst: sst, pooled: pooled, tasks: [asr], ratios: [2, 4, 8], split: test,
          methods: [full KV, SSTs, "mean pooling, trained"]}
"""
Path("small.yaml").write_text(EXPERIMENT)

# %% [markdown]
# ## Train and compare
#
# `fit` checks the whole file first, makes the corpus, and trains the stages in order. If you stop it, the same command
# resumes. `compare` transcribes the test sessions with every method. The intervals come from a bootstrap over sessions:
# where they overlap as widely as here, 20 sessions of one training don't decide between SSTs and mean pooling.
# These SSTs start from one learned embedding, as in Speech-XL; those of Results start as the mean of their frames.

# %%
for command in ("fit", "compare"):
    words = [sys.executable, "experiments/run.py", command, "-c", "small.yaml", *REHEARSE]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

folder = Path("runs/rehearsal" if REHEARSE else "runs") / "small" / "compare"
rows = json.loads((folder / "table.json").read_text())["rows"]
print("| method | ratio | word error rate (95 % interval) | KV kept of a session |")
print("|---|---|---|---|")
for row in rows:
    low, high = row["wer_low"], row["wer_high"]  # None of a single session
    interval = "" if low is None else f" [{low:.1%}, {high:.1%}]"
    print(
        f"| {row['method']} | {row['ratio']}x | {row['wer']:.1%}{interval} | {row['kept_kv_bytes'] / 2**10:.0f} KiB |"
    )

# %% [markdown]
# ## Errors against kept bytes
#
# A method is better where its curve is lower. Kept bytes are measured on the tensors of the cache.

# %%
figure, axes = plt.subplots(figsize=(6, 3.5))
for method in dict.fromkeys(row["method"] for row in rows):
    points = sorted((row["kept_kv_bytes"] / 2**10, 100 * row["wer"]) for row in rows if row["method"] == method)
    axes.plot(*zip(*points, strict=True), "o-", label=method)
axes.set(xlabel="kept KV, KiB a session", ylabel="word error rate, %", ylim=(0, None))
axes.legend()
figure.tight_layout()

# %% [markdown]
# ## What next
#
# * Your own recordings instead of espeak-ng: [First steps](../first_steps.md).
# * Other encoders and LLMs: [Encoders and LLMs](../models.md).
# * Questions instead of transcripts, more methods, more seeds: [Evaluation](../evaluation.md).
