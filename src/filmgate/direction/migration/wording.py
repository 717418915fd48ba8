"""Words of an author as they may stand in a prompt: syntax of other tools taken out, what is quoted left alone."""

from __future__ import annotations

import re
import unicodedata

_QUOTED = re.compile(r"(\"[^\"\n]*\"|“[^”\n]*”|「[^」\n]*」)")
_SYNTAX = re.compile(r"[|#`*{}<>\[\]()~^\\=+_]+|(?<!\w)!|--+|->|::+")
_COLON = re.compile(r"(?<!\d)[:：]|[:：](?!\d)")
_SEMICOLON = re.compile(r"\s*[;；]\s*")
_SPACES = re.compile(r"\s+")
_LOOSE = re.compile(r"\s+([,.，。])")
_RUNS = re.compile(r"[,，]\s*(?=[,.，。])")
_UNWANTED = re.compile("[\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\ufff9-\ufffb]")
_EDGES = " \t\n,.;:，。；：、-"
_ARTICLE = re.compile(
    r"^(?:A|An|The|This|That|These|Those|There|It|He|She|They|We|His|Her|Its|Their|Two|Three|Four|Five|One|Some|In|On|At)"
    r"(?=\s)"
)


def cleaned(text: str) -> str:
    """A prompt without control, zero-width and direction characters, in Unicode normal form C; line breaks stay."""
    kept = "".join(
        character
        for character in text.replace("\r\n", "\n").replace("\r", "\n")
        if character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cs")
    )
    return unicodedata.normalize("NFC", _UNWANTED.sub("", kept))


def plain(text: str) -> str:
    """Words without the brackets, bars, colons and underscores that mean something to one tool or another.

    What stands in quotation marks is not touched: it may be text to be seen in the picture.
    """
    parts = _QUOTED.split(text)
    for index in range(0, len(parts), 2):
        part = _SEMICOLON.sub(", ", _COLON.sub(", ", _SYNTAX.sub(" ", parts[index])))
        parts[index] = _RUNS.sub("", _LOOSE.sub(r"\1", _SPACES.sub(" ", part)))
    return "".join(parts).strip(_EDGES)


def only_words(text: str) -> str:
    """Letters, digits, and the marks within and between words; everything else becomes a space."""
    kept = "".join(c if c.isalnum() or unicodedata.category(c).startswith("M") or c in "'’," else " " for c in text)
    return " ".join(re.sub(r"\s*,[\s,]*", ", ", kept).split()).strip(_EDGES)


def first_upper(text: str) -> str:
    """A sentence begins with a capital letter."""
    return text[:1].upper() + text[1:] if text[:1].islower() and len(text[:1].upper()) == 1 else text


def first_lower(text: str) -> str:
    """A phrase within a sentence: articles, pronouns and the like lose their capital, names keep theirs."""
    return text[:1].lower() + text[1:] if _ARTICLE.match(text) else text


def chained(*parts: str) -> str:
    """Chinese phrases joined as Chinese is, with a space only where words of other scripts would run together."""
    text = ""
    for part in filter(None, parts):
        apart = text and _runs_on(text[-1]) and _runs_on(part[0])
        text += f" {part}" if apart else part
    return text


def _runs_on(character: str) -> bool:
    return character.isalnum() and not "\u3400" <= character <= "\u9fff"


def joined(parts: list[str], last: str = " and ") -> str:
    """``a, b and c``."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + last + parts[-1] if parts else ""


def words_in(text: str) -> int:
    """Words of a text, Chinese counted by the character as the official limits are not; two characters make a word."""
    chinese = len(re.findall("[\u3400-\u9fff]", text))
    return len(re.findall(r"[^\W\u3400-\u9fff]+(?:['’-][^\W\u3400-\u9fff]+)*", text)) + (chinese + 1) // 2
