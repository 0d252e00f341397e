"""The pictures of docs/page.md: a trained stage is served, and its page used in a headless Chromium.

python -m experiments.figures.page LibriSpeech/dev-clean/1272/128104 [--model experiments/trained/read_speech]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from playwright.sync_api import sync_playwright

from experiments.figures.driven_page import Server, ask, choose, hear, launch, visit, wait_until_heard

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS = 600  # that the server of these pictures hears
LAPTOP, PHONE = {"width": 1280, "height": 1180}, {"width": 360, "height": 780}
QUESTION = "transcribe the speech"  # what read_speech was trained to answer
PATIENCE = 600  # seconds, for hearing and for an answer


def joined(chapter: Path, target: Path) -> Path:
    """The utterances of one LibriSpeech chapter, one behind the other."""
    parts = [sf.read(path, dtype="float32") for path in sorted(chapter.glob("*.flac"))]
    if not parts:
        raise SystemExit(f"{chapter}: no *.flac in it; name a chapter's folder of LibriSpeech")
    sf.write(target, np.concatenate([audio for audio, _ in parts]), parts[0][1])
    return target


class Camera:
    """Takes a page's pictures."""

    def __init__(self, page: Any, folder: Path) -> None:
        self.page, self.folder = page, folder

    def take(self, name: str, **options: Any) -> None:
        self.page.evaluate(
            "() => { document.activeElement.blur(); document.querySelector('#intervals').scrollTo(0, 0); }"
        )
        self.page.screenshot(path=self.folder / f"page_{name}.png", **options)
        print(self.folder / f"page_{name}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chapter", type=Path, help="a chapter's folder of LibriSpeech, with its *.flac")
    parser.add_argument("--model", type=Path, default=ROOT / "experiments/trained/read_speech")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/pictures")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        talk = joined(given.chapter, Path(folder) / "chapter.flac")
        broken, long = Path(folder) / "broken.mp3", Path(folder) / "four_hours.flac"
        broken.write_bytes(b"this is no audio" * 4096)
        sf.write(long, np.zeros(4 * 3600 * 1000, dtype=np.int16), 1000)
        command = [sys.executable, "-m", "speech_xl.commands.main", "serve", "--model", str(given.model.resolve())]
        limits = ["--model-name", "read_speech", "--max-audio-seconds", str(LIMIT_SECONDS)]
        server = Server([*command, *limits], Path(folder))
        try:
            server.wait()
            with sync_playwright() as playwright, launch(playwright) as browser:
                pictures(browser.new_page(viewport=LAPTOP), server.url, talk, broken, long, given.out)
        finally:
            server.stop()


def pictures(page: Any, url: str, talk: Path, broken: Path, long: Path, out: Path) -> None:
    camera = Camera(page, out)
    visit(page, url)
    page.set_input_files("#file", broken)
    page.wait_for_selector(".error")
    camera.take("broken_file", clip={"x": 0, "y": 0, "width": 1280, "height": 520})
    page.set_input_files("#file", long)
    page.wait_for_function("() => /at most/.test(document.querySelector('.error')?.textContent)")
    camera.take("long_file", clip={"x": 0, "y": 0, "width": 1280, "height": 520})
    page.set_input_files("#file", talk)
    page.wait_for_selector("#intervals li:nth-child(6)", timeout=PATIENCE * 1000)
    choose(page, "A", 16)
    page.wait_for_selector("#intervals .at >> text=16x", timeout=PATIENCE * 1000)
    camera.take("hearing", full_page=True)
    wait_until_heard(page, PATIENCE)
    ask(page, QUESTION, PATIENCE)
    camera.take("answers", full_page=True)
    page.set_viewport_size(PHONE)
    page.wait_for_timeout(500)  # the chart is drawn for the new width
    camera.take("phone", full_page=True)
    page.set_viewport_size(LAPTOP)
    page.click("#compare")
    page.click("#forget")
    choose(page, "A", 4)
    choose(page, "B", 16)
    hear(page, talk, PATIENCE)
    ask(page, QUESTION, PATIENCE)
    camera.take("two_ratios", full_page=True)


if __name__ == "__main__":
    main()
