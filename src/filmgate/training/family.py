"""Trains the family in sittings: as much as fits into a number of seconds, the rest another time, on another machine.

    filmgate train toybox family RUNS --seconds 560 --dry-run
    filmgate train toybox family RUNS --seconds 560 --bring OUT

What a sitting has reached lies in RUNS/kept, packed in bf16: carry it to the next one, and nothing else. Everything is
derived from it: how far a stage is says its own file, what was measured and drawn lies in notes.tar.gz. A sitting that
is killed loses what a stage has done since it was last judged, an eighth of its time at most.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import torch

from filmgate.spec.errors import InvalidRequest, MissingFile
from filmgate.training.carried import NOTES, RATES, bring, pack_notes, unpack_notes
from filmgate.training.distillation import FILE
from filmgate.training.named import finished_files, first_files, named_seconds
from filmgate.training.records import keep, progress_of
from filmgate.training.stages import (
    ANEW,
    KINDS,
    LEAST,
    STAGES,
    Kind,
    Slot,
    Stage,
    State,
    all_end,
    chosen,
    clips_for,
    divided,
    finished,
    required,
)

RESERVE, CLOSING, GRACE = 12.0, 25.0, 5.0
"""Seconds kept back at the end of a sitting for packing, those that a program has for its last judgement and sheets,
and those that it may overstay before it is killed."""
_LEASH = "filmgate.training.leashed"
_ALONE = ("text_encoder", "distillation", "read_training")
"""Programs that train on one GPU."""


@dataclass
class Sitting:
    """One call: where, how long, what, and from what.

    Attributes:
        have: Weights that are finished and lie elsewhere, by stage.
        begin: Weights that a stage starts from.
        interrupted: The signal that asked it to end; 0: none did.
    """

    runs: Path
    seconds: float
    wanted: dict[str, Stage]
    have: Mapping[str, Path] = field(default_factory=dict)
    begin: Mapping[str, Path] = field(default_factory=dict)
    smoke: bool = False
    finish: bool = False
    began: float = field(default_factory=time.monotonic)
    packer: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2))
    packing: list[Future[None]] = field(default_factory=list)
    aside: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    warming: list[subprocess.Popen[bytes]] = field(default_factory=list)
    interrupted: int = 0

    @property
    def kept(self) -> Path:
        """What is carried from sitting to sitting."""
        return self.runs / "kept"

    @property
    def left(self) -> float:
        """Seconds that remain for training and what belongs to it."""
        return self.seconds - (0.0 if self.smoke else RESERVE) - (time.monotonic() - self.began)

    def say(self, text: str) -> None:
        """A line with the time."""
        print(f"=== {time.monotonic() - self.began:4.0f} s: {text}", flush=True)

    def weights(self, name: str) -> Path | None:
        """The weights of a stage: those that the caller named, or the newest of this machine and as they were brought
        here."""
        if name in self.have:
            return self.have[name]
        there = [path for path in (self.runs / STAGES[name].weights, self.kept / f"{name}.planes") if path.is_file()]
        return max(there, key=progress_of, default=None)

    def progress(self, name: str) -> float:
        """How far a stage is: the share of its schedule. One that others only begin from is over when all of these have
        begun: nobody needs its weights any more, and they are not carried for ever."""
        stage = STAGES[name]
        if name in self.have:
            return 1.0
        found = self.weights(name)
        share = 0.0 if found is None else progress_of(found)
        if stage.program in ANEW and not finished(stage, share):
            share = 0.0
        return share if finished(stage, share) or not self._left_behind(stage) else stage.stop

    def _left_behind(self, stage: Stage) -> bool:
        """Whether all that a stage was trained for has begun from it."""
        heirs = [other for other in STAGES.values() if stage.name in required(other)]
        return bool(heirs) and all(
            {option for need, option in heir.needs if need == stage.name} <= {"--resume", "--partner"}
            and not heir.only
            and self.progress(heir.name) > heir.start
            for heir in heirs
        )

    def state(self) -> State:
        """What there is now."""
        buffers = frozenset(kind for kind in KINDS if any(self.runs.glob(f"{kind}.buffer.*")))
        return State({name: self.progress(name) for name in STAGES}, buffers, self.rates())

    def rates(self) -> dict[str, float]:
        """What was measured, in this sitting or an earlier one."""
        path = self.runs / RATES
        return {} if self.smoke or not path.is_file() else json.loads(path.read_text())

    def measured(self, **values: float) -> None:
        """Remember rates."""
        (self.runs / RATES).write_text(json.dumps(self.rates() | values, indent=2) + "\n")

    def check(self) -> None:
        """Raise MissingFile if a stage needs another's weights, which are not here and will not be."""
        for stage in self.wanted.values():
            over = finished(stage, self.progress(stage.name))
            for need in () if over else required(stage):
                if need not in self.wanted and not finished(STAGES[need], self.progress(need)):
                    raise MissingFile(self.kept / f"{need}.planes", f"{stage.name} needs {need}, which is not finished")

    def check_ends(self) -> None:
        """Raise InvalidRequest if not all stages can be shortened to end within the sitting."""
        open_ = [stage for stage in self.wanted.values() if not finished(stage, self.progress(stage.name))]
        if not all_end(open_, self.plan()):
            raise InvalidRequest(
                "finish", f"{', '.join(stage.name for stage in open_)} cannot all be trained in {self.seconds:.0f} s",
                allowed="more --seconds, or fewer stages by --only",
            )  # fmt: skip

    def plan(self) -> list[Slot]:
        """What the time that is left is divided into."""
        least = 0.2 if self.smoke else LEAST
        return divided(self.wanted, self.state(), self.left, finish=self.finish, least=least)

    def run(self) -> list[str]:
        """Do as much as fits; returns the names of what failed."""
        self.runs.mkdir(parents=True, exist_ok=True)
        self.kept.mkdir(exist_ok=True)
        unpack_notes(self.kept / NOTES, self.runs)
        failed: list[str] = []
        while not self.interrupted:
            slots = self.plan()
            for line in plan_lines(slots, self.state(), self.left):
                print(line, flush=True)
            if not slots:
                break
            slot = slots[0]
            self._begin_beside(slots)
            following = next((later.name for later in slots[1:] if not later.beside), None)
            done = self._fill(slot) if slot.name.startswith("fill ") else self._train(slot, following)
            for name in list(self.aside):
                self._await(name)
            if not done and not self.interrupted:
                failed.append(slot.name)
                gone = _depending(slot.name, self.wanted)
                self.say(f"{slot.name} FAILED; left out with it: {', '.join(sorted(gone)) or 'nothing'}")
                self.wanted = {name: stage for name, stage in self.wanted.items() if name not in gone}
        for process in self.warming:
            _kill(process)
        for packed in self.packing:
            packed.result()
        pack_notes(self.runs, self.kept / NOTES)
        return failed

    def _fill(self, slot: Slot) -> bool:
        name = slot.name.removeprefix("fill ")
        kind = KINDS[name]
        rate = self.rates().get(f"fill {name}", kind.rate)
        clips = clips_for(kind, rate, self.left)
        seconds = self.left if self.smoke else min(self.left, slot.other)
        self.say(f"fills {name} for {seconds:.0f} s, {clips} clips expected")
        log = self.runs / f"fill-{name}.log"
        command = self._command("filling", [
            "--member", kind.member, "--vae", str(self._needed(kind.vae)),
            "--clips", str(kind.clips), "--store", str(self.runs / f"{name}.buffer.safetensors"),
            "--deadline", f"{seconds:.0f}",
            "--compiled", str(self.kept / f"compiled-{name}.bin"),
        ])  # fmt: skip
        if not self._finish(self._start(command, log), log):
            return False
        facts = _last_json(log)
        if "clips_per_second" in facts:
            named = {f"fill {name}": facts["clips_per_second"], f"compile {name}": facts["compile_seconds"]}
            self.measured(**named)
            self.say(f"{facts['clips_per_second']:.0f} clips a second, after {facts['compile_seconds']:.0f} s")
        return True

    def _begin_beside(self, slots: Sequence[Slot]) -> None:
        """Start what trains beside the first slot."""
        for slot in slots:
            if slot.beside and slot.beside == slots[0].name:
                stage = self.wanted[slot.name]
                self.say(f"{stage.name} beside {slot.beside}")
                self.aside[stage.name] = self._start(self._training(stage, slot), self._log(stage))

    def _train(self, slot: Slot, following: str | None) -> bool:
        stage = self.wanted[slot.name]
        self._warm(stage, following)
        self.say(f"{slot.name} from {max(self.progress(slot.name), stage.start):.2f} to {slot.reaches:.2f}")
        before = self.progress(slot.name)
        done = self._finish(self._start(self._training(stage, slot), self._log(stage)), self._log(stage))
        self._keep(stage)
        after = self.progress(slot.name)
        curve = (self.runs / stage.weights).with_suffix(".jsonl")
        rate = _last_json(curve).get("samples_per_second") if curve.is_file() else None
        if rate:
            self.measured(**{slot.name: rate})
        self.say(f"{slot.name} is at {after:.2f}" + (f", {rate:.0f} clips a second" if rate else ""))
        return done and after > before

    def _warm(self, stage: Stage, following: str | None) -> None:
        """Compile beside a stage, on the processor's other cores, what the device would have to wait for after it: the
        renderer of the buffer that follows a VAE, whose own step is compiled first, or that of the reader."""
        if self.smoke:
            return
        if kind := next((name for name, kind in KINDS.items() if kind.vae == stage.name), None):
            options = [
                "renderer",
                "--member",
                KINDS[kind].member,
                "--compiled",
                str(self.kept / f"compiled-{kind}.bin"),
            ]
            self._compile(options, f"warm-{kind}.log")
        if following in self.wanted and self.wanted[following].program == "read_training":
            self._compile(["reader", "--vae", str(self._needed("vae"))], "warm-reader.log")

    def _compile(self, options: Sequence[str], log: str) -> None:
        self.warming.append(
            self._start([sys.executable, "-m", _LEASH, "filmgate.training.warm", *options], self.runs / log)
        )

    def _keep(self, stage: Stage) -> None:
        """Pack what a stage has reached, beside what comes next."""
        source = self.runs / stage.weights
        if not source.is_file():
            return
        latents = source.parent / "latents.safetensors"
        if stage.kind is not None and latents.is_file() and not self._statistics(KINDS[stage.kind]).is_file():
            shutil.copyfile(latents, self._statistics(KINDS[stage.kind]))
        self.packing.append(self.packer.submit(keep, source, self.kept / f"{stage.name}.planes", stage.only))
        for name in ("high_noise", "low_noise"):
            lora = source.parent / FILE.format(name)
            if stage.program == "distillation" and stage.name.endswith(name.partition("_")[0]) and lora.is_file():
                shutil.copyfile(lora, self.kept / lora.name)

    def _statistics(self, kind: Kind) -> Path:
        return self.kept / f"latents-{kind.vae}.safetensors"

    def _needed(self, name: str) -> Path:
        found = self.weights(name)
        if found is None or not finished(STAGES[name], self.progress(name)):
            raise MissingFile(self.kept / f"{name}.planes", f"stage {name} is not finished, and its weights are needed")
        return found

    def _log(self, stage: Stage) -> Path:
        return self.runs / f"{stage.name}.log"

    def _training(self, stage: Stage, slot: Slot | None = None) -> list[str]:
        """The command line of a stage."""
        own, progress = self.weights(stage.name), max(self.progress(stage.name), stage.start)
        began = own is not None and self.progress(stage.name) > stage.start
        left = stage.seconds * (stage.stop - progress) / (stage.stop - stage.start)
        if slot is not None and self.finish:
            left = slot.training
        seconds = slot.training if slot is not None and stage.program == "read_training" else left
        options = [*stage.options, "--seconds", f"{seconds:.1f}", "--output", str((self.runs / stage.weights).parent)]
        options += ["--deadline", f"{max(5.0, self.left - (0.0 if self.smoke else CLOSING)):.1f}"]
        if stage.program != "distillation":
            options += ["--world", stage.world]
        resume: list[str] = []
        for need, option in stage.needs:
            if option == "--partner":
                partner = self.weights(need)
                options += [] if partner is None else [option, str(partner)]
            elif option == "--resume":
                resume = [str(self._needed(need))] if not began or stage.only else []
            else:
                options += [option, str(self._needed(need))]
        if not began and stage.name in self.begin:
            resume += [str(self.begin[stage.name])]
            options += ["--short", "0"] if "--short" in stage.options else []  # whoever knows clips needs no short ones
        resume += [str(own)] if began else []
        options += ["--resume", *resume] if resume else []
        if stage.program in ("autoencoder", "diffusion", "distillation"):
            options += ["--start", f"{progress:.6f}"]
        if stage.program in ("autoencoder", "diffusion"):
            options += ["--stop", f"{stage.stop}"]
        if stage.kind is not None:
            options += ["--store", str(self.runs / f"{stage.kind}.buffer.safetensors")]
            statistics = self._statistics(KINDS[stage.kind])
            options += ["--statistics", str(statistics)] if statistics.is_file() else []
        return self._command(stage.program, options)

    def _command(self, program: str, options: Sequence[str]) -> list[str]:
        gpus = 1 if program in _ALONE else torch.cuda.device_count()
        several = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(gpus), "-m"] if gpus > 1 else []
        smoke = ["--smoke"] if self.smoke else []
        return [sys.executable, "-m", _LEASH, *several, f"filmgate.training.{program}", *options, *smoke]

    def _start(self, command: list[str], log: Path) -> subprocess.Popen[bytes]:
        compiled = self.runs / "compiled"
        environment = os.environ | {
            "PYTHONUNBUFFERED": "1", "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
            "TORCHINDUCTOR_CACHE_DIR": str(compiled / "inductor"), "TRITON_CACHE_DIR": str(compiled / "triton"),
        }  # fmt: skip
        with log.open("ab") as output:
            output.write((" ".join(command) + "\n").encode())
            output.flush()
            return subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, env=environment,
                start_new_session=True,
            )  # fmt: skip

    def _await(self, name: str) -> None:
        stage, process = STAGES[name], self.aside.pop(name)
        done = self._finish(process, self._log(stage))
        self._keep(stage)
        again = "" if done or self.interrupted else "; it failed, and is tried again"
        self.say(f"{name} is at {self.progress(name):.2f}{again}")

    def _finish(self, process: subprocess.Popen[bytes], log: Path) -> bool:
        """Wait for a program, at most until the end of the sitting; say what it said last if it failed."""
        while process.poll() is None:
            if self.left < -GRACE or self.interrupted:
                self.say(f"kills what wrote {log.name}")
                _kill(process)
                return False
            time.sleep(0.1)
        _kill(process)
        if process.returncode:
            print("\n".join(log.read_text(errors="replace").splitlines()[-25:]), flush=True)
        return process.returncode == 0

    def interrupt(self, number: int, _frame: FrameType | None) -> None:
        """End soon, and keep what was reached."""
        self.interrupted = number


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a program and those that it started, if it has not ended, and close its leash."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdin is not None:
        process.stdin.close()


def plan_lines(slots: Sequence[Slot], state: State, seconds: float) -> list[str]:
    """A plan as text: when, what, seconds of training, how far that is, and how many clips or steps it is."""
    lines = [f"{seconds:.0f} s are left:"]
    for slot in slots:
        if slot.name.startswith("fill "):
            lines.append(f"  {slot.begins:5.0f} s  {slot.name:<12} {slot.other:4.0f} s")
            continue
        rate = state.rates.get(slot.name, STAGES[slot.name].rate)
        source = "measured" if slot.name in state.rates else "expected"
        done = f"{slot.training * rate / 1e6:.2f} M clips" if rate > 100 else f"{slot.training * rate:.0f} steps"
        lines.append(
            f"  {slot.begins:5.0f} s  {slot.name:<12} {slot.training:4.0f} s and {slot.other:3.0f} s beside training,"
            f" to {slot.reaches:.2f}: {done} {source}{f', beside {slot.beside}' if slot.beside else ''}"
        )
    return lines if slots else [f"{seconds:.0f} s are left: nothing to train, or too little time"]


def _depending(name: str, stages: Mapping[str, Stage]) -> set[str]:
    """A stage that failed, or a buffer, and all that need it."""
    kind = name.removeprefix("fill ")
    gone = {s.name for s in stages.values() if s.name == name or (name != kind and s.kind == kind)}
    while True:
        more = {stage.name for stage in stages.values() if gone & set(required(stage))}
        if more <= gone:
            return gone
        gone |= more


def _last_json(path: Path) -> dict[str, float]:
    for line in reversed(path.read_text(errors="replace").splitlines()):
        if line.startswith("{"):
            found: dict[str, float] = json.loads(line)
            return found
    return {}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="directory of the run; kept/ in it is carried from sitting to sitting")
    parser.add_argument(
        "--seconds", type=float, required=True, help="until this call must have ended, packing included"
    )
    parser.add_argument("--only", metavar="STAGE,...", help=f"of {', '.join(STAGES)}; default: all, in this order")
    parser.add_argument("--set", nargs="*", default=[], metavar="STAGE=SECONDS", help="train a stage for so long")
    parser.add_argument("--finish", action="store_true", help="shorten all stages so that they end within this sitting")
    parser.add_argument("--have", nargs="*", default=[], metavar="STAGE=FILE", help="finished weights from elsewhere")
    parser.add_argument("--begin", nargs="*", default=[], metavar="STAGE=FILE", help="weights that a stage starts from")
    parser.add_argument("--bring", type=Path, metavar="DIR", help="copy here what this call changed in RUNS/kept")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument("--smoke", action="store_true", help="tiny clips, no compilation: checks the code on a CPU")
    return parser.parse_args()


def main() -> None:
    """Command line: ``python -m filmgate.training.family RUNS --seconds 560``."""
    args, moment = _options(), time.time()
    wanted = chosen(args.only, named_seconds(args.set, "set"))
    have, begin = finished_files(args.have, "have"), first_files(args.begin, "begin")
    sitting = Sitting(args.runs, args.seconds, wanted, have, begin, args.smoke, args.finish)
    sitting.check()
    if args.finish:
        sitting.check_ends()
    if args.dry_run:
        print("\n".join(plan_lines(sitting.plan(), sitting.state(), sitting.left)))
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, sitting.interrupt)
    failed = sitting.run()
    if args.bring is not None:
        for trouble in bring(sitting.kept, args.bring, moment):
            sitting.say(f"much to bring at once: {trouble}")
    done = "interrupted; what was reached is kept" if sitting.interrupted else "done"
    sitting.say(f"{done}, but failed: {', '.join(failed)}" if failed else done)
    sys.exit(128 + sitting.interrupted if sitting.interrupted else 1 if failed else 0)


if __name__ == "__main__":
    main()
