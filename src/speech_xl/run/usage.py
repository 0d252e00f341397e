"""What `speech-xl --help` and `python experiments/run.py --help` say about experiments."""

import re

LONG = "python experiments/run.py"
USAGE = """\
Speech-XL Suite: train and evaluate long-form speech language models in three stages.

One stage:
  python experiments/run.py fit -c stage2.yaml                  trains stages 0 and 1 first if they aren't there
  python experiments/run.py fit -c stage3.yaml -c data/mini_librispeech.yaml -c models/whisper_base_smollm2.yaml
  python experiments/run.py test -c stage3.yaml                 predictions, table and JSON of the test split
  python experiments/run.py validate -c stage3.yaml             WER and Q&A accuracy of the dev split
  python experiments/run.py predict -c stage3.yaml              predictions alone; an interrupted run is resumed
  python experiments/run.py test -c stage2.yaml --compressor SnapKV --eval_ratios "[4, 8]" --split dev
                                                                another KV compressor, on the weights of stage 2
  python experiments/run.py score PREDICTIONS.jsonl ...         scores and tables again, from predictions alone

A benchmark, asked of a stage or of a trained stage's folder (docs/benchmarks.md):
  python experiments/run.py test -c benchmarks/longspeech.yaml -c stage3.yaml
  python experiments/run.py test -c benchmarks/own_items.yaml -c experiments/trained/read_speech --eval_ratios "[1, 8]"
  python experiments/run.py score PREDICTIONS.jsonl --profile strict        by other rules (--judge MODEL: with a judge)
  python experiments/run.py convert PREDICTIONS.jsonl --to lmms-eval --out DIR        for other harnesses (open-asr)

An experiment file: all stages of an experiment in one YAML, and what is compared at the end
  python experiments/run.py fit -c digits.yaml                  trains what is missing of all its stages
  python experiments/run.py fit -c digits.yaml --only sst_1     one stage, and what it needs
  python experiments/run.py test -c digits.yaml --only sst_1    predictions and table of one stage
  python experiments/run.py compare -c digits.yaml              tables of its `compare` section: .md, .csv, .json, .png
  python experiments/run.py fit -c digits.yaml --rehearse       two steps of every stage, in runs/rehearsal
  (docs/experiments_files.md says how to write one)

Help:
  python experiments/run.py fit -c stage3.yaml --print_config   what a run would use (of an experiment: --only STAGE)
  python experiments/run.py fit --help                          every key with its meaning
  python experiments/run.py fit --model.help SSTCompression     every key of a phase (--data.corpus.help: of a corpus)
  python experiments/run.py compare --help                      options of a comparison
  speech-xl --help                                              use a trained stage: listen, transcribe, serve, export
  tensorboard --logdir runs                                     curves, samples, pictures

The first -c is a stage or an experiment file, the others are overlays. They are looked for in the working directory,
then in experiments/. Later ones lie over earlier ones, flags over all; what an overlay has below `stages: NAME:` lies
over that stage alone.

  --model.encoder openai/whisper-base     --model.llm Qwen/Qwen2.5-0.5B-Instruct    another encoder, another LLM
  --data.corpus SpokenDigits              --model.optimizer SGD                     a class by its name
  --init_from PATH|null                   start from these weights, or from none
  --ckpt_path PATH|last                   resume an interrupted run
  --runs DIR  --variant NAME              write to DIR/NAME/STAGE (else runs/ and the overlays' or experiment's names)
  --overwrite                             train a finished stage anew; what it was is set aside, not deleted
  --only STAGE  --rehearse                of an experiment file: one stage and what it needs; two steps of everything
  --compressor NAME  --eval_ratios LIST  --split dev|test      of validate, test and predict
  --force                                 use weights otherwise than they were trained; the files say so afterwards
"""


def usage(program: str) -> str:
    """The text for who calls it by this name; what stands in columns stays there."""
    if program == LONG:
        return USAGE
    gap = " " * (len(LONG) - len(program))
    lines = []
    for line in USAGE.splitlines(keepends=True):
        if LONG in line:
            lines.append(re.sub(r"(\S {2,})(?=\S)", rf"\1{gap}", line.replace(LONG, program), count=1))
        elif f"  {program} " not in line:
            lines.append(line)
    return "".join(lines)
