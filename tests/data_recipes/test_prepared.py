"""What recipes share: a corpus is made by one process, while others wait for it."""

import threading

from data_recipes.prepared import making, mark_prepared


def test_who_comes_second_waits_and_finds_it_made(tmp_path):
    folder, told = tmp_path / "root" / "sessions", []

    def second():
        with making(folder) as needed:
            told.append(needed)

    with making(folder) as needed:
        assert needed
        other = threading.Thread(target=second)
        other.start()
        other.join(0.2)
        assert other.is_alive() and not told, "it waits"
        folder.mkdir()
        mark_prepared(folder, {}, {})
    other.join()
    assert told == [False]
