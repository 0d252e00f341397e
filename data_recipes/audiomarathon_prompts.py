"""Prompts of AudioMarathon, task by task: what its evaluation scripts for Qwen2.5-Omni ask after the audio.

Sentences that are known of the scripts stand here as they are: "Reply with only the letter (A, B, C, or D).", "Answer
with only 'a' or 'b'.", "Please select the correct answer", "Choose the most appropriate option.", and those that ask
for the letter or for "Spoken Content:". The words around them are ours and ask the same. Choices are written as there:
"A. x", in ASC "A: x", in ER and SAR "A) x". The scripts also give a system text, which says that the model is a virtual
human, or which task it has. It is left out: the model's own prompt format decides what stands before the audio.
"""

from __future__ import annotations

from collections.abc import Mapping

FIXED = {
    "SD": (
        "Decide whether the speech in this audio is real or fake. If it was spoken by a person, it is real: answer "
        "'a'. If it was made or altered by a machine, it is fake: answer 'b'. Answer with only 'a' or 'b'."
    ),
    "SGR": (
        "Decide whether the speaker in this audio is male or female. If the speaker is male, answer 'a'. If the "
        "speaker is female, answer 'b'. Answer with only 'a' or 'b'."
    ),
    "ASR": (
        "Transcribe this audio accurately. Remove hesitation words like 'um', 'uh'. Write your reply in this form:\n"
        "Spoken Content: the transcript"
    ),
}
MARKS = {"ASC": ":", "ER": ")", "SAR": ")"}  # between a choice's letter and its text; elsewhere a full stop


def prompt_of(task: str, question: str, choices: Mapping[str, str]) -> str:
    """The text after the audio.

    question: the row's own; ASC, SD, SGR and ASR ask the same of every row, and don't use it.
    choices: letter -> text, in the row's order.
    """
    if task in FIXED:
        return FIXED[task]
    mark = MARKS.get(task, ".")
    options = "\n".join(f"{letter}{mark} {text}" for letter, text in choices.items())
    if task == "SCR":
        return (
            "Listen to the audio and answer the question based solely on the information from the audio.\n\n"
            f"Question: {question}\n\nOptions:\n{options}\n\nRespond with only the letter of the correct option."
        )
    if task == "MC":
        return (
            "Listen to the audio and identify the music genre.\n\n"
            f"Question: {question}\n\nOptions:\n{options}\n\nRespond with only the letter of the correct option."
        )
    if task == "ASC":
        return (
            "Listen to the audio and identify the acoustic scene. Choose the most appropriate option.\n"
            f"{options}\nRespond with only the letter of your answer."
        )
    if task in ("ER", "SAR"):
        return f"{question}\n{options}\nPlease select the correct answer."
    return f"{question}\n{options}\nReply with only the letter (A, B, C, or D)."
