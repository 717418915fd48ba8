"""From prompt to features."""

import torch
from tests.engine.pipeline.networks import TEXT, RandomNetworks, tokenise

from filmgate.engine.pipeline.encode import encode


@torch.no_grad()
def padded_and_cut(text, encoder):
    """As the originals do: pad to the text length, encode with the mask, cut to the mask's length."""
    ids = tokenise(text)
    padding = TEXT.text_len - len(ids)
    mask = torch.tensor([[1] * len(ids) + [0] * padding])
    return encoder(torch.tensor([ids + [0] * padding]), mask)[0, : len(ids)]


def test_features_are_those_of_the_padded_text_cut_to_its_tokens():
    encoder = RandomNetworks().text_encoder()
    found = encode("a red ball rolls left", "blur", tokenise, encoder)
    for rows, text in ((found.text, "a red ball rolls left"), (found.negative, "blur")):
        expected = padded_and_cut(text, encoder)
        assert rows.shape == expected.shape
        torch.testing.assert_close(rows, expected, atol=1e-5, rtol=0)


def test_without_guidance_there_is_no_negative():
    assert encode("a ball", None, tokenise, RandomNetworks().text_encoder()).negative is None


def test_an_empty_negative_prompt_is_its_end_mark():
    found = encode("a red ball", "", tokenise, RandomNetworks().text_encoder())
    assert found.negative.shape == (1, TEXT.dim)


def test_too_long_a_text_is_cut_by_the_tokeniser_and_fits():
    found = encode("word " * 40, "", tokenise, RandomNetworks().text_encoder())
    assert found.text.shape == (TEXT.text_len, TEXT.dim)
    assert not found.text.requires_grad
