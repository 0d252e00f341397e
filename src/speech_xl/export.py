"""A trained stage to give away: `python -m speech_xl.export RUN/stage3 DIR` writes a folder that needs no other.

It holds the weights in half precision, the configuration without its corpus and other paths of this machine, and, where
all of the LLM was trained, the LLM's own config and tokenizer. An encoder, or an LLM, that no stage has trained stays
where it is published and is named instead. `speech_xl.listen` takes the folder as it takes a stage's own.
"""

import argparse
import copy
import json
from pathlib import Path

import torch
import yaml

from speech_xl.model import SpeechLLM
from speech_xl.phases.weights import read_weights, save_weights
from speech_xl.run.command import CONFIG, WEIGHTS, ConfigError
from speech_xl.run.lineage import NOTE, sources_of
from speech_xl.run.trained_stage import EXPORTED, FORCE_HELP, TrainedStage
from speech_xl.run.trust import REMOTE_CODE, TRUST_HELP
from speech_xl.run.user_errors import exit_on_user_error
from speech_xl.storage.files import check_writable, write_text

LLM_FOLDER = "llm"
MEND = {
    "encoder": "say how others find these very weights, such as --encoder openai/whisper-base",
    "llm": "train the stage with the LLM's hub name, or all of its weights",
}


def export(
    folder: str | Path,
    out: str | Path,
    encoder: str | None = None,
    dtype: str = "float16",
    trust_remote_code: bool = False,
    force: bool = False,
) -> Path:
    """Write the stage in `folder` to `out`.

    encoder            the name others find the encoder by, where this stage took it from a folder
    dtype              of the weights: float16, bfloat16 or float32
    trust_remote_code  run code that comes with the stage's encoder or LLM
    force              use the weights even where the configuration isn't theirs

    Raises ConfigError where `out` holds a stage already, and where an encoder or LLM would be named by a folder of this
    machine.
    """
    stage, out = TrainedStage.of(folder, trust_remote_code, force), Path(out)
    if any((out / name).exists() for name in (WEIGHTS, CONFIG, EXPORTED)):
        raise ConfigError(f"{out} holds a trained stage already; name another folder, or delete it first")
    model = stage.model()
    kept, notes = read_weights(stage.weights)
    state, untouched = model.state_dict(), set(json.loads(notes.get("untouched_pretrained", "[]")))
    shared = {state[name].data_ptr() for name in kept}
    tied = {name for name in untouched if name.startswith("llm.") and state[name].data_ptr() in shared}
    whole_llm = not any(name.startswith("llm.") for name in untouched - tied)
    config = {
        "stage": stage.config.get("stage"),
        "model": copy.deepcopy(stage.model_config),  # without optimizer, schedule and the like
        "data": stage.hearing,
    }
    parts = config["model"]["init_args"]
    for part in (parts["encoder"], parts["llm"]):
        part["init_args"].pop(REMOTE_CODE, None)  # whoever is given the folder decides that anew
    if encoder is not None:
        parts["encoder"]["init_args"]["name"] = encoder
    if whole_llm:
        parts["llm"]["init_args"]["name"] = LLM_FOLDER
    outside = ({} if encoder else {"encoder": parts["encoder"]}) | ({} if whole_llm else {"llm": parts["llm"]})
    for role, part in outside.items():
        if Path(name := part["init_args"]["name"]).expanduser().is_dir():
            raise ConfigError(f"{role}.name={name} is a folder of this machine and isn't exported; {MEND[role]}")
    check_writable(out, "out")
    if whole_llm:
        parts["llm"]["init_args"]["pretrained"] = False  # all its weights are the stage's
        _write_llm(model, out / LLM_FOLDER)
    wanted = getattr(torch, dtype)
    written = {
        name: value.to(wanted) if value.is_floating_point() and value.ndim else value
        for name, value in state.items()
        if name not in untouched - tied
    }
    left = sorted(untouched - written.keys())
    exported = {"stage": str(config["stage"]), "untouched_pretrained": json.dumps(left)}
    if model.lineage is not None:
        exported[NOTE] = json.dumps({**model.lineage, "sources": sources_of(model, left)})
    write_text(out / EXPORTED, yaml.safe_dump(config, sort_keys=False))
    save_weights(written, out / WEIGHTS, **exported)  # last: with its weights a folder is whole
    return out


def _write_llm(model: SpeechLLM, folder: Path) -> None:
    """The LLM's config and tokenizer, without weights."""
    model.llm.model.config.save_pretrained(folder)
    model.llm.prompt.tokenizer.save_pretrained(folder)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of a finished stage, such as runs/whisper_base_tiny/stage3")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--encoder", metavar="NAME", help="how others find its encoder, such as openai/whisper-base")
    parser.add_argument("--dtype", choices=("float16", "bfloat16", "float32"), default="float16", help="(%(default)s)")
    parser.add_argument("--force", action="store_true", help=FORCE_HELP)
    parser.add_argument("--trust_remote_code", action="store_true", help=TRUST_HELP)
    given = parser.parse_args(argv)
    with exit_on_user_error():
        out = export(given.folder, given.out, given.encoder, given.dtype, given.trust_remote_code, given.force)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{out}: {size / 2**20:.1f} MiB. Try it: python -m speech_xl.listen {out} AUDIO")


if __name__ == "__main__":
    main()
