"""Where the camera of a clip really was, found by rendering its scene and comparing: the measure of a camera's path.

A clip that continues the picture of a known scene can be compared with that scene from anywhere. Only what the first
picture showed is compared: whatever a model had to make up beyond it cannot be right or wrong. The rest is direct image
alignment (Lucas and Kanade 1981; Engel et al., arXiv 1607.02565): gradients of the render and its distances say how
every pixel changes with each of the six ways a camera can move, so that one render is enough for one step of
Levenberg and Marquardt. Weights are robust (Geman and McClure), coarse pictures come before fine ones, and each moment
starts where the moments before it point to. The lens is taken as it was asked for: a clip that dollies in where a zoom
was asked for has moved, and one that does not zoom shows as one that moves the other way.

Legend: V clips, K moments that are fitted, F frames of a clip, H W pixels, h w those of a level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from filmgate.training.world import attributes as a
from filmgate.training.world.flow import ray_directions
from filmgate.training.world.motion import camera_at
from filmgate.training.world.moves import SUBJECT_DEPTH, CameraState, stand
from filmgate.training.world.render import Views
from filmgate.training.world.scenes import Scenes, is_one_of

_FAR = 1e3
"""Metres beyond which only rotations move the picture."""
_PHOTOMETRIC = 2
"""Brightness and contrast of each moment are fitted too: a model that paints a little darker has not moved."""
_LONGEST = (0.35, 0.35, 0.35, 0.10, 0.10, 0.10, 0.3, 0.3)
"""Most that one step changes: metres, radians, contrast, brightness."""
_HARDLY_SEEN = 0.02
"""Share of the picture below which what is seen is too little to be judged by."""
_GUESSES = (
    (0.2, 0, 0, 0, 0, 0), (0, 0.2, 0, 0, 0, 0), (0, 0, 0.25, 0, 0, 0), (0, 0, 0, 0.06, 0, 0), (0, 0, 0, 0, 0.08, 0),
    (0, 0, 0, 0, 0, 0.08), (0.38, 0, 0, 0, -0.09, 0), (0, 0.25, 0, 0.06, 0, 0),
)  # fmt: skip
"""Steps that a camera may take in an eighth of a clip, where its subject is at :data:`SUBJECT_DEPTH`, and their
opposites: along and about its axes, around what it looks at, and on a crane."""
_REFINED = 3
"""So many of all places to begin from are followed up."""
_OUTLIER, _FAINTEST = 2.5, 1.5 / 255
"""Residuals above so many times the typical one (1.48 medians), and above so much, count little."""


@dataclass(frozen=True)
class Level:
    """Pictures a ``divisor``-th as large, rendered ``finer`` times finer than that, and how many steps they get."""

    divisor: int
    steps: int
    finer: int = 1


@dataclass(frozen=True)
class Fitting:
    """How paths are fitted: every ``stride``-th frame of a clip, through these levels, so many clips ``together`` (by
    default what keeps a GPU busy, or a processor's memory small)."""

    stride: int = 4
    levels: tuple[Level, ...] = (Level(4, 7, 2), Level(2, 4), Level(1, 3))
    together: int | None = None


class FittedPath(NamedTuple):
    """``camera`` [V, K] at ``moments`` [K], the first of which is not fitted but known; ``seen`` [V, K] is the share of
    the picture that could be compared, ``unlike`` [V, K] the median difference there, 0 ... 1."""

    camera: CameraState
    moments: Tensor
    seen: Tensor
    unlike: Tensor


class PoseErrors(NamedTuple):
    """Of each fitted moment but the first [V, K - 1]: degrees between the directions, and distance in world units."""

    degrees: Tensor
    units: Tensor


def pose_errors(found: CameraState, asked: CameraState) -> PoseErrors:
    """How far a found path is from the one that was asked for, both [V, K] in the frame of the world.

    The angle is that of the rotation between the two (arccos((tr R - 1) / 2)), computed by its sine where it is small.
    """
    between = found.rotation[:, 1:].double().mT @ asked.rotation[:, 1:].double()
    skew = torch.stack([between[..., i, j] - between[..., j, i] for i, j in ((2, 1), (0, 2), (1, 0))], -1)
    cosine = (between.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    angle = torch.atan2(skew.norm(dim=-1) / 2, cosine)
    distance = (found.position[:, 1:].double() - asked.position[:, 1:].double()).norm(dim=-1)
    return PoseErrors(angle.rad2deg(), distance)


def moved(camera: CameraState, step: Tensor) -> CameraState:
    """The camera after a step [..., 6] in its own axes: metres to the right, down and ahead, then a rotation vector."""
    position = camera.position + (camera.rotation @ step[..., :3, None])[..., 0]
    return CameraState(camera.rotation @ rotation_of(step[..., 3:6]), position, camera.focal)


def rotation_of(vector: Tensor) -> Tensor:
    """Rotation matrices [..., 3, 3] of rotation vectors [..., 3] in radians (Rodrigues)."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    result: Tensor = torch.linalg.matrix_exp(skew)
    return result


def fit_path(
    rgb: Tensor, scenes: Scenes, *, requested: CameraState | None = None, fitting: Fitting | None = None
) -> FittedPath:
    """The path on which clips were taken.

    Args:
        rgb: uint8 [V, 3, F, H, W], all frames; they begin with a picture of their scene at its first moment.
        scenes: What is known of each clip: everything but the path after the first frame. On the device of ``rgb``.
        requested: The path that was asked for [V, F], one more place to begin from. The lens is always taken from it,
            or else from the scenes.
    """
    fitting = fitting or Fitting()
    chosen = torch.arange(0, rgb.shape[2], fitting.stride, device=rgb.device)
    moments = chosen / max(rgb.shape[2] - 1, 1)
    parts = []
    together = fitting.together or (64 if rgb.is_cuda else 8)
    for index in torch.arange(len(rgb), device=rgb.device).split(together):
        own = scenes.select(index)
        asked = None if requested is None else CameraState(*(tensor[index][:, chosen] for tensor in requested))
        parts.append(_fit(rgb[index][:, :, chosen], own, moments, asked, fitting))
    camera = CameraState(*(torch.cat(rows) for rows in zip(*(part.camera for part in parts), strict=True)))
    return FittedPath(camera, moments, torch.cat([p.seen for p in parts]), torch.cat([p.unlike for p in parts]))


def _fit(rgb: Tensor, scenes: Scenes, moments: Tensor, asked: CameraState | None, fitting: Fitting) -> FittedPath:
    true = camera_at(scenes, moments)
    lens = true.focal if asked is None else asked.focal
    first = _First(scenes, _at(true, 0), rgb.shape[-2:])
    path, seen, unlike = [_at(true, 0)], [torch.ones_like(lens[:, 0])], [torch.zeros_like(lens[:, 0])]
    for k in range(1, len(moments)):
        focal = lens[:, k : k + 1]
        before = path[-1]._replace(focal=focal)
        starts = [before]
        if k > 1:
            starts.append(_onwards(path[-2], path[-1])._replace(focal=focal))
        if asked is not None:
            starts.append(_at(asked, k))
        moment = _Moment(rgb[:, :, k], scenes, moments[k : k + 1], first)
        best = _choose(moment, starts, fitting.levels[0])
        for level in fitting.levels[1:]:
            best = _improve(moment, best.camera, level)
        path.append(best.camera)
        seen.append(best.seen)
        unlike.append(best.unlike)
    camera = CameraState(*(torch.cat(rows, 1) for rows in zip(*path, strict=True)))
    return FittedPath(camera, moments, torch.stack(seen, 1), torch.stack(unlike, 1))


def _at(camera: CameraState, k: int) -> CameraState:
    return CameraState(*(tensor[:, k : k + 1] for tensor in camera))


def _onwards(before: CameraState, now: CameraState) -> CameraState:
    """Where a camera comes to that goes on as it went."""
    turn = before.rotation.mT @ now.rotation
    return CameraState(now.rotation @ turn, 2 * now.position - before.position, now.focal)


class _First:
    """What the first picture showed: its camera, and how far away things were [V, H, W] (sky: infinitely)."""

    def __init__(self, scenes: Scenes, camera: CameraState, size: Sequence[int]) -> None:
        self.camera, (self.height, self.width) = camera, size
        _, number, distance = Views(scenes, torch.zeros(1, device=scenes.uniforms.device))(camera, *size)
        self.distance = torch.where(number >= 0, distance, _FAR)[:, 0]

    def showed(self, directions: Tensor, distance: Tensor, camera: CameraState) -> Tensor:
        """Which of the points at ``distance`` [V, h, w] along ``directions`` [V, 3, h, w] (world) from a camera it
        showed, [V, h, w] bool."""
        offset = directions * distance[:, None] + (camera.position - self.camera.position)[:, 0, :, None, None]
        local = torch.einsum("vij,vihw->vjhw", self.camera.rotation[:, 0], offset)
        depth = local[:, 2].clamp_min(1e-3)
        focal = self.camera.focal[:, :, None]
        u, v = 2 * focal * local[:, 0] / depth, 2 * focal * local[:, 1] / depth * (self.width / self.height)
        inside = (local[:, 2] > 0.05) & (u.abs() < 1) & (v.abs() < 1)
        grid = torch.stack([u, v], -1).clamp(-1, 1)
        there = F.grid_sample(self.distance[:, None], grid, mode="nearest", align_corners=False)[:, 0]
        far = distance >= _FAR
        apart = (offset.norm(dim=1) - there).abs() < 0.06 * there + 0.05
        return inside & torch.where(far, there >= _FAR, apart)


class _State(NamedTuple):
    """Where the fit has got to: camera [V, 1], contrast and brightness [V, 2], cost, share seen and median difference
    [V]."""

    camera: CameraState
    light: Tensor
    cost: Tensor
    seen: Tensor
    unlike: Tensor

    def where(self, mask: Tensor, other: _State) -> _State:
        """This one where the mask [V] is set, else the other."""

        def pick(mine: Tensor, others: Tensor) -> Tensor:
            return torch.where(mask.view(-1, *(1,) * (mine.ndim - 1)), mine, others)

        camera = CameraState(*(pick(*pair) for pair in zip(self.camera, other.camera, strict=True)))
        return _State(camera, *(pick(*pair) for pair in zip(self[1:], other[1:], strict=True)))


class _Moment:
    """One frame of every clip, to be compared with its scene at that moment."""

    def __init__(self, rgb: Tensor, scenes: Scenes, moment: Tensor, first: _First) -> None:
        self.target, self.first = rgb.float() / 255, first
        self.views, labels = Views(scenes, moment), scenes.labels
        distance = (
            stand(scenes).distance if scenes.world.rich else torch.full_like(scenes.uniforms[:, 0], SUBJECT_DEPTH)
        )
        self.reach = distance / SUBJECT_DEPTH
        rest = is_one_of(labels.motion, a.MOTIONS, ("still",))
        acting = is_one_of(labels.relation, a.RELATIONS, ("follows", "bounces off")) & (labels.count == 2)
        # The ground and the sky rest; of the objects, those that do.
        self.rests = torch.cat([torch.ones_like(rest[:, :2]), rest & ~acting[:, None]], 1)

    def compare(self, camera: CameraState, light: Tensor, level: Level, scale: Tensor | None) -> _Compared:
        """A render beside the frame, at a level."""
        height, width = (length // level.divisor for length in self.target.shape[-2:])
        image, number, distance = self.views(camera, height * level.finer, width * level.finer)
        image, number, distance = image[:, :, 0], number[:, 0], distance[:, 0]
        distance = torch.where(number >= 0, distance, _FAR)
        still = self.rests.gather(1, (number + 1).flatten(1)).view_as(number)
        directions = ray_directions(camera, *image.shape[-2:])[:, 0]
        mask = (still & self.first.showed(directions, distance, camera)).float()
        mask = -F.max_pool2d(-mask[:, None], 3, 1, 1)
        if level.finer > 1:
            image, mask = F.avg_pool2d(image, level.finer), F.avg_pool2d(mask, level.finer)
            distance = distance[:, level.finer // 2 :: level.finer, level.finer // 2 :: level.finer]
        image, target = _blurred(image), _blurred(F.interpolate(self.target, (height, width), mode="area"))
        lit = image * (1 + light[:, :1, None, None]) + light[:, 1:, None, None]
        return _Compared(camera, light, lit, target, distance, mask[:, 0], scale)


def _blurred(image: Tensor) -> Tensor:
    """A little blur of images [V, 3, H, W]: sub-samples, shutter and VAE differ in what is finer."""
    taps = torch.tensor([0.25, 0.5, 0.25], device=image.device)
    kernel = (taps[:, None] * taps).expand(image.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), kernel, groups=image.shape[1])


class _Compared:
    """Residuals of a render, their cost, and how both change with every step that a camera can take."""

    def __init__(
        self, camera: CameraState, light: Tensor, image: Tensor, target: Tensor, distance: Tensor, mask: Tensor,
        scale: Tensor | None,
    ) -> None:  # fmt: skip
        self.image, self.target, self.distance, self.mask = image, target, distance, mask
        residual = image - target
        size = residual.square().mean(1).sqrt()
        known = torch.where(mask > 0.5, size, torch.nan).flatten(1)
        median = known.nanmedian(1).values.nan_to_num(1.0)
        self.scale = _scale(median) if scale is None else scale
        self.size, self.residual = size, residual
        self.weight = mask / (1 + (size / self.scale[:, None, None]).square()).square()
        self.state = _State(camera, light, median, mask.mean((1, 2)), median)
        self.state = self.judged(self.scale)

    def judged(self, scale: Tensor) -> _State:
        """The state with its cost by a scale of residuals [V]."""
        share, seen = (self.size / scale[:, None, None]).square(), self.state.seen
        cost = (self.mask * share / (1 + share)).mean((1, 2)) / seen.clamp_min(_HARDLY_SEEN)
        # Who looks away sees nothing that is wrong.
        return self.state._replace(cost=torch.where(seen < _HARDLY_SEEN, 1.0, cost))

    def equations(self) -> tuple[Tensor, Tensor]:
        """Normal equations [V, 8, 8] and [V, 8] of the step that would take the residuals away."""
        camera = self.state.camera
        focal = camera.focal[:, :, None] * self.image.shape[-1]
        x, y = (grid[None] / focal for grid in _pixels(self.image))
        inverse = (x * x + y * y + 1).sqrt() / self.distance  # of the depth; distances are along the ray
        inverse = torch.where(self.distance >= _FAR, 0.0, inverse)
        zero = torch.zeros_like(inverse)
        # How a resting point moves in the picture, in pixels, with each way that the camera moves.
        across = torch.stack([-inverse, zero, x * inverse, x * y, -(1 + x * x), y + zero], 1)
        down = torch.stack([zero, -inverse, y * inverse, 1 + y * y, -x * y, -x + zero], 1)
        # The mean of both pictures' gradients is right to second order (Benhimane and Malis 2004).
        gradient_x, gradient_y = _gradients((self.image + self.target) / 2)
        slope = gradient_x[:, None] * (across * focal[:, None])[:, :, None]
        slope = -(slope + gradient_y[:, None] * (down * focal[:, None])[:, :, None])
        light = torch.stack([self.image, torch.ones_like(self.image)], 1)
        jacobian = torch.cat([slope, light], 1)
        weighted = jacobian * self.weight[:, None, None]
        matrix = weighted.flatten(2) @ jacobian.flatten(2).mT
        return matrix, (weighted.flatten(2) @ self.residual.flatten(1)[..., None])[..., 0]


def _scale(median: Tensor) -> Tensor:
    """Residual [V] from which on a pixel counts as an outlier, by the median of a clip's."""
    return (1.48 * _OUTLIER * median).clamp_min(_FAINTEST)


def _pixels(image: Tensor) -> tuple[Tensor, Tensor]:
    """Pixel coordinates [H, W] from the middle of a picture."""
    (height, width), device = image.shape[-2:], image.device
    x = (torch.arange(width, device=device) + 0.5 - width / 2).expand(height, -1)
    y = (torch.arange(height, device=device) + 0.5 - height / 2)[:, None].expand(-1, width)
    return x, y


def _gradients(image: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences per pixel."""
    around = F.pad(image, (1, 1, 1, 1), mode="replicate")
    return (around[..., 1:-1, 2:] - around[..., 1:-1, :-2]) / 2, (around[..., 2:, 1:-1] - around[..., :-2, 1:-1]) / 2


def _improve(moment: _Moment, camera: CameraState, level: Level) -> _State:
    """The best that Levenberg and Marquardt find in the steps of a level."""
    light = camera.focal.new_zeros(len(camera.focal), _PHOTOMETRIC)
    now = moment.compare(camera, light, level, None)
    best, (matrix, vector) = now.state, now.equations()
    damping, longest = torch.full_like(best.cost, 1e-3), torch.tensor(_LONGEST, device=light.device)
    for step in range(level.steps):
        diagonal = torch.diag_embed(matrix.diagonal(dim1=1, dim2=2))
        damped = matrix + damping[:, None, None] * diagonal + 1e-6 * torch.eye(len(longest), device=light.device)
        change = -torch.linalg.solve(damped, vector)
        change = torch.maximum(torch.minimum(change, longest), -longest)
        tried = moment.compare(moved(best.camera, change[:, None, :6]), best.light + change[:, 6:], level, now.scale)
        better = tried.state.cost < best.cost
        best = tried.state.where(better, best)
        damping = torch.where(better, damping / 4, damping * 8)
        if step + 1 < level.steps:
            own_matrix, own_vector = tried.equations()
            matrix = torch.where(better[:, None, None], own_matrix, matrix)
            vector = torch.where(better[:, None], own_vector, vector)
    return best


def _choose(moment: _Moment, starts: Sequence[CameraState], level: Level) -> _State:
    """The best of what is found from several starts and from guesses around the first; all are judged by one scale."""
    clips = len(starts[0].focal)
    guesses = torch.tensor(_GUESSES, device=starts[0].focal.device)
    guesses = torch.cat([guesses, -guesses])[:, None].repeat(1, clips, 1)
    guesses[..., :3] *= moment.reach[:, None]
    every = [*starts, *(moved(starts[0], guess[:, None]) for guess in guesses)]
    light = starts[0].focal.new_zeros(clips, _PHOTOMETRIC)
    tried = _judged([moment.compare(start, light, replace(level, finer=1), None) for start in every])
    order = torch.stack([state.cost for state in tried]).argsort(0)
    found = []
    for rank in range(_REFINED):
        start = tried[0]
        for number, state in enumerate(tried):
            start = state.where(order[rank] == number, start)
        found.append(_improve(moment, start.camera, level))
    best, *others = _judged([moment.compare(state.camera, state.light, level, None) for state in found])
    for state in others:
        best = state.where(state.cost < best.cost, best)
    return best


def _judged(compared: Sequence[_Compared]) -> list[_State]:
    """States with their costs by one scale of residuals, that of the one that is most like the frame."""
    scale = torch.stack([one.scale for one in compared]).amin(0)
    return [one.judged(scale) for one in compared]
