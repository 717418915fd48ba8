"""The rich world: what labels say happens, and is measured where it is film language; some triples are never drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from filmgate.camera.poses import parse_poses
from filmgate.spec.errors import InvalidRequest, UnknownName
from filmgate.training.world import aesthetics as film
from filmgate.training.world import attributes as a
from filmgate.training.world.attributes import ClipFormat
from filmgate.training.world.catalogue import CATALOGUES, FIRST, RICH, UNADORNED, catalogue, held_out
from filmgate.training.world.characters import look, with_look
from filmgate.training.world.enrichment import unseen
from filmgate.training.world.ground_truth import render_clips, write_truth
from filmgate.training.world.motion import camera_at, objects_at, project, visibility
from filmgate.training.world.render import Renderer
from filmgate.training.world.scenes import Labels, Scenes, sample_labels, sample_scenes

FORMAT = ClipFormat(frames=3, height=48, width=80)
MOMENTS = torch.linspace(0, 1, 9)


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return sample_scenes(4000, torch.Generator().manual_seed(5), world=RICH)


def having(count: int = 100, **labels: str) -> Scenes:
    """Scenes with one medium thing in which these labels are as named."""
    tables: dict[str, tuple[str, ...]] = {
        "camera": a.CAMERAS, "motion": a.MOTIONS, "shape": a.SHAPES, "lens": a.LENSES, "angle": a.ANGLES,
        "pace": a.PACES,
    }  # fmt: skip
    drawn = sample_labels(count, torch.Generator().manual_seed(2), RICH)
    zero = torch.zeros_like(drawn.count)
    plain = {"count": zero + 1, "alike": zero, "angle": zero, "lens": zero, "pace": zero, "relation": zero}
    plain |= {"motion": 0 * drawn.motion, "shape": 0 * drawn.shape, "size": 0 * drawn.size + 1, "camera": zero}
    for name, value in labels.items():
        plain[name] = torch.full_like(getattr(drawn, name), tables[name].index(value))
    uniforms = torch.rand(count, RICH.parameters, generator=torch.Generator().manual_seed(3))
    return Scenes(drawn._replace(**plain), uniforms, RICH)


def test_tables_of_a_world_are_beginnings_of_the_tables() -> None:
    for world in CATALOGUES.values():
        for name, table in (
            ("shapes", a.SHAPES), ("materials", a.MATERIALS), ("motions", a.MOTIONS), ("relations", a.RELATIONS),
            ("cameras", a.CAMERAS), ("lights", tuple(a.LIGHTS)), ("grounds", tuple(a.GROUNDS)),
            ("colours", tuple(a.COLOURS)), ("weathers", a.WEATHERS), ("paces", a.PACES),
        ):  # fmt: skip
            chosen = getattr(world, name)
            assert chosen == table[: len(chosen)]
        assert len(world.camera_weights) == len(world.cameras)
        assert len(world.material_weights) == len(world.materials)
    with pytest.raises(UnknownName, match="rich"):
        catalogue("ritch")


def test_same_seed_same_world() -> None:
    first, second = (sample_scenes(30, torch.Generator().manual_seed(1), world=RICH) for _ in range(2))
    assert all(torch.equal(x, y) for x, y in zip(first.labels, second.labels, strict=True))
    clips = [Renderer(FORMAT)(scene.select(torch.tensor([0, 1]))).rgb for scene in (first, second)]
    assert torch.equal(*clips)
    third = sample_scenes(30, torch.Generator().manual_seed(1), world=UNADORNED)
    assert torch.equal(first.uniforms, third.uniforms)


def test_captions_are_true_in_all_but_a_few(scenes: Scenes) -> None:
    assert (visibility(scenes) >= 0).float().mean() > 0.998


def test_every_name_is_drawn(scenes: Scenes) -> None:
    labels = scenes.labels
    one = labels.count > 0
    pairs = (labels.count == 2) & (labels.alike == 0)
    for name, table, where in (
        ("shape", a.SHAPES, one), ("motion", a.MOTIONS, one), ("material", a.MATERIALS, one),
        ("relation", a.RELATIONS, pairs), ("camera", a.CAMERAS, one), ("light", tuple(a.LIGHTS), one),
        ("ground", tuple(a.GROUNDS), one), ("weather", a.WEATHERS, one), ("pace", a.PACES, one),
        ("lens", a.LENSES, one), ("angle", a.ANGLES, one), ("tone", a.TONES, one), ("shot", film.SHOTS, one),
        ("composition", film.COMPOSITIONS, one), ("light_angle", film.LIGHT_ANGLES, one),
    ):  # fmt: skip
        values = getattr(labels, name)[where]
        values = values[:, 0] if values.ndim == 2 else values
        assert set(values.tolist()) == set(range(len(table))), name


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**40))
def test_held_out_triples_are_never_drawn_in_training(seed: int) -> None:
    labels = sample_labels(400, torch.Generator().manual_seed(seed), RICH)
    assert not unseen(labels, RICH).any()
    different = (labels.alike == 0) & (labels.count >= 2)
    assert (labels.colour[different, 0] != labels.colour[different, 1]).all()
    three = different & (labels.count == 3)
    assert (labels.colour[three, 2:] != labels.colour[three, :2]).all()


def test_held_out_triples_are_one_in_twenty_and_can_be_asked_for() -> None:
    assert 0.04 < RICH.unseen.float().mean() < 0.06
    assert RICH.unseen[0, 0, 1] == held_out("red", "ball", "left")
    labels = sample_labels(60, torch.Generator().manual_seed(4), RICH, "held out")
    assert unseen(labels, RICH)[:, 0].all()
    free = sample_labels(2000, torch.Generator().manual_seed(4), RICH, "any")
    assert 0.02 < unseen(free, RICH).any(1).float().mean() < 0.15


@pytest.mark.parametrize(
    ("camera", "axis", "sign"),
    [("pedestal up", 1, -1), ("pedestal down", 1, 1), ("crane up", 1, -1), ("dolly in", 2, 1), ("truck left", 0, -1),
     ("orbit right", 0, 1)],
)  # fmt: skip
def test_camera_travels_where_its_name_says(camera: str, axis: int, sign: int) -> None:
    position = camera_at(having(camera=camera), torch.tensor([0.0, 1.0])).position
    assert ((position[:, 1, axis] - position[:, 0, axis]) * sign > 0.1).all()


def test_roll_zoom_and_pace() -> None:
    ends = torch.tensor([0.0, 1.0])
    for name, sign in (("roll clockwise", 1), ("roll counterclockwise", -1)):
        rotation = camera_at(having(camera=name), ends).rotation
        sunk = rotation[:, 1, 1, 0] - rotation[:, 0, 1, 0]  # the right end of the picture goes down in a clockwise roll
        assert (sunk * sign > 0.3).all()
    for name, sign in (("zoom in", 1), ("zoom out", -1)):
        path = camera_at(having(camera=name), ends)
        assert ((path.focal[:, 1] / path.focal[:, 0]).log() * sign > 0.4).all()
        assert torch.equal(path.position[:, 0], path.position[:, 1]), "a zoom has no parallax"
    spans = [
        camera_at(having(camera="truck right", pace=pace), ends).position[:, :, 0].diff(dim=1).mean()
        for pace in ("slow", "normal", "fast")
    ]
    assert spans[0] < 0.6 * spans[1] < 0.5 * spans[2]


def test_crane_keeps_looking_at_the_subject_and_a_pedestal_does_not() -> None:
    ends = torch.tensor([0.0, 1.0])
    turned = {}
    for name in ("crane up", "pedestal up"):
        rotation = camera_at(having(camera=name), ends).rotation
        turned[name] = (rotation[:, 1] - rotation[:, 0]).abs().amax((1, 2))
    assert (turned["crane up"] > 0.05).all()
    assert (turned["pedestal up"] < 1e-6).all()


def test_following_keeps_the_subject_in_its_place() -> None:
    scenes = having(camera="follow", motion="right")
    state, camera = objects_at(scenes, MOMENTS)[0], camera_at(scenes, MOMENTS)
    across, _, _ = project(camera, state.x, state.y, state.z)
    assert (across - across[:, 4:5]).abs().max() < 0.03
    assert (camera.position[:, -1, 0] - camera.position[:, 0, 0] > 0.5).all()


def test_handheld_shakes_and_stays() -> None:
    path = camera_at(having(camera="handheld"), torch.linspace(0, 1, 33))
    step = (path.rotation[:, 1:] - path.rotation[:, :-1]).abs().amax((2, 3))
    assert (step > 1e-4).float().mean() > 0.9
    assert (path.position - path.position.mean(1, keepdim=True)).abs().max() < 0.6


def test_poses_invert_and_rotations_are_proper(scenes: Scenes) -> None:
    camera = camera_at(scenes.select(torch.arange(300)), torch.linspace(0, 1, 3))
    identity = torch.eye(3).expand_as(camera.rotation)
    assert torch.allclose(camera.rotation.mT @ camera.rotation, identity, atol=1e-5)
    assert torch.allclose(torch.linalg.det(camera.rotation), torch.ones(()), atol=1e-5)
    there = camera.world_to_camera()
    origin = there[..., :3] @ camera.position[..., None] + there[..., 3:]
    assert origin.abs().max() < 1e-4
    assert (camera.position[..., 1] < -0.1).all(), "over the ground"


def test_lenses_show_as_their_names_say() -> None:
    focal = {lens: camera_at(having(lens=lens), MOMENTS[:1]).focal for lens in a.LENSES}
    assert focal["wide-angle"].max() < focal["medium"].min() < focal["medium"].max() < focal["long-focus"].min()


def paired(labels: Labels, relation: str) -> torch.Tensor:
    return (labels.count == 2) & (labels.alike == 0) & (labels.relation == a.RELATIONS.index(relation))


def test_what_is_stacked_stands_on_the_other(scenes: Scenes) -> None:
    chosen = scenes.select(paired(scenes.labels, "on top of").nonzero()[:, 0])
    upper, lower, _ = objects_at(chosen, MOMENTS)
    gap = (upper.y + upper.half_height[:, None]) - (lower.y - lower.half_height[:, None])
    assert gap.abs().max() < 1e-4
    assert (upper.x - lower.x).abs().max() < 1e-5


def test_what_follows_keeps_its_distance_behind(scenes: Scenes) -> None:
    chosen = scenes.select(paired(scenes.labels, "follows").nonzero()[:, 0])
    first, second, _ = objects_at(chosen, MOMENTS)
    way = (first.x[:, -1:] - first.x[:, :1]).sign()
    assert ((second.x - first.x) * way > (first.half_width + second.half_width)[:, None]).all()


def test_what_bounces_off_touches_and_returns(scenes: Scenes) -> None:
    chosen = scenes.select(paired(scenes.labels, "bounces off").nonzero()[:, 0])
    ball, struck, _ = objects_at(chosen, MOMENTS)
    apart = (ball.x - struck.x).abs() - (ball.half_width + struck.half_width)[:, None]
    assert apart[:, 4].abs().max() < 1e-4
    assert (apart[:, 0] > 1).all()
    assert torch.allclose(apart[:, 0], apart[:, -1], atol=1e-4)


def test_masks_agree_with_projected_centres() -> None:
    scenes = sample_scenes(60, torch.Generator().manual_seed(9), world=RICH)
    round_ones = (scenes.labels.count == 1) & (scenes.labels.shape[:, 0] < 6)
    scenes = scenes.select(round_ones.nonzero()[:8, 0])
    frames = torch.linspace(0, 1, 9)  # near enough to each other that nothing moves much while the shutter is open
    clip, state = Renderer(ClipFormat(9, 48, 80))(scenes), objects_at(scenes, frames)[0]
    across, down, _ = project(clip.camera, state.x, state.y, state.z)
    for video in range(len(scenes.uniforms)):
        rows, columns = (clip.number[video, 4] == 1).nonzero(as_tuple=True)
        assert len(rows) > 8
        if rows.min() == 0 or rows.max() == 47 or columns.min() == 0 or columns.max() == 79:
            continue  # cut by the edge of the picture
        spread = float(columns.max() - columns.min()) / 80
        assert abs(float(columns.float().mean() + 0.5) / 80 - 0.5 - float(across[video, 4])) < 0.02 + 0.12 * spread
        high = float(rows.max() - rows.min()) / 80  # a cone has its middle above its centre of mass
        assert abs((float(rows.float().mean() + 0.5) / 48 - 0.5) * 0.6 - float(down[video, 4])) < 0.02 + 0.2 * high


def test_a_figure_stands_on_the_ground_and_is_one_object() -> None:
    for shape in a.COMPOUND:
        scenes = having(4, shape=shape)
        scenes = scenes._replace(labels=scenes.labels._replace(hat=0 * scenes.labels.hat))
        clip = Renderer(FORMAT)(scenes)
        state = objects_at(scenes, torch.linspace(0, 1, 3))[0]
        _, top, _ = project(clip.camera, state.x, state.y - 1.0 * state.half_height[:, None], state.z)
        _, bottom, _ = project(clip.camera, state.x, state.y + 0.97 * state.half_height[:, None], state.z)
        for video in range(4):
            assert set(clip.number[video].unique().tolist()) <= {-1, 0, 1}
            rows = (clip.number[video, 1] == 1).nonzero()[:, 0]
            if abs(float(top[video, 1])) < 0.29 and abs(float(bottom[video, 1])) < 0.29:
                assert abs((float(rows.min()) / 48 - 0.5) * 0.6 - float(top[video, 1])) < 0.07, shape
                assert abs((float(rows.max()) / 48 - 0.5) * 0.6 - float(bottom[video, 1])) < 0.04, shape


def test_glow_shows_at_night_and_stripes_of_half_shadows_do_not_repeat() -> None:
    scenes = having(2, shape="cube")
    labels = scenes.labels._replace(
        material=torch.full_like(scenes.labels.material, a.MATERIALS.index("glowing")),
        light=torch.full_like(scenes.labels.light, tuple(a.LIGHTS).index("night")),
        colour=torch.zeros_like(scenes.labels.colour), weather=0 * scenes.labels.weather, tone=0 * scenes.labels.tone,
    )  # fmt: skip
    glowing = Renderer(FORMAT)(scenes._replace(labels=labels))
    dull = Renderer(FORMAT)(scenes._replace(labels=labels._replace(material=0 * labels.material)))
    mask = glowing.number == 1
    assert glowing.rgb[:, 0][mask].float().mean() > 1.4 * dull.rgb[:, 0][mask].float().mean()


def test_shots_and_compositions_are_measured(scenes: Scenes) -> None:
    labels, middle = scenes.labels, torch.tensor([0.5])
    tall = film.apparent_height(scenes, middle)[:, 0]
    assert tall[labels.shot == film.SHOTS.index("close-up")].min() > 0.55
    assert tall[labels.shot == film.SHOTS.index("extreme wide")].max() < 0.16
    state = objects_at(scenes, middle)[0]
    across, _, _ = project(camera_at(scenes, middle), state.x, state.y, state.z)
    assert (across[labels.composition == film.COMPOSITIONS.index("left-heavy")] < -0.1).all()
    assert (across[labels.composition == film.COMPOSITIONS.index("right-heavy")] > 0.1).all()


def test_a_look_is_the_same_somebody_in_every_clip() -> None:
    wanted = look(7)
    assert wanted == look(7)
    assert len({look(seed) for seed in range(40)}) > 35
    labels = with_look(sample_labels(8, torch.Generator().manual_seed(0), RICH), wanted)
    assert len(labels.motion[:, 0].unique()) == 8
    scenes = sample_scenes(8, torch.Generator().manual_seed(1), labels, world=RICH)
    assert (visibility(scenes) >= 0).all()
    assert set(scenes.labels.colour[:, 0].tolist()) == {tuple(a.COLOURS).index(wanted.body)}


def test_clips_of_a_look_come_with_their_camera_path(tmp_path) -> None:
    clips = list(render_clips(3, 2, FORMAT, world=RICH, character=7))
    for clip in clips:
        [thing] = clip.facts.things
        assert (thing.shape, thing.colour, thing.hat) == (look(7).shape, look(7).body, look(7).hat)
        assert len(clip.facts.aesthetics) <= 4
        *_, poses = write_truth(clip, tmp_path / "clip")
        path = parse_poses(poses.read_text())
        assert len(path) == 3
        np.testing.assert_allclose(path.lenses[:, 1], path.lenses[:, 0] * 80 / 48, rtol=1e-6)
        turn = path.world_to_camera[:, :, :3] @ clip.camera_to_world[:, :, :3]
        np.testing.assert_allclose(turn, np.broadcast_to(np.eye(3), turn.shape), atol=1e-5)
    with pytest.raises(InvalidRequest, match="no characters"):
        next(render_clips(3, 1, FORMAT, world=FIRST, character=7))
