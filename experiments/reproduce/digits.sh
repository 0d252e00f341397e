#!/usr/bin/env bash
# Spoken digits in sessions of 8 s to 2 min: an LLM, stages 1 and 3, the two baselines that train, the table of all; then
# the same with questions, which the LLM reads as text before it hears them; then the ablations of stage 3.
# About 8 hours of a core: 4.5 to the table, the evictions' quarter of an hour included, 1.5 with questions, 2 for the ablations.
# Goes on where it was broken off. Needs pip install -e ".[baselines]" for the evictions.
#   experiments/reproduce/digits.sh                                     downloads Whisper-base and the recordings
#   WHISPER=DIR FSDD=DIR RUNS=DIR experiments/reproduce/digits.sh       takes them from folders
#   REHEARSE=1 experiments/reproduce/digits.sh   a few steps of everything first, in runs/rehearsal: minutes
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source experiments/reproduce/steps.bash
whisper=${WHISPER:-openai/whisper-base}
llm=$runs/digits/llm # the tiny LLM, with marks in steps of 0.2 s, after it has read rows of digits
read=(--corpus experiments/data/spoken_digits_long.yaml)
common=(-c models/whisper_base_tiny.yaml -c data/spoken_digits_long.yaml)
common+=(--model.encoder.init_args.name "$whisper" --model.llm.init_args.name "$llm")
[ -n "${FSDD:-}" ] && common+=(--data.corpus.init_args.corpus_dir "$FSDD") && read+=(--corpus_dir "$FSDD")

read_texts "$llm" 512 160 0.2 --steps 550 --longest 100
train digits stage1
train digits_on stage1 --init_from "$runs/digits/stage1/weights.safetensors" # as many steps again
from=(--init_from "$runs/digits_on/stage1/weights.safetensors")
# and on at the ratios of the table, half of the intervals at the hardest
high=(--curriculum.init_args.schedule "[{start: 0, ratios: [4, 8, 16, 16]}]" --trainer.max_steps 1300 --trainer.val_check_interval 1300)
train digits stage3 "${from[@]}"
train digits_on stage3 "${high[@]}" --init_from "$runs/digits/stage3/weights.safetensors"
train digits_pooled stage3 -c ablations/mean_pooling.yaml "${from[@]}"
train digits_pooled_on stage3 -c ablations/mean_pooling.yaml "${high[@]}" \
    --init_from "$runs/digits_pooled/stage3/weights.safetensors"
train digits_appended stage3 -c ablations/appended.yaml "${from[@]}"
train digits_more stage1 "${from[@]}" # what isn't compressed goes on learning too: 14.3 to 11.5 % WER
compare digits --tasks asr --ratios 4 8 16 --base "$runs/digits_more/stage1" --sst "$runs/digits_on/stage3" \
    --appended "$runs/digits_appended/stage3" --pooled "$runs/digits_pooled_on/stage3" --whisper "$whisper"
# Questions: stage 1's LLM reads the corpus's, answers them in stage 2, and from SSTs in stage 3.
read_on "$runs/digits/asked" "$llm" "$runs/digits_on/stage1/weights.safetensors" --longest 100 --lr 1e-3 --questions 0.75 --steps 1200
asked=(--data.tasks "{asr: 1.0, qa: 1.5}" --data.eval_tasks "[asr, qa]")
train digits_asked stage2 "${asked[@]}" --init_from "$runs/digits/asked/weights.safetensors" \
    --model.trainable "{'llm.*': 4.0e-4, 'adapter.*': 1.0e-4}" --trainer.max_steps 300 --trainer.val_check_interval 300
from=("${asked[@]}" --init_from "$runs/digits_asked/stage2/weights.safetensors" --trainer.max_steps 600)
from+=(--trainer.val_check_interval 600)
train digits_asked stage3 "${from[@]}" --model.sst.start mean
train digits_asked_pooled stage3 "${from[@]}" -c ablations/mean_pooling.yaml
compare digits_asked --base "$runs/digits_asked/stage2" --sst "$runs/digits_asked/stage3" \
    --pooled "$runs/digits_asked_pooled/stage3" --ratios 4 8 16
# Every choice in stage 3 against the next, 160 steps each from the same stage 1, two seeds.
python experiments/benchmarks/ablations.py --base "$runs/digits_on/stage1" --runs "$runs/ablations" --steps 160 --sessions 24 \
    "${briefly[@]}" -- "${common[@]}" --data.max_duration 80
