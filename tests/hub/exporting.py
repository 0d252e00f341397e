"""`speech-xl export` as a function of its words."""

from speech_xl.commands.main import main


def export_command(words: list[str]) -> None:
    main(["export", *words])
