"""The page in a real browser, on a real server with a tiny random model."""

from __future__ import annotations

import json
import sys
import time
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from experiments.figures.driven_page import Server, ask, choose, hear, wait_until_heard
from experiments.figures.driven_page import visit as visit_with
from tests.page.conftest import SERVE, TOKEN

ERROR = "#errors .error"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


def visit(page, server) -> None:
    visit_with(page, server.url, TOKEN)


def figures(page, letter: str) -> list[str]:
    """Kept, full attention, smaller by."""
    return page.locator(f"#lane-{letter.lower()} dd").all_inner_texts()


def opened_by(page) -> list:
    """Responses to the sessions that this page will open."""
    found = []
    page.on("response", lambda response: response.status == 201 and found.append(response))
    return found


def is_forgotten(server, session: str) -> bool:
    """Whether the server doesn't know a session any more, within seconds."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            server.get(f"v1/sessions/{session}")
        except HTTPError as error:
            return error.code == 404
        time.sleep(0.1)
    return False


def violations(page, *rules: str) -> list[str]:
    """What axe-core finds against these rules; without any, against WCAG 2.2 AA and its own good practice."""
    from axe_playwright_python.sync_playwright import Axe

    standards = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = Axe().run(page, options={"runOnly": list(rules) or standards}).response["violations"]
    return [f"{one['id']}: {one['help']}: {node['html']}" for one in found for node in one["nodes"]]


def shown_bytes(page, count: int) -> str:
    return page.evaluate("async (n) => (await import('./format.js')).bytes(n)", count)


def test_a_file_is_heard_and_asked_twice_and_two_ratios_answer_side_by_side(page, server, talk):
    with page.expect_response(lambda r: r.url.endswith("/end")) as ended:
        visit(page, server)
        hear(page, talk)
    heard = ended.value.json()
    assert heard["ratio"] == 4 and heard["audio_seconds_heard"] == pytest.approx(6)
    assert figures(page, "A")[:2] == [shown_bytes(page, heard[key]) for key in ("kept_kv_bytes", "full_kv_bytes")]
    assert page.locator("#intervals li").count() == len(heard["intervals"]) > 10

    (first,) = ask(page, "what is it about")
    question = {"question": "what is it about"}
    answer = page.request.post(f"{ended.value.url[:-4]}/ask", headers=HEADERS, data=question).json()
    assert first.split() == answer["text"].split()
    facts = page.locator(".facts").inner_text()
    assert "heard 0:06" in facts and shown_bytes(page, answer["kept_kv_bytes"]) in facts
    assert ("finished" in facts) == answer["finished"] and ("cut" in facts) != answer["finished"]

    choose(page, "A", 16)
    page.click("text=Hear all of it again at 16x")
    page.wait_for_function("() => /^16x/.test(document.querySelector('#intervals .at')?.textContent)")
    wait_until_heard(page)
    page.click("#compare")
    page.wait_for_selector("#intervals .badge-b")
    wait_until_heard(page)
    assert len(ask(page, "who speaks")) == 2
    assert page.locator(".turn").nth(1).locator(".from").all_inner_texts() == ["A\n16x", "B\n8x"]
    assert page.locator(".turn").count() == 2
    order = page.locator("#intervals li:first-child .badge").all_inner_texts()
    assert order == ["A", "B"]


def test_the_microphone_is_heard_and_the_ratio_changes_on_the_way(page, server):
    visit(page, server)
    page.click("#record")
    page.wait_for_selector("#intervals li:nth-child(2)")
    choose(page, "A", 16)
    page.wait_for_selector("#intervals .at >> text=16x")
    page.click("#record")
    wait_until_heard(page)
    ratios = page.locator("#intervals .at").all_inner_texts()
    assert ratios[0] == "4x" and ratios[-1] == "16x" and ratios == sorted(ratios, key=lambda r: int(r[:-1]))
    looks = page.locator("#chart-picture svg > rect[fill]").evaluate_all(
        "all => all.map((r) => r.getAttribute('fill'))"
    )
    assert looks == ["url(#ratio-4)", "url(#ratio-16)"]
    kept, full, _ = figures(page, "A")  # the server's own; the chart adds up its intervals
    labels = page.locator("#chart-picture .label").all_text_contents()
    assert sorted(labels) == sorted([f"kept {kept}", f"full attention {full}"])
    assert page.evaluate("() => document.querySelector('#player').duration") > 0.9


def test_what_cannot_be_heard_is_said_and_the_page_goes_on(page, server, talk, speech_file, tmp_path):
    broken, long, large = tmp_path / "broken.mp3", tmp_path / "long.flac", tmp_path / "large.wav"
    broken.write_bytes(b"no audio at all" * 100)
    speech_file(long, 25, rate=8000)
    large.write_bytes(bytes(700_000))
    visit(page, server)
    for file, words in (
        (broken, "broken.mp3: the file can't be read"),
        (long, "at most 20 s"),
        (large, "takes files of up to 586 KiB"),
    ):
        page.set_input_files("#file", file)
        page.wait_for_selector(ERROR)
        assert words in page.inner_text(ERROR)
        assert page.locator(ERROR).count() == 1
        assert page.get_attribute("#errors", "role") == "alert"
    hear(page, talk)
    assert page.locator(ERROR).count() == 0
    assert ask(page, "what is it about")


def test_a_missing_token_is_asked_for_and_a_lost_server_and_too_many_sessions_are_said(page, server, talk):
    page.goto(server.url)
    page.wait_for_selector("#token-form:not([hidden])")
    page.fill("#token", "not-the-token-of-it")
    page.press("#token", "Enter")
    page.wait_for_function("() => document.activeElement.id === 'token'")
    assert page.locator("#record:disabled").count() == 1
    visit(page, server)
    page.context.set_offline(True)
    page.set_input_files("#file", talk)
    page.wait_for_selector(ERROR)
    assert "doesn't answer" in page.inner_text(ERROR)
    page.context.set_offline(False)
    made = []
    while (answer := page.request.post(f"{server.url}v1/sessions", headers=HEADERS, data={})).ok:
        made.append(answer.json()["id"])
    page.set_input_files("#file", talk)
    page.wait_for_function("(said) => document.querySelector('#errors').textContent.includes(said)", arg="sessions")
    for one in made:
        page.request.delete(f"{server.url}v1/sessions/{one}", headers=HEADERS)
    opened = opened_by(page)
    hear(page, talk)
    session = opened[0].json()["id"]
    page.click("#forget")
    page.wait_for_selector("#source", state="hidden")
    assert is_forgotten(server, session)


def test_no_microphone_is_said(chromium, server):
    context = chromium.new_context()
    page = context.new_page()
    visit(page, server)
    page.click("#record")
    page.wait_for_selector(ERROR)
    assert "microphone" in page.inner_text(ERROR).lower()
    context.close()


def test_closing_the_page_forgets_its_sessions(chromium, server, talk):
    context = chromium.new_context()
    page = context.new_page()
    opened = opened_by(page)
    visit(page, server)
    hear(page, talk)
    session = opened[0].json()["id"]
    page.close()
    assert is_forgotten(server, session)
    context.close()


def test_leaving_is_asked_about_once_something_was_heard_and_not_before(page, server, talk):
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    visit(page, server)
    page.reload()
    assert not asked, "nothing was heard"
    visit(page, server)
    hear(page, talk)
    page.click("#question")  # a browser asks only for somebody who has used the page
    with page.expect_event("dialog"):
        page.close(run_before_unload=True)
    assert asked == ["beforeunload"] and ask(page, "what is it about"), "the session is still there"


def test_what_is_suggested_is_what_the_model_can_do(page, server):
    visit(page, server)
    told = page.request.get(f"{server.url}v1/limits", headers=HEADERS).json()["transcript_instruction"]
    assert page.locator("#suggestions button").all_inner_texts() == [told]
    page.click("#suggestions button")
    assert page.input_value("#question") == told


@pytest.mark.slow
def test_a_server_that_is_killed_while_it_hears_is_sent_the_file_again(page, talk, tmp_path):
    own = Server([sys.executable, "-c", SERVE], tmp_path, TOKEN).wait()
    opened = opened_by(page)

    def killed(route) -> None:
        pcm = HEADERS | {"Content-Type": "audio/pcm;rate=16000"}
        url = f"{own.url}v1/sessions/{opened[-1].json()['id']}/audio"
        urlopen(Request(url, bytes(64_000), pcm)).read()  # 2 s that are saved
        own.process.kill()
        own.process.wait()
        route.continue_()

    try:
        visit(page, own)
        page.route("**/audio", killed, times=1)
        page.set_input_files("#file", talk)
        page.wait_for_selector("text=Send again")
        page.click("text=Send again")
        page.wait_for_function("(said) => document.querySelector('#errors').textContent.includes(said)", arg="answer")
        assert page.locator("text=Send again").count() == 1, "while the server is gone it can be tried again"
        own.start()
        own.wait()
        page.wait_for_selector("#progress-text >> text=/^0:02 heard, then broken off/")
        assert page.locator("#ask-button:enabled").count() == 1 and ask(page, "what is it about")
        page.click("text=Send again")
        wait_until_heard(page)
        assert page.locator(ERROR).count() == 0 and page.inner_text("#progress-text") == "0:06 heard"
    finally:
        own.stop()


def test_keys_alone_are_enough(page, server, talk):
    page.on("filechooser", lambda chooser: chooser.set_files(talk))
    visit(page, server)
    keys = page.keyboard

    def tab_to(selector: str) -> None:
        for _ in range(30):
            keys.press("Tab")
            if page.evaluate("(s) => document.activeElement.matches(s)", selector):
                outline = page.evaluate(
                    """() => {
                      const own = document.activeElement;
                      const shown = own.id === 'file' ? document.querySelector('label[for=file]') : own;
                      const solid = (e) => e && getComputedStyle(e).outlineStyle === 'solid';
                      return solid(shown) || solid(shown.closest('.choice'));
                    }"""
                )
                assert outline, f"{selector}: no visible focus"
                return
        raise AssertionError(f"Tab doesn't reach {selector}")

    tab_to("#file")
    keys.press("Enter")
    page.wait_for_selector("#source:not([hidden])")
    wait_until_heard(page)
    tab_to("input[name=ratio-A]")
    keys.press("ArrowRight")
    tab_to(".lane-foot button")
    keys.press("Enter")
    page.wait_for_selector("#intervals .at >> text=8x")
    wait_until_heard(page)
    tab_to("#question")
    keys.type("what is it about")
    keys.press("Enter")
    page.wait_for_selector(".answer:not([aria-busy])")
    tab_to("#intervals li")
    keys.press("ArrowDown")
    keys.press("ArrowDown")
    assert page.evaluate("() => [...document.activeElement.parentNode.children].indexOf(document.activeElement)") == 2
    keys.press("Enter")
    page.wait_for_function("() => document.querySelector('#player').currentTime >= 0.96")
    assert page.locator("#intervals li[tabindex='0']").count() == 1


def test_axe_finds_nothing(page, server, talk):
    pytest.importorskip("axe_playwright_python", reason="pip install -e '.[test]' brings axe-core")
    page.on("dialog", lambda dialog: dialog.accept())  # of the reload
    visit(page, server)
    page.click("#compare")
    hear(page, talk)
    ask(page, "what is it about")
    page.click("summary")
    page.evaluate("async () => (await import('./messages.js')).showError('something is wrong')")
    assert violations(page) == []
    page.emulate_media(color_scheme="dark")
    assert violations(page, "color-contrast") == []
    page.reload()
    page.wait_for_selector("#token-form:not([hidden])")
    assert violations(page) == []


def test_a_phone_never_scrolls_sideways(page, server, talk):
    page.set_viewport_size({"width": 360, "height": 740})
    visit(page, server)
    page.click("#compare")
    hear(page, talk)
    ask(page, "a-question-with-one-very-long-word-" * 6)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
    small = page.locator("button:visible, .choice:visible, .button:visible").evaluate_all(
        "all => all.filter((e) => e.getBoundingClientRect().height < 24).map((e) => e.outerHTML)"
    )
    assert small == []


def test_markup_in_what_a_model_says_stays_text(page, server, talk):
    said = {"text": "<img src=x onerror=alert(1)><b>bold</b>", "audio_seconds_heard": 6, "ratio": 4, "finished": True}
    said |= {"kept_kv_bytes": 1, "full_kv_bytes": 2, "new_tokens": 3, "reached_seconds": None}
    body = f"event: delta\ndata: {json.dumps({'text': said['text']})}\n\nevent: answer\ndata: {json.dumps(said)}\n\n"
    page.route("**/ask", lambda route: route.fulfill(body=body, content_type="text/event-stream"))
    visit(page, server)
    hear(page, talk)
    assert ask(page, "<i>what</i>") == [said["text"]]
    assert page.inner_text(".asked") == "<i>what</i>"
    assert page.locator(".turn img, .turn b, .turn i").count() == 0
    assert (
        page.evaluate("() => { try { document.body.innerHTML = '<p>'; return 'taken' } catch { return 'refused' } }")
        == "refused"
    )
    page.complaints.clear()  # of the line above


def test_a_transcript_is_saved_as_the_server_writes_it(page, server, talk):
    visit(page, server)
    hear(page, talk)
    for kind in ("txt", "srt", "vtt"):
        with page.expect_download() as saved:
            page.click(f"#downloads button:text-is('{kind}')")
        assert saved.value.suggested_filename == f"talk.A.{kind}"
        form = "text" if kind == "txt" else kind
        sent = {
            "file": {"name": "talk.flac", "mimeType": "audio/flac", "buffer": talk.read_bytes()},
            "model": "tiny",
            "response_format": form,
        }
        answer = page.request.post(f"{server.url}v1/audio/transcriptions", headers=HEADERS, multipart=sent)
        assert saved.value.path().read_text() == answer.text()


def test_numbers_and_texts_are_written_for_people(page, server):
    page.goto(server.url)
    written = page.evaluate(
        """async () => {
          const { bytes, clock, factor, spokenClock } = await import('./format.js');
          const { textsOf } = await import('./timeline.js');
          const { byteStep } = await import('./chart.js');
          const of = ([start_seconds, end_seconds, text]) => ({ start_seconds, end_seconds, text });
          const intervals = [[0, 4], [4, 8], [8, 12], [12, 16]].map(of);
          const segments = [[0.4, 1, "a"], [3.9, 9, "b"], [12, 13, "c"], [15, 15.5, "d"], [16, 17, "later"]].map(of);
          const [step, tick] = byteStep(2.9 * 1024 * 1024);
          return [[0, 1536, 1023 * 1024, 5.5e9].map(bytes), [59.9, 60, 3675].map(clock), [0, 61, 7200].map(spokenClock),
            factor(10, 38), textsOf(intervals, segments, false).map(([text]) => text), step, [0, 1, 3].map(tick)];
        }"""
    )
    assert written == [
        ["0 bytes", "1.50 KiB", "1.00 MiB", "5.12 GiB"],
        ["0:59", "1:00", "1:01:15"],
        ["0 seconds", "1 minute 1 second", "2 hours"],
        "3.8x",
        ["a b", "goes on", "goes on", "c d"],
        1024 * 1024,
        ["0", "1 MiB", "3 MiB"],
    ]
