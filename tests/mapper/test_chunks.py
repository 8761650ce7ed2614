import pytest

from twofold.mapper.chunks import Chunk, choices, chunks, even


def test_even_parts():
    assert even(10, 4) == [3, 3, 2, 2]
    assert even(3, 3) == [1, 1, 1]


def test_whole_rows_where_they_fit():
    assert chunks(5, 4, 2, 12) == [Chunk(0, 0, 3, 4), Chunk(3, 0, 2, 4)]


def test_parts_of_rows_where_they_do_not():
    assert chunks(2, 7, 1, 4) == [Chunk(0, 0, 1, 4), Chunk(0, 4, 1, 3), Chunk(1, 0, 1, 4), Chunk(1, 4, 1, 3)]


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (30, 1), (7, 5), (8, 8), (11, 9)])
@pytest.mark.parametrize("depth", [4, 5, 8, 16, 64, 1000])
def test_every_choice_covers_the_map_once_and_fits(size, depth):
    for cut in choices(*size, depth):
        covered = [(chunk.y + i, chunk.x + j) for chunk in cut for i in range(chunk.height) for j in range(chunk.width)]
        assert sorted(covered) == [(y, x) for y in range(size[0]) for x in range(size[1])]
        assert all(chunk.height * chunk.width <= depth for chunk in cut)
    assert [len(cut) for cut in choices(*size, depth)] == sorted(len(cut) for cut in choices(*size, depth))


def test_the_fewest_parts_one_more_and_multiples_are_tried():
    assert [len(cut) for cut in choices(40, 4, 32)] == [5, 6, 10, 20]
    assert [len(cut) for cut in choices(7, 4, 12)] == [3, 4, 6, 7]
