"""The style sheet: its braces nest, and no rule stands in it twice."""

from collections import Counter

from speech_xl.serving.app import PAGE


def test_no_rule_stands_twice_and_braces_nest():
    text = (PAGE / "style.css").read_text(encoding="utf-8")
    depth, rules = 0, Counter()
    for line in text.splitlines():
        if "{" in line:
            rules[depth, line.strip()] += 1
        depth += line.count("{") - line.count("}")
        assert depth >= 0, f"a brace too many: {line}"
    assert depth == 0
    assert not [rule for (level, rule), times in rules.items() if times > 1 and level == 0]
