"""SentencePiece models, read by hand, give the ids that the library gives."""

import io

import pytest
import sentencepiece
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from filmgate.engine.checkpoints.sentencepiece import build_tokenizer, parse_sentencepiece
from filmgate.engine.checkpoints.tokenizer import clean, read_tokenizer
from filmgate.spec import DamagedFile

TEXT = [
    "a red ball rolls to the right past a blue cube", "the camera dollies in, sunset, two green pyramids",
    "a small yellow cone spins under grey clouds; fog", "das rote Haus an der Straße", "红色的球 滚过 蓝色的方块",
] * 8  # fmt: skip


def train(**options):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT), model_writer=model, vocab_size=360, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        hard_vocab_limit=False, minloglevel=2, **options,
    )  # fmt: skip
    return model.getvalue()


@pytest.fixture(scope="module")
def model():
    """Like umT5's: unigram, bytes for unknown characters, ids of the marks as there."""
    return train(model_type="unigram", byte_fallback=True)


@pytest.fixture(scope="module")
def library(model):
    return sentencepiece.SentencePieceProcessor(model_proto=model)


@pytest.fixture(scope="module")
def ours(model):
    return build_tokenizer(parse_sentencepiece(model, "spiece.model"))


ALPHABET = st.sampled_from("abcdefghijklmnopqrstuvwxyz ABC.,;é ßﬁ①红色的球Ω😀1234")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(ALPHABET, max_size=40) | st.lists(st.sampled_from(" ".join(TEXT).split())).map(" ".join))
def test_ids_are_those_of_the_library(library, ours, text):
    text = clean(text)
    assert ours.encode(text, add_special_tokens=False).ids == library.encode(text)


def test_a_model_in_a_file_and_in_a_text_encoder(model, library, tmp_path):
    (tmp_path / "spiece.model").write_bytes(model)
    save_file({"spiece_model": torch.frombuffer(bytearray(model), dtype=torch.uint8)}, tmp_path / "umt5.safetensors")
    for name in ("spiece.model", "umt5.safetensors"):
        tokeniser = read_tokenizer(tmp_path / name, 512)
        assert tokeniser("a red ball") == (*library.encode("a red ball"), 1)


def test_models_of_another_kind_are_refused():
    with pytest.raises(DamagedFile, match="not a unigram model"):
        parse_sentencepiece(train(model_type="bpe"), "x")


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.data())
def test_damaged_models_are_read_or_refused(model, data):
    content = bytearray(model)
    for position, bits in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(1, 255)), min_size=1, max_size=4)
    ):
        content[position] ^= bits
    kept = data.draw(st.just(len(content)) | st.integers(0, len(content)))
    try:
        parse_sentencepiece(bytes(content[:kept]), "x")
    except DamagedFile as refusal:
        if "SentencePiece" not in str(refusal):
            pytest.fail(str(refusal))


def test_a_text_encoder_without_a_tokenizer(tmp_path):
    save_file({"w": torch.ones(2)}, tmp_path / "umt5.safetensors")
    with pytest.raises(DamagedFile, match="no tokenizer in it"):
        read_tokenizer(tmp_path / "umt5.safetensors", 512)
