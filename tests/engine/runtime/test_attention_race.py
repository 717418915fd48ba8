"""The choice of an attention kernel by trying: who wins, who is left out and why, and that it is told."""

import pytest
import torch

from filmgate.engine.kernels.attention import attention_reference, flash4_attention, sdpa
from filmgate.engine.runtime import attention_race
from filmgate.engine.runtime.attention_race import KERNELS, Fastest, Races, attention_of, circumstances, race, why_not
from filmgate.spec import DeviceError

CPU = torch.device("cpu")
Q, K, V = torch.randn(3, 1, 6, 2, 16)


class Runners:
    """Kernels that take known times on a clock of their own."""

    def __init__(self, **seconds):
        self.time, self.calls = 0.0, []
        self.kernels = {name: self._runner(name, taken) for name, taken in seconds.items()}

    def _runner(self, name, taken):
        def attend(q, k, v, /):
            self.calls.append(name)
            if isinstance(taken, Exception):
                raise taken
            self.time += taken
            return sdpa(q, k, v)

        return attend

    def clock(self, _device):
        return self.time


@pytest.fixture
def anywhere(monkeypatch):
    monkeypatch.setattr(attention_race, "why_not", lambda _kernel, _device: None)
    return [x.bfloat16() for x in (Q, K, V)]


def test_the_fastest_wins_and_only_it_is_called_from_then_on(anywhere):
    runners, races = Runners(flash4=2.0, cudnn=1.0, torch=3.0), Races()
    fastest = Fastest(races, runners.kernels, runners.clock)
    fastest(*anywhere)
    runners.calls.clear()
    fastest(*anywhere)
    assert runners.calls == ["cudnn"]
    (told,) = races.told()
    assert told.startswith("attention of [1, 6, 2, 16] to [1, 6, 2, 16] in bfloat16 by cudnn: flash4 2e+03 ms, cudnn")
    assert races.told() == ()


def test_what_is_known_needs_no_race_and_what_is_new_is_kept(anywhere):
    runners, kept = Runners(flash4=2.0, cudnn=1.0, torch=3.0), []
    shape = "[1, 6, 2, 16] to [1, 6, 2, 16] in bfloat16"
    races = Races({shape: "flash4"}, lambda winners: kept.append(dict(winners)))
    fastest = Fastest(races, runners.kernels, runners.clock)
    fastest(*anywhere)
    assert runners.calls == ["flash4"]
    assert not kept
    fastest(*(x[:, :4] for x in anywhere))
    assert kept == [{shape: "flash4", "[1, 4, 2, 16] to [1, 4, 2, 16] in bfloat16": "cudnn"}]


def test_a_winner_that_can_no_longer_run_races_again(anywhere, monkeypatch):
    runners = Runners(flash4=1.0, cudnn=2.0, torch=3.0)
    monkeypatch.setattr(attention_race, "why_not", lambda kernel, _: "gone" if kernel == "flash4" else None)
    races = Races({"[1, 6, 2, 16] to [1, 6, 2, 16] in bfloat16": "flash4"})
    Fastest(races, runners.kernels, runners.clock)(*anywhere)
    assert list(races.winners.values()) == ["cudnn"]
    assert "flash4 not (gone)" in races.told()[0]


def test_every_shape_has_a_race_of_its_own(anywhere):
    runners = Runners(cudnn=1.0, torch=3.0)
    fastest = Fastest(None, runners.kernels, runners.clock)
    fastest(*anywhere)
    fastest(*(x[:, :4] for x in anywhere))
    fastest(*anywhere)
    assert len(fastest.races.winners) == 2


def test_a_kernel_that_fails_is_left_out_and_says_why(anywhere):
    runners = Runners(flash4=RuntimeError("no such tile\nmore"), cudnn=NotImplementedError(), torch=1.0)
    result = race(*anywhere, runners.kernels, runners.clock)
    assert result.winner == "torch"
    assert result.reasons == {"flash4": "RuntimeError: no such tile", "cudnn": "NotImplementedError: "}
    assert "flash4 not (RuntimeError: no such tile)" in str(result)


def test_if_torchs_own_fails_so_does_the_race(anywhere):
    runners = Runners(torch=RuntimeError("out of memory"))
    with pytest.raises(RuntimeError, match="out of memory"):
        race(*anywhere, runners.kernels, runners.clock)


def test_in_fp32_there_is_torchs_alone(anywhere):
    runners = Runners(flash4=0.1, torch=3.0)
    result = race(Q, K, V, runners.kernels, runners.clock)
    assert result.winner == "torch"
    assert result.reasons == {"flash4": "it is not for fp32"}


def test_on_a_cpu_the_fastest_is_torchs():
    fastest = attention_of("fastest", CPU)
    torch.testing.assert_close(fastest(Q, K, V), attention_reference(Q, K, V), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("kernel", ["cudnn", "flash4"])
def test_what_cannot_run_is_an_error_that_says_what_can(kernel):
    with pytest.raises(DeviceError, match=f"'{kernel}' cannot run: cpu has no such kernel.*Nearest valid: torch"):
        attention_of(kernel, CPU)
    assert attention_of("torch", CPU) is sdpa


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (9, 0))
    gpu = torch.device("cuda")
    assert why_not("cudnn", gpu) is None
    monkeypatch.setattr(attention_race, "version", lambda _package: "4.0.0b36")
    assert why_not("flash4", gpu) is None
    monkeypatch.undo()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (8, 9))
    assert why_not("flash4", gpu) == "it needs compute capability 9.0 or later"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (7, 5))
    assert "8.0" in why_not("cudnn", gpu)


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (9, 0))
    monkeypatch.setattr(attention_race, "FLASH4", "no-such-package")
    assert "filmgate[flash4]" in why_not("flash4", torch.device("cuda"))


def test_who_wins_depends_on_the_card_and_the_packages(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "NVIDIA H200")
    monkeypatch.setattr(attention_race, "FLASH4", "no-such-package")
    where = circumstances(torch.device("cuda"))
    assert where.startswith(f"NVIDIA H200, torch {torch.__version__}, cuDNN ")
    assert where.endswith(", no no-such-package")
    monkeypatch.setattr(attention_race, "version", lambda _package: "4.1")
    assert circumstances(torch.device("cuda")).endswith(", no-such-package 4.1")
    assert circumstances(CPU) is None


def test_on_shapes_alone_it_is_a_shape():
    q = torch.empty(1, 6, 2, 16, device="meta")
    assert flash4_attention(q, q, q).shape == q.shape


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["flash4", "cudnn"])
@pytest.mark.parametrize(("length", "rows"), [(4096, 4096), (1000, 512), (77, 257)])
def test_kernels_are_torchs_and_repeat(name, length, rows):
    device = torch.device("cuda:0")
    if (reason := why_not(name, device)) is not None:
        pytest.skip(reason)
    draw = torch.Generator("cuda").manual_seed(0)
    q = torch.randn(2, length, 3, 128, device="cuda", dtype=torch.bfloat16, generator=draw)
    k, v = (torch.randn(2, rows, 3, 128, device="cuda", dtype=torch.bfloat16, generator=draw) for _ in range(2))
    exact, found = sdpa(q.double(), k.double(), v.double()), KERNELS[name](q, k, v)
    assert float((found.double() - exact).norm() / exact.norm()) < 0.004
    assert all(torch.equal(found, KERNELS[name](q, k, v)) for _ in range(5))
    shared = KERNELS[name](q[:1].expand(2, -1, -1, -1), k, v)
    assert torch.equal(shared[:1], KERNELS[name](q[:1], k[:1], v[:1]))
