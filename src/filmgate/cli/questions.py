"""Asks a person what an assessment must know, one question at a time. What cannot be right is asked again."""

from __future__ import annotations

from typing import Any

import typer

_YES = {"yes": True, "y": True, "true": True, "no": False, "n": False, "false": False}


def ask_for(known: dict[str, Any]) -> dict[str, Any]:
    """The answers, those that are known already included. Questions and complaints go to standard error."""
    from filmgate.economics.needs import QUESTIONS, Needs
    from filmgate.spec import InvalidRequest

    answers = dict(known)
    for question in QUESTIONS:
        if question.field in answers or (question.field == "now_card" and answers.get("now_model") is None):
            continue
        default = Needs.model_fields[question.field].get_default()
        shown = "" if question.field == "videos" or default is None else _shown(default)
        choices = f" [{', '.join(question.choices)}]" if question.choices else ""
        while True:
            required = question.field == "videos"
            text = typer.prompt(f"{question.words}{choices}", default=None if required else shown, err=True)
            value = _value(str(text).strip(), default)
            try:
                _check(answers, question.field, value)
            except InvalidRequest as error:
                typer.echo(str(error), err=True)
                continue
            if value is not None:
                answers[question.field] = value
            break
    return answers


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    return f"{default:g}" if isinstance(default, float) else str(default)


def _value(text: str, default: Any) -> Any:
    """A typed answer: nothing, a truth value, a number, or a word."""
    if not text:
        return None
    if isinstance(default, bool):
        return _YES.get(text.lower(), text)
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() else number


def _check(answers: dict[str, Any], field: str, value: Any) -> None:
    """Raise InvalidRequest if an answer cannot be right, or contradicts those before it."""
    from filmgate.economics.needs import needs_from

    needs_from({"videos": 1, **answers, field: value})
