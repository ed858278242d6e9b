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
def test_small_class__error_suggests_a_working_fix(protocol, count):
    listed = samples({"a": 20, "b": 20, "rare": count}, protocol == "patient")
    with pytest.raises(
        InputError, match=rf"Class rare .*{count} images?\) is absent from .*three in total\. Add"
    ) as error:
        split_samples(listed, ("a", "b", "rare"), SplitParams(protocol=protocol), "folder")
    assert "fewer folds" not in str(error.value)
    assert "data.label_map" in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(InputError) as other_error:
        split_samples(listed, ("a", "b", "rare"), SplitParams(protocol=protocol), "hcrf")
    assert "label_map" not in str(other_error.value)


def test_small_class__is_a_note_if_allowed():
    listed = samples({"a": 20, "b": 20, "rare": 1}, False)
    assignment = split_samples(
        listed, ("a", "b", "rare"), SplitParams(protocol="image", allow_missing_classes=True), "folder"
    )
    assert any("Class rare (1 image) is absent" in note for note in assignment.notes)


def test_many_small_classes__give_a_short_message():
    counts = {"a": 20, "b": 20} | {f"rare{k}": 1 for k in range(1000)}
    listed = samples(counts, False)
    with pytest.raises(InputError, match="995 more classes") as error:
        split_samples(listed, tuple(counts), SplitParams(protocol="image"), "folder")
    assert len(str(error.value)) < 1000
    assignment = split_samples(
        listed, tuple(counts), SplitParams(protocol="image", allow_missing_classes=True), "folder"
    )
    assert len(assignment.notes) < 40
