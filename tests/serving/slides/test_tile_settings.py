"""Settings of tiles as JSON."""

import pytest

from medtune.serving.slides.tile_settings import TileSettings

SETTINGS = TileSettings(size_um=64.0, pixels=64, overlap=0.0, max_per_slide=None, min_tissue=0.5, seed=0)


@pytest.mark.parametrize(
    "changes",
    [{"size_um": 0}, {"size_um": "64"}, {"pixels": 6.5}, {"overlap": 1.0}, {"max_per_slide": 0}, {"min_tissue": True},
     {"seed": -1}],
)  # fmt: skip
def test_settings__error_names_invalid_fields(changes):
    document = SETTINGS.document()
    assert TileSettings.from_document(document) == SETTINGS
    name = next(iter(changes))
    with pytest.raises(ValueError, match=rf"tiles\.{name}"):
        TileSettings.from_document(document | changes)
    with pytest.raises(ValueError, match="tiles"):
        TileSettings.from_document(None)
