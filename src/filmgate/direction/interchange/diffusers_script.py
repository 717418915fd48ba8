"""A Python script that calls Diffusers: parsed, never executed.

What is read are constants, names that are given one constant, and the calls of Diffusers' own examples: a pipeline's
``from_pretrained``, a scheduler's constructor or ``from_config``, ``load_lora_weights`` and ``set_adapters``,
``manual_seed``, ``load_image``, ``export_to_video``, and the call of the pipeline. What a script computes has no value
here, and the report says so. Without ``load_into_transformer_2`` a LoRA is for the high-noise expert alone.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from filmgate.direction.interchange.diffusers import PIPELINES, SCHEDULERS, read_settings
from filmgate.direction.interchange.report import Imported, Ledger
from filmgate.direction.interchange.settings import variant_of
from filmgate.direction.interchange.values import LARGEST, number, words
from filmgate.direction.presets import PRESETS
from filmgate.spec.errors import InvalidRequest

_SHIFTS = {"ti2v": 5.0, "flf2v": 16.0}
_SHIFT = 3.0
"""What Diffusers' conversion wrote into the published directories, by the task in their names."""
_PICTURES = ("load_image", "load_video", "Image.open")
_NOWHERE = ("generator", "output_type", "return_dict")
"""Arguments of the call that do not change the video, or are read elsewhere."""
_COMPUTED = "the script computes it"


class _Unknown(Exception):
    """An expression that is no constant."""


def import_script(text: str) -> Imported:
    """The request of a script.

    Raises:
        InvalidRequest: it is no Python, or does not call one Wan pipeline of Diffusers once.
    """
    if len(text) > LARGEST:
        raise InvalidRequest("script", f"it has {len(text)} characters", allowed=f"at most {LARGEST}")
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InvalidRequest("script", f"it is not Python: {error}", allowed="a Python script") from None
    return _Script(tree).read()


class _Script:
    """The constants and calls of a script."""

    def __init__(self, tree: ast.Module) -> None:
        self._calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        self._calls.sort(key=lambda node: (node.lineno, node.col_offset))
        self._assigned: dict[str, list[ast.expr]] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.For | ast.NamedExpr):
                self._assign(node)
        self._ledger = Ledger()

    def _assign(self, node: ast.Assign | ast.AnnAssign | ast.AugAssign | ast.For | ast.NamedExpr) -> None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        plain = isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr) and node.value is not None
        for target in targets:
            for name in ast.walk(target):
                if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
                    whole = plain and name is target
                    value = node.value if whole and not isinstance(node, ast.For) else None
                    # An expression that is no constant stands for a value that is not known.
                    self._assigned.setdefault(name.id, []).append(value or ast.Name(id=name.id))

    def read(self) -> Imported:
        made = [call for call in self._calls if _name(call.func).removesuffix(".from_pretrained") in PIPELINES]
        if len(made) != 1:
            raise InvalidRequest(
                "script", f"it makes {len(made)} Wan pipelines", allowed="one of " + ", ".join(PIPELINES)
            )
        [pipeline] = made
        calls = [call for call in self._calls if isinstance(call.func, ast.Name) and self._is(call.func, pipeline)]
        if len(calls) != 1:
            raise InvalidRequest("script", f"it calls its pipeline {len(calls)} times", allowed="once")
        given: dict[str, Any] = {"_class_name": _name(pipeline.func).removesuffix(".from_pretrained")}
        given["model"] = self._try("model", pipeline.args[0]) if pipeline.args else None
        options = self._options(pipeline)
        variant = variant_of(str(given["model"] or ""))
        given |= {"scheduler": self._scheduler(variant), "boundary_ratio": self._boundary(options, variant)}
        given |= {"call": self._call(calls[0]), "seed": self._seed(), "fps": self._fps()}
        given["loras"] = self._loras()
        return read_settings(given, self._ledger)

    def _value(self, node: ast.expr, depth: int = 0) -> Any:
        """The constant that an expression is; a loaded picture is its path."""
        if depth > 8:
            raise _Unknown
        if isinstance(node, ast.Name) and len(self._assigned.get(node.id, ())) == 1:
            return self._value(self._assigned[node.id][0], depth + 1)
        if isinstance(node, ast.Call) and _name(node.func).endswith(_PICTURES) and node.args:
            return self._value(node.args[0], depth + 1)
        if isinstance(node, ast.List | ast.Tuple):
            return [self._value(item, depth + 1) for item in node.elts]
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            raise _Unknown from None

    def _try(self, field: str, node: ast.expr) -> Any:
        """The constant, or None and an entry in the report."""
        try:
            return self._value(node)
        except _Unknown:
            self._ledger.dropped(field, ast.unparse(node), _COMPUTED)
            return None

    def _options(self, call: ast.Call) -> dict[str, ast.expr]:
        if any(keyword.arg is None for keyword in call.keywords):
            self._ledger.dropped(f"**options of {_name(call.func)}", ast.unparse(call.func), _COMPUTED)
        return {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg is not None}

    def _is(self, node: ast.Name, value: ast.expr) -> bool:
        return value in self._assigned.get(node.id, ())

    def _named(self, *names: str) -> Iterator[ast.Call]:
        return (call for call in self._calls if _name(call.func).rsplit(".", 1)[-1] in names)

    def _call(self, call: ast.Call) -> dict[str, Any]:
        options = self._options(call)
        if call.args:
            self._ledger.dropped("arguments without a name", len(call.args), "their order differs among pipelines")
        found = {name: self._try(name, node) for name, node in options.items() if name not in _NOWHERE}
        return {name: value for name, value in found.items() if value is not None}

    def _scheduler(self, variant: str | None) -> dict[str, Any]:
        """The configuration of the last scheduler that is made, or what the published directories hold."""
        usual = _SHIFTS.get(variant.split("-")[1], _SHIFT) if variant else _SHIFT
        config: dict[str, Any] = {
            "_class_name": "UniPCMultistepScheduler",
            "use_flow_sigmas": True,
            "flow_shift": usual,
        }
        made = [call for call in self._calls if _scheduler_class(call) is not None]
        for call in made[-1:]:
            kind, inherits = _scheduler_class(call), _name(call.func).endswith(".from_config")
            config = {**(config if inherits else {}), "_class_name": kind}
            for name, node in self._options(call).items():
                value = self._try(name, node)
                if value is not None:
                    config[name] = value
            if kind == "FlowMatchEulerDiscreteScheduler" and inherits and "shift" not in config:
                config["shift"] = 1.0  # its own word is another than flow_shift, so that nothing is taken over
            if "flow_shift" in config and "flow_shift" in self._options(call):
                return config
        if not made or (config.get("flow_shift") == usual and "shift" not in config):
            reason = "the script leaves it to the model's directory; this is what the published ones hold"
            self._ledger.note("shift", "approximated", None, usual, reason)
        return config

    def _boundary(self, options: dict[str, ast.expr], variant: str | None) -> Any:
        if "boundary_ratio" in options:
            return self._try("boundary_ratio", options["boundary_ratio"])
        known = PRESETS[variant].boundary if variant is not None else None
        if known is not None:
            self._ledger.note("boundary", "approximated", None, known, "of the published directory of that name")
        return known

    def _seed(self) -> Any:
        found = [call for call in self._named("manual_seed") if call.args]
        return self._try("seed", found[-1].args[0]) if found else None

    def _fps(self) -> Any:
        for call in self._named("export_to_video"):
            node = self._options(call).get("fps") or (call.args[2] if len(call.args) > 2 else None)
            if node is not None:
                return self._try("fps", node)
        return None

    def _loras(self) -> list[dict[str, Any]]:
        strengths, found = self._strengths(), []
        for call in self._named("load_lora_weights"):
            options = self._options(call)
            parts = [*call.args[:1], *(options[name] for name in ("weight_name",) if name in options)]
            path = [self._try("lora", part) for part in parts]
            if not path or None in path:
                continue
            entry = {"path": "/".join(words("lora", part) for part in path)}
            for name in ("load_into_transformer_2", "adapter_name"):
                if name in options:
                    entry[name] = self._try(name, options[name])
            found.append(entry | {"strength": strengths.get(entry.pop("adapter_name", None), 1.0)})
        return found

    def _strengths(self) -> dict[str | None, float]:
        """Of adapters by name, from the last ``set_adapters``."""
        for call in reversed(list(self._named("set_adapters"))):
            weights = self._options(call).get("adapter_weights") or (call.args[1] if len(call.args) > 1 else None)
            if weights is None or not call.args:
                return {}
            named, values = self._try("adapters", call.args[0]), self._try("adapter_weights", weights)
            named, values = ([x] if isinstance(x, str | int | float) else x for x in (named, values))
            if not isinstance(named, list) or not isinstance(values, list) or len(named) != len(values):
                return {}
            return {words("adapter", n): number("adapter_weights", v) for n, v in zip(named, values, strict=True)}
        return {}


def _name(node: ast.expr) -> str:
    """A dotted name, without the module that the class comes from."""
    text = ast.unparse(node)
    return text.removeprefix("diffusers.")


def _scheduler_class(call: ast.Call) -> str | None:
    name = _name(call.func).removesuffix(".from_config").removesuffix(".from_pretrained")
    return name if name in SCHEDULERS else None
