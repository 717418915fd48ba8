"""Every noun is frozen, strict, and survives JSON; the names of its fields are a promise."""

import hashlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from tests.spec.nouns import NOUNS, values
from tests.takes import make_plan, make_take

from filmgate import spec
from filmgate.spec import (
    AccelerationUse,
    Done,
    Event,
    Failed,
    FileRecord,
    Plan,
    Preview,
    Progress,
    Request,
    SparseAttention,
    Started,
    Take,
    UnknownName,
)  # fmt: skip
from filmgate.spec.schema import DOCUMENTS, document_schema, json_schema

FIELDS = {
    "AccelerationPlan": "profile recipe work gates considered",
    "AccelerationUse": "expert acceleration",
    "BranchRatios": "expert branch first ratios deviation distance",
    "Calibration": "version scope ratios prompts created versions hardware",
    "Capabilities": "backend device models",
    "Compression": "temporal spatial channels patch",
    "DeviceDescription": "kind name memory_bytes cores index bf16 triton flash4",
    "DitDimensions": "dim ffn_dim heads layers in_channels out_channels text_len text_dim freq_dim image_dim"
    " branch_layers",
    "Done": "kind take",
    "EightBit": "kind linear attention protected last",
    "ExpertDescription": "name path parameters bytes dtype",
    "Failed": "kind code message",
    "FewStep": "preset loras default",
    "FileRecord": "role path bytes sha256",
    "Gate": "version scope recipe profile passed reason checks saved work created versions hardware",
    "GateCheck": "level name value bound limit passed low high samples",
    "GuidanceReuse": "kind after interval",
    "GuidanceRule": "method zero_steps eta momentum norm_threshold nag_scale nag_tau nag_alpha",
    "InputFile": "role path sha256 width height frames fps",
    "LatentShape": "channels frames height width",
    "Layout": "cfg sequence",
    "LoraChoice": "path strength",
    "LoraUse": "path sha256 expert strength section changes left_out told",
    "MagCache": "kind threshold longest protected",
    "Measurement": "name value unit low high ceiling samples",
    "MemoryEstimate": "weights activations vae peak host",
    "ModelDescription": "id title variant family task path dit compression experts preset vocabulary default_precision"
    " text_encoder_bytes text_encoder_parameters vae_bytes vae_parameters image_encoder_bytes"
    " image_encoder_parameters notes few_step",
    "PassCounts": "computed reused predicted kept",
    "Plan": "version prompt negative model video latent fps seed solver shift boundary steps precision device memory"
    " seconds price_usd preview_every operation inputs strength keep control_scale loras guidance_rule"
    " distilled noise_scale residency speed acceleration layout times options warnings",
    "Preset": "sizes frames fps steps shift guidance_high guidance_low boundary solver negative max_area",
    "Preview": "kind step png",
    "Progress": "kind stage done total seconds eta_seconds expert note work",
    "RecipeChoice": "recipe taken reason",
    "Report": "version subject sha256 measurements notes",
    "Request": "prompt negative model width height area frames fps steps shift solver guidance_high guidance_low"
    " boundary seed precision device image last_image video strength mask keep references control_scale camera"
    " lora lora_high lora_low distilled guidance_method guidance_interval memory weights text_encoder vae_tile"
    " profile attention vae_precision gpus preview_every",
    "ResidencyOption": "residency device_bytes host_bytes seconds fits reason",
    "ResidencyPlan": "mode text_encoder weights host kept_blocks vae_tile",
    "Scope": "model weights operation shift boundary solver steps grid guidance resolution latent_frames precision",
    "SparseAttention": "kind budget protected dense_blocks refresh per_head radial",
    "SpeedPlan": "profile attention vae_precision",
    "Started": "kind plan",
    "Step": "index sigma sigma_next timestep expert guidance adapted",
    "StepWork": "blocks difference",
    "Take": "version plan plan_sha256 frames_sha256 files weights versions hardware passes timings energy_joules"
    " created",
    "TaylorSeer": "kind interval order protected",
    "TimeEstimate": "load encode denoise decode forward exchange basis",
    "Timings": "load encode steps decode deliver total",
    "VideoShape": "frames height width",
}
EVENTS = TypeAdapter(Event)
ANY_NOUN = st.sampled_from(NOUNS).flatmap(values)


def test_the_fields_are_frozen():
    assert {noun.__name__: " ".join(noun.model_fields) for noun in NOUNS} == FIELDS


def test_every_noun_is_public():
    assert {noun.__name__ for noun in NOUNS} <= set(spec.__all__)
    assert spec.__all__ == sorted(spec.__all__)
    assert all(hasattr(spec, name) for name in spec.__all__)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example])
@given(ANY_NOUN)
def test_every_noun_survives_json(value):
    kind = type(value)
    assert kind.model_validate_json(value.model_dump_json()) == value
    assert kind.model_validate(value.model_dump()) == value
    assert kind.model_validate(json.loads(json.dumps(value.model_dump(mode="json")))) == value


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example])
@given(st.one_of([values(kind) for kind in (Started, Progress, Preview, Done, Failed)]))
def test_an_event_is_known_by_its_kind(event):
    found = EVENTS.validate_json(event.model_dump_json())
    assert type(found) is type(event)
    assert found == event


def test_an_event_of_no_kind_is_refused():
    with pytest.raises(ValidationError, match="kind"):
        EVENTS.validate_python({"kind": "finished"})


def test_bytes_travel_as_base64():
    text = Preview(step=3, png=b"\x89PNG\xff").model_dump_json()
    assert json.loads(text)["png"] == "iVBOR_8="
    assert Preview.model_validate_json(text).png == b"\x89PNG\xff"


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example])
@given(ANY_NOUN)
def test_nothing_can_be_changed_or_added(value):
    name = next(iter(type(value).model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(value, name, getattr(value, name))
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        type(value).model_validate({**value.model_dump(), "surprise": 1})


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example])
@given(st.sampled_from([noun for noun in NOUNS if noun not in (Take, Done)]).flatmap(values))
def test_equal_nouns_have_equal_hashes(value):
    assert hash(type(value).model_validate_json(value.model_dump_json())) == hash(value)


def test_a_request_needs_a_prompt_only():
    assert Request(prompt="a ball").model_dump(exclude_unset=True) == {"prompt": "a ball"}
    with pytest.raises(ValidationError, match="prompt"):
        Request()
    with pytest.raises(ValidationError, match="solver"):
        Request(prompt="a ball", solver="heun")


def test_the_schema_defines_every_noun():
    schema = json_schema()
    assert json.loads(json.dumps(schema)) == schema
    assert set(schema["$defs"]) == set(FIELDS)
    assert {noun.__name__ for noun in DOCUMENTS} <= set(FIELDS)
    for name, fields in FIELDS.items():
        entry = schema["$defs"][name]
        assert list(entry["properties"]) == fields.split()
        assert entry["additionalProperties"] is False
        assert entry["description"]


@pytest.mark.parametrize("noun", DOCUMENTS, ids=lambda noun: noun.__name__)
def test_a_document_has_a_schema_of_its_own(noun):
    schema = document_schema(noun.__name__.lower())
    assert schema == document_schema(noun.__name__)
    assert schema["$ref"] == f"#/$defs/{noun.__name__}"
    assert noun.__name__ in schema["$defs"]
    assert len(schema["$defs"]) < len(FIELDS)


def test_the_schema_of_a_request_is_of_what_may_be_given():
    assert document_schema("request")["$defs"]["Request"]["required"] == ["prompt"]
    assert "negative" in document_schema("plan")["$defs"]["Plan"]["required"]


def test_a_document_that_does_not_exist():
    with pytest.raises(UnknownName, match=r"'takes'.*request.*Nearest valid: take"):
        document_schema("Takes")


@pytest.mark.parametrize("schema", [json_schema(), *(document_schema(noun.__name__) for noun in DOCUMENTS)])
def test_every_reference_of_a_schema_leads_somewhere(schema):
    def references(node):
        if isinstance(node, dict):
            yield from [node["$ref"]] if "$ref" in node else []
            for child in node.values():
                yield from references(child)
        elif isinstance(node, list):
            for child in node:
                yield from references(child)

    assert {reference.removeprefix("#/$defs/") for reference in references(schema)} <= set(schema["$defs"])


DECIDES = [
    {"prompt": "a blue ball"}, {"negative": "blur"}, {"seed": 8}, {"solver": "euler"}, {"shift": 3.0},
    {"boundary": 0.9}, {"fps": 24}, {"precision": "bf16"}, {"noise_scale": 0.9},
    {"residency": spec.ResidencyPlan(weights="fp8")}, {"residency": spec.ResidencyPlan(vae_tile=128)},
    {"residency": spec.ResidencyPlan(text_encoder="cpu")}, {"speed": spec.SpeedPlan(profile="exact")},
    {"speed": spec.SpeedPlan(attention="cudnn")}, {"speed": spec.SpeedPlan(vae_precision="bf16")},
    {"layout": spec.Layout(sequence=2)}, {"layout": spec.Layout(cfg=2)},
]  # fmt: skip
ONLY_TELLS = [
    {"seconds": 99.0}, {"price_usd": 1.0}, {"warnings": ("careful",)}, {"preview_every": 5},
    {"memory": spec.MemoryEstimate(weights=1, activations=1, vae=1, peak=1)},
    {"residency": spec.ResidencyPlan(mode="streamed", host="mapped", kept_blocks=3, text_encoder="device")},
]  # fmt: skip


@pytest.mark.parametrize("changes", DECIDES, ids=str)
def test_the_fingerprint_follows_what_decides_the_picture(changes):
    plan = make_plan()
    assert plan.model_copy(update=changes).fingerprint != plan.fingerprint


@pytest.mark.parametrize("changes", ONLY_TELLS, ids=lambda changes: next(iter(changes)))
def test_the_fingerprint_ignores_what_only_tells(changes):
    plan = make_plan()
    assert plan.model_copy(update=changes).fingerprint == plan.fingerprint


def test_the_fingerprint_is_of_the_kind_of_device_and_not_of_the_machine():
    plan = make_plan()
    other = plan.device.model_copy(update={"name": "Another", "memory_bytes": 1, "cores": 64})
    assert plan.model_copy(update={"device": other}).fingerprint == plan.fingerprint
    gpu = plan.device.model_copy(update={"kind": "cuda"})
    assert plan.model_copy(update={"device": gpu}).fingerprint != plan.fingerprint


def test_the_fingerprint_does_not_know_where_files_lie():
    plan = make_plan()
    moved = plan.model.model_copy(update={"path": "/elsewhere", "notes": ("moved",)})
    assert plan.model_copy(update={"model": moved}).fingerprint == plan.fingerprint


def test_plans_of_before_residency_keep_their_fingerprint():
    plan = make_plan()
    document = json.loads(plan.model_dump_json())
    del document["residency"]
    assert Plan.model_validate(document).fingerprint == plan.fingerprint
    assert "residency" not in fingerprinted(plan)
    assert "residency" in fingerprinted(plan.model_copy(update={"residency": spec.ResidencyPlan(weights="int8")}))


def fingerprinted(plan):
    """The text that is hashed, caught where it is made."""
    caught, sha256 = [], hashlib.sha256
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("filmgate.spec.plan.hashlib.sha256", lambda text: caught.append(text) or sha256(text))
        assert plan.fingerprint
    return json.loads(caught[0])


def test_the_fingerprint_survives_json():
    plan = make_plan()
    assert Plan.model_validate_json(plan.model_dump_json()).fingerprint == plan.fingerprint
    assert len(plan.fingerprint) == 64


def test_steps_are_counted_per_expert():
    plan = make_plan()
    assert [plan.steps_of(name) for name in ("high_noise", "low_noise", "dense")] == [2, 2, 0]


def test_a_step_without_guidance_is_one_pass():
    step = make_plan().steps[0]
    passes = [step.model_copy(update={"guidance": scale}).passes for scale in (0.0, 0.5, 1.0, 4.0)]
    assert passes == [2, 2, 1, 2]


def test_a_file_has_one_of_three_roles():
    assert FileRecord.model_json_schema()["properties"]["role"]["enum"] == ["video", "picture", "sheet", "weights"]
    assert {record.role for record in make_take().files} == {"video"}


def test_fields_that_came_later_are_said_only_where_they_change_something():
    """A gate's id and a plan's fingerprint are hashes of what they say: those of before stay valid."""
    plain = SparseAttention(budget=0.25)
    assert set(json.loads(plain.model_dump_json())) == {"kind", "budget", "protected", "dense_blocks", "refresh"}
    for changes in ({"per_head": True}, {"radial": 0.5}):
        changed = SparseAttention(budget=0.25, **changes)
        assert {**plain.model_dump(), **changes} == changed.model_dump()
        use = AccelerationUse(expert="low_noise", acceleration=changed)
        assert AccelerationUse.model_validate_json(use.model_dump_json()) == use


@pytest.mark.parametrize("changes", [{"radial": -0.1}, {"radial": float("inf")}, {"refresh": 0}, {"per_head": "few"}])
def test_sparse_attention_refuses_what_makes_no_sense(changes):
    with pytest.raises(ValidationError):
        SparseAttention(**changes)
