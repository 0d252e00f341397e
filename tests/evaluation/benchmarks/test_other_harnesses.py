"""Result files of other harnesses: written as they write them, scored as they score, read back; faults are named."""

import hashlib
import json
from dataclasses import replace

import jiwer
import pytest
from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

from speech_xl.evaluation.benchmarks import normalisers
from speech_xl.evaluation.benchmarks.other_harnesses import (
    Origin,
    export,
    from_lmms_eval,
    from_open_asr,
    origin_of,
    write_export,
)
from speech_xl.evaluation.benchmarks.registry import find_benchmark
from tests.evaluation.benchmarks.item_answers import answer

CHOICES = {"A": "fog", "B": "rain"}
TRANSCRIPTS = [
    answer("librispeech_long", "test-clean", "The colour of it, isn't it", "the colour of it is not it", 0),
    answer("librispeech_long", "test-clean", "twenty one men", "21 man", 1, prefill_seconds=1.5, decode_seconds=0.5),
    answer("librispeech_long", "test-clean", "it\u2019s well-known", "it's well known", 2),
    answer("librispeech_long", "test-other", "uh yes", "yes yes", 3),
]
QUESTIONS = [
    answer("own", "choice", "B", "B. rain", 4, prompt="Which?\nA. fog\nB. rain", choices=CHOICES, ratio=1),
    answer("own", "choice", "A", "sun", 5, prompt="Which?\nA. fog\nB. rain", choices=CHOICES, ratio=1),
]
FAILED = answer("librispeech_long", "test-clean", "six", "", 6, failed="audio can't be read")
EMPTY = answer("librispeech_long", "test-clean", "[music]", "la", 7)


def written(tmp_path, predictions, harness):
    made = export(predictions, harness, "group/model", "20260102_030405")
    return {path.relative_to(tmp_path).as_posix(): path for path in write_export(made, tmp_path)}, made.left_out


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_manifest_is_written_as_the_leaderboard_writes_it(tmp_path):
    files, left_out = written(tmp_path, [*TRANSCRIPTS, *QUESTIONS, FAILED, EMPTY], "open-asr")
    clean = "MODEL_group-model-sst-8x_DATASET_librispeech_long_test-clean_test.jsonl"
    assert set(files) == {clean, clean.replace("clean", "other")}
    assert rows(files[clean])[1] == {
        "audio_filepath": "session1",
        "duration": 60.0,
        "time": 2.0,
        "text": "twenty one men",
        "pred_text": "21 man",
    }
    assert list(rows(files[clean])[0]) == ["audio_filepath", "duration", "time", "text", "pred_text"]
    assert rows(files[clean])[0]["time"] is None and len(rows(files[clean])) == 3
    assert left_out == {"no transcript": 2, "failed, no English, or no words in the reference": 2}
    assert "\u2019" in files[clean].read_text(encoding="utf-8")  # not escaped


def test_the_leaderboards_arithmetic_on_the_manifest_is_the_profiles(tmp_path):
    files, _ = written(tmp_path, [*TRANSCRIPTS, FAILED, EMPTY], "open-asr")
    normalise = EnglishTextNormalizer(normalisers.spelling_map()[0])
    for task in ("test-clean", "test-other"):
        (path,) = [path for name, path in files.items() if task in name]
        references, hypotheses = (
            [normalise(row[key]) for row in rows(path)] for key in ("text", "pred_text")
        )  # as its score_results does it
        wer = round(100 * jiwer.wer(references, hypotheses), 2)
        answers = [one for one in [*TRANSCRIPTS, FAILED, EMPTY] if one.kind == task]
        (score,) = find_benchmark("librispeech_long").profile("leaderboard").tasks[task].score(answers, {})
        assert round(score.value, 2) == wer and wer > 0


def test_a_manifest_comes_back(tmp_path):
    files, _ = written(tmp_path, TRANSCRIPTS, "open-asr")
    found = [one for path in files.values() for one in from_open_asr(path)]
    for before, after in zip(TRANSCRIPTS, found, strict=True):
        for name in (
            "cut_id",
            "task",
            "kind",
            "ratio",
            "split",
            "reference",
            "hypothesis",
            "language",
            "duration",
            "id",
        ):
            assert getattr(after, name) == getattr(before, name), name
        assert after.item["benchmark"] == "librispeech_long" and after.compressor == "group-model-sst"
    assert [one.decode_seconds for one in found] == [None, 2.0, None, None]
    profile = find_benchmark("librispeech_long").profile("suite").tasks["test-clean"]
    assert profile.score(found[:3], {})[0].value == profile.score(TRANSCRIPTS[:3], {})[0].value


def test_a_manifest_of_somebody_elses_wants_its_benchmark(tmp_path):
    path = tmp_path / "MODEL_openai-whisper-large-v3_DATASET_hf-audio-open-asr-leaderboard_earnings22_test.jsonl"
    path.write_text('{"audio_filepath": "sample_0", "duration": null, "time": null, "text": "a", "pred_text": "b"}\n')
    with pytest.raises(ValueError, match="its name says no benchmark that is known here"):
        from_open_asr(path)
    (one,) = from_open_asr(path, Origin("earnings22", compressor="whisper-large-v3"))
    assert one.item["benchmark"] == "earnings22" and one.ratio == 1 and one.kind == "ASR" and one.duration is None
    name = "MODEL_a-b-16x_DATASET_earnings22_cleaned_ASR_test.jsonl"
    assert origin_of(name) == Origin("earnings22_cleaned", "ASR", "test", "a-b", 16)


def test_samples_are_written_as_lmms_eval_logs_them(tmp_path):
    files, left_out = written(tmp_path, [*TRANSCRIPTS, *QUESTIONS, FAILED], "lmms-eval")
    assert set(files) == {
        "group__model-sst-8x/20260102_030405_samples_librispeech_long_test-clean_test.jsonl",
        "group__model-sst-8x/20260102_030405_samples_librispeech_long_test-other_test.jsonl",
        "group__model-sst-1x/20260102_030405_samples_own_choice_test.jsonl",
    }
    assert left_out == {"failed": 1}
    own = rows(files["group__model-sst-1x/20260102_030405_samples_own_choice_test.jsonl"])
    first = own[0]
    assert list(first) == [
        *("doc_id", "target", "filtered_resps", "doc_hash", "prompt_hash", "target_hash"),
        "input",
    ]
    assert (first["doc_id"], first["target"], first["filtered_resps"]) == (0, "B", ["B. rain"])
    assert first["input"] == "Which?\nA. fog\nB. rain" and [row["doc_id"] for row in own] == [0, 1]
    assert first["target_hash"] == hashlib.sha256(b"B").hexdigest() and first["doc_hash"] != own[1]["doc_hash"]
    (said,) = rows(files["group__model-sst-8x/20260102_030405_samples_librispeech_long_test-other_test.jsonl"])
    assert said["wer"] == {"gt": "uh yes", "pred": "yes yes", "task": "asr_en"} and "resps" not in said


def test_samples_come_back_and_take_their_items_from_like_answers(tmp_path):
    files, _ = written(tmp_path, [*TRANSCRIPTS, *QUESTIONS], "lmms-eval")
    path = files["group__model-sst-1x/20260102_030405_samples_own_choice_test.jsonl"]
    origin = Origin("own", "choice", compressor="another model")
    found = from_lmms_eval(path, origin, like=QUESTIONS)
    assert [replace(one, compressor="sst") for one in found] == QUESTIONS
    (score,) = find_benchmark("own").profile("plain").tasks["choice"].score(found, {})
    assert score.value == 50.0 and score.unparsed == 1
    clean = files["group__model-sst-8x/20260102_030405_samples_librispeech_long_test-clean_test.jsonl"]
    bare = from_lmms_eval(clean, Origin("librispeech_long", "test-clean", ratio=8))
    assert [(one.reference, one.hypothesis, one.task) for one in bare] == [
        (one.reference, one.hypothesis, "asr") for one in TRANSCRIPTS[:3]
    ]
    assert bare[1].cut_id == "doc/1"
    other = answer("own", "choice", "B", "B", 9, prompt="Why?", choices=CHOICES)
    for like in ([other], TRANSCRIPTS):
        with pytest.raises(ValueError, match="line 2: document 1 has the target 'A'|line 1: document 0 has the target"):
            from_lmms_eval(path, origin, like=like)


def test_samples_find_their_items_in_a_file_of_several_tasks_and_ratios(tmp_path):
    files, _ = written(tmp_path, [*TRANSCRIPTS, *QUESTIONS], "lmms-eval")
    at_2x = [replace(one, ratio=2, hypothesis="") for one in (*QUESTIONS, *TRANSCRIPTS)]
    like = [*reversed(at_2x), *QUESTIONS]
    path = files["group__model-sst-1x/20260102_030405_samples_own_choice_test.jsonl"]
    found = from_lmms_eval(path, Origin("own", "choice", compressor="sst"), like=like)
    assert found == QUESTIONS  # by doc_hash, whatever their order
    lines = [{key: value for key, value in row.items() if key != "doc_hash"} for row in rows(path)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert from_lmms_eval(path, Origin("own", "choice", compressor="sst"), like=[*TRANSCRIPTS, *QUESTIONS]) == QUESTIONS


def test_samples_of_other_versions_are_read(tmp_path):
    path = tmp_path / "samples.jsonl"
    path.write_text('{"doc_id": 3, "target": 2, "arguments": [["How many?", {}]], "resps": [["two"]]}\n\n')
    (one,) = from_lmms_eval(path, Origin("own", "answer"))
    assert (one.reference, one.hypothesis, one.instruction, one.task) == ("2", "two", "How many?", "qa")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: no JSON"),
        ("[]", r"line 2: got '\[\]', and no object"),
        ('{"doc_id": true}', "line 2: doc_id is True"),
        (
            '{"doc_id": 0, "input": "a", "filtered_resps": ["b"]}',
            "line 2: doc_id is 0; a row has a whole number of its own",
        ),
        ('{"doc_id": 1, "filtered_resps": ["b"]}', "line 2: input is None, and must be the prompt"),
        (
            '{"doc_id": 1, "input": "a", "filtered_resps": []}',
            r"line 2: filtered_resps is \[\], and must hold the reply",
        ),
    ],
)
def test_a_bad_sample_is_named(tmp_path, line, message):
    path = tmp_path / "samples.jsonl"
    path.write_text(f'{{"doc_id": 0, "target": "x", "input": "a", "filtered_resps": ["b"]}}\n{line}\n')
    with pytest.raises(ValueError, match=message):
        from_lmms_eval(path, Origin("own"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pred_text": None}, "line 1: pred_text is None, and must be a text"),
        ({"text": ["a"]}, r"line 1: text is \['a'\], and must be a text"),
        ({"time": "1 s"}, "line 1: time is '1 s', and must be a number or null"),
    ],
)
def test_a_bad_row_of_a_manifest_is_named(tmp_path, change, message):
    path = tmp_path / "MODEL_a-b_DATASET_ami_ASR_test.jsonl"
    good = {"audio_filepath": "x", "duration": 1, "time": 1.0, "text": "a", "pred_text": "b"}
    path.write_text(json.dumps(good | change))
    with pytest.raises(ValueError, match=message):
        from_open_asr(path)


def test_a_harness_that_is_not_known():
    with pytest.raises(ValueError, match="--to helm: there is no such harness here; use lmms-eval or open-asr"):
        export(TRANSCRIPTS, "helm", "a/b")
