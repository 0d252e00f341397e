"""What runs the blocks of pages notices what is wrong with one, whatever its language."""

import pytest

from tests.snippets.blocks import Block, blocks_of
from tests.snippets.shell import Failed

WRONG = {
    "a flag that isn't there": ("bash", "python experiments/run.py fit -c stage1.yaml --trainer.stops 2", "stops"),
    "an overlay that isn't there": ("bash", "python experiments/run.py fit -c stage1.yaml -c gone.yaml", "gone.yaml"),
    "a file that isn't there": ("bash", "cp experiments/gone.yaml mine.yaml", "gone.yaml"),
    "an extra that isn't there": ("bash", 'pip install -e ".[everything]"', "everything"),
    "an option of a script": ("bash", "python experiments/measurements/efficiency.py --twice", "--twice"),
    "a pipe's first command": ("bash", "cat gone.txt | sort", "gone.txt"),
    "a line before the last": ("bash", "false\ntrue", "status 1"),
    "Python": ("python", "from speech_xl.inference import Gone", "Gone"),
    "a name of another page": ("python", "print(memory)", "memory"),
    "an overlay's key": ("yaml", "model: {init_args: {warm: 3}}", "warm"),
    "an experiment file": ("yaml", "# my.yaml\nstages: {a: {from: b}}\ncompare: {}", "b"),
    "JSON": ("json", '{"a": 1}\n{"a": }', "Expecting value"),
    "another language": ("ruby", "puts 1", "no way to run ruby"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_fails_with_page_and_line(case, run_page):
    language, text, why = WRONG[case]
    with pytest.raises((Failed, AssertionError), match=r"docs/page\.md:7") as caught:
        run_page([Block("docs/page.md", 7, language, text, None)], "check")
    assert why in str(caught.value)


def test_blocks_of_a_page_build_on_each_other(run_page, tmp_path):
    texts = [("bash", "echo 3 > n.txt"), ("python", "n = int(open('n.txt').read())"), ("python", "m = n + 1")]
    texts += [("bash", "test -f n.txt"), ("python", "assert m == 4")]
    run_page([Block("docs/page.md", 1, language, text, None) for language, text in texts], "check")


def test_a_page_says_why_a_block_is_not_run(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A\n\n```bash\necho\n```\n\n<!-- not run: it takes a week -->\n\n```bash\nexit 1\n```\n")
    first, second = blocks_of(page, "page.md")
    assert (first.line, first.not_run, first.text) == (4, None, "echo\n")
    assert (second.line, second.not_run) == (10, "it takes a week")
    page.write_text("```bash\necho\n")
    with pytest.raises(ValueError, match="not closed"):
        blocks_of(page, "page.md")
