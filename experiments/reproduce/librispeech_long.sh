#!/usr/bin/env bash
# Read speech with an open vocabulary (Mini LibriSpeech, 5 h) in sessions of up to five minutes: as librispeech.sh, with 25 frames
# a second, shorter pieces of words, and training on runs of utterances that keep their place in the session. Its 2,800 steps
# of 240 s, uncompressed, with SSTs and with pooled frames, take five minutes each on one H200 and eight hours each of a core;
# all before takes six hours of a core, and the steps on runs of up to five minutes at the end three. Goes on where it was
# broken off. Needs pip install -e ".[baselines]" for the evictions.
#   experiments/reproduce/librispeech_long.sh                                       downloads Whisper-base and the corpus
#   WHISPER=DIR LIBRISPEECH=DIR RUNS=DIR experiments/reproduce/librispeech_long.sh  takes them from folders
#   REHEARSE=1 experiments/reproduce/librispeech_long.sh   a few steps of everything first, in runs/rehearsal: minutes
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source experiments/reproduce/librispeech.bash
common+=(--model.adapter.init_args.stride 2) # 25 Hz
spell+=(--data.corpus.init_args.max_seconds 300 --data.excerpt.per_session 25)
words+=(--data.corpus.init_args.corpus.init_args.max_seconds 300 --model.max_tokens_per_second 26 --data.limit_dev 2)
long=(-c data/mini_librispeech_long.yaml --data.corpus.init_args.corpus.init_args.times "$runs/times")
[ -n "${LIBRISPEECH:-}" ] && long+=(--data.corpus.init_args.corpus.init_args.corpus.init_args.corpus_dir "$LIBRISPEECH")

# The tiny LLM, in pieces of words so short that five hours teach them, reads the transcripts.
read_texts "$llm" 300 320 0.4 --mark_words --blends 0.5 --steps 510 --longest 160 --frame_rate 25 --frames 1800
train spelling stage1 "${spell[@]}" --trainer.max_steps 800
train spelling_on stage1 "${spell[@]}" -c data/mini_librispeech_noisy.yaml --init_from "$runs/spelling/stage1/weights.safetensors"
word_times spelling_on
train words stage1 "${words[@]}" --init_from "$runs/spelling_on/stage1/weights.safetensors" \
    --data.excerpt "{min_seconds: 4, max_seconds: 100, per_session: 12, length_curriculum_epochs: 2, absolute_time: true}" \
    --trainer.max_steps 900 --trainer.val_check_interval 450
train words_on stage1 "${words[@]}" --init_from "$runs/words/stage1/weights.safetensors" \
    --data.excerpt "{min_seconds: 4, max_seconds: 100, per_session: 12, absolute_time: true}" \
    --trainer.max_steps 550 --trainer.val_check_interval 550
# On from there on three speeds, uncompressed, with SSTs and with pooled frames: 900 steps, and 1,900 at anew rising rates.
from=(--init_from "$runs/words_on/stage1/weights.safetensors" --trainer.max_steps 900 --trainer.val_check_interval 900)
rising=(--curriculum.init_args.schedule "[{start: 0, ratios: [2, 4]}, {start: 150, ratios: [2, 4, 8]}, {start: 350, ratios: [2, 4, 8, 16]}]")
again=(--seed_everything 1 --data.seed 1 --model.init_args.seed 1)
train long stage1 "${long[@]}" "${from[@]}"
train long_on stage1 "${long[@]}" --init_from "$runs/long/stage1/weights.safetensors" "${again[@]}"
train long stage3 "${long[@]}" --model.sst.start mean "${from[@]}" "${rising[@]}"
train long_on stage3 "${long[@]}" --model.sst.start mean --init_from "$runs/long/stage3/weights.safetensors" "${again[@]}"
train long_pooled stage3 "${long[@]}" -c ablations/mean_pooling.yaml "${from[@]}" "${rising[@]}"
train long_pooled_on stage3 "${long[@]}" -c ablations/mean_pooling.yaml \
    --init_from "$runs/long_pooled/stage3/weights.safetensors" "${again[@]}"
# Runs of up to five minutes, which the last ones never met: a few hundred steps of one such run each, at half the rates.
five=(--data.corpus.init_args.speeds "[]" --data.max_duration 300 --model.init_args.warmup_steps 20)
five+=(--data.excerpt "{min_seconds: 10, max_seconds: 300, per_session: 12, absolute_time: true}")
five+=(--seed_everything 2 --data.seed 2 --model.init_args.seed 2)
alike=(--model.init_args.trainable '{"sst.*": 4.0e-4, "adapter.*": 4.0e-4, "llm.*": 4.0e-4}' --trainer.max_steps 240)
alike+=(--trainer.val_check_interval 240 --curriculum.init_args.schedule "[{start: 0, ratios: [4, 8, 16]}]")
train long_300 stage1 "${long[@]}" "${five[@]}" --init_from "$runs/long_on/stage1/weights.safetensors" \
    --model.init_args.trainable '{"adapter.*": 5.0e-4, "llm.*": 5.0e-4}' --trainer.max_steps 200 --trainer.val_check_interval 200
train long_300 stage3 "${long[@]}" "${five[@]}" "${alike[@]}" --model.sst.start mean \
    --init_from "$runs/long_on/stage3/weights.safetensors"
train long_300_pooled stage3 "${long[@]}" "${five[@]}" "${alike[@]}" -c ablations/mean_pooling.yaml \
    --init_from "$runs/long_pooled_on/stage3/weights.safetensors"
folders=(--base "$runs/long_on/stage1" --sst "$runs/long_on/stage3" --pooled "$runs/long_pooled_on/stage3" --tasks asr --ratios 4 8 16)
minute=corpus.init_args.corpus.init_args.corpus.init_args.max_seconds=60
compare librispeech "${folders[@]}" --sessions 12 --data $minute --whisper "$whisper"
compare librispeech_all "${folders[@]}" --data $minute --methods "full KV" "mean pooling, trained" SSTs
compare librispeech_long "${folders[@]}" --methods "full KV" "mean pooling, trained" SSTs
folders=(--base "$runs/long_300/stage1" --sst "$runs/long_300/stage3" --pooled "$runs/long_300_pooled/stage3" --tasks asr --ratios 4 8 16)
compare librispeech_300s_minute "${folders[@]}" --data $minute --methods "full KV" "mean pooling, trained" SSTs
compare librispeech_300s_long "${folders[@]}" --methods "full KV" "mean pooling, trained" SSTs
