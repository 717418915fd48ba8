"""What a request names besides its model: files, LoRAs, words. Does not need torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from filmgate.direction.published import not_here
from filmgate.spec import InputFile, InputRole, LoraUse, ModelDescription, Request


def describe_inputs(request: Request) -> tuple[InputFile, ...]:
    """The files that a request names, by what is in them, in the order of the request's fields.

    Raises:
        InvalidRequest: one is not there.
        DamagedFile: it is not what its field is for.
    """
    fields: list[tuple[InputRole, str | None]] = [
        ("image", request.image),
        ("last_image", request.last_image),
        ("video", request.video),
        ("mask", request.mask),
        *(("reference", path) for path in request.references),
        ("camera", request.camera),
    ]
    named = [(role, path) for role, path in fields if path is not None]
    if not named:
        return ()
    from filmgate.media.inputs import describe_input

    files = [describe_input(role, path) for role, path in named]
    return tuple(_with_poses(file) if file.role == "camera" else file for file in files)


def _with_poses(file: InputFile) -> InputFile:
    """A camera's path, with as many frames as it has poses."""
    from filmgate.camera.poses import read_poses

    return file.model_copy(update={"frames": len(read_poses(Path(file.path)))})


def resolve_loras(request: Request, model: ModelDescription, cache: Path | None = None) -> tuple[LoraUse, ...]:
    """The LoRAs that a request names, compared with the transformers that they are for.

    Args:
        request: The wish.
        model: What they are for.
        cache: Directory in which hashes are remembered.

    Raises:
        InvalidRequest: there is no such expert.
        CheckpointError: a file is missing or damaged, is no LoRA, or has nothing for the model.
    """
    wishes = {"lora": request.lora, "lora_high": request.lora_high, "lora_low": request.lora_low}
    if not any(wishes.values()):
        return ()
    if not model.here:
        # Which layers a LoRA changes is read from the model's files.
        raise not_here(model.id)
    from filmgate.engine.checkpoints.lora_use import use_loras
    from filmgate.engine.checkpoints.parts import read_parts

    experts = read_parts(Path(model.path)).experts
    return use_loras(wishes, {name: records.shapes for name, records in experts.items()}, cache)


def token_counter(model: ModelDescription) -> Callable[[str], int]:
    """Counts the tokens of a text as ``model`` does, end mark included; of a model that is not here they are estimated,
    and no text is found too long.

    Raises:
        CheckpointError: the model's tokenizer is missing or damaged.
    """
    if not model.here:
        from filmgate.direction.migration.tokens import length_of

        return lambda text: min(length_of(text).tokens, model.dit.text_len)
    from filmgate.engine.checkpoints.tokenizer import load_tokenizer

    return load_tokenizer(model).count
