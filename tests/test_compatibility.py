"""The page of what works with what is made of the tests' own parameters."""

import compatibility


def test_the_page_is_up_to_date():
    made_by = "docs/compatibility.md is old: python tests/compatibility.py"
    assert compatibility.PAGE.read_text() == compatibility.page(), made_by
