"""Page of the PEFT methods: it agrees with the registry."""

from studies.methods import PAGE, render


def test_page__is_current():
    assert PAGE.read_text(encoding="utf-8") == render(), "run `python -m studies.methods`"
