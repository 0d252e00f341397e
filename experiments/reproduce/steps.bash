# What the scripts beside it have in common: a stage, an LLM and a table, each made unless it is there, all under RUNS.
# They set common and read, and runs where their stages lie elsewhere than in RUNS.

RUNS=${RUNS:-runs${REHEARSE:+/rehearsal}}
runs=$RUNS
fit=() reading=() aligning=() table=() briefly=() # REHEARSE=1: a few steps of everything, one session in each table
if [ -n "${REHEARSE:-}" ]; then
    fit=(--trainer.max_steps 2 --trainer.val_check_interval 2 --data.limit_dev 1 --data.excerpt null)
    reading=(--steps 2)
    aligning=(--sessions 2)
    table=(--sessions 1 --out "$RUNS/docs")
    briefly=(--steps 6 "${table[@]}")
fi

train() { # train VARIANT STAGE ARGUMENTS...
    local folder=$runs/$1/$2 resume=()
    [ -f "$folder/weights.safetensors" ] && return
    [ -f "$folder/checkpoints/last.ckpt" ] && resume=(--ckpt_path last)
    python experiments/run.py fit -c "$2.yaml" "${common[@]}" --runs "$runs" --variant "$1" "${@:3}" "${resume[@]}" "${fit[@]}"
}

read_texts() { # read_texts FOLDER VOCABULARY SECONDS STEP ARGUMENTS...: a tiny LLM, its marks up to SECONDS in steps of STEP
    [ -f "$1/model.safetensors" ] && return
    python -m experiments.tiny_models.tokenizer "$1.part" "${read[@]}" --vocabulary "$2" --seconds "$3" --step "$4"
    python -m experiments.tiny_models.tiny_llm "$1.part" "${read[@]}" --begin experiments/models/tiny/llm --frames 1200 --lr 1.2e-3 "${@:5}" "${reading[@]}"
    mv "$1.part" "$1"
}

read_on() { # read_on FOLDER LLM WEIGHTS ARGUMENTS...: a stage's LLM reads on; its weights with that LLM, to start from
    [ -f "$1/weights.safetensors" ] && return
    mkdir -p "$1.part" && cp "$2"/{config,tokenizer,tokenizer_config}.json "$1.part"
    python -m experiments.tiny_models.tiny_llm "$1.part" "${read[@]}" --stage "$3" --frames 1200 "${@:4}" "${reading[@]}"
    mv "$1.part" "$1"
}

compare() { # compare NAME ARGUMENTS...: the table of all ways to keep less
    python experiments/benchmarks/compression.py "$@" --work "$RUNS/compression" "${table[@]}"
}
