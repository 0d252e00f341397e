"""experiments/tables: every page has the tables that docs/results gives, and no table with figures is typed by hand."""

import re
from pathlib import Path

import pytest

from experiments.measurements.record import DOCS, RESULTS, ROOT
from experiments.tables import __main__ as command
from experiments.tables import records
from experiments.tables.markdown import MEBIBYTES, PERCENT, POINTS, scientific, table
from experiments.tables.methods import TRAINING_FREE, Column, every_method, line, method_table
from experiments.tables.pages import TABLE, filled, pages, table_names
from experiments.tables.registry import TABLES

MEND = "run: python -m experiments.tables"
REPORTS = [DOCS / "results.md", *sorted((DOCS / "experiments").glob("*.md"))]
WITHOUT_TABLE = {
    "real_speech_first_run.json",
    "unchanged_losses.json",
    "export.json",
}  # reported in words, in the log, reliability.md and sharing.md


def without_tables(text: str) -> str:
    """What people wrote: a page's text without its generated tables."""
    return TABLE.sub("", text)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", pages(), ids=name_of)
def test_a_page_has_the_tables_of_the_records(path):
    text = path.read_text(encoding="utf-8")
    assert filled(text, TABLES) == text, f"{name_of(path)} differs from docs/results; {MEND}"


@pytest.mark.parametrize("path", REPORTS, ids=name_of)
def test_no_table_of_a_report_is_typed_by_hand(path):
    typed = [
        row for row in without_tables(path.read_text(encoding="utf-8")).splitlines() if row.lstrip().startswith("|")
    ]
    assert not typed, f"{name_of(path)}: declare this table in experiments/tables/registry.py, then {MEND}: {typed[0]}"


@pytest.mark.parametrize("path", pages(), ids=name_of)
def test_no_result_of_a_page_with_tables_is_typed_by_hand(path):
    rows = [
        row for row in without_tables(path.read_text(encoding="utf-8")).splitlines() if row.lstrip().startswith("|")
    ]
    typed = [row for row in rows if re.search(r"\d ?%|\d ±|\d \[", row)]
    assert not typed, f"{name_of(path)}: declare this table in experiments/tables/registry.py, then {MEND}: {typed[0]}"


@pytest.mark.parametrize("path", REPORTS, ids=name_of)
def test_a_report_is_short_and_names_no_commit(path):
    text = path.read_text(encoding="utf-8")
    words, limit = (text, 2500) if path.name == "results.md" else (without_tables(text), 500)
    assert len(words.split()) <= limit, f"{name_of(path)}: {len(words.split())} words, at most {limit}"
    assert not re.findall(r"\b(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{7,40}\b", text), "commits stand in the records"


@pytest.mark.parametrize("path", REPORTS, ids=name_of)
def test_every_link_and_picture_of_a_report_exists(path):
    links = re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8"))
    assert links
    assert not [link for link in links if not link.startswith("http") and not (path.parent / link).exists()]


def test_every_table_is_on_a_page():
    shown = {name for path in pages() for name in table_names(path.read_text(encoding="utf-8"))}
    assert shown == set(TABLES)


def test_every_record_is_in_a_table(monkeypatch):
    class Noting:
        names: list[str] = []

        def __truediv__(self, name):
            self.names.append(name)
            return RESULTS / name

    monkeypatch.setattr(records, "RESULTS", Noting())
    records.record.cache_clear()
    records.rows.cache_clear()
    for write in TABLES.values():
        write()
    assert {path.name for path in RESULTS.glob("*.json")} - set(Noting.names) == WITHOUT_TABLE


def test_a_number_is_shown_with_its_interval_or_its_spread():
    assert PERCENT.cell([(0.0336, 0.018, 0.0572)]) == "3.4 [1.8, 5.7]"
    assert PERCENT.cell([(0.0336, None, None)]) == "3.4"
    assert PERCENT.cell([(0.03, 0.02, 0.04), (0.05, 0.04, 0.06)]) == "4.0 ± 1.4"
    assert POINTS.cell([(0.007, -0.006, 0.02)]) == "+0.7 [-0.6, 2.0]"
    assert [MEBIBYTES.cell([(size * 2**20, 0, 1)]) for size in (0.404, 4.92)] == ["0.40", "4.9"]
    assert [scientific(value) for value in (5.684e-14, 0.0)] == ["6e-14", "0"]
    with pytest.raises(ValueError, match="2 cells and the header 1"):
        table(["one"], [["one", "two"]])


@pytest.fixture
def two_trainings(monkeypatch):
    """Records "one" and "two" of three methods, in place of those of docs/results."""

    def fake(name):
        shift = {"one": 0.0, "two": 0.1}[name]
        wers = {"full KV": 0.1, "SSTs": 0.2, "random": 0.55, "truncation": 0.5 + 2 * shift}
        return {
            (method, 1 if method == "full KV" else 8): {"wer": wer + shift, "wer_low": wer, "wer_high": wer + 0.2}
            for method, wer in wers.items()
        }

    monkeypatch.setattr(records, "rows", fake)
    monkeypatch.setattr("experiments.tables.methods.rows", fake)


WER = [Column("1x", 1, "wer"), Column("8x", 8, "wer", best="lowest")]


def test_the_best_of_a_column_is_bold_and_several_trainings_have_a_spread(two_trainings):
    lines = [
        line("full KV", "full KV", "one", "two", ranked=False),
        line("SSTs, first training", "SSTs", "one", ranked=False),
        line("SSTs", "SSTs", "one", "two"),
        line("training-free", ("random", "truncation"), "one", "two"),
    ]
    assert method_table("WER", WER, lines)().splitlines()[2:] == [
        "| full KV | 15.0 ± 7.1 |  |",
        "| SSTs, first training |  | 20.0 [20.0, 40.0] |",
        "| SSTs |  | **25.0 ± 7.1** |",
        "| training-free (random) |  | 60.0 ± 7.1 |",
    ]


def test_every_method_stands_best_first_below_full_kv(two_trainings):
    rows = every_method("one", WER, by="8x")().splitlines()[2:]
    assert [row.split(" | ")[0][2:] for row in rows] == ["full KV", "SSTs", "truncation", "random"]


def test_the_training_free_methods_are_those_of_the_records():
    known = {method for method, _ in records.rows("compression_digits")}
    assert set(TRAINING_FREE) <= known
    trained = {"SSTs", "SSTs appended", "mean pooling, trained"}
    assert known - set(TRAINING_FREE) == trained | {"full KV", "SnapKV, query-aware", "Whisper's own decoder"}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("<!-- table: nothing -->\n<!-- end -->", "nothing"),
        ("<!-- table: one -->\n", "needs one"),
        ("<!-- table: one -->\n<!-- table: one -->\n<!-- end -->", "needs one"),
        ("<!-- end -->", "needs one"),
    ],
)
def test_markers_that_do_not_fit_are_refused(text, named):
    with pytest.raises(ValueError, match=named):
        filled(text, {"one": lambda: "| 1 |"})


def test_the_command_finds_a_changed_figure_and_mends_it(tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.md"
    right = f"before\n\n<!-- table: exactness -->\n\n{TABLES['exactness']()}\n\n<!-- end -->\n\nafter\n"
    page.write_text(right.replace("6e-14", "1e-14"), encoding="utf-8")
    monkeypatch.setattr(command, "pages", lambda: [page])
    monkeypatch.setattr(command, "ROOT", tmp_path)
    assert command.main(["--check"]) == 1
    assert "mend it with: python -m experiments.tables" in capsys.readouterr().err
    assert command.main([]) == 0
    assert page.read_text(encoding="utf-8") == right
    assert command.main(["--check"]) == 0


def test_a_record_that_is_missing_is_named():
    with pytest.raises(ValueError, match=r"nothing\.json doesn't exist"):
        records.record("nothing")
