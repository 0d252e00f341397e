"""The figures of docs/method.md, drawn from the real layout and the real attention mask.

python -m experiments.figures.method [--out docs/pictures]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no display needed: pictures are only written
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Patch, Rectangle

from speech_xl.model.attention import query_chunks
from speech_xl.model.layout import Layout, LayoutBatch, build_layout
from speech_xl.model.positions import Kind

# Okabe and Ito's palette, which readers with colour-blindness can tell apart.
COLOURS = {Kind.PREFIX: "#999999", Kind.FRAME: "#56B4E9", Kind.SST: "#D55E00", Kind.SUFFIX: "#009E73"}
NAMES = {Kind.PREFIX: "prompt", Kind.FRAME: "speech frame", Kind.SST: "SST", Kind.SUFFIX: "question and answer"}
LETTERS = {Kind.PREFIX: "p", Kind.FRAME: "x", Kind.SST: "s", Kind.SUFFIX: "t"}
FRAME_RATE = 12.5  # speech frames a second
INTERVAL_SECONDS = 4.0
SECONDS = 60  # of the audio in the figure of memory over time
PROMPT, QUESTION, ANSWER = 3, 4, 4  # tokens, in the figure of the layout


def visible(layout: Layout) -> np.ndarray:
    """What each token of one sample attends to, by the mask that training runs on: bool [T, T].

    That mask has a column for every token's own key and one for the copy of each kept token, which later intervals
    see. A copy counts here as the token that it is a copy of.
    """
    batch = LayoutBatch.collate([layout])
    copied = batch.kept()
    length = len(layout)
    (chunk,) = query_chunks(batch, copied, size=length)
    mask = chunk.mask[0, 0].numpy()
    seen = mask[:, :length].copy()
    for column, token in enumerate(copied[0, : chunk.copies].tolist()):
        seen[:, token] |= mask[:, length + column]
    return seen


def held_tokens(layout: Layout) -> np.ndarray:
    """KV tokens in memory as each token of one sample is read, itself included: int64 [T]."""
    return visible(layout).sum(axis=1)


def intervals_of(seconds: float) -> list[int]:
    """Frames of each interval of audio that is a whole number of intervals long."""
    return [round(INTERVAL_SECONDS * FRAME_RATE)] * round(seconds / INTERVAL_SECONDS)


def token_box(axes: Axes, x: float, y: float, kind: int, held: bool, height: float = 0.62) -> None:
    colour = COLOURS[Kind(kind)]
    face, edge = (colour, "white") if held else ("white", "#C8C8C8")
    style = {"facecolor": face, "edgecolor": edge, "linewidth": 0.8, "linestyle": "-" if held else ":"}
    axes.add_patch(Rectangle((x + 0.06, y - height / 2), 0.88, height, **style))


def draw_pipeline(axes: Axes, width: float, top: float) -> None:
    """Audio, encoder, adapter and LLM as boxes with arrows between, over columns 0 to `width`."""
    boxes = [
        ("audio", "16 kHz"),
        ("speech encoder", "frozen; 50 frames/s"),
        ("adapter", "12.5 frames/s"),
        ("LLM with SSTs", "interval by interval"),
    ]
    gap, height = 1.6, 1.5
    size = (width - gap * (len(boxes) - 1)) / len(boxes)
    for number, (name, note) in enumerate(boxes):
        left = number * (size + gap)
        shape = FancyBboxPatch((left + 0.2, top - height / 2), size - 0.4, height, boxstyle="round,pad=0.15")
        shape.set(facecolor="#F3F3F3", edgecolor="#555555", linewidth=1.0)
        axes.add_patch(shape)
        axes.text(left + size / 2, top + 0.28, name, ha="center", va="center", fontsize=10, weight="bold")
        axes.text(left + size / 2, top - 0.36, note, ha="center", va="center", fontsize=8.5, color="#333333")
        if number:
            start, end = left - gap + 0.1, left - 0.05
            axes.annotate("", (end, top), (start, top), arrowprops={"arrowstyle": "-|>", "color": "#555555", "lw": 1.3})


def draw_layout(path: Path) -> None:
    """Pipeline, and what the KV memory holds while a sample of three intervals is read."""
    ratios = [4, 8, 4]
    layout = build_layout(PROMPT, [8, 8, 6], ratios, QUESTION + ANSWER)
    seen, length = visible(layout), len(layout)
    figure, axes = plt.subplots(figsize=(11, 4.9))
    draw_pipeline(axes, length, top=7.6)
    groups = [("prompt", layout.interval == -1)]
    groups += [(f"interval {i + 1}\n({ratio}x)", layout.interval == i) for i, ratio in enumerate(ratios)]
    suffix = np.flatnonzero(layout.interval == 3)
    groups += [("question", np.isin(np.arange(length), suffix[:QUESTION]))]
    groups += [("answer", np.isin(np.arange(length), suffix[QUESTION:]))]
    for name, members in groups:
        columns = np.flatnonzero(members)
        axes.plot([columns[0] + 0.1, columns[-1] + 0.9], [5.05, 5.05], color="#555555", linewidth=1.2)
        middle = (columns[0] + columns[-1] + 1) / 2
        axes.text(middle, 5.2, name, ha="center", va="bottom", fontsize=9)
    rows = [(f"reading interval {i + 1}", np.flatnonzero(layout.interval == i)[-1]) for i in range(3)]
    rows += [("answering", length - 1)]
    for number, (name, query) in enumerate(rows):
        y = 4.4 - number * 1.05
        axes.text(-0.4, y, name, ha="right", va="center", fontsize=9)
        for column in range(query + 1):
            token_box(axes, column, y, layout.kind[column], bool(seen[query, column]))
        axes.text(length + 0.5, y, f"{int(seen[query].sum())}", ha="left", va="center", fontsize=9)
    axes.text(length + 0.5, 5.2, "KV tokens\nheld", ha="left", va="bottom", fontsize=9)
    handles = [Patch(facecolor=COLOURS[kind], label=NAMES[kind]) for kind in COLOURS]
    handles.append(Patch(facecolor="white", edgecolor="#C8C8C8", linestyle=":", label="KV dropped"))
    axes.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, -0.09), ncol=5, frameon=False, fontsize=9)
    axes.set(xlim=(-6.2, length + 4), ylim=(0.3, 8.7))
    axes.axis("off")
    save(figure, path)


def draw_mask(path: Path) -> None:
    """The attention mask of two intervals at 4x and 2x: rows are queries, columns keys."""
    layout = build_layout(2, [8, 4], [4, 2], 3)
    seen, length = visible(layout), len(layout)
    figure, axes = plt.subplots(figsize=(7.2, 6.9))
    for query, key in zip(*np.nonzero(seen), strict=True):
        colour = COLOURS[Kind(layout.kind[key])]
        axes.add_patch(Rectangle((key + 0.05, query + 0.05), 0.9, 0.9, facecolor=colour, edgecolor="none"))
    letters = [LETTERS[Kind(kind)] for kind in layout.kind]
    centres = np.arange(length) + 0.5
    axes.set_xticks(centres, letters, fontsize=9)
    axes.set_yticks(centres, letters, fontsize=9)
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    borders = (np.flatnonzero(np.diff(layout.interval)) + 1).tolist()
    for border in borders:
        axes.axhline(border, color="#777777", linewidth=0.9)
        axes.axvline(border, color="#777777", linewidth=0.9)
    names = ["prompt", "interval 1 (4x)", "interval 2 (2x)", "text"]
    for name, start, end in zip(names, [0, *borders], [*borders, length], strict=True):
        axes.text((start + end) / 2, -1.25, name, ha="center", va="bottom", fontsize=9)
        axes.text(-1.25, (start + end) / 2, name, ha="right", va="center", fontsize=9, rotation=90)
    axes.text(length / 2, -2.2, "keys", ha="center", va="bottom", fontsize=10, weight="bold")
    axes.text(-2.2, length / 2, "queries", ha="right", va="center", fontsize=10, weight="bold", rotation=90)
    handles = [Patch(facecolor=COLOURS[kind], label=f"{LETTERS[kind]}: {NAMES[kind]}") for kind in COLOURS]
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.01), ncol=4, frameon=False, fontsize=9)
    axes.set(xlim=(0, length), ylim=(length, 0), aspect="equal")
    save(figure, path)


def draw_memory(path: Path) -> None:
    """KV tokens of the audio while a minute is read: without compression and with SSTs at 4x."""
    lengths = intervals_of(SECONDS)
    figure, axes = plt.subplots(figsize=(7.2, 3.9))
    styles = {None: ("#555555", "all frames kept"), 4: (COLOURS[Kind.SST], "SSTs at 4x")}
    for ratio, (colour, name) in styles.items():
        layout = build_layout(0, lengths, [ratio] * len(lengths), 0)
        seconds = (layout.source + 1) / FRAME_RATE
        if ratio is not None:  # an SST's source is a frame amid its group; it is read after the group's last frame
            seconds = np.maximum.accumulate(seconds)
        # When the last interval is over, its frames' KV goes too.
        seconds, tokens = np.append(seconds, SECONDS), np.append(held_tokens(layout), layout.kept)
        axes.plot(seconds, tokens, color=colour, linewidth=1.6, clip_on=False)
        axes.annotate(
            f"{name}: {layout.kept:,} tokens",
            (SECONDS, layout.kept),
            (6, 0),
            textcoords="offset points",
            va="center",
            fontsize=9.5,
            color=colour,
        )
    axes.set(xlabel="audio read (s)", ylabel="KV tokens of the audio", xlim=(0, SECONDS), ylim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#E5E5E5", linewidth=0.8)
    axes.set_axisbelow(True)
    save(figure, path)


def save(figure: plt.Figure, path: Path) -> None:
    figure.savefig(path, dpi=160, bbox_inches="tight", facecolor="white")
    plt.close(figure)


FIGURES = {"method_layout.png": draw_layout, "method_mask.png": draw_mask, "method_memory.png": draw_memory}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Draw the figures of docs/method.md.")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"), help="folder of the pictures")
    out: Path = parser.parse_args(arguments).out
    out.mkdir(parents=True, exist_ok=True)
    for name, draw in FIGURES.items():
        draw(out / name)
        print(out / name)


if __name__ == "__main__":
    main()
