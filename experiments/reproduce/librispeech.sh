#!/usr/bin/env bash
# Read speech with an open vocabulary (Mini LibriSpeech, 5 h) in sessions of up to a minute: an adapter that spells by CTC,
# word times from it, an LLM that has read the texts, stages 1 and 3 with a time mark at every word, and the table.
# About four hours of a core. Goes on where it was broken off. Needs pip install -e ".[baselines]" for the evictions.
#   experiments/reproduce/librispeech.sh                                       downloads Whisper-base and the corpus
#   WHISPER=DIR LIBRISPEECH=DIR RUNS=DIR experiments/reproduce/librispeech.sh  takes them from folders
#   REHEARSE=1 experiments/reproduce/librispeech.sh   a few steps of everything first, in runs/rehearsal: minutes
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source experiments/reproduce/librispeech.bash

# The tiny LLM, with marks in steps of 0.4 s, reads the transcripts.
read_texts "$llm" 512 80 0.4 --mark_words --blends 0.5 --steps 510 --longest 160
train spelling stage1 "${spell[@]}"
word_times spelling
# It has learned the train split by heart (7 % WER there, 36 % on dev), so on under more noise.
train spelling_on stage1 "${spell[@]}" -c data/mini_librispeech_noisy.yaml \
    --init_from "$runs/spelling/stage1/weights.safetensors"
train words stage1 "${words[@]}" --init_from "$runs/spelling_on/stage1/weights.safetensors"
train words_on stage1 "${words[@]}" --init_from "$runs/words/stage1/weights.safetensors"
from=(--init_from "$runs/words_on/stage1/weights.safetensors")
train words stage3 "${words[@]}" --model.sst.start mean "${from[@]}"
train words_pooled stage3 "${words[@]}" -c ablations/mean_pooling.yaml "${from[@]}"
compare librispeech_12hz --tasks asr --sessions 12 --base "$runs/words_on/stage1" \
    --sst "$runs/words/stage3" --pooled "$runs/words_pooled/stage3" --whisper "$whisper"
