import re

import pytest

from napari_segany.core.errors import ModelError
from napari_segany.models.registry import find, list_models


def test_names_are_unique_and_found():
    names = [spec.name for spec in list_models()]
    assert len(set(names)) == len(names) == 22
    assert all(find(name).name == name for name in names)


def test_one_model_ships():
    (spec,) = (spec for spec in list_models() if spec.embedded)
    assert spec.name == "tiny"
    assert spec.path.parts[-3:] == ("models", "data", "tiny.safetensors")


FILES = [spec for spec in list_models() if not spec.folder]
FOLDERS = [spec for spec in list_models() if spec.hub]


@pytest.mark.parametrize("spec", FOLDERS, ids=lambda spec: spec.name)
def test_every_folder_is_complete(spec):
    assert spec.architecture in ("sam2", "edgetam", "sam_hq", "sam3")
    assert spec.url == f"https://huggingface.co/{spec.hub}"
    assert spec.path.name == spec.name
    assert 10**7 < spec.bytes < 10**10
    assert spec.size.startswith("about ")
    assert spec.domain
    assert spec.citation
    assert spec.hash == "", "the publishers state none"
    assert spec.gated == (spec.name == "sam3") == ("gated" in spec.licence)
    assert spec.licence == "Apache-2.0" or spec.gated


@pytest.mark.parametrize("spec", FILES, ids=lambda spec: spec.name)
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
