"""A model, a plan and a finished take, without any engine; and the command line over the fake backend."""

from contextlib import closing
from pathlib import Path
from typing import ClassVar

import pytest
from tests.takes import make_model, make_plan, make_take
from typer.testing import CliRunner

from filmgate.app import Filmgate
from filmgate.cli.main import program
from filmgate.spec import InvalidRequest


@pytest.fixture
def model():
    return make_model()


@pytest.fixture
def plan(model):
    return make_plan(model)


@pytest.fixture
def take(plan):
    return make_take(plan)


class Studio(Filmgate):
    """The real wiring over the fake backend, for a model that is nowhere. ``interfere`` sees every event."""

    requests: ClassVar = []
    surroundings: ClassVar = []
    interfere = None

    def __init__(self):
        super().__init__(backend="fake")

    def models(self, damaged=None):  # noqa: ARG002 - as Filmgate has it
        return (make_model(),)

    def model(self, name=None):
        known = {model.id: model for model in self.models()}
        if name is not None and name not in known:
            return super().model(name)
        return known.get(name, next(iter(known.values())))

    def plan(self, request, *, device_profile=None, host_memory=None):
        self.requests.append(request)
        self.surroundings.append((device_profile, host_memory))
        if not request.prompt:
            raise InvalidRequest("prompt", "it is empty", allowed="at least one word")
        return make_plan(
            prompt=request.prompt,
            seed=request.seed or 0,
            preview_every=request.preview_every,
            warnings=("the model does not know the word 'zeppelin'",) if "zeppelin" in request.prompt else (),
        )

    def render(self, plan, output, **options):
        return self._interfered(super().render(plan, output, **options))

    def _interfered(self, events):
        with closing(events):
            for event in events:
                if self.interfere:
                    self.interfere(event)
                yield event


@pytest.fixture
def studio(monkeypatch, tmp_path):
    """What the command line finds in place of filmgate.app.Filmgate, in an empty directory."""
    studio = type("Studio", (Studio,), {"requests": [], "surroundings": []})
    monkeypatch.setattr("filmgate.app.Filmgate", studio)
    monkeypatch.chdir(tmp_path)
    return studio


@pytest.fixture
def filmgate(studio):
    """Runs a command line; the result has ``exit_code``, ``stdout`` and ``stderr``."""
    runner = CliRunner()
    return lambda *arguments: runner.invoke(program, [str(argument) for argument in arguments])


@pytest.fixture
def here():
    """Names in the working directory, hidden ones too."""
    return lambda: {path.name for path in Path().iterdir()}
