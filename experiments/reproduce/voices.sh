#!/usr/bin/env bash
# Who speaks and how (EmoDB, speechocean762): emotion, age, sex, how many speakers, in sessions of one to three people.
# Stages 2 and 3 on Whisper's inner layers, mean pooling trained alike, and the table of all. Questions alone: words don't
# pass the adapter, and the tiny LLM knows no German. About an hour of a core.
# Goes on where it was broken off. Needs pip install -e ".[baselines]" for the evictions, and both corpora, which nothing
# downloads (docs/data.md says where they are):
#   EMODB=DIR SPEECHOCEAN=DIR experiments/reproduce/voices.sh
#   WHISPER=DIR EMODB=DIR SPEECHOCEAN=DIR RUNS=DIR experiments/reproduce/voices.sh
#   REHEARSE=1 EMODB=DIR SPEECHOCEAN=DIR experiments/reproduce/voices.sh   a few steps of everything first, in runs/rehearsal: minutes
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source experiments/reproduce/steps.bash
voices=data.corpus.init_args # of the corpus VoiceAttributes
common=(-c models/whisper_base_tiny_voices.yaml -c data/voice_attributes.yaml)
common+=(--model.encoder.init_args.name "${WHISPER:-openai/whisper-base}")
common+=("--$voices.emodb_dir" "${EMODB:-data/EmoDB}" "--$voices.speechocean_dir" "${SPEECHOCEAN:-data/speechocean762}")
common+=("--$voices.train_sessions" 600 "--$voices.dev_sessions" 120)
common+=(--data.tasks "{qa: 1.0}" --data.eval_tasks "[qa]")

train voices stage2 --init_from null
from=(--init_from "$runs/voices/stage2/weights.safetensors" --trainer.max_steps 500 --trainer.val_check_interval 500)
from+=(--model.eval_ratios "[4, 8, 16]")
from+=(--curriculum.init_args.schedule "[{start: 0, ratios: [2, 4]}, {start: 120, ratios: [2, 4, 8]}, {start: 260, ratios: [4, 8, 16]}]")
train voices stage3 --model.sst.start mean "${from[@]}"
train voices_pooled stage3 -c ablations/mean_pooling.yaml "${from[@]}"
compare voices --tasks qa --base "$runs/voices/stage2" --sst "$runs/voices/stage3" \
    --pooled "$runs/voices_pooled/stage3" --ratios 4 8 16
