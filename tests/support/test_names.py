import pytest

from twofold.support.names import free_name


@pytest.mark.parametrize(
    ("taken", "wanted"),
    [((), "a"), (("b", "a_2"), "a"), (("a",), "a_2"), (("a", "a_2", "a_4"), "a_3")],
)
def test_the_first_name_that_is_free(taken, wanted):
    assert free_name("a", taken.__contains__) == wanted
