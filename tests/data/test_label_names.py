import pytest

from medtune.data.label_names import check_names, is_background


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["liver", "tumor"], ""),
        (["1", "2"], ""),
        (["liver", " Liver "], "labels 'liver' and ' Liver ' have the same name. Rename one of them"),
        (["liver", "Background"], "label 'Background' is the background, which is label 0. Remove it"),
        (["liver", " "], "label ' ' has no name. Name it with one line of text"),
        (["a\nb"], "label 'a\\nb' has no name. Name it with one line of text"),
    ],
)
def test_check_names__names_the_first_problem(names, problem):
    assert check_names(names) == problem


def test_is_background__ignores_case_and_blanks():
    assert all(map(is_background, ("background", "Background", "Clear Label", "BG")))
    assert not any(map(is_background, ("", "liver", "back")))
