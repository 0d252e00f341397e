"""SeveralCorpora: all sessions of each, under its name."""

import pytest

from data_recipes.embedded import EmbeddedSpeech
from data_recipes.several_corpora import SeveralCorpora


@pytest.mark.slow  # espeak-ng makes a corpus
def test_sessions_of_each_stand_under_its_name(tmp_path):
    parts = {
        name: EmbeddedSpeech(
            str(tmp_path),
            train_hours=0.005,
            dev_sessions=count,
            test_sessions=1,
            min_seconds=12,
            max_seconds=24,
            seed=seed,
        )
        for seed, (name, count) in enumerate({"one": 1, "two": 2}.items())
    }
    corpus = SeveralCorpora(dict(parts))
    corpus.prepare()
    found = {cut.id: cut for cut in corpus.cuts("dev")}
    assert list(found) == ["one/dev-00000", "two/dev-00000", "two/dev-00001"]
    for name, part in parts.items():
        for cut in part.cuts("dev"):
            assert found[f"{name}/{cut.id}"].load_audio().tolist() == cut.load_audio().tolist()
    assert found["one/dev-00000"].load_audio().shape != found["two/dev-00000"].load_audio().shape


def test_a_corpus_is_needed():
    with pytest.raises(ValueError, match="corpora: there is none"):
        SeveralCorpora({})
