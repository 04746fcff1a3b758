import torch

from napari_segany.models.tiny.tiny_sam import DENSE_CHANNELS, TinyEncoder, TinySam, fold_batch_norm, local_contrast


def test_interfaces_are_those_of_sam():
    model = TinySam().eval()
    with torch.inference_mode():
        features = model.encode(torch.rand(1, 3, 300, 512) * 255)
        shapes = {name: tuple(value.shape[1:]) for name, value in features.items()}
        assert shapes == {"image_embed": (128, 64, 64), "high_res_0": (16, 256, 256), "high_res_1": (32, 128, 128)}
        assert model.dense_head(features).shape == (1, len(DENSE_CHANNELS), 128, 128)
        masks, scores = model.decode(features, boxes=torch.tensor([[10.0, 10, 50, 60]]))
    assert masks.shape == (1, 4, 256, 256)
    assert scores.shape == (1, 4)
    assert sum(p.numel() for p in model.parameters()) < 5e6


def test_local_contrast_does_not_see_gain_or_offset():
    gray = torch.rand(1, 1, 200, 168)
    dim = local_contrast(0.3 * gray + 0.1, floor=0)
    torch.testing.assert_close(dim, local_contrast(gray, floor=0), atol=1e-3, rtol=1e-3)
    assert local_contrast(torch.full((1, 1, 40, 40), 0.5)).abs().max() < 1e-3


def test_a_folded_encoder_computes_the_same():
    torch.manual_seed(0)
    encoder = TinyEncoder().eval()
    for norm in (part for part in encoder.modules() if isinstance(part, torch.nn.BatchNorm2d)):
        torch.nn.init.normal_(norm.running_mean)
        torch.nn.init.uniform_(norm.running_var, 0.5, 2)
        torch.nn.init.uniform_(norm.weight, 0.5, 2)
    short = fold_batch_norm(encoder)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in short.modules())
    assert any(isinstance(part, torch.nn.BatchNorm2d) for part in encoder.modules())
    picture = torch.randn(1, 4, 64, 64)
    with torch.inference_mode():
        for name, expected in encoder(picture).items():
            torch.testing.assert_close(short(picture)[name], expected, rtol=1e-4, atol=1e-4)
