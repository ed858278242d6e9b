"""The page of PEFT methods is what the registry says."""

from studies.methods import PAGE, render


def test_page__is_current():
    assert PAGE.read_text(encoding="utf-8") == render(), "run `python -m studies.methods`"
