"""Tables of measurements that compare no methods: default stages, exactness, cost, ablations, drills."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from experiments.tables.markdown import MEBIBYTES, PERCENT, POINTS, scientific, table
from experiments.tables.records import record, rows, value

TERA = 1e12
QUESTIONS = {  # of the server's drill
    "question_seconds": "a question while all clients are busy: median, longest",
    "question_meanwhile_seconds": "a question while a long file is heard: median, longest",
}


def embedded_minutes() -> str:
    """Minutes from a clean clone."""
    found = record("default")
    minutes = found["minutes"]
    body = [
        ("virtual environment and install", minutes["venv"] + minutes["install"]),
        ("corpus and stages 0 to 2", minutes["stage2"]),
        ("stage 3", minutes["stage3"]),
        ("test: 5 ratios, 60 sessions", minutes["test"]),
    ]
    return table(["step", "minutes"], [[name, f"{spent:.1f}"] for name, spent in body])


def exactness(by: str) -> Callable[[], str]:
    """Largest differences of loss and gradient for each value of `by`: family or scheme."""

    def write() -> str:
        found = record("exactness")
        body = []
        for name in dict.fromkeys(row[by] for row in found["rows"]):
            of = [row for row in found["rows"] if row[by] == name]
            controls = [row["difference"] for row in found["controls"] if row[by] == name]
            largest = [scientific(max(row[key] for row in of)) for key in ("value", "gradient")]
            body.append([name, str(len(of)), *largest, f"{min(controls):.2g}"])
        header = ["loss, largest difference", "gradient, largest difference", "broken on purpose, smallest difference"]
        return table([{"scheme": "positions", "family": "LLM family"}[by], "cases", *header], body)

    return write


def memory_and_flops() -> str:
    """Counted prefill FLOPs and kept KV of Qwen2.5-7B's sizes, beside Qwen2.5-Omni-7B."""
    names = ("Speech-XL 16x", "Speech-XL 1x", "Omni-7B")
    at = {(row["method"], row["minutes"]): row for row in record("efficiency")["rows"]}
    body = []
    for minutes in (5, 10, 30, 60):
        sst, _, omni = (at[name, minutes] for name in names)
        flops = [f"{at[name, minutes]['prefill'] / TERA:,.0f}" for name in names]
        kept = [f"{at[name, minutes]['kept_bytes'] / 2**20:,.0f}" for name in names]
        ratio = [f"{sst[key] / omni[key]:.{digits}f}" for key, digits in (("prefill", 2), ("kept_bytes", 3))]
        body.append([str(minutes), *flops, ratio[0], *kept, ratio[1]])
    header = ["prefill, TFLOP: 16x", "1x", "Omni-7B", "16x / Omni", "KV kept, MiB: 16x", "1x", "Omni-7B", "16x / Omni"]
    return table(["minutes of audio", *header], body)


def live_source() -> str:
    """An hour listened to second by second: KV, host memory and CPU time in two number formats."""
    body = []
    for run in record("efficiency")["measured"]:
        cpu, peak = run["cpu_seconds"], run["peak_gib"]
        early, late = statistics.mean(cpu[6:12]), statistics.mean(cpu[-6:])
        grown = f"{peak[9]:.2f} to {peak[-1]:.2f} (+{100 * (peak[-1] / peak[9] - 1):.1f} %)"
        spent = f"{early:.1f} to {late:.1f} (+{100 * (late / early - 1):.0f} %)"
        body.append([run["dtype"], f"{run['kv_bytes']:,}", f"{run['kv_bytes_formula']:,}", grown, spent])
    header = [
        "KV kept, bytes",
        "by formula",
        "peak host memory, minute 10 to 60, GiB",
        "CPU s a minute, minutes 7-12 to 55-60",
    ]
    return table(["number format", *header], body)


def training_speed() -> str:
    """Seconds and memory of a training step in one pass, interval by interval, and without SSTs."""
    ways = ("one pass", "by interval", "plain tokens")
    body = []
    for row in record("training_speed")["rows"]:
        seconds = {way: row["seconds"][way] for way in ways}
        cells = [
            f"{statistics.median(taken):.1f} ({min(taken):.1f} to {max(taken):.1f}), {row['peak_gib'][way]:.2f} GiB"
            for way, taken in seconds.items()
        ]
        pairs = zip(seconds["by interval"], seconds["one pass"], strict=True)
        body.append([str(row["width"]), *cells, f"{statistics.median(slow / fast for slow, fast in pairs):.2f}"])
    header = [
        "one pass, s",
        "interval by interval, s",
        "plain tokens without SSTs, s",
        "interval by interval / one pass",
    ]
    return table(["frames an interval", *header], body)


def ablations(*every: int) -> Callable[[], str]:
    """Short stage 3 trainings with one choice changed: mean and sd of two seeds, paired differences at these ratios."""

    def write() -> str:
        found = rows("ablations")
        names = list(dict.fromkeys(method for method, _ in found))
        lowest = {ratio: min(found[name, ratio]["wer_cut"] for name in names) for ratio in every}

        def cell(name: str, ratio: int) -> str:
            text = PERCENT.cell([(one, None, None) for one in found[name, ratio]["wer_cut_by_seed"]])
            return f"**{text}**" if found[name, ratio]["wer_cut"] == lowest[ratio] else text

        def difference(name: str, ratio: int) -> str:
            points = value("ablations", name, ratio, "more_errors")
            return POINTS.cell([points]) if points else ""

        header = ["changed", *(f"WER cut, {ratio}x" for ratio in every), *(f"points, {ratio}x" for ratio in every)]
        body = [[name, *(show(name, ratio) for show in (cell, difference) for ratio in every)] for name in names]
        return table(header, body)

    return write


def shipped() -> str:
    """WER of the stage in experiments/trained/read_speech."""
    body = []
    for label, name in (
        ("up to a minute", "compression_shipped_60"),
        ("up to five minutes", "compression_shipped_300"),
    ):
        cells = [value(name, "SSTs", ratio, "wer") for ratio in (4, 8, 16)]
        body.append([f"{label} ({record(name)['items']})", *(PERCENT.cell([one]) for one in cells if one)])
    return table(["dev sessions (number): WER, %", "4x", "8x", "16x"], body)


def kinds(name: str, every: dict[str, str], ratio: int) -> Callable[[], str]:
    """Right answers to each kind of question, of the full KV and of each method at a ratio. every: kinds and titles."""

    def write() -> str:
        found = {method: row for (method, at), row in rows(name).items() if at == (1 if method == "full KV" else ratio)}
        memories = [row.get("peak_kv_bytes") for row in found.values()]
        body = [
            [
                method,
                *(PERCENT.number(row[f"right_{kind}"]) for kind in every),
                MEBIBYTES.number(memory) if memory else "",
            ]
            for (method, row), memory in zip(found.items(), memories, strict=True)
        ]
        header = [f"right at {ratio}x, %", *every.values(), "peak KV, MiB"]
        if not all(memories):
            header, body = header[:-1], [cells[:-1] for cells in body]
        return table(header, body)

    return write


def drills() -> str:
    """A line a drill: cases that came out as wanted, figures, minutes; below it the cases that did not."""
    every = sorted(record("reliability")["drills"].items())
    body = []
    for name, section in every:
        good = sum(row["ok"] for row in section["rows"])
        figures = ", ".join(f"`{key}` {number}" for key, number in section["summary"].items())
        minutes = max(1, round(section["seconds"] / 60))
        body.append([f"`{name}`", f"{good} of {len(section['rows'])}", figures, str(minutes)])
    failed = [(name, row) for name, section in every for row in section["rows"] if not row["ok"]]
    text = table(["drill", "as wanted", "figures", "minutes"], body)
    if failed:
        text += "\n\nThese cases did not come out as wanted:\n\n"
        text += "\n".join(f"- `{name}`, {row['case']}: {row['outcome']}" for name, row in failed)
    return text


def long_file() -> str:
    """Half an hour of audio through the command line, Python, HTTP and a session: seconds, and resident memory."""
    summary = record("long_file")["summary"]
    names = {"command": "`speech-xl transcribe`", "python": "`model.transcribe`"}
    names |= {"http": "`POST /v1/audio/transcriptions`", "session": "a session over HTTP"}
    names |= {"page": "the page, in Chromium"} if "page_seconds" in summary else {}
    body = [
        [
            label,
            *(f"{summary[f'{door}_{key}']:,.0f}" for key in ("seconds", "resident_mib_most", "resident_mib_growth")),
        ]
        for door, label in names.items()
    ]
    return table(["through", "seconds", "resident memory, MiB", "growth after minute 5, MiB"], body)


def serving() -> str:
    """The drill of the server: clients at once, kills, bad requests, waiting times, and what is left over."""
    found = record("serving")["summary"]
    times = {key: f"{found[f'{key}_median']:.1f} s, {found[f'{key}_longest']:.1f} s" for key in QUESTIONS}
    kinds = ("descriptors", "threads", "resident_mib")
    left = {key: f"{found[f'{key}_before']:,.0f}, {found[f'{key}_after']:,.0f}" for key in kinds}
    body = [
        ["clients at once; answers that were another client's", f"{found['clients']}; {found['mixed_answers']}"],
        ["kills; sessions lost", f"{found['kills']}; {found['lost_sessions']}"],
        ["bad requests; answered by 4xx", f"{found['bad_requests']}; {found['bad_requests_with_4xx']}"],
        *([label, times[key]] for key, label in QUESTIONS.items()),
        ["one long file, heard and transcribed", f"{found['audio_seconds_per_second_of_one']:.1f} s of audio a second"],
        *([f"{key} before, after", left[key]] for key in left),
        [
            "resident memory before, after",
            f"{found['resident_mib_before']:,.0f}, {found['resident_mib_after']:,.0f} MiB",
        ],
    ]
    return table(["drill", "result"], body)
