import re

import pytest

from napari_segany.core.errors import ModelError
from napari_segany.models.registry import find, list_models


def test_names_are_unique_and_found():
    names = [spec.name for spec in list_models()]
    assert len(set(names)) == len(names) == 15
    assert all(find(name).name == name for name in names)


def test_one_model_ships():
    (spec,) = (spec for spec in list_models() if spec.embedded)
    assert spec.name == "tiny"
    assert spec.path.parts[-3:] == ("models", "data", "tiny.safetensors")


@pytest.mark.parametrize("spec", list_models(), ids=lambda spec: spec.name)
def test_every_row_is_complete(spec):
    assert spec.architecture in ("tiny", "vit_t", "vit_b", "vit_l", "vit_h")
    assert spec.domain
    assert spec.licence
    assert spec.citation
    if not spec.embedded:
        assert spec.url.startswith("https://")
        assert spec.name.startswith(spec.architecture)
        assert re.fullmatch(r"xxh128:[0-9a-f]{32}|sha256:[0-9a-f]{64}", spec.hash)


def test_an_unknown_name_leads_to_the_nearest():
    with pytest.raises(ModelError, match="vit_b_lm"):
        find("vit_b-lm")
    with pytest.raises(ModelError, match="there are tiny, vit_b"):
        find("?")
