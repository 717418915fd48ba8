"""Which layers a LoRA changes: sets, names, patterns."""

import pytest
from tests.engine.wan_directory import DIT

from filmgate.engine.models.config import DitConfig
from filmgate.engine.models.dit_shapes import tensor_shapes
from filmgate.spec import UnknownName
from filmgate.training.lora.targets import choose_layers, trainable

SHAPES = tensor_shapes(DIT)


@pytest.mark.parametrize(
    ("targets", "count"),
    [(("attention",), 16), (("self_attention",), 8), (("cross_attention",), 8), (("ffn",), 4),
     (("attention", "ffn"), 20), (("all",), 26), (("blocks.1.*",), 10), (("blocks.[01].*.q",), 4),
     (("head.head", "ffn"), 5)],
)  # fmt: skip
def test_sets_names_and_patterns(targets, count):
    found = choose_layers(SHAPES, targets)
    assert len(found) == count
    assert all(SHAPES[f"{name}.weight"] == shape for name, shape in found.items())
    assert trainable(found, 3) == sum(3 * (rows + columns) for rows, columns in found.values())


def test_an_image_branch_belongs_to_attention():
    shapes = tensor_shapes(DitConfig(dim=32, ffn_dim=48, num_heads=2, num_layers=1, in_dim=36, image_dim=16))
    assert {name for name in choose_layers(shapes, ("attention",)) if name.endswith("_img")} == {
        "blocks.0.cross_attn.k_img", "blocks.0.cross_attn.v_img",
    }  # fmt: skip


@pytest.mark.parametrize("target", ["atention", "blocks.9.*", "norm", "blocks.0.norm3"])
def test_what_means_nothing_is_refused(target):
    with pytest.raises(UnknownName, match="no layer or set of layers named"):
        choose_layers(SHAPES, (target,))
