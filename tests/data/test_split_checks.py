import pytest

from medtune.config.data import SplitParams
from medtune.config.errors import InputError
from medtune.data.sample import Sample
from medtune.data.splits import split_samples


def samples(counts, patients=True):
    return [
        Sample(f"{name}/{k}.png", name, f"{name}{k}" if patients else None)
        for name, n in counts.items()
        for k in range(n)
    ]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("protocol", ["image", "patient"])
def test_small_class__is_named_with_a_fix_that_helps(protocol, count):
    found = samples({"a": 20, "b": 20, "rare": count}, protocol == "patient")
    with pytest.raises(
        InputError, match=rf"Class rare .*{count} images\) is absent from .*three in total\. Add"
    ) as error:
        split_samples(found, ("a", "b", "rare"), SplitParams(protocol=protocol), "folder")
    assert "fewer folds" not in str(error.value)
    assert "data.label_map" in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(InputError) as other:
        split_samples(found, ("a", "b", "rare"), SplitParams(protocol=protocol), "hcrf")
    assert "label_map" not in str(other.value)


def test_small_class__allowed():
    found = samples({"a": 20, "b": 20, "rare": 1}, False)
    made = split_samples(found, ("a", "b", "rare"), SplitParams(protocol="image", allow_missing_classes=True), "folder")
    assert any("Class rare (1 images) is absent" in note for note in made.notes)


def test_many_small_classes__make_a_short_message():
    counts = {"a": 20, "b": 20} | {f"rare{k}": 1 for k in range(1000)}
    found = samples(counts, False)
    with pytest.raises(InputError, match="995 more classes") as error:
        split_samples(found, tuple(counts), SplitParams(protocol="image"), "folder")
    assert len(str(error.value)) < 1000
    made = split_samples(found, tuple(counts), SplitParams(protocol="image", allow_missing_classes=True), "folder")
    assert len(made.notes) < 40
