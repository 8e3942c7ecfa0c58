"""Some hundred mutated spaces and some mutated folders; `python tests/mutations.py` runs more."""

import pytest
from mutations import failures


def test_mutated_search_spaces_give_an_answer_in_two_seconds():
    assert list(failures("spaces", 300, seed=20)) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_mutated_results_folders_give_an_answer():
    assert list(failures("folders", 20, seed=20)) == []
