"""The readers of EmoDB and speechocean762: layouts say the same, speakers are shared out, errors name the line."""

from pathlib import Path

import pytest

from data_recipes.voice_corpora import CORPORA, Clip, read_emodb, read_speechocean, split_speakers
from tests.data_recipes.voice_recordings import WOMEN, write_emodb, write_speechocean


def test_both_layouts_of_speechocean_and_both_folders_of_emodb_say_the_same(tmp_path):
    write_emodb(tmp_path / "EmoDB" / "wav")
    write_speechocean(tmp_path / "flat", flat=True)
    write_speechocean(tmp_path / "published", flat=False)

    def said(clips):
        return sorted((c.path.stem, c.text, c.speaker, c.gender, c.age, c.language) for c in clips)

    flat = said(read_speechocean(tmp_path / "flat"))
    assert said(read_speechocean(tmp_path / "published")) == flat
    assert flat[0] == ("006000000", "it's number 200", "so0600", "M", "child", "English")
    assert read_emodb(tmp_path / "EmoDB") == read_emodb(tmp_path / "EmoDB" / "wav")
    assert {c.text for c in read_emodb(tmp_path / "EmoDB") if "b01" in c.path.name} == {
        "was sind denn das für tüten die da unter dem tisch stehen"
    }


def test_shares_of_a_larger_corpus():
    strata = [("child", "F"), ("adult", "M")]
    clips = [Clip(Path("x"), "x", f"{age}{i}", gender, age, "English") for age, gender in strata for i in range(40)]
    shares = split_speakers("x", clips, strata)
    children = {split: sum(clip.age == "child" for clip in found) for split, found in shares.items()}
    assert {split: len(found) for split, found in shares.items()} == {"train": 56, "dev": 12, "test": 12}
    assert children == {"train": 28, "dev": 6, "test": 6}


def test_too_few_speakers_are_named(tmp_path):
    write_emodb(tmp_path / "few", speakers=("03", "10", *WOMEN))
    with pytest.raises(ValueError, match="EmoDB: 2 speakers of sex M and age adult; each split needs one of its own"):
        split_speakers("EmoDB", read_emodb(tmp_path / "few"), CORPORA["emodb"].strata)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('{"age": 6}', '{"age": "six"}', r"labels\.tsv, line 2: age 'six' is not whole years; mend"),
        ('{"age": 6}', "6", r"labels\.tsv, line 2: labels '6' is no JSON with an age"),
        ("\tM\t", "\tX\t", r"labels\.tsv, line 2: gender 'X' is neither F nor M"),
        ("IT'S NUMBER 200", " ", r"labels\.tsv, line 2: the transcript is empty"),
        ("gender", "sex", r"labels\.tsv: has no column 'gender'; its first line must name"),
        ('{"age": 6}', '{"age": 30}', "speaker so0600 has another sex or age elsewhere"),
    ],
)
def test_a_wrong_label_is_named(tmp_path, old, new, message):
    write_speechocean(tmp_path / "ocean", flat=True)
    table = tmp_path / "ocean" / "labels.tsv"
    table.write_text(table.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        split_speakers("x", read_speechocean(tmp_path / "ocean"), CORPORA["speechocean"].strata)


@pytest.mark.parametrize("name", ["text", "wav.scp", "spk2gender", "spk2age"])
def test_a_wrong_kaldi_table_is_named(tmp_path, name):
    write_speechocean(tmp_path / "ocean", flat=False)
    table = tmp_path / "ocean" / "train" / name
    first, *rest = table.read_text().splitlines()
    table.write_text("\n".join(rest))
    with pytest.raises(ValueError, match=f"train/{name}: has no line for {first.split()[0]}, which utt2spk names"):
        read_speechocean(tmp_path / "ocean")
    table.write_text("alone\n")
    with pytest.raises(ValueError, match=f"train/{name}, line 1: 'alone' is no key with a value"):
        read_speechocean(tmp_path / "ocean")
    table.unlink()
    with pytest.raises(FileNotFoundError, match=f"train/{name} is missing; unpack the corpus again"):
        read_speechocean(tmp_path / "ocean")
