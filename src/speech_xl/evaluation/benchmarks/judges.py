"""Judges of free answers: a local Hugging Face LLM, or an endpoint that the user names. None is called by default."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

import torch

from speech_xl.evaluation.benchmarks.judge_prompts import Messages


class JudgeError(Exception):
    """A judge gave no reply about one answer; the message says why. The answer can be tried again."""


class Judge(Protocol):
    """A model that replies to a chat.

    name  as the user named the model
    """

    name: str

    def reply(self, messages: Messages, max_tokens: int) -> str:
        """Raises JudgeError where this answer can't be judged, ValueError where no answer can."""
        ...


class LocalJudge:
    """A causal LM of Hugging Face with a chat template, decoded greedily on this machine.

    Where its template refuses a system message, that stands before the question. Templates that can switch thinking
    off (`enable_thinking`) do so.

    Args:
        model: A folder, or a name on the Hub. It is loaded for the first answer that must be judged.
        device: As torch names it; None: a GPU where there is one.
    """

    def __init__(self, model: str, device: str | None = None) -> None:
        self.name = model
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))

    @torch.inference_mode()
    def reply(self, messages: Messages, max_tokens: int) -> str:
        """Raises ValueError where the model can't be loaded or has no chat template."""
        from transformers import GenerationConfig

        tokenizer, llm = self._loaded
        prompt = self._rendered(tokenizer, messages).to(self.device)
        stop = llm.generation_config.eos_token_id or tokenizer.eos_token_id
        # A config of its own: the model's may draw at random or punish repetitions.
        greedy = GenerationConfig(
            max_new_tokens=max_tokens,
            do_sample=False,
            eos_token_id=stop,
            pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
        )
        tokens = llm.generate(**prompt, generation_config=greedy)[0, prompt["input_ids"].shape[1] :]
        return str(tokenizer.decode(tokens, skip_special_tokens=True)).strip()

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(self.name)
            llm: Any = AutoModelForCausalLM.from_pretrained(self.name, dtype="auto")
        except (OSError, ValueError, KeyError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(
                f"judge {self.name}: can't be loaded ({first}); name a folder with a causal LM and its tokenizer, or "
                "download the model first"
            ) from error
        if not tokenizer.chat_template:
            raise ValueError(f"judge {self.name}: its tokenizer has no chat template; name a chat (instruct) model")
        return tokenizer, llm.to(self.device).eval()

    def _rendered(self, tokenizer: Any, messages: Messages) -> Any:
        from jinja2 import TemplateError

        def render(chat: Sequence[dict[str, str]]) -> Any:
            return tokenizer.apply_chat_template(
                chat, add_generation_prompt=True, return_tensors="pt", return_dict=True, enable_thinking=False
            )

        try:
            return render(messages)
        except TemplateError:
            whole = "\n\n".join(message["content"] for message in messages)
            return render([{"role": "user", "content": whole}])


class EndpointJudge:
    """A model behind an OpenAI-compatible chat endpoint, at temperature 0.

    Questions, references and answers are sent to it. The key is read from the environment and written nowhere.

    Args:
        base_url: Such as "http://127.0.0.1:8000/v1".
        model: As the endpoint names it.
        api_key_env: The environment variable that holds the key; None for an endpoint without keys.
        timeout: Seconds that one reply may take.
        retries: How often openai's client repeats a request that failed for a passing reason.
    """

    def __init__(
        self, base_url: str, model: str, api_key_env: str | None = None, timeout: float = 120.0, retries: int = 2
    ) -> None:
        try:
            from openai import OpenAI
        except ImportError as error:
            raise ImportError('a judge behind an endpoint needs openai: pip install -e ".[judge]"') from error
        if not base_url.startswith(("http://", "https://")):
            raise ValueError(f"judge base_url: got {base_url!r}; give one that begins with http:// or https://")
        self.name = model
        self.base_url = base_url
        self._key = "none" if api_key_env is None else os.environ.get(api_key_env, "")
        if not self._key:
            raise ValueError(
                f"judge api_key_env: the environment variable {api_key_env} is not set; export it with the key, or "
                "leave api_key_env out for an endpoint without keys"
            )
        self._client = OpenAI(base_url=base_url, api_key=self._key, timeout=timeout, max_retries=retries)

    def reply(self, messages: Messages, max_tokens: int) -> str:
        """Raises ValueError where the endpoint refuses the key or doesn't know the model, else JudgeError."""
        import openai

        chat: Any = messages
        try:
            found = self._client.chat.completions.create(
                model=self.name, messages=chat, temperature=0, max_tokens=max_tokens
            )
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            raise ValueError(
                f"judge {self.name} at {self.base_url}: {self._without_key(error)}; correct the address, the model or "
                "the key"
            ) from error
        except openai.OpenAIError as error:
            raise JudgeError(self._without_key(error)) from error
        if not found.choices:
            raise JudgeError("the endpoint's reply has no choices")
        return (found.choices[0].message.content or "").strip()

    def _without_key(self, error: Exception) -> str:
        text = f"{type(error).__name__}: {error}"
        return text if self._key == "none" else text.replace(self._key, "(key)")
