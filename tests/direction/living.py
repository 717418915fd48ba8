"""Counts the bytes that live at once while a network runs on shapes alone, without memory or time."""

import contextlib
import math
import weakref
from unittest import mock

import torch
import torch._dynamo
import torch.distributed as dist
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from filmgate.engine.kernels.partial_attention import Part
from filmgate.engine.runtime import sequence
from filmgate.engine.runtime.parallel import Group, Team


class Living(TorchDispatchMode):
    """Sum and peak of the storages that operators made and that still live; ``known`` modules do not count."""

    def __init__(self, *known):
        super().__init__()
        self._weights = [parameter.untyped_storage() for module in known for parameter in module.parameters()]
        self._seen = {storage._cdata for storage in self._weights}
        self.now = self.peak = 0

    def _add(self, tensor):
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._seen:
            return
        self._seen.add(key)
        self.now += size
        weakref.finalize(storage, self._gone, key, size)
        self.peak = max(self.peak, self.now)

    def _gone(self, key, size):
        self._seen.discard(key)
        self.now -= size

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_flatten(result)[0]:
            if isinstance(tensor, torch.Tensor):
                self._add(tensor)
        return result


@contextlib.contextmanager
def shapes_only():
    """Let the transformer run on the meta device, which knows no autocast."""
    with (
        mock.patch("torch.autocast", return_value=contextlib.nullcontext()),
        mock.patch("torch.is_autocast_enabled", return_value=False),
        torch.no_grad(),
    ):
        yield


def attend(q, k, v):
    """Attention as far as memory goes: every fast kernel makes its result and no more."""
    del k, v
    return q.new_empty(q.shape)


def group_of(count, index=0):
    """Ranks of which only one is there."""
    return Group(tuple(range(count)), index, object() if count > 1 else None)


def team_of(layout, heads):
    """The first rank of a layout, the others being nowhere."""
    divided = math.gcd(heads, layout.sequence)
    return Team(
        layout, everyone=group_of(layout.ranks), texts=group_of(layout.cfg), heads=group_of(divided),
        ring=group_of(layout.sequence // divided),
    )  # fmt: skip


@contextlib.contextmanager
def nobody_answers():
    """Let a rank exchange shapes with others that are not there; gives the bytes that it sends to them, as they go."""
    sent = []

    def all_to_all(_received, given, _to_receive, to_send, group):
        sent.append(given.nbytes * (sum(to_send) - to_send[0]) // sum(to_send))

    def all_gather(whole, part, group):
        sent.append(part.nbytes * (len(whole) - 1))

    def passed(self, given, _received):
        sent.extend(x.nbytes for x in given.values())
        return []

    def attend_part(q, k, v):
        return Part(attend(q, k, v), q.new_empty(q.shape[:-1], dtype=torch.float32))

    with (
        mock.patch.object(dist, "all_to_all_single", all_to_all),
        mock.patch.object(dist, "all_gather", all_gather),
        mock.patch.object(Group, "passed", passed),
        mock.patch.object(sequence, "attend_part", attend_part),
    ):
        yield sent
