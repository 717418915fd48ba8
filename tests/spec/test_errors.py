"""Errors: what they say, and how the command line ends for them."""

import pytest

from filmgate import spec
from filmgate.spec import (
    BackendError,
    DeviceError,
    FilmgateError,
    InvalidRequest,
    MissingTensor,
    OutputError,
    UnknownName,
    WrongShape,
)

ERRORS = tuple(
    thing for thing in vars(spec).values() if isinstance(thing, type) and issubclass(thing, FilmgateError)
)  # fmt: skip


def test_an_error_says_what_is_wrong_what_is_allowed_and_what_is_nearest():
    assert str(FilmgateError("frames is 80")) == "frames is 80."
    assert str(FilmgateError("It broke.", allowed="1 to 3.", nearest="3.")) == (
        "It broke. Allowed: 1 to 3. Nearest valid: 3."
    )
    assert str(InvalidRequest("frames", "80 is wrong", nearest="81")) == "frames: 80 is wrong. Nearest valid: 81."


def test_an_invalid_request_keeps_its_parts():
    error = InvalidRequest("frames", "80 is wrong", allowed="4n+1", nearest="81")
    assert (error.field, error.what, error.allowed, error.nearest) == ("frames", "frames: 80 is wrong", "4n+1", "81")
    assert error.args == (str(error),)


@pytest.mark.parametrize(
    ("value", "nearest"), [("toybox-t2w", "toybox-t2v"), ("wan2.2-t2v-14b", "wan2.2-t2v-a14b"), ("zzzz", None)]
)
def test_an_unknown_name_is_answered_with_names_like_it(value, nearest):
    error = UnknownName("model", value, {"wan2.2-t2v-a14b", "toybox-t2v"})
    assert error.what == f"model: there is no model named {value!r}"
    assert error.allowed == "toybox-t2v, wan2.2-t2v-a14b"
    assert (error.nearest or "").split(" or ")[0] == (nearest or "")


def test_an_unknown_name_says_of_what_it_is_where_the_field_does_not():
    error = UnknownName("distilled", "x", (), noun="few-step preset")
    assert (error.field, str(error)) == ("distilled", "distilled: there is no few-step preset named 'x'.")


def test_an_unknown_name_among_none():
    assert str(UnknownName("model", "x", ())) == "model: there is no model named 'x'."


def test_a_checkpoint_error_names_file_key_and_both_values():
    error = WrongShape("a/b.safetensors", "a tensor is too large", key="head.weight", expected=(4, 8), found=(4, 9))
    assert str(error) == ("a/b.safetensors: a tensor is too large (key 'head.weight'); expected (4, 8), found (4, 9).")
    assert (error.path, error.key, error.expected, error.found) == ("a/b.safetensors", "head.weight", (4, 8), (4, 9))
    assert str(MissingTensor("b", "not there", key="x")) == "b: not there (key 'x')."
    assert str(WrongShape("b", "odd", expected=3)) == "b: odd; expected 3."
    assert str(WrongShape("b", "odd", found=0)) == "b: odd; found 0."


def test_what_the_caller_can_mend_ends_with_two():
    codes = {error.__name__: error.exit_code for error in ERRORS}
    ones = {"FilmgateError", "BackendError"}
    assert {name for name, code in codes.items() if code == 1} == ones
    assert {name for name, code in codes.items() if code == 2} == set(codes) - ones
    assert len(codes) == 16


@pytest.mark.parametrize("kind", [FilmgateError, DeviceError, BackendError, OutputError])
def test_the_machine_name_is_the_class(kind):
    assert kind("it broke").code == kind.__name__
    assert isinstance(kind("it broke"), FilmgateError)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_is_documented(kind):
    assert kind.__doc__
    assert kind.__doc__.splitlines()[0].endswith(".")
