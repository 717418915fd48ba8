"""``inspect`` tells what a file is, what belongs with it, what is missing and how to run it, for every format."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.engine.checkpoints import published
from tests.engine.checkpoints.published import DIT, DIT_CAMERA, DIT_I2V, DIT_VACE

from filmgate.engine.checkpoints.describe import describe, inspect
from filmgate.engine.checkpoints.lora_inspection import inspect_lora
from filmgate.engine.checkpoints.names import HUGGING_FACE_UMT5, LLAMA_CPP_UMT5
from filmgate.engine.checkpoints.tensors import build_empty
from filmgate.engine.models.config import DitConfig
from filmgate.engine.models.dit import WanDiT
from filmgate.spec import MissingFile, MissingTensor, UnexpectedTensor, WrongVariant

DIT_21_I2V = DitConfig(
    dim=256, ffn_dim=512, num_heads=2, num_layers=2, in_dim=36, text_dim=256, image_dim=24, image_positions=None
)
DIT_FLF2V = DitConfig(
    dim=256, ffn_dim=512, num_heads=2, num_layers=2, in_dim=36, text_dim=256, image_dim=24, image_positions=10
)
DIT_TI2V = DitConfig(dim=256, ffn_dim=512, num_heads=2, num_layers=2, in_dim=48, out_dim=48, text_dim=256)


def dit(config=DIT):
    return published.transformer(config).state_dict()


def spelt(naming):
    return {naming.to_theirs(name): value for name, value in published.text_encoder().state_dict().items()}


COMFY, HIGH, LOW = "model.diffusion_model.", "high-noise expert, by its file name", "low-noise expert, by its file name"
T2V_22, HALF = "Wan 2.2 T2V, 2.3M, one expert of a pair", "one expert of a pair, and nothing tells which"
TABLE = [
    # file, how it is written; kind, guess, task, expert, format, spelling, precision
    ("wan2.1_t2v_fp32.safetensors", lambda p: published.save_single(p, dit()),
     ("transformer", "Wan 2.1 T2V, 2.3M", "t2v", None, "safetensors", "original names", "fp32")),
    ("wan2.2_t2v_high_noise_14B_fp16.safetensors", lambda p: published.save_single(p, dit(), dtype=torch.float16),
     ("transformer", T2V_22, "t2v", HIGH, "safetensors", "original names", "fp16")),
    ("comfy_low_noise_bf16.safetensors",
     lambda p: published.save_single(p, dit(), dtype=torch.bfloat16, prefix=COMFY),
     ("transformer", T2V_22, "t2v", LOW, "safetensors", f"original names after {COMFY!r}", "bf16")),
    ("wan2.2_i2v_14B_fp8_scaled.safetensors",
     lambda p: published.save_scaled(p, dit(DIT_I2V), convention="scaled_fp8"),
     ("transformer", "Wan 2.2 I2V, 2.3M, one expert of a pair", "i2v", HALF, "safetensors", "original names",
      "fp8 (e4m3), scaled; the rest bf16, fp32")),
    ("Wan2_1-I2V_fp8_e4m3fn.safetensors",
     lambda p: published.save_single(p, dit(DIT_21_I2V), dtype=torch.float8_e4m3fn),
     ("transformer", "Wan 2.1 I2V, 2.6M", "i2v", None, "safetensors", "original names",
      "fp8 (e4m3), cast without scales; the rest fp32")),
    ("flf2v.safetensors", lambda p: published.save_single(p, dit(DIT_FLF2V)),
     ("transformer", "Wan 2.1 FLF2V, 2.6M", "flf2v", None, "safetensors", "original names", "fp32")),
    ("ti2v_int8.safetensors", lambda p: published.save_scaled(p, dit(DIT_TI2V), convention="int8"),
     ("transformer", "Wan 2.2 TI2V, 2.3M", "ti2v", None, "safetensors", "original names",
      "int8, scaled; the rest bf16, fp32")),
    ("LowNoise.gguf", lambda p: published.save_gguf(p, dit(), "Q4_K"),
     ("transformer", T2V_22, "t2v", LOW, "GGUF", "original names", "Q4_K; the rest fp32")),
    ("q8.gguf", lambda p: published.save_gguf(p, dit(), "Q8_0", metadata={"general.name": "Wan2.2 HighNoise"}),
     ("transformer", T2V_22, "t2v", "high-noise expert, by its metadata (general.name)", "GGUF", "original names",
      "Q8_0; the rest fp32")),
    ("wan2.1_vace_fp16.safetensors", lambda p: published.save_single(p, dit(DIT_VACE), dtype=torch.float16),
     ("transformer", "Wan 2.1 VACE, 4.2M", "vace", None, "safetensors", "original names", "fp16")),
    ("vace.gguf", lambda p: published.save_gguf(p, dit(DIT_VACE), "Q6_K"),
     ("transformer", "Wan 2.1 VACE, 4.2M", "vace", None, "GGUF", "original names", "Q6_K; the rest fp32")),
    ("Wan2_2_Fun_VACE_HIGH_bf16.safetensors",
     lambda p: published.save_single(p, dit(DIT_VACE), dtype=torch.bfloat16),
     ("transformer", "Wan 2.2 VACE, 4.2M, one expert of a pair", "vace", HIGH, "safetensors", "original names",
      "bf16")),
    ("fun_camera_low_noise.safetensors",
     lambda p: published.save_single(p, dit(DIT_CAMERA), dtype=torch.bfloat16, prefix=COMFY),
     ("transformer", "Wan 2.2 CAMERA, 5M, one expert of a pair", "camera", LOW, "safetensors",
      f"original names after {COMFY!r}", "bf16")),
    ("wan_2.1_vae.safetensors", lambda p: published.save_single(p, published.vae().state_dict(), dtype=torch.bfloat16),
     ("VAE", "Wan 2.1 VAE", None, None, "safetensors", "original names", "bf16")),
    ("kijai_vae.safetensors", lambda p: published.save_single(p, published.vae().state_dict(), prefix="model."),
     ("VAE", "Wan 2.1 VAE", None, None, "safetensors", "original names after 'model.'", "fp32")),
    ("Wan2.1_VAE.pth", lambda p: torch.save(published.vae().state_dict(), p),
     ("VAE", "Wan 2.1 VAE", None, None, "torch.save archive", "original names", "fp32")),
    ("models_t5_umt5-xxl-enc-bf16.pth", lambda p: torch.save(published.text_encoder().bfloat16().state_dict(), p),
     ("text encoder", "umT5", None, None, "torch.save archive", "original names", "bf16")),
    ("umt5_xxl_fp8_e4m3fn_scaled.safetensors",
     lambda p: published.save_scaled(p, spelt(HUGGING_FACE_UMT5), convention="scaled_fp8"),
     ("text encoder", "umT5", None, None, "safetensors", "Hugging Face names", "fp8 (e4m3), scaled; the rest fp32")),
    ("umt5.gguf",
     lambda p: published.save_gguf(p, spelt(LLAMA_CPP_UMT5), "F32"),
     ("text encoder", "umT5", None, None, "GGUF", "llama.cpp names", "fp32")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "write", "verdict"), TABLE, ids=[row[0] for row in TABLE])
def test_the_verdict_on_a_single_file(tmp_path, name, write, verdict):
    write(tmp_path / name)
    report = inspect(tmp_path / name)
    (facts,) = report.networks
    found = (facts.kind, facts.guess, facts.task, facts.expert, facts.format, facts.spelling, facts.precision)
    assert found == verdict
    assert facts.problems == ()
    assert report.complete
    assert (report.missing != ()) == (facts.kind == "transformer")  # alone in its directory, it lacks the rest
    assert report.run is None
    for value in (facts.guess, facts.format, facts.precision, *facts.belongs):
        assert value in str(report)


def folder_verdict(report):
    return [(facts.kind, facts.guess.split(",")[0], facts.expert) for facts in report.networks]


T2V, VAE_21 = ("transformer", "Wan 2.2 T2V"), ("VAE", "Wan 2.1 VAE", None)
HIGH_FOLDER, LOW_FOLDER = "high-noise expert, by its folder", "low-noise expert, by its folder"
UMT5, CLIP = ("text encoder", "umT5", None), ("image encoder", "CLIP", None)
PIPELINES = [
    ("t2v", True, [(*T2V, HIGH_FOLDER), (*T2V, LOW_FOLDER), VAE_21, UMT5], ""),
    ("t2v", False, [("transformer", "Wan 2.1 T2V", None), VAE_21, UMT5], ""),
    ("i2v", False, [("transformer", "Wan 2.1 I2V", None), VAE_21, UMT5, CLIP], " --image FIRST.png"),
]


@pytest.mark.parametrize(("task", "pair", "verdict", "options"), PIPELINES)
def test_the_verdict_on_a_pipeline_of_diffusers(tmp_path, task, pair, verdict, options):
    root = published.save_pipeline(tmp_path / "model", task, pair=pair)
    report = inspect(root)
    assert folder_verdict(report) == verdict
    assert report.complete, str(report)
    assert report.run == f'filmgate generate "..." --model {root}{options}'
    description = describe(root)
    assert description.task == task
    assert description.dit.heads == 2
    assert (description.image_encoder_parameters > 0) == (CLIP in verdict)


@pytest.mark.parametrize("pair", [True, False], ids=["VACE-Fun", "VACE"])
def test_the_verdict_on_a_pipeline_of_vace(tmp_path, pair):
    root = published.save_vace_pipeline(tmp_path / "model", pair=pair)
    experts = [(HIGH_FOLDER, "Wan 2.2 VACE"), (LOW_FOLDER, "Wan 2.2 VACE")] if pair else [(None, "Wan 2.1 VACE")]
    report = inspect(root)
    assert folder_verdict(report) == [*(("transformer", guess, by) for by, guess in experts), VAE_21, UMT5]
    assert report.complete, str(report)
    description = describe(root)
    assert (description.task, description.dit.branch_layers, len(description.experts)) == ("vace", 2, len(experts))


@pytest.mark.parametrize("by", ["PEFT", "Diffusers"])
def test_the_verdict_on_a_lora_that_libraries_save(tmp_path, by):
    root = published.save_lora(tmp_path / "style_high_noise", by)
    (file,) = root.glob("*.safetensors")
    for place in (root, file):
        report = inspect(place)
        (facts,) = report.networks
        assert (facts.kind, facts.guess, facts.problems) == ("LoRA", f"{by}, rank 4", ())
        assert facts.expert == HIGH.replace("file name", "folder")
        assert (report.complete, report.run, report.missing) == (True, None, ())
    assert str(inspect(root)).startswith(f"{root}: a LoRA, complete\n")
    verdict = inspect_lora(root)
    assert (verdict.dialect, verdict.ranks, verdict.alphas, verdict.low_rank) == (by, (4,), (8.0,), 8)


def test_the_verdict_on_parts_that_libraries_save(tmp_path):
    for name, part, kind, guess in (
        ("vace", published.diffusers_vace(), "transformer", "Wan 2.1 VACE"),
        ("vae22", published.diffusers_vae(newer=True), "VAE", "Wan 2.2 VAE"),
        ("text", published.hugging_face_text_encoder(), "text encoder", "umT5"),
        ("clip", published.hugging_face_clip(), "image encoder", "CLIP"),
    ):
        part.save_pretrained(tmp_path / name)
        (path,) = (tmp_path / name).glob("*.safetensors")
        (facts,) = inspect(path).networks
        assert (facts.kind, facts.guess.split(",")[0]) == (kind, guess)
        assert facts.belongs


def test_a_sharded_part_is_one_network(tmp_path):
    published.hugging_face_text_encoder().save_pretrained(tmp_path, max_shard_size="20KB")
    (facts,) = inspect(tmp_path / "model.safetensors.index.json").networks
    assert (facts.kind, facts.format) == ("text encoder", "sharded safetensors")
    assert facts.files > 2


def test_a_pipeline_of_another_family_is_a_problem(tmp_path):
    root = published.save_pipeline(tmp_path / "model", pair=False)
    index = root / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "_class_name": "FluxPipeline"}))
    assert any("another family" in problem for problem in inspect(root).problems)


@pytest.mark.parametrize(
    ("name", "config", "words"),
    [
        ("wan_t2v.safetensors", DIT_I2V, "Its name says T2V, its tensors are those of I2V"),
        ("wan_i2v_480p.safetensors", DIT, "Its name says I2V, its tensors are those of T2V"),
        ("wan_ti2v.safetensors", DIT, "Its name says TI2V, its tensors are those of T2V"),
    ],
)
def test_a_name_that_promises_another_task(tmp_path, name, config, words):
    (facts,) = inspect(published.save_single(tmp_path / name, dit(config))).networks
    assert facts.problems[0].startswith(words)


def test_an_autoencoder_under_the_name_of_the_other(tmp_path):
    (facts,) = inspect(
        published.save_single(tmp_path / "wan2.2_vae.safetensors", published.vae().state_dict())
    ).networks
    assert facts.problems == ("Its name says Wan 2.2, its tensors are the Wan 2.1 VAE; the tensors count.",)


SOUND = "casual_audio_encoder.encoder.final_linear.weight"
FACE = "face_adapter.fuser_blocks.0.k_norm.weight"
SPARSE = "blocks.0.self_attn.attn_op.local_attn.proj_l.weight"
REFUSED = [
    # config, tensor that betrays it, words
    (DIT, SPARSE, "TurboDiffusion's weights need its sparse-linear attention, which Filmgate does not have"),
    (DIT, "blocks.0.to_gate_compress.weight", "FastVideo's weights need its sparse attention (VSA)"),
    (DIT, SOUND, "Wan 2.2 S2V moves by sound, through an audio encoder that Filmgate does not have"),
    (DIT, "audio_proj.audio_proj_glob_1.layer.bias", "HuMo moves by sound"),
    (DIT_21_I2V, FACE, "Wan 2.2 Animate follows a body and a face, through encoders that Filmgate does not have"),
    (DitConfig(dim=256, ffn_dim=512, num_heads=2, num_layers=2, in_dim=52, text_dim=256), None,
     "t reads channels (of a control video, or of VideoX-Fun's inpainting) that Filmgate does not fill"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("config", "mark", "words"), REFUSED, ids=["TurboWan", "FastWan", "S2V", "HuMo", "Animate", "Control"]
)
def test_a_kind_that_cannot_run_is_refused_for_that_and_nothing_else(tmp_path, config, mark, words):
    """Whatever else is missing does not matter: nobody shall look for a text encoder in vain."""
    state = dit(config) | ({} if mark is None else {mark: torch.ones(4)})
    published.save_single(tmp_path / "single" / "x.safetensors", state)
    published.save_single(tmp_path / "original" / "diffusion_pytorch_model.safetensors", state)
    pipeline = published.save_pipeline(tmp_path / "pipeline", pair=False)
    published.save_single(pipeline / "transformer" / "diffusion_pytorch_model.safetensors", state)
    (pipeline / "transformer" / "config.json").write_text("{}")
    for place in ("single", "single/x.safetensors", "original", "pipeline"):
        report = inspect(tmp_path / place)
        assert (report.complete, report.run, report.missing) == (False, None, ()), place
        (told,) = report.networks[0].problems
        assert words in told
        assert all(words in problem for problem in report.problems), place
        with pytest.raises(WrongVariant) as caught:
            describe(tmp_path / place)
        assert words in str(caught.value)


def test_a_tensor_without_a_place_is_told_of_the_file_that_has_it(make_wan):
    for folder, alone in (("high_noise_model", False), ("low_noise_model", False), (".", True)):
        root = make_wan(f"model{folder}", **({"folders": {".": 1}} if alone else {}))
        path = root / folder / "diffusion_pytorch_model.safetensors"
        tensors = load_file(path)
        save_file({**tensors, "blocks.0.extra.weight": torch.ones(4)}, path)
        with pytest.raises(UnexpectedTensor, match=r"no model of Wan here has a place for.*blocks\.0\.extra") as caught:
            describe(root)
        assert caught.value.path == str(path)
        report = inspect(root)
        stray = [facts.path for facts in report.networks if facts.problems]
        assert stray == [str(path)]
        assert {problem for facts in report.networks for problem in facts.problems} == {
            "No model of Wan here has a place for blocks.0.extra.weight."
        }


def test_a_tensor_that_one_expert_lacks_is_told_of_that_one(make_wan):
    for folder in ("high_noise_model", "low_noise_model"):
        root = make_wan(f"lacks_{folder}")
        path = root / folder / "diffusion_pytorch_model.safetensors"
        tensors = load_file(path)
        del tensors["blocks.1.norm3.bias"]
        save_file(tensors, path)
        with pytest.raises(
            MissingTensor, match=r"a tensor that the other expert has is missing.*norm3\.bias"
        ) as caught:
            describe(root)
        assert caught.value.path == str(path)


@pytest.mark.parametrize("folder", ["transformer", "transformer_2", "vae", "text_encoder"])
def test_a_folder_of_a_pipeline_is_a_part_of_it(tmp_path, folder):
    root = published.save_pipeline(tmp_path / "model")
    report = inspect(root / folder)
    assert report.problems == (
        f"{root / folder}: a part of a model; expected the directory of the whole, {root}, found its {folder}.",
    )
    assert str(report).startswith(f"{root / folder}: one network of a model, not complete\n")
    (file,) = (root / folder).glob("*.safetensors")
    single = inspect(file)
    assert single.complete, "sound by itself"
    assert single.missing == (report.problems if folder.startswith("transformer") else ())


@pytest.mark.parametrize(("task", "guess", "expert"), [
    ("t2v", "Wan 2.1 T2V, 38.3K", None),
    ("i2v", "Wan 2.2 I2V, 40.8K, one expert of a pair", "one expert of a pair, and nothing tells which"),
])  # fmt: skip
def test_a_folder_that_was_taken_out_of_a_pipeline(tmp_path, task, guess, expert):
    root = published.save_pipeline(tmp_path / "model", task)
    folder = (root / "transformer").rename(tmp_path / "transformer")
    (facts,) = inspect(folder).networks
    assert (facts.guess, facts.expert) == (guess, expert)
    (problem,) = inspect(folder).problems
    assert ("nothing tells which; expected the directory that has" in problem) == (task == "i2v")
    assert ("only a transformer is in it" in problem) == (task == "t2v")
    if task == "i2v":
        (folder / "generation.json").write_text("{}")
        assert "only a transformer is in it" in inspect(folder).problems[0], "its owner says that it is whole"


def test_blocks_that_lack_something(tmp_path):
    path = published.save_single(tmp_path / "x.safetensors", dit())
    tensors = load_file(path)
    del tensors["blocks.1.norm3.bias"]
    save_file(tensors, path)
    report = inspect(path)
    assert report.networks[0].problems == ("Block 1 lacks norm3.bias, which other blocks have.",)
    assert not report.complete


def test_what_changes_a_network_is_not_one(tmp_path):
    save_file({"blocks.0.ffn.0.lora_down.weight": torch.ones(4, 8)}, tmp_path / "lora.safetensors")
    save_file({"weights": torch.ones(4, 8)}, tmp_path / "other.safetensors")
    assert inspect(tmp_path / "lora.safetensors").networks[0].kind == "LoRA"
    other = inspect(tmp_path / "other.safetensors")
    assert (other.networks[0].kind, other.run) == ("unknown", None)
    assert "nothing that runs here, sound" in str(other)
    assert "no tensor in it is that of a network of Wan, or of a LoRA" in str(other)


def test_a_model_that_lacks_its_image_encoder(make_wan):
    dit = DitConfig(
        dim=32, ffn_dim=48, num_heads=2, num_layers=2, in_dim=36, text_len=12, text_dim=24, freq_dim=16, image_dim=80
    )
    report = inspect(make_wan(folders={".": 1}, dit=dit))
    assert not report.complete
    assert report.run is None
    assert report.problems == (
        "The image encoder (CLIP, models_clip_*.pth) is missing: the model sees pictures with it.",
    )


def test_a_directory_without_weights(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(MissingFile):
        inspect(tmp_path / "nowhere")
    assert not inspect(tmp_path).complete


PUBLISHED = [
    # variant, tensors, parameters: models.md's counts of the originals, by instantiation
    ("wan2.1_t2v.safetensors", {"dim": 1536, "ffn_dim": 8960, "num_heads": 12, "num_layers": 30},
     "Wan 2.1 T2V, 1.3B", 825, 1_418_996_800),
    ("wan2.2_t2v_high_noise.safetensors", {}, "Wan 2.2 T2V, 14B, one expert of a pair", 1095, 14_288_491_584),
    ("unnamed.safetensors", {}, "Wan 2.1 T2V, 14B, or one expert of Wan 2.2 T2V-A14B: the tensors are alike and nothing"
     " tells", 1095, 14_288_491_584),
    ("wan2.2_i2v_low_noise.safetensors", {"in_dim": 36}, "Wan 2.2 I2V, 14B, one expert of a pair", 1095,
     14_288_901_184),
    ("wan2.1_i2v.safetensors", {"in_dim": 36, "image_dim": 1280}, "Wan 2.1 I2V, 14B", 1303, 16_394_878_784),
    ("flf.safetensors", {"in_dim": 36, "image_dim": 1280, "image_positions": 514}, "Wan 2.1 FLF2V, 14B", 1304,
     16_395_536_704),
    ("5b.safetensors", {"dim": 3072, "ffn_dim": 14336, "num_heads": 24, "num_layers": 30, "in_dim": 48, "out_dim": 48},
     "Wan 2.2 TI2V, 5B", 825, 4_999_787_712),
    ("vace.safetensors", {"dim": 1536, "ffn_dim": 8960, "num_heads": 12, "num_layers": 30,
     "vace_layers": tuple(range(0, 30, 2))}, "Wan 2.1 VACE, 1.3B", 1264, 2_153_972_032),
    ("vace_high_noise.safetensors", {"vace_layers": tuple(range(0, 40, 5))}, "Wan 2.2 VACE, 14B, one expert of a pair",
     1331, 17_337_592_896),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "shape", "guess", "tensors", "parameters"), PUBLISHED, ids=[row[0] for row in PUBLISHED]
)
def test_the_published_models_at_their_size(tmp_path, name, shape, guess, tensors, parameters):
    """Headers of true size before empty space: nothing but the header is read."""
    sizes = {"dim": 5120, "ffn_dim": 13824, "num_heads": 40, "num_layers": 40, **shape}
    state = build_empty(lambda: WanDiT(DitConfig(**sizes))).state_dict()
    header, end = {}, 0
    for key, tensor in state.items():
        begin, end = end, end + 2 * tensor.numel()
        header[key] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with (tmp_path / name).open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    (facts,) = inspect(tmp_path / name).networks
    assert (facts.guess, facts.tensors, facts.parameters, facts.precision) == (guess, tensors, parameters, "bf16")
    assert facts.problems == ()
