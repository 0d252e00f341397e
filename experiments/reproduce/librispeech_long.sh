#!/usr/bin/env bash
# Read speech with an open vocabulary (Mini LibriSpeech, 5 h) in sessions of up to five minutes: as librispeech.sh, with 25 frames
# a second, shorter pieces of words, and training on runs of utterances that keep their place in the session. About eight hours
# of a core. Goes on where it was broken off.
#   experiments/reproduce/librispeech_long.sh                                       downloads Whisper-base and the corpus
#   WHISPER=DIR LIBRISPEECH=DIR RUNS=DIR experiments/reproduce/librispeech_long.sh  takes them from folders
#   REHEARSE=1 experiments/reproduce/librispeech_long.sh   a few steps of everything first, in runs/rehearsal: minutes
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source experiments/reproduce/librispeech.bash
common+=(--model.adapter.init_args.stride 2) # 25 Hz
spell+=(--data.corpus.init_args.max_seconds 300 --data.excerpt.per_session 25)
words+=(--data.corpus.init_args.corpus.init_args.max_seconds 300 --model.max_tokens_per_second 26 --data.limit_dev 2)

# The tiny LLM, in pieces of words so short that five hours teach them, reads the transcripts.
read_texts "$llm" 300 320 0.4 --mark_words --blends 0.5 --steps 510 --longest 160 --frame_rate 25 --frames 1800
train spelling stage1 "${spell[@]}" --trainer.max_steps 800
train spelling_on stage1 "${spell[@]}" -c data/mini_librispeech_noisy.yaml --init_from "$runs/spelling/stage1/weights.safetensors"
word_times spelling_on
train words stage1 "${words[@]}" --init_from "$runs/spelling_on/stage1/weights.safetensors" \
    --data.excerpt "{min_seconds: 4, max_seconds: 100, per_session: 12, grow_epochs: 2, keep_place: true}" \
    --trainer.max_steps 900 --trainer.val_check_interval 450
# As long runs again: of 60 s at most they took five minutes from 53 to 57 % WER.
train words_on stage1 "${words[@]}" --init_from "$runs/words/stage1/weights.safetensors" \
    --data.excerpt "{min_seconds: 4, max_seconds: 100, per_session: 12, keep_place: true}" \
    --trainer.max_steps 550 --trainer.val_check_interval 550
from=(--init_from "$runs/words_on/stage1/weights.safetensors" --trainer.max_steps 980 --trainer.val_check_interval 980)
from+=(--data.excerpt "{min_seconds: 10, max_seconds: 60, per_session: 12, keep_place: true}")
from+=(--curriculum.init_args.schedule "[{start: 0, ratios: [2, 4]}, {start: 150, ratios: [2, 4, 8]}, {start: 320, ratios: [4, 8, 16]}, {start: 560, ratios: [2, 4, 8, 16]}]")
train words stage3 "${words[@]}" --model.sst.start mean "${from[@]}"
train words_pooled stage3 "${words[@]}" -c ablations/mean_pooling.yaml "${from[@]}"
compare librispeech_long --tasks asr --ratios 4 8 16 --base "$runs/words_on/stage1" --sst "$runs/words/stage3" \
    --pooled "$runs/words_pooled/stage3" --methods "full KV" "mean pooling, trained" SSTs
