"""Recipes: written in Python, changed by texts, refused with what is allowed."""

import pytest

from filmgate.spec import InvalidRequest, UnknownName
from filmgate.training.lora.recipe import LoraRecipe, parse_changes, read_recipe

CONFIG = """
from filmgate.training.lora.recipe import LoraRecipe

recipe = LoraRecipe(rank=4, alpha=8, targets=("self_attention",), steps=7)
"""


def test_texts_are_read_as_the_fields_types():
    texts = ["rank=4", "alpha=none", "targets=attention, ffn", "size=160x96", "buckets=false", "warm-up=3", "rate=1e-3"]
    changed = LoraRecipe(alpha=3).changed(parse_changes(texts))
    expected = LoraRecipe(rank=4, targets=("attention", "ffn"), size=(160, 96), buckets=False, warm_up=3, rate=1e-3)
    assert changed == expected
    assert (changed.scale, LoraRecipe(rank=4, alpha=8).scale) == (1, 2)


@pytest.mark.parametrize(
    ("texts", "error", "says"),
    [
        (["rnak=4"], UnknownName, "no field of a recipe named 'rnak'.*Nearest valid: rank"),
        (["rank=0"], InvalidRequest, r"rank: '0' is not possible\. Allowed: at least 1\. Nearest valid: 1"),
        (["rank=many"], InvalidRequest, "rank: 'many' is not possible. Allowed: a whole number"),
        (["rate=0"], InvalidRequest, "rate: '0' is not possible. Allowed: more than 0"),
        (["rate=fast"], InvalidRequest, "Allowed: a number"),
        (["dropout=1"], InvalidRequest, "Allowed: less than 1"),
        (["no_text=2"], InvalidRequest, r"Allowed: at most 1\.0\. Nearest valid: 1"),
        (["buckets=perhaps"], InvalidRequest, "Allowed: true or false"),
        (
            ["dialect=diffuser"],
            UnknownName,
            "named 'diffuser'. Allowed: comfyui, diffusers, kohya.*Nearest valid: diff",
        ),
        (["precision=bf17"], UnknownName, "Allowed: bf16, fp16, fp32. Nearest valid: bf16"),
        (["size=160"], InvalidRequest, "size"),
        (["rank"], InvalidRequest, "NAME=VALUE"),
    ],
)
def test_what_is_not_a_recipe_is_refused(texts, error, says):
    with pytest.raises(error, match=says):
        LoraRecipe().changed(parse_changes(texts))


def test_a_configuration_is_a_python_file(tmp_path):
    path = tmp_path / "recipe.py"
    path.write_text(CONFIG)
    assert read_recipe(path) == LoraRecipe(rank=4, alpha=8, targets=("self_attention",), steps=7)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("x = 1", "has no recipe"),
        ("recipe = {'rank': 4}", "has no recipe"),
        ("1 / 0", "does not run: ZeroDivisionError"),
    ],
)
def test_a_configuration_without_a_recipe_says_so(content, says, tmp_path):
    path = tmp_path / "recipe.py"
    path.write_text(content)
    with pytest.raises(InvalidRequest, match=says):
        read_recipe(path)
    with pytest.raises(InvalidRequest, match="is not a file"):
        read_recipe(tmp_path / "none.py")


def test_every_field_says_what_it_is_and_stands_in_the_docs(request):
    page = (request.config.rootpath / "docs" / "training.md").read_text(encoding="utf-8")
    for name, field in LoraRecipe.model_fields.items():
        assert field.description
        assert f"`{name}`" in page
