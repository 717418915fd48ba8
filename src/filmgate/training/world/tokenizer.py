"""The toy family's tokenizer: a SentencePiece-style unigram model whose vocabulary is written, not learned.

Ids follow umT5 (0 padding, 1 end of sequence, 2 unknown). Every word of the lexicon is one piece, common English words
are one piece, everything else falls to letters and then to bytes, so that no prompt can crash it. A learned vocabulary
would split the lexicon's own words: on this small corpus it needs twice as many pieces per caption.
"""

from __future__ import annotations

import math
import re
import string
from dataclasses import replace

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from filmgate.training.world import lexicon as lex
from filmgate.training.world.catalogue import AESTHETICS, FIRST, Catalogue

_WORD = re.compile(r"[a-z0-9]+")


_SHARED = (
    "COLOURS", "SHAPES", "MATERIALS", "SIZES", "GO", "ROLL", "DIRECTIONS", "MOTIONS", "RELATIONS", "PAST",
    "CAMERAS", "GROUNDS", "LIGHTS", "OPENINGS", "ADORNMENTS", "SPEEDS", "NUMBERS", "GROUPED", "CONNECTIVES",
)  # fmt: skip
_RICH = (
    "COLOURS", "SHAPES", "MATERIALS", "SIZES", "GO", "ROLL", "WALK", "UPRIGHT", "DIRECTIONS", "MOTIONS", "RELATIONS",
    "PAST", "OFF", "FOLLOWED", "HATS", "RICH_CAMERAS", "GROUNDS", "RICH_LIGHTS", "WEATHERS", "PACES", "OPENINGS",
    "RICH_ADORNMENTS", "NUMBERS", "GROUPED", "CONNECTIVES",
)  # fmt: skip
_AESTHETIC = ("AESTHETICS", "DAYTIMES")
_DRAWN = {
    "COLOURS": "colours", "SHAPES": "shapes", "MATERIALS": "materials", "MOTIONS": "motions", "RELATIONS": "relations",
    "CAMERAS": "cameras", "GROUNDS": "grounds", "LIGHTS": "lights",
}  # fmt: skip
"""Tables of the lexicon of which a world speaks only of what it draws."""


def lexicon_words(world: Catalogue = FIRST) -> list[str]:
    """Every word that a caption can contain, sorted: what a prompt may say without a warning."""
    words: set[str] = set()

    def collect(value: object) -> None:
        if isinstance(value, str):
            words.update(_WORD.findall(value.lower()))
        elif isinstance(value, dict):
            for entry in value.values():
                collect(entry)
        elif isinstance(value, tuple):
            for entry in value:
                collect(entry)

    for name in (*(_RICH if world.rich else _SHARED), *(_AESTHETIC if world.clauses else ())):
        table = getattr(lex, name)
        if name in _DRAWN:
            drawn = getattr(world, _DRAWN[name])
            table = {key: value for key, value in table.items() if key in drawn}
        collect(table)
    words.update(_WORD.findall("an empty landscape nothing but the ground field no objects stands"))
    return sorted(words | ({"rests"} if world.rich else set()))


def build_tokenizer(world: Catalogue = FIRST) -> Tokenizer:
    """A ``tokenizers.Tokenizer`` that lower-cases, splits at spaces and punctuation, and appends end of sequence.

    Worlds that differ only in what captions leave out have the same one.
    """
    known = lexicon_words(replace(world, clauses=AESTHETICS) if world.rich else world)
    common = sorted(set(lex.COMMON_WORDS) - set(known))
    pieces: list[tuple[str, float]] = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [(f"<0x{byte:02X}>", -18.0) for byte in range(256)]
    pieces += [(f"▁{word}", -6.0) for word in known]
    pieces += [(f"▁{word}", -7.5) for word in common]
    taken = {piece for piece, _ in pieces}
    singles = [*string.ascii_lowercase, *string.digits, *string.punctuation, "▁"]
    singles += [f"▁{letter}" for letter in string.ascii_lowercase + string.digits]
    endings = [
        "s", "es", "ed", "ing", "ly", "er", "est", "y", "ish", "like", "ness", "ful", "less", "en", "al", "ic", "ous",
        "th", "ck", "ee", "oo", "ea", "ou", "ch", "sh", "st", "tr",
    ]  # fmt: skip
    pieces += [(piece, -9.0 - math.log(1 + len(piece))) for piece in singles + endings if piece not in taken]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Lowercase(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()])
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    return tokenizer
