#!/usr/bin/env bash
# Read speech with an open vocabulary (Mini LibriSpeech, 5 h, also faster and slower) in sessions of up to five minutes, for a
# GPU: Whisper-base, and SmolLM2-135M with LoRA that reads letter by letter, 25 frames a second. An adapter that spells by CTC,
# stage 1, stage 3 with SSTs and with pooled frames, and two tables: sessions of a minute and of five. Goes on where it was
# broken off.
#   experiments/reproduce/librispeech_gpu.sh                                                   downloads weights and corpus
#   WHISPER=DIR SMOLLM=DIR LIBRISPEECH=DIR RUNS=DIR experiments/reproduce/librispeech_gpu.sh   takes them from folders
#   REHEARSE=1 experiments/reproduce/librispeech_gpu.sh   a few steps of everything first, in runs/rehearsal
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source experiments/reproduce/steps.bash
runs=$RUNS/librispeech_gpu
common=(-c models/whisper_base_smollm2_letters.yaml -c data/mini_librispeech_long.yaml --data.num_workers "${WORKERS:-4}")
common+=(--model.encoder.init_args.name "${WHISPER:-openai/whisper-base}")
common+=(--model.llm.init_args.name "${SMOLLM:-HuggingFaceTB/SmolLM2-135M-Instruct}")
[ -n "${LIBRISPEECH:-}" ] && common+=(--data.corpus.init_args.corpus.init_args.corpus_dir "$LIBRISPEECH")

# Letters without the LLM, recorded speed alone: a quarter of an hour on two cores.
train spelling stage1 --model.llm_from 100000 --model.flat_steps 100 --model.trainable '{"adapter.*": 3.0e-3}' \
    --data.corpus.init_args.speeds "[]" --data.max_duration 240 --data.limit_dev null \
    --data.excerpt "{min_seconds: 2, max_seconds: 30, per_session: 25, grow_epochs: 2}" \
    --trainer.max_steps 720 --trainer.val_check_interval 720
train words stage1 --init_from "$runs/spelling/stage1/weights.safetensors"
from=(--init_from "$runs/words/stage1/weights.safetensors")
train words stage3 --model.sst.start mean "${from[@]}"
train words_pooled stage3 -c ablations/mean_pooling.yaml "${from[@]}"
folders=(--base "$runs/words/stage1" --sst "$runs/words/stage3" --pooled "$runs/words_pooled/stage3" --tasks asr --ratios 4 8 16)
compare librispeech_gpu "${folders[@]}" --data corpus.init_args.corpus.init_args.max_seconds=60
compare librispeech_gpu_long "${folders[@]}" --methods "full KV" "mean pooling, trained" SSTs
