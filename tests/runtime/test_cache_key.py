import pytest

from medtune.runtime.cache_key import MODULES
from medtune.runtime.source_hash import source_fingerprint


@pytest.mark.parametrize(("stage", "module"), MODULES.items())
def test_modules__stage_code_is_in_its_key(stage: str, module: str) -> None:
    closure = source_fingerprint(module)
    assert f"{module.replace('.', '/')}.py" in closure
    assert len(closure) > 10, stage


def test_source_fingerprint__rejects_a_missing_module() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"no source file for medtune\.stages\.nothing"):
        source_fingerprint("medtune.stages.data", "medtune.stages.nothing")
