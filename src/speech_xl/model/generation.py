"""Greedy answers from a KV memory: questions of any lengths at once, each with a limit of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from speech_xl.model.context import check_question, warn_beyond_context
from speech_xl.model.kv_memory import FrozenMemory, KVMemory
from speech_xl.model.layout import View
from speech_xl.model.speech import GeneratedText

if TYPE_CHECKING:
    from speech_xl.model.speech_llm import SpeechLLM


class TokenWatch(BaseStreamer, StoppingCriteria):
    """Hands on each new token of a single question as it comes, and ends the answer where it is told to.

    on_token  takes the id of a new token; whether to go on
    """

    def __init__(self, on_token: Callable[[int], bool]) -> None:
        self.on_token, self.asked, self.go_on = on_token, False, True

    def put(self, value: Tensor) -> None:
        """The question's ids [1, T] come first, then one token [1] after the other."""
        if self.asked:
            self.go_on = self.go_on and self.on_token(int(value))
        self.asked = True

    def end(self) -> None:
        """Nothing is held back."""

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        return torch.full((len(input_ids),), not self.go_on, device=input_ids.device)


class StepWatch(StoppingCriteria):
    """Called before every further token of a batch of questions, and ends their answers where it is told to.

    on_step  whether to go on
    """

    def __init__(self, on_step: Callable[[], bool]) -> None:
        self.on_step = on_step

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        return torch.full((len(input_ids),), not self.on_step(), device=input_ids.device)


@torch.no_grad()
def greedy_answers(
    model: SpeechLLM,
    memory: KVMemory | FrozenMemory,
    rows: Sequence[int],
    instructions: Sequence[str | list[int]],
    limits: Sequence[int],
    rules: Sequence[LogitsProcessor],
    watch: TokenWatch | StepWatch | None = None,
    views: Sequence[View | None] = (),
) -> list[GeneratedText]:
    """See `SpeechLLM.generate`."""
    prompt, device = model.llm.prompt, model.device
    everyone = isinstance(memory, KVMemory) and list(rows) == list(range(len(memory.valid)))
    if any(views):
        if not isinstance(memory, KVMemory):
            raise ValueError("a frozen memory answers about all of its audio; ask the memory that it was frozen from")
        fork = memory.viewed(rows, views)
    else:
        fork = memory.fork() if everyone else memory.select(rows)  # copies would be copied again by the first token
    asked = [torch.tensor(prompt.question(i) if isinstance(i, str) else i, device=device) for i in instructions]
    check_question(model.llm, max(map(len, asked)), fork.valid.shape[1])
    ids = pad_sequence(asked, batch_first=True, padding_value=prompt.end_id, padding_side="left")
    real = pad_sequence([torch.ones_like(a) for a in asked], batch_first=True, padding_side="left")
    if isinstance(fork, FrozenMemory) and fork.capacity is not None and fork.capacity < ids.shape[1] + max(limits):
        raise ValueError(
            f"a question of {ids.shape[1]} tokens and an answer of up to {max(limits)} don't fit the capacity of "
            f"{fork.capacity}: freeze the memory with a larger capacity, or limit the answer"
        )
    output = model.llm.model.generate(
        input_ids=ids,
        # Both are needed: without them a suffix longer than the cache would lose its head, and places be wrong.
        attention_mask=torch.cat([fork.valid.long(), real], dim=1),
        position_ids=fork.position[:, None] + (real.cumsum(1) - 1).clamp(min=0),
        generation_config=GenerationConfig(
            max_new_tokens=max(limits), do_sample=False, eos_token_id=prompt.end_id, pad_token_id=prompt.end_id
        ),
        logits_processor=LogitsProcessorList(rules),
        **({"streamer": watch} if isinstance(watch, TokenWatch) else {}),
        **({} if watch is None else {"stopping_criteria": StoppingCriteriaList([watch])}),
        **{model.llm.cache_argument: fork.cache},
        **model.llm.cache_positions(fork.valid.shape[1], ids.shape[1]),
    )
    warn_beyond_context(model, int(fork.position.max()) + output.shape[1], model.positions)
    return answers_of(model, output[:, ids.shape[1] :].tolist(), limits, rules)


def answers_of(
    model: SpeechLLM, tokens: Sequence[list[int]], limits: Sequence[int], rules: Sequence[LogitsProcessor]
) -> list[GeneratedText]:
    """Answers from the new tokens of each question, of which the first `limits` count."""
    prompt = model.llm.prompt
    reached = next((rule.reached for rule in rules if hasattr(rule, "reached")), [None] * len(limits))
    answers = []
    for new, limit, second in zip(tokens, limits, reached, strict=True):
        ended = prompt.end_id in new[:limit]
        count = new.index(prompt.end_id) + 1 if ended else min(limit, len(new))
        answers.append(GeneratedText(prompt.text(new[:limit]), ended and second is None, second, count))
    return answers
