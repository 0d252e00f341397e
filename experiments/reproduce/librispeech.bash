# What librispeech.sh and librispeech_long.sh have in common: weights, corpus, overlays, and word times from an adapter that spells.

source experiments/reproduce/steps.bash
runs=$RUNS/$(basename "$0" .sh)
whisper=${WHISPER:-openai/whisper-base}
llm=$runs/llm
read=(--corpus experiments/data/mini_librispeech_ctc.yaml)
common=(-c models/whisper_base_tiny.yaml --model.encoder.init_args.name "$whisper" --model.llm.init_args.name "$llm")
spell=(-c data/mini_librispeech_ctc.yaml)
words=(-c data/mini_librispeech_words.yaml --data.corpus.init_args.times "$runs/times")
if [ -n "${LIBRISPEECH:-}" ]; then
    read+=(--corpus_dir "$LIBRISPEECH")
    spell+=(--data.corpus.init_args.corpus_dir "$LIBRISPEECH")
    words+=(--data.corpus.init_args.corpus.init_args.corpus_dir "$LIBRISPEECH")
fi

word_times() { # word_times VARIANT: by the adapter of its stage 1
    [ -f "$runs/times/dev.jsonl" ] || python -m speech_xl.extensions.timestamps.align "$runs/$1/stage1" "$runs/times" --splits train dev "${aligning[@]}"
}
