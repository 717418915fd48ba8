"""The same services on a language model of the caller's: whatever it says, the gate holds.

FILMGATE_CHAT_ENDPOINT=http://localhost:8080/v1 FILMGATE_CHAT_MODEL=NAME, for example of llama.cpp's ``llama-server`` or
of ``transformers serve``; skipped without.
"""

import os
from contextlib import closing

import pytest
from tests.direction.migration.forms import SEED, leaf, move, reading

from filmgate.direction.migration.endpoint import Endpoint
from filmgate.direction.migration.form import Form
from filmgate.direction.migration.language_model import enrich, extract, realise
from filmgate.direction.migration.ledger import contains
from filmgate.direction.migration.migrate import Options, migrate, migrate_reading

ADDRESS = os.environ.get("FILMGATE_CHAT_ENDPOINT")
pytestmark = pytest.mark.skipif(not ADDRESS, reason="FILMGATE_CHAT_ENDPOINT names no server")
BURIED = "A red ball rolls past a blue cube at sunset. The camera pans left. Use seed 42 and 24 fps."
FORMS = (SEED, Form(prose=(leaf("two dogs run on a beach"),), camera=(move("pan", "left", "pan left"),)))


@pytest.fixture(scope="module")
def endpoint():
    with closing(Endpoint(ADDRESS, os.environ.get("FILMGATE_CHAT_MODEL", "default"), timeout=300)) as endpoint:
        yield endpoint


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("service", [realise, enrich])
def test_every_part_is_still_there_or_the_answer_was_not_used(service, form, endpoint):
    draft = migrate_reading("", reading(form), Options())
    made = service(draft, endpoint)
    if made.rejected:
        assert made.migration == draft
    for entry in draft.ledger.of("kept_exact", "kept_synonym", "approximated"):
        assert contains(made.migration.text, entry.after)


def test_an_extraction_passes_the_audit_or_was_not_used(endpoint):
    made = extract(BURIED, endpoint)
    if made.rejected:
        assert made.migration == migrate(BURIED)
    else:
        assert made.migration.passed
        assert made.migration.request.seed == 42
        assert "red ball" in made.migration.text
