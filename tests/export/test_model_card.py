import re

import jinja2
import pytest

from medtune.export.model_card import TEMPLATE, _most_frequent

DATA_SECTION = re.search(r"\{% if members \| length == 1 -%\}.*?(?=\n- Licence)", TEMPLATE, re.DOTALL).group()


@pytest.mark.parametrize("members", [1, 5])
@pytest.mark.parametrize(("classes", "rows"), [(2, 2), (30, 30), (1000, 30)])
def test_card__table_of_classes_is_bounded(classes, rows, members):
    counts = {f"class {k}": {"all": k, "train": k, "val": 0, "test": 0} for k in range(classes)}
    shown = _most_frequent(counts)
    text = jinja2.Template(DATA_SECTION).render(data={"counts": counts}, shown_counts=shown, members=[{}] * members)
    assert text.count("| class ") == rows + 1
    assert f"class {classes - 1} |" in text
    assert ("30 most frequent of 1000 classes" in text) == (classes > 30)
    assert ("| train |" in text) == (members == 1)
    assert "|\n\n|" not in text
