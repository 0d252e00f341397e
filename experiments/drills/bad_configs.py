"""Bad inputs, configs: flags and keys out of range or unknown, YAML that isn't, stages that start from themselves."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import yaml

from experiments.drills.cases import Case, Due
from experiments.drills.trial import Corrupt, Trial, with_ssts

Config = dict[str, Any]


def flag(what: str, flags: str | Callable[[Trial], list[str]], *names: str, due: Due = "refused") -> Case:
    """Flags of the command line: words, or what makes them of a trial."""

    def corrupt(trial: Trial) -> None:
        trial.flags += flags.split(" ") if isinstance(flags, str) else flags(trial)

    return Case(f"config: {what}", corrupt, names, due)


def key(what: str, path: str, value: Any, *names: str, due: Due = "refused") -> Case:
    """A key of the stage's config, by its dotted path; `init_args` is left out of it."""

    def corrupt(trial: Trial) -> None:
        put(trial.config, path, value)

    return Case(f"config: {what}", corrupt, names, due)


def put(config: Config, path: str, value: Any) -> None:
    """Set a value by its dotted path, through `init_args` where a part is a class."""
    *outer, last = path.split(".")
    for name in outer:
        config = config.setdefault(name, {})
        config = config.get("init_args", config)
    config[last] = value


def ssts(what: str, ratios: list[Any], *names: str, due: Due = "refused", starts: tuple[int, ...] = ()) -> Case:
    """A stage with SSTs, trained at `ratios`; `starts`: of a curriculum's entries, in steps."""

    def corrupt(trial: Trial) -> None:
        with_ssts(trial.config, ratios)
        if starts:
            trial.config["curriculum"] = curriculum(*starts)

    return Case(f"config: {what}", corrupt, names, due)


def curriculum(*starts: int) -> Config:
    schedule = [{"start": start, "ratios": [2 ** (1 + number)]} for number, start in enumerate(starts)]
    return {"class_path": "RatioCurriculum", "init_args": {"schedule": schedule}}


def of_class(name: str, **arguments: Any) -> Config:
    return {"class_path": name, "init_args": arguments}


def circle(trial: Trial) -> None:
    """Two stages that each start from the other."""
    trial.config["init_from"] = "two"
    other = trial.config | {"stage": "two", "init_from": "one"}
    (trial.folder / "two.yaml").write_text(yaml.safe_dump(other))


def text(content: str | bytes) -> Corrupt:
    """What the config file holds."""
    return lambda trial: setattr(trial, "config_text", content)


def makes_objects(trial: Trial) -> None:
    """A tag by which an unsafe YAML loader would run a command."""
    trial.config_text = f"stage: one\nmodel: !!python/object/apply:os.system ['touch {trial.folder / 'ran'}']\n"


def key_twice(trial: Trial) -> None:
    trial.config_text = yaml.safe_dump(trial.config).replace("data:\n", "data:\n  max_duration: 1.0\n", 1)


def laughs(trial: Trial) -> None:
    """References to references: 59,049 words when they are followed (five levels; nine would fill the memory)."""
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 6)]
    first = f"a0: &a0 [{', '.join(['x'] * 9)}]"
    trial.config_text = yaml.safe_dump(trial.config) + "\n".join([first, *levels]) + "\n"


def other_stage(trial: Trial) -> None:
    path = trial.folder / "other.yaml"
    path.write_text("stage: other\ndata: {turns: 2}\n")
    trial.flags += ["-c", str(path)]


def without_asr(trial: Trial) -> None:
    trial.config["data"] |= {"tasks": {"qa": 1.0}, "excerpt": {"min_seconds": 0.2, "max_seconds": 0.5}}


CLASSES = [
    flag("unknown key", "--data.turnz 3", "--data.turnz"),
    flag("unknown corpus", "--data.corpus Nowhere", "Nowhere"),
    flag("unknown optimizer", "--model.optimizer Foo", "Foo"),
    flag("unknown scheduler", "--model.scheduler swing", "swing"),
    key("unknown phase", "model", {"class_path": "Magic"}, "Magic"),
    key("unknown key in the model", "model.adapter.stridee", 2, "stridee"),
    flag("encoder folder missing", "--model.encoder ./nowhere", "nowhere"),
    flag("encoder of the hub, offline", "--model.encoder openai/whisper-nothing", "openai/whisper-nothing"),
    flag("llm folder is the encoder's", lambda trial: ["--model.llm", str(trial.models / "encoder")], "encoder"),
    flag("encoder folder is the llm's", lambda trial: ["--model.encoder", str(trial.models / "llm")], "llm"),
]
CHAIN = [
    Case("config: init_from itself", lambda trial: trial.config.update(init_from="one"), ("init_from",), apart=True),
    Case("config: init_from in a circle", circle, ("init_from",), apart=True),
    key("init_from unknown stage", "init_from", "nothing", "nothing"),
]
RATIOS = [
    key("a curriculum on a phase without SSTs", "curriculum", curriculum(0), "SSTCompression"),
    key("eval ratio 4 in a phase without SSTs", "model.eval_ratios", [4], "eval_ratios"),
    *(
        flag(f"ratio {value}", f"--model.eval_ratios [{value}]", "eval_ratios")
        for value in ("0", "-1", "1.5", "true", "'4'", "[[2]]", "null")
    ),
    flag("ratio 10000000000", "--model.eval_ratios [10000000000]", "eval_ratios", due="either"),
    flag("ratios empty", "--model.eval_ratios []", "eval_ratios"),
    *(ssts(f"training ratio {value}", [value], "ratios") for value in (0, -1, 1.5)),
    ssts("training ratio far above an interval", [1000], "ratios", due="either"),
    ssts("curriculum out of order", [2], "schedule[1]", starts=(0, 0)),
]
SECONDS = "--data.partition.init_args.seconds"
DATA = [
    flag("max_duration a text", "--data.max_duration long", "max_duration", "long"),
    flag("max_duration NaN", "--data.max_duration .nan", "max_duration"),
    flag("max_duration 0", "--data.max_duration 0", "max_duration"),
    flag("max_duration shorter than any session", "--data.max_duration 0.1", due="handled"),
    *(flag(f"interval {value} s", f"{SECONDS} {value}", "seconds") for value in ("0", "-4", ".nan", "0.001")),
    *(
        flag(f"interval {value} s, longer than the audio", f"{SECONDS} {value}", due="handled")
        for value in ("1000", "1e9")
    ),
    flag("interval .inf s, longer than the audio", f"{SECONDS} .inf", "seconds", due="either"),
    flag("num_workers -1", "--data.num_workers -1", "num_workers"),
    flag("num_buckets 0", "--data.num_buckets 0", "num_buckets"),
    flag("limit_dev 0", "--data.limit_dev 0", "limit_dev"),
    flag("turns 0", "--data.turns 0", "turns"),
    key("step_seconds 0", "data.transcript", of_class("Timestamps", step_seconds=0), "step_seconds"),
    key(
        "step_seconds 1e-9", "data.transcript", of_class("Timestamps", step_seconds=1e-9), "step_seconds", due="either"
    ),
    key("tasks unknown", "data.tasks", {"poem": 1.0}, "poem"),
    key("tasks negative", "data.tasks", {"asr": -1.0}, "asr"),
    key("tasks NaN", "data.tasks", {"asr": math.nan}, "asr"),
    key("tasks infinite", "data.tasks", {"asr": math.inf, "qa": 1.0}, "asr"),
    flag("eval_tasks caption alone", "--data.eval_tasks [caption]", "eval_tasks"),
    flag("eval_tasks empty", "--data.eval_tasks []", "eval_tasks"),
    Case("config: excerpt without asr", without_asr, ("excerpt",)),
    key("excerpt longest below shortest", "data.excerpt", {"min_seconds": 5, "max_seconds": 0.5}, "min_seconds"),
]
MODEL = [
    key("trainable empty", "model.trainable", {}, "trainable"),
    key("trainable matches nothing", "model.trainable", {"no.*": 1e-3}, "no.*"),
    key("learning rate negative", "model.trainable", {"adapter.*": -1.0}, "trainable"),
    key("learning rate NaN", "model.trainable", {"adapter.*": math.nan}, "trainable"),
    key("learning rate 0", "model.trainable", {"adapter.*": 0.0}, "trainable", due="either"),
    key("learning rate a text", "model.trainable", {"adapter.*": "fast"}, "trainable"),
    key("answer noise 1", "model.extensions", [of_class("AnswerNoise", share=1.0)], "AnswerNoise.share"),
    key("warmup_steps negative", "model.warmup_steps", -5, "warmup_steps"),
    key("warmup_steps above max_steps", "model.warmup_steps", 500, "warmup_steps", due="either"),
    key("max_tokens_per_second negative", "model.max_tokens_per_second", -8.0, "max_tokens_per_second"),
    key("max_tokens_per_second NaN", "model.max_tokens_per_second", math.nan, "max_tokens_per_second"),
    key("stride 0", "model.adapter.stride", 0, "stride"),
    key("stride beyond the audio", "model.adapter.stride", 1000, "stride", due="either"),
    key("dropout 2", "model.adapter.dropout", 2.0, "dropout"),
    key("time code negative", "model.frame_code", of_class("TimeCode", scale=-1.0), "TimeCode.scale"),
]
TRAINER = [
    flag("max_steps 0", "--trainer.max_steps 0", "max_steps", due="either"),
    flag("max_steps -1, cosine", "--trainer.max_steps -1", "max_steps"),
    flag("val_check_interval 0", "--trainer.val_check_interval 0", "val_check_interval", due="either"),
    flag("val_check_interval beyond max_steps", "--trainer.val_check_interval 50", "val_check_interval", due="either"),
    flag("no validation at all", "--trainer.limit_val_batches 0", due="either"),
    flag("precision int3", "--trainer.precision int3", "precision"),
    flag("precision 16-true on a CPU", "--trainer.precision 16-true", "precision", due="either"),
    flag("devices 0", "--trainer.devices 0", "devices"),
    flag("a GPU where there is none", "--trainer.accelerator gpu", "gpu"),
    flag("strategy unknown", "--trainer.strategy magic", "strategy"),
    flag("gradient_clip_val negative", "--trainer.gradient_clip_val -1", "gradient_clip_val", due="either"),
    flag("accumulate 0", "--trainer.accumulate_grad_batches 0", "accumulate_grad_batches"),
    flag("seed a text", "--seed_everything lucky", "seed_everything"),
]
RUNS = [
    flag("variant a path upwards", "--variant ../../up", "variant", due="either"),
    flag("variant an absolute path", lambda trial: ["--variant", str(trial.folder / "abs")], "variant", due="either"),
    flag("ckpt_path missing", "--ckpt_path gone.ckpt", "gone.ckpt"),
    flag("ckpt_path last with none there", "--ckpt_path last", "last.ckpt"),
    flag("a flag without value", "--variant", "--variant"),
    Case("config: missing file", lambda trial: trial.flags.extend(["-c", "nowhere.yaml"]), ("nowhere.yaml",)),
    Case("config: an overlay of another stage", other_stage, ("other",)),
]
TEXTS = [
    Case("config: tab in YAML", text("stage: one\n\tmodel: x\n"), ("one.yaml",)),
    Case("config: not UTF-8", text(b"stage: \xff\xfe"), ("one.yaml",)),
    Case("config: empty file", text(""), ("one.yaml",)),
    Case("config: a list", text("- 1\n- 2\n"), ("one.yaml",)),
    Case("config: the same key twice", key_twice, ("max_duration",)),
    Case("config: YAML that makes Python objects", makes_objects, ("one.yaml",)),
    Case("config: YAML of 59,049 laughs", laughs, ("one.yaml",), due="either", seconds=60),
]
CASES = [*CLASSES, *CHAIN, *RATIOS, *DATA, *MODEL, *TRAINER, *RUNS, *TEXTS]
