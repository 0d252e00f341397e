"""Flat start: symbols evenly over their utterance by size, silence elsewhere, nothing beyond the frames there are."""

from speech_xl.extensions.ctc.flat_start import Spoken, flat_labels


def test_symbols_share_their_utterance_by_size():
    labels = flat_labels([Spoken(2.0, 8.0, [5, 7], [1, 2]), Spoken(9.0, 11.0, [6], [4])], 12, silence=0)
    assert labels.tolist() == [0, 0, 5, 5, 7, 7, 7, 7, 0, 6, 6, 0]


def test_what_lies_beyond_the_frames_is_left_out():
    labels = flat_labels([Spoken(-2.0, 2.0, [5, 7], [1, 1]), Spoken(3.0, 9.0, [6, 8], [1, 1])], 5, silence=0)
    assert labels.tolist() == [7, 7, 0, 6, 6]


def test_an_utterance_without_symbols_is_silence():
    assert flat_labels([Spoken(0.0, 3.0, [], [])], 3, silence=9).tolist() == [9, 9, 9]
