"""Which model does what, and what is said to whoever asks the wrong one."""

import pytest
from tests.direction.models import model_of

from filmgate.direction.tasks import abilities, able_models, check_ability, operation_of
from filmgate.spec import InvalidRequest, Request

ABLE = {
    "wan2.1-t2v-1.3b": {"t2v", "t2i", "v2v"},
    "wan2.1-t2v-14b": {"t2v", "t2i", "v2v"},
    "wan2.2-t2v-a14b": {"t2v", "t2i", "v2v"},
    "wan2.1-i2v-14b-480p": {"i2v"},
    "wan2.2-i2v-a14b": {"i2v", "flf2v"},
    "wan2.1-flf2v-14b": {"flf2v"},
    "wan2.2-ti2v-5b": {"t2v", "t2i", "i2v", "v2v"},
}
OPERATIONS = ("t2v", "t2i", "i2v", "flf2v", "v2v")


@pytest.mark.parametrize("variant", ABLE)
def test_every_model_does_what_it_was_made_for_and_nothing_else(variant):
    model = model_of(variant)
    assert abilities(model.task, model.family) & set(OPERATIONS) == ABLE[variant]
    for operation in OPERATIONS:
        assert (variant in able_models(operation)) == (operation in ABLE[variant])
        if operation in ABLE[variant]:
            check_ability(model, operation)
        else:
            with pytest.raises(InvalidRequest):
                check_ability(model, operation)


@pytest.mark.parametrize(
    ("wishes", "operation"),
    [
        ({}, "t2v"),
        ({"frames": 1}, "t2i"),
        ({"frames": 5}, "t2v"),
        ({"image": "a.png"}, "i2v"),
        ({"image": "a.png", "last_image": "b.png"}, "flf2v"),
        ({"video": "a.mp4"}, "v2v"),
        ({"video": "a.mp4", "strength": 0.5}, "v2v"),
        ({"video": "a.mp4", "mask": "m.png"}, "vace"),
        ({"references": ("a.png",)}, "vace"),
        ({"image": "a.png", "camera": "path.txt"}, "camera"),
        ({"camera": "path.txt"}, "camera"),
    ],
)
def test_what_is_asked_for_follows_from_what_is_brought(wishes, operation):
    request = Request(prompt="a", **wishes)
    assert operation_of(request, request.frames or 0) == operation


CONTRADICTIONS = [
    ({"last_image": "b.png"}, "last_image: there is no first one. Allowed: together with image."),
    ({"strength": 0.5}, "strength: there is no video that could change. Allowed: together with video."),
    ({"video": "a.mp4", "image": "a.png"}, "video: was given together with image. Allowed: one of the two."),
    (
        {"video": "a.mp4", "mask": "m.png", "strength": 0.5},
        "strength: a mask says what changes. Allowed: a video without mask and references.",
    ),
]


@pytest.mark.parametrize(("wishes", "message"), CONTRADICTIONS, ids=lambda value: str(value)[:40])
def test_what_contradicts_itself_is_refused(wishes, message):
    with pytest.raises(InvalidRequest) as error:
        operation_of(Request(prompt="a", **wishes), 0)
    assert str(error.value) == message


REFUSALS = [
    (
        "wan2.2-t2v-a14b", "i2v",
        "model: wan2.2-t2v-a14b cannot start from a picture. Allowed: wan2.2-i2v-a14b, wan2.2-ti2v-5b,"
        " wan2.2-vace-a14b, wan2.1-i2v-14b-480p, wan2.1-i2v-14b-720p, wan2.1-vace-1.3b, wan2.1-vace-14b.",
    ),
    (
        "wan2.1-i2v-14b-480p", "flf2v",
        "model: wan2.1-i2v-14b-480p cannot go from a first picture to a last one. Allowed: wan2.2-i2v-a14b,"
        " wan2.2-vace-a14b, wan2.1-flf2v-14b, wan2.1-vace-1.3b, wan2.1-vace-14b.",
    ),
    (
        "wan2.2-i2v-a14b", "t2v",
        "image: wan2.2-i2v-a14b needs a picture to start from. Allowed: image, or a model like wan2.2-t2v-a14b,"
        " wan2.2-ti2v-5b, wan2.1-t2v-1.3b, wan2.1-t2v-14b.",
    ),
    (
        "wan2.1-flf2v-14b", "t2v",
        "image: wan2.1-flf2v-14b needs a first and a last picture to start from. Allowed: image and last_image, or a"
        " model like wan2.2-t2v-a14b, wan2.2-ti2v-5b, wan2.1-t2v-1.3b, wan2.1-t2v-14b.",
    ),
    (
        "wan2.1-flf2v-14b", "i2v",
        "last_image: wan2.1-flf2v-14b needs the last picture too. Allowed: image and last_image.",
    ),
    (
        "wan2.2-i2v-a14b", "v2v",
        "model: wan2.2-i2v-a14b cannot start from a video. Allowed: wan2.2-t2v-a14b, wan2.2-ti2v-5b, wan2.1-t2v-1.3b,"
        " wan2.1-t2v-14b.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("variant", "operation", "message"), REFUSALS, ids=lambda value: str(value)[:20])
def test_a_refusal_says_what_helps(variant, operation, message):
    with pytest.raises(InvalidRequest) as error:
        check_ability(model_of(variant), operation)
    assert str(error.value) == message
