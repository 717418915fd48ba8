"""Errors end in one message and an exit code."""

import json
import os
import signal

import pytest
import typer

from filmgate.cli.failure import reported
from filmgate.spec import BackendError, InvalidRequest


def run(error, **options):
    def command(**_):
        raise error

    with pytest.raises(typer.Exit) as caught:
        reported(command)(**options)
    return caught.value.exit_code


def test_an_error_is_one_line_on_standard_error(capsys):
    error = InvalidRequest("frames", "30 is not 4n+1", allowed="1, 5, 9, ...", nearest="29")
    assert run(error) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "Error: frames: 30 is not 4n+1. Allowed: 1, 5, 9, ... Nearest valid: 29.\n"


def test_the_exit_code_is_the_errors_own():
    assert run(BackendError("it broke")) == 1


def test_with_json_the_error_is_an_object_too(capsys):
    run(BackendError("it broke"), as_json=True)
    assert json.loads(capsys.readouterr().out) == {"error": {"code": "BackendError", "message": "it broke."}}


def test_ctrl_c_is_130(capsys):
    assert run(KeyboardInterrupt()) == 130
    assert "Cancelled" in capsys.readouterr().err


def test_a_defect_keeps_its_traceback():
    def command():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        reported(command)()


def test_sigterm_unwinds_and_says_143():
    cleaned = []

    def command():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        finally:
            cleaned.append(True)

    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as caught:
            reported(command)()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught.value.code == 143
    assert cleaned
