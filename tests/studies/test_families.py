"""Check and real training steps of a CNN and a transformer family, as in `python -m studies.families`."""

import pytest

from studies import families, families_page


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.parametrize("family", ["byobnet", "vision_transformer"])
def test_family__works_after_the_early_check(family, tmp_path):
    row = families.try_family(family, families.families()[family], tmp_path)
    assert row.backbone.startswith("test_")
    assert row.outcome == dict.fromkeys(families_page.MODES, "works")


def test_page__lists_reasons_once_and_counts():
    outcome = {
        **dict.fromkeys(families_page.MODES, "works"),
        "export": "refused: no operator",
        "lora": "refused: no operator",
    }
    rows = [families_page.Row("a", "a_tiny", 32, 1.5, outcome, 1.0)]
    rows.append(
        families_page.Row("b", "b_tiny", 0, 0.0, dict.fromkeys(families_page.MODES, "not tried: 412 million"), 1.0)
    )
    page = families_page.render(rows, list(families.families()))
    assert "| a | `a_tiny` | 32 | 1.5 | x | x | refused (1) | refused (1) |" in page
    assert page.count("no operator") == 1
    assert "frozen 1" in page
    assert "No test of an accepted network failed" in page


@pytest.mark.parametrize("name", ["test_vit", "resnet10t"])
def test_order__small_networks_come_first(name):
    names = sorted(["vit_large_patch16_224", "resnet152", "vit_base_patch16_224", name], key=families._size_order)
    assert names[0] == name
