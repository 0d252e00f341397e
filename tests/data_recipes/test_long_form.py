"""Long-form transcription sets in tiny folders of their published layout: items, splits, coverage, errors."""

import io
import json
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from data_recipes import librispeech_long
from data_recipes.earnings22_cleaned import Earnings22Cleaned, prepare_earnings22_cleaned
from data_recipes.lhotse_corpora import (
    AMI,
    Earnings21,
    Earnings22,
    TedLium3,
    VoxPopuli,
    prepare_tedlium3,
)
from data_recipes.librispeech_long import LibriSpeechLong, download_librispeech_long, prepare_librispeech_long
from speech_xl.data.audio import load_audio
from speech_xl.data.cut_checks import cut_fault
from speech_xl.data.items import items_of
from speech_xl.data.tasks import item_turns
from tests.data_recipes import long_form_sets as made


def texts(corpus, split: str) -> dict[str, str]:
    """Id of a session -> the truth of its only item."""
    return {cut.id: one.answer for cut in corpus.cuts(split) for one in items_of(cut)}


def check_cuts(corpus, split: str) -> None:
    """What the data module and the evaluator want of a session."""
    for cut in corpus.cuts(split):
        assert cut_fault(cut) is None
        (item,), (turn,) = items_of(cut), item_turns(cut)
        assert item.benchmark == corpus.name and item.prompt is None and turn.task == "asr"
        assert (
            item.answer.split() == [word for s in cut.supervisions for word in s.text.split()]
            and item.max_tokens == 256
        )
        assert load_audio(cut).shape == (cut.num_samples,) and cut.sampling_rate == 16_000


# LibriSpeech-Long


def test_librispeech_long_reads_both_layouts_and_counts_what_lacks_its_other_half(tmp_path):
    corpus = LibriSpeechLong(corpus_dir=str(made.librispeech_long(tmp_path)))
    assert texts(corpus, "test") == {
        "84-121123-0000": "IT'S the first",
        "84-121123-0001": "the second",
        "908-31957-0000": "a line of LibriSpeech",
        "908-31957-0001": "and one more",
        "61-70968-0000": "words of test-other",
    }
    tasks = [one.task for cut in corpus.cuts("test") for one in items_of(cut)]
    assert tasks == ["test-clean"] * 4 + ["test-other"]
    coverage = corpus.coverage("test")
    assert coverage.here == {"test-clean": 4, "test-other": 1}
    assert coverage.published == {"test-clean": 270, "test-other": 207}
    assert coverage.missing == {"test-clean": {"transcript missing": 1, "audio file missing": 1}}
    check_cuts(corpus, "test")
    assert texts(corpus, "dev") == {"61-70968-0000": "words of dev-other"}  # the ids of both parts are alike here


def test_a_part_a_limit_and_a_prompt_of_the_users(tmp_path):
    folder = made.librispeech_long(tmp_path)
    corpus = LibriSpeechLong(corpus_dir=str(tmp_path), parts=["clean"], limit=2, prompt="Write it down.")
    corpus.prepare()
    assert list(texts(corpus, "test")) == ["84-121123-0000", "84-121123-0001"]
    assert corpus.coverage("test").limit == 2 and corpus.coverage("test").here == {"test-clean": 2}
    (turn,) = item_turns(next(iter(corpus.cuts("test"))))
    assert (turn.task, turn.instruction) == ("qa", "Write it down.")
    manifests = prepare_librispeech_long(folder, tmp_path / "manifests", limit=1)
    assert {split: len(cuts) for split, cuts in manifests.items()} == {"dev": 2, "test": 2}
    assert (tmp_path / "manifests" / "cuts_test.jsonl.gz").is_file()


def test_a_transcript_may_be_as_long_as_its_recording_asks_for(tmp_path):
    corpus = LibriSpeechLong(corpus_dir=str(made.librispeech_long(tmp_path)), tokens_per_second=1000.0)
    items = {cut.id: items_of(cut)[0].max_tokens for cut in corpus.cuts("test")}
    assert items["84-121123-0000"] == 1000 and items["84-121123-0001"] == 2000


def test_what_a_user_can_get_wrong_of_librispeech_long(tmp_path):
    with pytest.raises(FileNotFoundError, match="corpus_dir .*nowhere has no folder such as test-clean"):
        LibriSpeechLong(corpus_dir=str(tmp_path / "nowhere")).prepare()
    with pytest.raises(ValueError, match="parts: got 'noisy'; use clean and other"):
        LibriSpeechLong(parts=["noisy"])
    with pytest.raises(ValueError, match="LibriSpeechLong.limit: got 0"):
        LibriSpeechLong(limit=0)
    corpus = made.librispeech_long(tmp_path)
    with pytest.raises(ValueError, match="no train split"):
        LibriSpeechLong(corpus_dir=str(corpus)).cuts("train")
    made.write(corpus / "test-clean" / "908" / "31957" / "908-31957.trans.txt", "31957_0000 words\n31957_0001\n")
    with pytest.raises(ValueError, match=r"908-31957.trans.txt, line 2: got '31957_0001'; write"):
        LibriSpeechLong(corpus_dir=str(corpus)).cuts("test")


@pytest.fixture
def server():
    """Serves bytes by path, from any byte on; counts those it has sent."""
    files, sent = {}, []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            content = files[self.path]
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start:])
            sent.append(len(content) - start)

        def log_message(self, *_):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}", files, sent
    running.shutdown()
    running.server_close()


def test_a_broken_download_goes_on_and_a_whole_one_is_not_made_again(tmp_path, server, monkeypatch):
    made.librispeech_long(tmp_path / "source")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.add(tmp_path / "source" / "librispeech-long", "librispeech-long")
    address, files, sent = server
    files["/v0_1.tar.gz"] = packed.getvalue()
    monkeypatch.setattr(librispeech_long, "URL", f"{address}/v0_1.tar.gz")
    target = tmp_path / "target"
    target.mkdir()
    (target / "v0_1.tar.gz").write_bytes(packed.getvalue()[:100])
    folder = download_librispeech_long(target)
    assert sent == [len(packed.getvalue()) - 100]
    assert len(texts(LibriSpeechLong(corpus_dir=str(folder)), "test")) == 5
    assert download_librispeech_long(target) == folder and len(sent) == 1
    corpus = LibriSpeechLong(root=str(target))
    corpus.prepare()
    assert len(texts(corpus, "test")) == 5 and len(sent) == 1


def test_a_download_that_fails_and_an_archive_of_something_else_name_the_mend(tmp_path, server, monkeypatch):
    monkeypatch.setattr(librispeech_long, "URL", "http://127.0.0.1:9/v0_1.tar.gz")
    with pytest.raises(OSError, match="can't download http://127.0.0.1:9/v0_1.tar.gz .*give the folder as corpus_dir"):
        LibriSpeechLong(root=str(tmp_path / "a")).prepare()
    address, files, _ = server
    files["/v0_1.tar.gz"] = b"no archive"
    monkeypatch.setattr(librispeech_long, "URL", f"{address}/v0_1.tar.gz")
    with pytest.raises(ValueError, match="can't be unpacked"):
        LibriSpeechLong(root=str(tmp_path / "b")).prepare()


# Earnings22-Cleaned-AA


def test_earnings22_cleaned_reads_the_hubs_folder(tmp_path):
    corpus = Earnings22Cleaned(corpus_dir=str(made.earnings22_cleaned(tmp_path)))
    corpus.prepare()
    assert texts(corpus, "test") == {"448300": "Good morning, number 0.", "448301": "Good morning, number 1."}
    assert corpus.coverage("test").missing == {"ASR": {"audio file missing": 1}}
    assert corpus.coverage("test").published == {"ASR": 6}
    check_cuts(corpus, "test")
    assert all(load_audio(cut).shape == (16_000,) for cut in corpus.cuts("test"))  # 24 kHz, one of them stereo
    assert {items_of(cut)[0].language for cut in corpus.cuts("test")} == {"en"}
    assert len(prepare_earnings22_cleaned(tmp_path, tmp_path / "out", limit=1)["test"]) == 1


@pytest.mark.parametrize("name", ["rows.json", "metadata.csv"])
def test_earnings22_cleaned_takes_other_tables(tmp_path, name):
    made.earnings22_cleaned(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "metadata.jsonl").read_text().splitlines()]
    (tmp_path / "metadata.jsonl").unlink()
    lines = ["file_name,text", *(f'{row["file_name"]},"{row["transcript"]}"' for row in rows)]
    made.write(tmp_path / name, json.dumps(rows) if name.endswith("json") else "\n".join(lines))
    assert sorted(texts(Earnings22Cleaned(corpus_dir=str(tmp_path)), "test").values()) == [
        "Good morning, number 0.",
        "Good morning, number 1.",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"url": "/etc/passwd", "file_name": None}, r"metadata.jsonl, line 1: '/etc/passwd' doesn't lie in"),
        ({"url": "../call.mp3"}, r"line 1: '../call.mp3' doesn't lie in .*without \.\."),
        ({"url": None, "file_name": None}, "line 1: names no audio file"),
        ({"transcript": " "}, "line 1: has no transcript"),
    ],
)
def test_a_bad_row_of_earnings22_cleaned_is_named(tmp_path, change, message):
    made.earnings22_cleaned(tmp_path)
    first, *others = (tmp_path / "metadata.jsonl").read_text().splitlines()
    made.write(tmp_path / "metadata.jsonl", "\n".join([json.dumps(json.loads(first) | change), *others]))
    with pytest.raises(ValueError, match=message):
        Earnings22Cleaned(corpus_dir=str(tmp_path)).cuts("test")


def test_earnings22_cleaned_says_what_to_do_where_the_hub_is_out_of_reach(tmp_path):
    with pytest.raises(OSError, match="can't download ArtificialAnalysis/Earnings22-Cleaned-AA"):
        Earnings22Cleaned(root=str(tmp_path)).prepare()


def test_earnings22_cleaned_without_rows_or_audio(tmp_path):
    with pytest.raises(FileNotFoundError, match="corpus_dir .* is missing"):
        Earnings22Cleaned(corpus_dir=str(tmp_path / "nowhere")).check()
    with pytest.raises(FileNotFoundError, match="none of these files"):
        Earnings22Cleaned(corpus_dir=str(tmp_path)).cuts("test")
    made.earnings22_cleaned(tmp_path)
    for path in (tmp_path / "audio").iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match="none of its rows' audio files is here"):
        Earnings22Cleaned(corpus_dir=str(tmp_path)).cuts("test")


# Sets that lhotse has recipes of


def test_tedlium_3_leaves_out_what_is_not_scored(tmp_path):
    folder = made.tedlium(tmp_path)
    corpus = TedLium3(str(tmp_path / "made"), str(folder))
    corpus.prepare()
    assert texts(corpus, "dev") == {"Talk_dev": "they're here and there"}
    (cut,) = corpus.cuts("test")
    assert [(s.start, s.duration) for s in cut.supervisions] == [(0.0, 1.0), (2.0, 1.0)] and cut.duration == 3.0
    assert corpus.splits() == ["train", "dev", "test"]
    assert corpus.coverage("test").published == {"ASR": 11} and corpus.coverage("test").here == {"ASR": 1}
    assert corpus.coverage("train").published == {}
    for split in corpus.splits():
        check_cuts(corpus, split)
    assert set(prepare_tedlium3(folder, tmp_path / "out", limit=1)) == {"train", "dev", "test"}


def test_ami_meetings_have_both_speakers_in_the_order_of_time(tmp_path):
    corpus = AMI(str(tmp_path / "made"), str(made.ami(tmp_path)))
    corpus.prepare()
    assert texts(corpus, "test") == {"ES2004a": "WELL HELLO MM YES"}
    assert corpus.coverage("test").published == {"ASR": 16} and corpus.coverage("dev").here == {"ASR": 1}
    (cut,) = corpus.cuts("test")
    assert {s.speaker for s in cut.supervisions} == {"MEE01", "FEE02"}
    check_cuts(corpus, "test")


@pytest.mark.parametrize(("kind", "calls"), [(Earnings21, 44), (Earnings22, 125)])
def test_earnings_calls_are_whole_and_all_in_test(tmp_path, kind, calls):
    corpus = kind(str(tmp_path / "made"), str(made.earnings(tmp_path / "calls", calls)), limit=3)
    corpus.prepare()
    assert list(texts(corpus, "test").values()) == [f"Good morning call{place}" for place in range(3)]
    assert corpus.coverage("test").here == {"ASR": 3} and corpus.coverage("test").published == {"ASR": calls}
    assert {items_of(cut)[0].language for cut in corpus.cuts("test")} == {"en"}
    check_cuts(corpus, "test")
    with pytest.raises(ValueError, match="there is no train split here, only test"):
        corpus.cuts("train")
    next((tmp_path / "calls" / "media").iterdir()).unlink()
    with pytest.raises(FileNotFoundError, match=f"has {calls - 1} files .mp3, and lhotse's recipe wants all {calls}"):
        kind(str(tmp_path / "again"), str(tmp_path / "calls")).prepare()


def test_voxpopuli_is_parted_where_nobody_has_transcribed(tmp_path):
    folder = made.voxpopuli(tmp_path / "voxpopuli")
    corpus = VoxPopuli("en", str(tmp_path / "made"), str(folder))
    corpus.prepare()
    sessions = {cut.id: (cut.duration, items_of(cut)[0].answer) for cut in corpus.cuts("test")}
    name = "20090405-0900-PLENARY-test"
    assert sessions == {f"{name}-0000": (5.0, "first words then more"), f"{name}-0001": (2.0, "much later")}
    assert corpus.coverage("test").missing == {"ASR": {"segments without text, in recordings that are here": 1}}
    check_cuts(corpus, "dev")
    longer = VoxPopuli("en", str(tmp_path / "made"), str(folder), min_seconds=3.0)
    longer.prepare()
    assert len(longer.cuts("test")) == 1 and longer.coverage("test").filtered == {"ASR": {"shorter than 3 s": 1}}
    whole = VoxPopuli("en", str(tmp_path / "made"), str(folder), max_gap_seconds=None)
    whole.prepare()
    assert texts(whole, "test") == {name: "first words then more much later"}
    assert [cut.duration for cut in whole.cuts("test")] == [30.0]


def test_what_a_user_can_get_wrong_of_lhotses_sets(tmp_path):
    with pytest.raises(FileNotFoundError, match="TedLium3: corpus_dir .* is missing"):
        TedLium3(str(tmp_path / "made"), str(tmp_path / "nowhere")).prepare()
    with pytest.raises(FileNotFoundError, match="has no legacy/test"):
        TedLium3(str(tmp_path / "made"), str(tmp_path)).prepare()
    folder = made.tedlium(tmp_path)
    (folder / "legacy" / "dev" / "stm" / "Talk_dev.stm").unlink()
    with pytest.raises(ValueError, match=r"lhotse can't read .* \(AssertionError: Mismatch"):
        TedLium3(str(tmp_path / "made"), str(folder)).prepare()
    with pytest.raises(ValueError, match="VoxPopuli.language: got 'ja'; use one of en, de"):
        VoxPopuli("ja")
    with pytest.raises(FileNotFoundError, match="raw_audios/en nor .*original is here"):
        VoxPopuli("en", str(tmp_path / "made"), str(folder)).prepare()
    with pytest.raises(FileNotFoundError, match="git lfs clone"):
        Earnings22(str(tmp_path / "made")).prepare()
    with pytest.raises(FileNotFoundError, match="call the corpus's prepare"):
        AMI(str(tmp_path / "made"), str(tmp_path)).cuts("test")
