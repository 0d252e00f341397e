"""In a process of its own: what folders give. `python -m tests.hub.fresh OUT FOLDER[,ROLE=PATH ...] ...`."""

import json
import sys
from pathlib import Path


def main(out: str, *folders: str) -> None:
    import speech_xl

    assert not {"torch", "transformers", "lightning", "lhotse"} & set(sys.modules), "importing it is quick"
    assert speech_xl.SpeechXLConfig.model_type == "speech_xl"  # ours first: it is what imports transformers here
    from safetensors.torch import save_file
    from transformers import AutoModel, AutoModelForMultimodalLM, AutoProcessor

    from tests.hub.giving import given_by

    kinds = (AutoModelForMultimodalLM, AutoModel, speech_xl.SpeechXL)
    for number, words in enumerate(folders):
        folder, *bases = words.split(",")
        model = kinds[number % 3].from_pretrained(folder, **dict(base.split("=") for base in bases))
        assert type(model) is speech_xl.SpeechXL
        assert type(AutoProcessor.from_pretrained(folder)) is speech_xl.SpeechXLProcessor
        tensors, answers = given_by(model)
        save_file(tensors, Path(out) / f"{Path(folder).name}.safetensors")
        (Path(out) / f"{Path(folder).name}.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    main(*sys.argv[1:])
