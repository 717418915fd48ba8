"""Solvers: from noise to a video in a few steps, as pure functions of (velocity, x, sigmas).

Legend: x is a latent of any shape, fp32; sigmas are the noise levels of all steps and the end, strictly falling.

x at noise level s is (1 - s)·video + s·noise and the network predicts the velocity noise - video, so that its guess of
the finished latent is x - s·velocity. If that guess did not change, the way from s to t would be exactly

    x_t = (t/s)·x_s + (1 - t/s)·guess

Every solver here takes this step; they differ in the guess they take it towards. Euler uses the present guess. DPM++ 2M
(arXiv 2211.01095) extrapolates it from the last two, in the logarithm of the signal-to-noise ratio. UniPC (arXiv
2302.04867, order 2, B2) does the same and, once the guess at the new level is known, repeats the step that led there
with it. First and last step of both are first order. All of Wan's own choices: predict the video, midpoint form, lower
order at the end; checked against the trajectories of the original code. ``res_multistep`` (the deterministic form of
Cosmos' sampler, as ComfyUI calls it) extrapolates as DPM++ does, but in the logarithm of the noise level, and is exact
for guesses that are linear in it.

Two solvers add fresh noise after every step but the last: ``lcm`` (arXiv 2310.04378) trusts the guess completely and
noises it again, as networks expect that were distilled to guess well (FastWan, rCM); ``euler_ancestral`` goes below the
next level and comes back with noise. Their noise is asked for by the number of the step, so that it does not depend on
what was drawn before.

The state between two steps is a value: keep it, and a run can go on from there later or elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import NamedTuple

from torch import Tensor

from filmgate.engine.sampling.schedules import check_solver
from filmgate.spec.errors import InvalidRequest
from filmgate.spec.model import Solver

Denoise = Callable[[Tensor, int], Tensor]
"""(x, index of the step) to velocity, both of the shape of x."""


class State(NamedTuple):
    """Everything that a solver knows between two steps.

    ``done`` steps are behind it; ``x`` is what the network sees next. ``guesses`` are as many of the network's last
    guesses of the finished latent as the solver needs, newest first, two at most. ``origin`` is where UniPC's last step
    started from, corrected.
    """

    done: int
    x: Tensor
    guesses: tuple[Tensor, ...] = ()
    origin: Tensor | None = None


Noise = Callable[[int], Tensor]
"""Index of a step to standard normal noise of the shape of x, the same whenever it is asked for."""
Advance = Callable[[State, Tensor, Sequence[float]], State]
AdvanceWithNoise = Callable[[State, Tensor, Sequence[float], Noise], State]


def solve(
    solver: Solver, denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise | None = None
) -> Iterator[Tensor]:
    """Walk from noise to a video. Yields x after each step; nothing is computed before it is asked for.

    Args:
        solver: Name of the method.
        denoise: The velocity, asked for exactly once per step.
        x: Noise, fp32.
        sigmas: One level per step and the last one, in [0, 1], strictly falling.
        noise: For the solvers of :data:`NOISY_SOLVERS`; the others never ask.

    Raises:
        UnknownName: there is no such solver.
        InvalidRequest: ``sigmas`` is not a schedule, or the noise is missing.
    """
    return (state.x for state in resume(solver, denoise, State(0, x), sigmas, noise))


def resume(
    solver: Solver, denoise: Denoise, state: State, sigmas: Sequence[float], noise: Noise | None = None
) -> Iterator[State]:
    """Go on from ``state``. Yields the state after each step that is left; arguments and errors as :func:`solve`."""
    check_solver(solver)
    check_sigmas(sigmas)
    return _walk(_advance(solver, noise), denoise, state, tuple(sigmas))


def _advance(solver: Solver, noise: Noise | None) -> Advance:
    if solver in SOLVERS:
        return SOLVERS[solver]
    if noise is None:
        raise InvalidRequest("noise", f"{solver} adds fresh noise, and there is none", allowed="noise by step")
    return lambda state, velocity, sigmas: NOISY_SOLVERS[solver](state, velocity, sigmas, noise)


def _walk(advance: Advance, denoise: Denoise, state: State, sigmas: Sequence[float]) -> Iterator[State]:
    while state.done < len(sigmas) - 1:
        state = advance(state, denoise(state.x, state.done), sigmas)
        yield state


def euler(state: State, velocity: Tensor, sigmas: Sequence[float]) -> State:
    """One step of Euler's method."""
    guess = _guess(state, velocity, sigmas)
    return State(state.done + 1, _toward(guess, state.x, state.done, sigmas))


def dpmpp_2m(state: State, velocity: Tensor, sigmas: Sequence[float]) -> State:
    """One step of DPM-Solver++ 2M, midpoint form."""
    guesses = (_guess(state, velocity, sigmas), *state.guesses[:1])
    return State(state.done + 1, _predict(guesses, state.x, state.done, sigmas), guesses[:1])


def unipc(state: State, velocity: Tensor, sigmas: Sequence[float]) -> State:
    """One step of UniPC: correct the last step with the new guess, then predict as DPM++ 2M does.

    The guess is the one that the network made of the uncorrected x; it is not made again after the correction.
    """
    guess = _guess(state, velocity, sigmas)
    x = state.x
    if state.origin is not None:
        x = _correct(guess, state.guesses, state.origin, state.done, sigmas)
    guesses = (guess, *state.guesses[:1])
    return State(state.done + 1, _predict(guesses, x, state.done, sigmas), guesses, origin=x)


def res_multistep(state: State, velocity: Tensor, sigmas: Sequence[float]) -> State:
    """One step of the exponential two-step method in -log(sigma): exact for guesses that are linear in it.

    The first and the last step are Euler's: there is no older guess, and the last one is infinitely long.
    """
    guess, index = _guess(state, velocity, sigmas), state.done
    target = guess
    if state.guesses and sigmas[index + 1] > 0:
        stride = math.log(sigmas[index] / sigmas[index + 1])
        before = math.log(sigmas[index - 1] / sigmas[index])
        # The mean of the extrapolation over the step, weighted as the exact solution weights it: exp(time to the end).
        mean = 1 / -math.expm1(-stride) - 1 / stride
        target = guess + (guess - state.guesses[0]) * (mean * stride / before)
    return State(index + 1, _toward(target, state.x, index, sigmas), (guess,))


def lcm(state: State, velocity: Tensor, sigmas: Sequence[float], noise: Noise) -> State:
    """One step of consistency sampling: the guess, noised again to the next level."""
    guess, level = _guess(state, velocity, sigmas), sigmas[state.done + 1]
    x = guess * (1 - level) + noise(state.done) * level if level > 0 else guess
    return State(state.done + 1, x)


def euler_ancestral(state: State, velocity: Tensor, sigmas: Sequence[float], noise: Noise) -> State:
    """One step of Euler's method to t²/s on the way from s to t, and back to t by adding noise.

    What is left of the video shrinks by the ratio of its shares, (1 - t) / (1 - t²/s); the noise fills what is missing
    to a variance of t².
    """
    guess, level = _guess(state, velocity, sigmas), sigmas[state.done + 1]
    if level == 0:
        return State(state.done + 1, guess)
    ratio = level / sigmas[state.done]
    below = level * ratio
    share = (1 - level) / (1 - below)
    missing = math.sqrt(level**2 - (below * share) ** 2)
    x = (state.x * ratio**2 + guess * (1 - ratio**2)) * share + noise(state.done) * missing
    return State(state.done + 1, x)


SOLVERS: Mapping[Solver, Advance] = MappingProxyType(
    {"unipc": unipc, "dpmpp_2m": dpmpp_2m, "euler": euler, "res_multistep": res_multistep}
)
NOISY_SOLVERS: Mapping[Solver, AdvanceWithNoise] = MappingProxyType({"lcm": lcm, "euler_ancestral": euler_ancestral})


def _guess(state: State, velocity: Tensor, sigmas: Sequence[float]) -> Tensor:
    return state.x - sigmas[state.done] * velocity.to(state.x.dtype)


def _toward(guess: Tensor, x: Tensor, index: int, sigmas: Sequence[float]) -> Tensor:
    """Step ``index`` from ``x``, exact if the guess did not change on the way."""
    ratio = sigmas[index + 1] / sigmas[index]
    return x * ratio + guess * (1 - ratio)


def _predict(guesses: tuple[Tensor, ...], x: Tensor, index: int, sigmas: Sequence[float]) -> Tensor:
    """Step ``index`` towards the guess half-way, extrapolated from the last two; first order at both ends."""
    guess, *older = guesses
    if older and index < len(sigmas) - 2:
        ratio = _stride(index - 1, sigmas) / _stride(index, sigmas)
        guess = guess + (guess - older[0]) * (0.5 / ratio)
    return _toward(guess, x, index, sigmas)


def _correct(guess: Tensor, guesses: tuple[Tensor, ...], origin: Tensor, index: int, sigmas: Sequence[float]) -> Tensor:
    """Repeat the step that led to level ``index`` from where it started, with the guess that was made there."""
    last, *older = guesses
    if not older:
        return _toward(last + (guess - last) * 0.5, origin, index - 1, sigmas)
    # Weights of the two differences such that the step is exact for guesses that are quadratic in the logarithm of the
    # signal-to-noise ratio: UniPC's 2x2 system with B2(h) = exp(-h) - 1, solved by hand.
    stride = _stride(index - 1, sigmas)
    ratio = -_stride(index - 2, sigmas) / stride
    growth = math.expm1(-stride)
    first = -growth / stride - 1
    second = -first / stride - 0.5
    old = (first - 2 * second) / growth / (1 - ratio)
    new = first / growth - old
    return _toward(last + (older[0] - last) * (old / ratio) + (guess - last) * new, origin, index - 1, sigmas)


def _stride(index: int, sigmas: Sequence[float]) -> float:
    """Length of step ``index`` in log((1 - sigma) / sigma); infinite from level 1 and to level 0."""
    return _log_signal_to_noise(sigmas[index + 1]) - _log_signal_to_noise(sigmas[index])


def _log_signal_to_noise(sigma: float) -> float:
    if sigma in (0.0, 1.0):
        return math.inf if sigma == 0 else -math.inf
    return math.log1p(-sigma) - math.log(sigma)


def check_sigmas(sigmas: Sequence[float]) -> None:
    """Raise InvalidRequest unless there are at least two levels in [0, 1], strictly falling."""
    falling = all(before > after for before, after in pairwise(sigmas))
    if len(sigmas) < 2 or not falling or sigmas[0] > 1 or sigmas[-1] < 0:
        raise InvalidRequest(
            "sigmas",
            f"{list(sigmas)!r:.80} is not a schedule",
            allowed="two or more levels in [0, 1], strictly falling",
        )
