"""Judges: a local LLM, a real endpoint on this machine, and the file that keeps what they say."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from experiments.random_models import CHATML, llm_folder
from speech_xl.evaluation.benchmarks.judge_prompts import JSON, THREE_LABELS, any_label, find_prompt, leading_label
from speech_xl.evaluation.benchmarks.judgements import FAILURES_IN_A_ROW, judge, read_judgements
from speech_xl.evaluation.benchmarks.judges import EndpointJudge, JudgeError, LocalJudge
from tests.evaluation.benchmarks.longspeech_answers import answer, answers

TASK = "Temporal_Relative_QA"

# reply; its label by the first prompt, by the JSON prompt
REPLIES = [
    ("YES", "YES", "YES"),
    ("partially.", "PARTIALLY", "PARTIALLY"),
    ("NO, it contradicts the reference.", "NO", "NO"),
    ("**YES**", "YES", "YES"),
    ("The answer is YES", None, "YES"),
    ("NOTHING fits", None, None),
    ("", None, None),
    ("maybe", None, None),
    ('{"judgment": "PARTIALLY", "reason": "no time is given, yes"}', None, "PARTIALLY"),
    ('{"reason": "no mistake", "judgment": "YES"}', None, "YES"),
    ('```json\n{"judgment": "no"}\n```', None, "NO"),
    ('{"judgment": "YES", "reason": "cut', None, "YES"),
    ('{"verdict": "fine"}', None, None),
    ("<think>NO or YES?</think>\nYES", "YES", "YES"),
]


@pytest.mark.parametrize("reply, first, as_json", REPLIES)
def test_labels_of_replies(reply, first, as_json):
    assert leading_label(reply) == first == THREE_LABELS.label(reply)
    assert any_label(reply) == as_json == JSON.label(reply)


def test_prompts_hold_question_reference_and_candidate_as_they_are():
    for prompt in (THREE_LABELS, JSON):
        assert find_prompt(prompt.name) is prompt
        system, user = prompt.messages("Which {first}?", 'The "bridge".', "a\nharbour %s")
        assert (system["role"], user["role"]) == ("system", "user")
        assert all(label in system["content"] for label in ("YES", "PARTIALLY", "NO"))
        assert user["content"] == (
            'Question:\nWhich {first}?\n\nReference answer:\nThe "bridge".\n\nCandidate answer:\na\nharbour %s'
        )
    with pytest.raises(ValueError, match="three-labels-1, json-1"):
        find_prompt("json-0")


class Endpoint:
    """A server of the chat completions form: it gives the next of its replies, and keeps what it is sent."""

    def __init__(self) -> None:
        self.replies: list[str | int | dict] = []  # a text, a status of an error, or a whole body
        self.requests: list[tuple[str, dict, str]] = []  # path, body, key
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.requests.append((self.path, body, self.headers["Authorization"]))
                reply = endpoint.replies.pop(0)
                status = reply if isinstance(reply, int) else 200
                if isinstance(reply, int):
                    answered: dict = {"error": {"message": f"refused {self.headers['Authorization']}"}}
                elif isinstance(reply, dict):
                    answered = reply
                else:
                    message = {"role": "assistant", "content": reply}
                    choice = {"index": 0, "message": message, "finish_reason": "stop"}
                    answered = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
                data = json.dumps(answered).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"


@pytest.fixture
def endpoint(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("JUDGE_KEY", "secret-key-1")
    made = Endpoint()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def judge_at(endpoint, key: str | None = "JUDGE_KEY") -> EndpointJudge:
    return EndpointJudge(endpoint.url, "a-model", key, retries=0)


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_an_endpoint_judges_each_answer_once_and_its_replies_are_kept(endpoint, tmp_path):
    rows = answers(TASK, ("the bridge", "a bridge"), ("the harbour", "the sea"), ("the end", "hm"))
    path = tmp_path / "judged" / "answers.judgements.jsonl"
    endpoint.replies = ["YES", "no, it's another place", "I can't say"]
    found = judge(rows, judge_at(endpoint), path)
    assert [found[one.id].label for one in rows] == ["YES", "NO", None]
    assert found[rows[2].id].reply == "I can't say" and found[rows[0].id].judge == "a-model"
    assert found[rows[0].id].prompt == "three-labels-1"

    address, body, key = endpoint.requests[0]
    assert address == "/v1/chat/completions" and key == "Bearer secret-key-1"
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("a-model", 0, 8)
    assert body["messages"] == THREE_LABELS.messages(rows[0].instruction, "the bridge", "a bridge")
    assert "secret-key-1" not in path.read_text(encoding="utf-8")

    assert judge(rows, judge_at(endpoint), path) == found and len(endpoint.requests) == 3  # nothing is asked again
    assert read_judgements(path, rows) == found

    endpoint.replies = ['{"judgment": "PARTIALLY", "reason": "x"}'] * 3
    again = judge(rows, judge_at(endpoint), path, JSON)
    assert {one.label for one in again.values()} == {"PARTIALLY"} and len(lines_of(path)) == 6
    with pytest.raises(ValueError, match="several makers .*name the judge and the prompt"):
        read_judgements(path, rows)
    assert read_judgements(path, rows, "a-model", "three-labels-1") == found


def test_failures_are_written_with_their_reason_and_tried_again(endpoint, tmp_path):
    rows, path = answers(TASK, ("a", "b"), ("c", "d")), tmp_path / "j.jsonl"
    endpoint.replies = [500, "YES"]
    found = judge(rows, judge_at(endpoint), path)
    assert set(found) == {rows[1].id}
    failed = lines_of(path)[0]
    assert "refused" in failed["failed"] and "secret-key-1" not in failed["failed"] and "label" not in failed
    endpoint.replies = ["NO"]
    assert judge(rows, judge_at(endpoint), path)[rows[0].id].label == "NO" and len(endpoint.requests) == 3
    endpoint.replies = [{"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": []}]
    with pytest.raises(JudgeError, match="no choices"):
        judge_at(endpoint).reply(THREE_LABELS.messages("q", "r", "c"), 8)


def test_a_judge_that_is_out_of_order_stops_the_run(endpoint, tmp_path):
    rows = answers(TASK, *(("a", "b"),) * 8)
    endpoint.replies = ["YES", *[503] * FAILURES_IN_A_ROW]
    with pytest.raises(ValueError, match=r"failed 5 times in a row.*what .*j\.jsonl holds is kept"):
        judge(rows, judge_at(endpoint), tmp_path / "j.jsonl")
    assert len(read_judgements(tmp_path / "j.jsonl", rows)) == 1
    endpoint.replies = [401]
    with pytest.raises(ValueError, match=r"judge a-model at .*correct the address, the model or the key") as error:
        judge(rows, judge_at(endpoint), tmp_path / "j.jsonl")
    assert "secret-key-1" not in str(error.value)


def test_an_endpoint_without_keys_and_what_its_settings_may_be(endpoint, monkeypatch):
    endpoint.replies = [" YES\n"]
    assert judge_at(endpoint, None).reply(THREE_LABELS.messages("q", "r", "c"), 8) == "YES"
    monkeypatch.delenv("JUDGE_KEY")
    with pytest.raises(ValueError, match="environment variable JUDGE_KEY is not set"):
        judge_at(endpoint)
    with pytest.raises(ValueError, match="begins with http"):
        EndpointJudge("localhost:8000", "m")


def test_an_answer_that_changed_is_judged_anew_and_failed_ones_are_not_sent(endpoint, tmp_path):
    path = tmp_path / "j.jsonl"
    before, after = answer(TASK, "a", "b"), answer(TASK, "a", "another answer")
    lost = answer(TASK, "c", "", number=1, failed="out of memory")
    endpoint.replies = ["NO"]
    assert judge([before, lost], judge_at(endpoint), path)[before.id].label == "NO"
    assert before.id == after.id and read_judgements(path, [after]) == {}
    endpoint.replies = ["YES"]
    assert judge([after, lost], judge_at(endpoint), path)[after.id].label == "YES"
    assert read_judgements(path, [after])[after.id].label == "YES" and len(endpoint.requests) == 2


def test_a_torn_last_line_is_judged_again_and_other_damage_is_named(endpoint, tmp_path):
    rows, path = answers(TASK, ("a", "b"), ("c", "d")), tmp_path / "j.jsonl"
    endpoint.replies = ["YES", "NO"]
    judge(rows, judge_at(endpoint), path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert set(read_judgements(path, rows)) == {rows[0].id}
    endpoint.replies = ["NO"]
    with pytest.warns(UserWarning, match="half written"):
        assert len(judge(rows, judge_at(endpoint), path)) == 2
    assert path.read_bytes() == whole
    for damage in (b"{nonsense}\n", b'{"id": "x"}\n', whole.replace(b'"YES"', b'"PERHAPS"', 1)):
        path.write_bytes(damage)
        with pytest.raises(ValueError, match=r"j\.jsonl, line 1: not a judgement .*take the line out"):
            read_judgements(path, rows)
    with pytest.raises(FileNotFoundError, match="no judgements here"):
        read_judgements(tmp_path / "none.jsonl", rows)


@pytest.fixture(scope="module")
def llm(tmp_path_factory):
    return llm_folder(tmp_path_factory.mktemp("judge"), max_position_embeddings=2048)


def test_a_local_llm_judges_greedily(llm, tmp_path):
    row = answers(TASK, ("the bridge", "a bridge"))
    local = LocalJudge(llm, "cpu")
    found = judge(row, local, tmp_path / "j.jsonl")
    judged = found[row[0].id]
    messages = THREE_LABELS.messages(row[0].instruction, "the bridge", "a bridge")
    assert judged.reply == LocalJudge(llm, "cpu").reply(messages, 8) and judged.judge == llm
    assert judged.label == leading_label(judged.reply)
    assert 0 < len(judged.reply) <= 8  # one token a character

    tokenizer, model = local._loaded
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    tokens = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)["input_ids"]
    expected = []
    while len(expected) < 8:  # token by token, without a cache
        token = int(model(tokens).logits[0, -1].argmax())
        if token == tokenizer.eos_token_id:
            break
        expected.append(token)
        tokens = tokens.new_tensor([[*tokens[0].tolist(), token]])
    assert judged.reply == tokenizer.decode(expected, skip_special_tokens=True).strip()


REFUSES_SYSTEM = "{% if m['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"


def test_a_template_without_a_system_role_gets_the_rules_before_the_question(tmp_path):
    refusing = CHATML.replace("{% for m in messages %}", "{% for m in messages %}" + REFUSES_SYSTEM)
    local = LocalJudge(llm_folder(tmp_path / "llm", template=refusing, max_position_embeddings=2048), "cpu")
    messages = THREE_LABELS.messages("q", "r", "c")
    tokenizer, _ = local._loaded
    whole = [{"role": "user", "content": f"{messages[0]['content']}\n\n{messages[1]['content']}"}]
    expected = tokenizer.apply_chat_template(whole, tokenize=True, add_generation_prompt=True)["input_ids"]
    assert local._rendered(tokenizer, messages)["input_ids"][0].tolist() == expected


def test_models_that_can_not_judge(tmp_path):
    with pytest.raises(ValueError, match="can't be loaded .*download the model first"):
        LocalJudge(str(tmp_path / "none"), "cpu").reply([], 8)
    folder = llm_folder(tmp_path / "base", template=None)
    with pytest.raises(ValueError, match="no chat template"):
        LocalJudge(folder, "cpu").reply([], 8)
