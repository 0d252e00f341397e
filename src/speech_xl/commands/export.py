"""`speech-xl export`: give a trained stage away, as a folder in the Hugging Face form."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from speech_xl.run.arguments import FORCE_HELP
from speech_xl.run.trust import TRUST_HELP

HELP = "write a trained stage as a folder that others can load"
EXAMPLES = """examples:
  speech-xl export runs/mine/sst my_model                      everything in one folder
  speech-xl export runs/mine/sst my_model --merge-lora         LoRA added to the LLM's weights
  speech-xl export runs/mine/sst my_model --apart              what was trained alone; base models are named
  speech-xl export runs/mine/sst my_model --apart --dtype float16 --encoder-name openai/whisper-base
  speech-xl export runs/mine/sst my_model --license apache-2.0 --language en --dataset openslr/librispeech_asr

Then, on any machine:
  speech-xl listen talk.m4a --model my_model --ask "who speaks?"
  hf upload OWNER/my_model my_model
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("stage", metavar="RUN", type=Path, help="folder of a finished stage, such as runs/mine/sst")
    parser.add_argument("out", metavar="DIR", type=Path, help="folder to write; it mustn't hold anything yet")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--merge-lora", action="store_true", help="add LoRA's deltas to the LLM's weights")
    form.add_argument(
        "--apart", action="store_true", help="leave out pretrained weights that weren't trained, and name their models"
    )
    parser.add_argument(
        "--dtype",
        choices=("float16", "bfloat16", "float32"),
        help="number format of the weights that are written (as the stage has them)",
    )
    for role, what in (("encoder", "encoder"), ("llm", "LLM")):
        parser.add_argument(f"--{role}-name", metavar="NAME", help=f"its {what}'s name on the hub, if it was a folder")
        parser.add_argument(f"--{role}", metavar="DIR", help=f"where its base {what} lies, if it names one (the hub)")
    parser.add_argument("--max-shard-size", metavar="SIZE", default="5GB", help="most of a weights file (%(default)s)")
    parser.add_argument("--license", metavar="NAME", help="for the card: the weights' licence, such as apache-2.0")
    parser.add_argument(
        "--language", metavar="CODE", action="append", default=[], help="for the card: a language, such as en; repeat"
    )
    parser.add_argument(
        "--dataset", metavar="NAME", action="append", default=[], help="for the card: training data on the hub; repeat"
    )
    parser.add_argument("--force", action="store_true", help=FORCE_HELP)
    parser.add_argument("--trust_remote_code", action="store_true", help=TRUST_HELP)


def run(given: argparse.Namespace) -> None:
    """Export, and say what was written. Errors that a user can mend are raised as such (`exit_on_user_error`)."""
    from speech_xl.hub.card import Facts
    from speech_xl.hub.export import export

    roles = ("encoder", "llm")
    names = {role: name for role in roles if (name := getattr(given, f"{role}_name")) is not None}
    bases = {role: place for role in roles if (place := getattr(given, role)) is not None}
    done = export(
        given.stage,
        given.out,
        apart=given.apart,
        merge_lora=given.merge_lora,
        dtype=given.dtype,
        names=names,
        bases=bases,
        facts=Facts(given.license, tuple(given.language), tuple(given.dataset)),
        max_shard_size=given.max_shard_size,
        trust_remote_code=given.trust_remote_code,
        force=given.force,
    )
    for remark in done.remarks:
        print(remark, file=sys.stderr)
    size = sum(path.stat().st_size for path in done.folder.rglob("*") if path.is_file())
    print(f"{done.folder}: {done.form}, {size / 2**20:.1f} MiB. Try it: speech-xl listen AUDIO --model {done.folder}")
