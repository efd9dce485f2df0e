import pytest

from evermap.errors import UserError
from evermap.scenarios.seed_list import seeds_of


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("3", (0, 1, 2)),
        ("3-5", (3, 4, 5)),
        ("0-0", (0,)),
        ("7,0, 4", (7, 0, 4)),
        ("0-1,8-9", (0, 1, 8, 9)),
        ("0-3,7", (0, 1, 2, 3, 7)),
    ],
)
def test_a_number_says_how_many_and_a_list_which(text, seeds):
    assert seeds_of(text) == seeds


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "1.5", "5-3", "a", "1-", "1,,2", "0-999999999", "1001", "0-5,2", "2,2"]
)
def test_what_is_no_list_of_seeds_is_refused(text):
    with pytest.raises(UserError, match="--seeds"):
        seeds_of(text)
