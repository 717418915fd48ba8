"""What the original samplers do, in numbers, and the checks that hold ours to it.

The checks look every function up in its module when they run, so that a mutated module is what they judge.
"""

from __future__ import annotations

import torch
from tests.engine.golden_fill import golden_array

from filmgate.engine.sampling import experts, schedules, solvers

TOLERANCE = 1e-6
UNIPC_50_SHIFT_5 = """
    999 995 991 987 982 978 973 968 963 957 952 946 940 934 927 920 913 906 898 890 882 873 863 854 843 833 821 809 796
    783 768 753 737 720 701 681 660 636 611 584 555 522 487 448 405 356 302 241 172 92
"""
UNIPC_40_SHIFT_12 = """
    999 997 995 993 990 988 985 982 979 976 972 969 965 961 956 952 947 941 936 929 922 915 907 898 888 877 865 852 837
    819 799 776 749 717 678 631 571 492 386 235
"""
UNIPC_40_SHIFT_5 = """
    999 994 989 983 978 972 965 959 952 944 937 929 920 911 902 892 882 870 859 846 833 818 803 786 768 749 728 706 681
    654 624 591 555 514 468 416 356 288 208 113
"""
TIMESTEPS = {
    ("unipc", 50, 5.0): UNIPC_50_SHIFT_5,
    ("unipc", 40, 12.0): UNIPC_40_SHIFT_12,
    ("unipc", 40, 5.0): UNIPC_40_SHIFT_5,
    ("unipc", 6, 5.0): "999 961 908 833 713 499",
    ("unipc", 4, 5.0): "999 937 833 624",
    ("dpmpp_2m", 4, 5.0): "1000 937 833 625",
}
"""What the networks of the original code are told: (solver, steps, shift)."""
HIGH_NOISE_STEPS = {
    (40, 12.0, 0.875): 26,
    (40, 5.0, 0.9): 15,
    (50, 5.0, 0.875): 21,
    (50, 12.0, 0.875): 32,
    (20, 5.0, 0.9): 8,
}
"""Steps that the high-noise expert paints with UniPC: (steps, shift, boundary). The first two are T2V- and I2V-A14B."""
GOLDEN = {
    ("unipc", 6, 5.0): "-0.188262 -0.542374 -0.042626 0.145444 -0.053035 -0.193920 -0.331853 -0.375242",
    ("unipc", 20, 12.0): "-0.601414 -1.369251 -0.313518 -0.019292 -0.331923 -0.614124 -0.958204 -1.069694",
    ("dpmpp_2m", 6, 5.0): "-0.187362 -0.540364 -0.041863 0.146185 -0.052268 -0.193011 -0.330580 -0.373805",
    ("dpmpp_2m", 20, 12.0): "-0.601435 -1.370806 -0.313399 -0.019136 -0.331809 -0.614156 -0.958756 -1.070529",
    ("euler", 6, 5.0): "-0.182412 -0.529240 -0.038071 0.149763 -0.048436 -0.187980 -0.322482 -0.364485",
}
"""Ends of the walk of :func:`velocity`: (solver, steps, shift)."""
GOLDEN_FOUR_LEVELS = "-0.108150 -0.406838 0.015616 0.187256 0.006434 -0.112717 -0.217955 -0.250070"
FOUR_LEVELS = (1.0, 0.9375, 5 / 6, 0.625, 0.0)
"""The levels of the four-step distilled models, walked with Euler."""


def numbers(text):
    return [float(word) for word in text.split()]


def noise():
    return torch.from_numpy(1.5 * golden_array("sched", (8,))).float()


def velocity(x, index):
    """A velocity that is neither linear in x nor constant in time."""
    return torch.tanh(1.3 * x + 0.1 * index) - 0.2 * x


def check_timesteps():
    for (solver, steps, shift), expected in TIMESTEPS.items():
        levels = schedules.sigmas(solver, steps, shift)
        assert [schedules.timestep(sigma, solver) for sigma in levels[:-1]] == numbers(expected)


def check_experts():
    for (steps, shift, boundary), expected in HIGH_NOISE_STEPS.items():
        levels = schedules.sigmas("unipc", steps, shift)
        clock = [schedules.timestep(sigma, "unipc") for sigma in levels[:-1]]
        names = experts.experts_per_step(clock, boundary)
        assert names == ("high_noise",) * expected + ("low_noise",) * (steps - expected)


def check_walks():
    for (solver, steps, shift), expected in GOLDEN.items():
        check_walk(solver, schedules.sigmas(solver, steps, shift), expected)
    check_walk("euler", FOUR_LEVELS, GOLDEN_FOUR_LEVELS)


def check_walk(solver, sigmas, expected):
    *_, end = solvers.solve(solver, velocity, noise(), sigmas)
    error = (end - torch.tensor(numbers(expected))).abs().max().item()
    assert error <= TOLERANCE, f"{solver}: {error:.1e}"
