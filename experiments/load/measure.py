#!/usr/bin/env python3
"""Measures a coordinator under load and under attack, and prints a table.

    cargo build --release --locked
    experiments/load/measure.py            all but link and liars; ten minutes
    experiments/load/measure.py idle kills some of: idle computing fan-out attacks liars kills link

`link` takes a quarter of an hour by itself: a volunteer at 1 Mbit/s in a training of five million parameters. `liars`
takes ten minutes: trainings with one liar of each kind, and without.
Needs Linux and nothing else on the machine. Python 3.9, no packages.
"""

import asyncio
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHOAL = ROOT / "target/release/shoal"
TICKS = os.sysconf("SC_CLK_TCK")
# No step takes longer than this.
STEP_SECONDS = 240

IDLE, COMPUTING, CLIENTS, KILLS = 10_000, 1_000, 1_000, 50
ATTACK_SECONDS = 15
ATTACKS = [("stall", 1), ("zeros", 1), ("false-unfit", 1), ("sleepers", 100), ("unasked", 200), ("cores", 1_000)]
LIES = ["zeros", "flipped", "scaled", "negative-loss", "low-loss", "all-correct", "stall", "false-unfit"]
LIAR_ITERATIONS, LIAR_RUNS = 12, 4
rows = []


def row(what, value, goal=""):
    rows.append((what, value, goal))
    print(f"{what:62} {value:>22}   {goal}", flush=True)


class Coordinator:
    """A training under way."""

    def __init__(self, *arguments, command="train", environment=None):
        self.process = subprocess.Popen(
            [SHOAL, command, *map(str, arguments), "--listen", "127.0.0.1:0", "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})},
        )
        self.said = []
        for line in self.process.stderr:
            self.said.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                self.url = found[0]
                break
        else:
            raise RuntimeError("the coordinator does not start: " + "".join(self.said))
        # Somebody must read what it says later.
        self.reader = subprocess.Popen(["cat"], stdin=self.process.stderr, stdout=subprocess.DEVNULL)

    def status(self):
        with urllib.request.urlopen(self.url + "/api/status", timeout=60) as answer:
            return json.load(answer)

    def wait(self, holds, seconds=STEP_SECONDS):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            status = self.status()
            if holds(status):
                return status
            time.sleep(0.1)
        raise RuntimeError(f"not within {seconds} s: {self.status()}")

    def memory(self):
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(re.search(r"VmRSS:\s+(\d+)", text)[1])

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def end(self):
        self.process.kill()
        self.process.wait()
        self.reader.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


def load(*arguments):
    """Starts `shoal load`."""
    return subprocess.Popen(
        [SHOAL, "load", *map(str, arguments), "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def outcome(process):
    return json.loads(process.communicate(timeout=STEP_SECONDS)[0].splitlines()[-1])


def train(folder, *arguments, iterations=1_000_000):
    return Coordinator(
        "--data", "embedded:mnist", "--out", Path(folder) / "run", "--iterations", iterations, "--patience", 0,
        "--validation-fraction", 0, *arguments,
    )


def idle(folder):
    with train(folder, "--model", "mlp:32", "--wait-for", 2 * IDLE) as coordinator:
        time.sleep(1)
        before = coordinator.memory()
        crowd = load(coordinator.url, "--volunteers", IDLE, "--seconds", 60)
        connected = coordinator.wait(lambda status: status["volunteers"] >= IDLE, 100)["volunteers"]
        time.sleep(3)
        each = (coordinator.memory() - before) / connected
        crowd.kill()
        row(f"memory of an idle volunteer, {connected} connected", f"{each / 1e3:.1f} KB", "20 KB")


def computing(folder):
    # A round of 60,000 examples in units of 32: as many units as it takes for a thousand volunteers.
    arguments = ["--model", "mlp:128", "--optimizer", "lbfgs", "--minibatch", 32, "--local-workers", 0]
    with train(folder, *arguments, "--wait-for", COMPUTING) as coordinator:
        crowd = load(coordinator.url, "--volunteers", COMPUTING, "--seconds", 45)
        coordinator.wait(lambda status: status["rounds"] >= 1)
        first, cpu, began = coordinator.status()["rounds"], coordinator.cpu_seconds(), time.monotonic()
        time.sleep(25)
        status = coordinator.status()
        rounds = max(status["rounds"] - first, 1)
        took, worked = time.monotonic() - began, coordinator.cpu_seconds() - cpu
        crowd.kill()
        size = status["parameters"] * 4 / 1e6
        row(f"coordinator's time for a round of {status['volunteers']}, {size:.1f} MB",
            f"{worked / rounds:.2f} s of {took / rounds:.2f} s", "0.5 s")


def fan_out(folder):
    arguments = ["--model", "mlp:1250", "--optimizer", "lbfgs", "--local-workers", 0, "--wait-for", CLIENTS]
    with train(folder, *arguments) as coordinator:
        size = 4 * coordinator.status()["parameters"]
        ours = outcome(load(coordinator.url, "--volunteers", CLIENTS, "--attack", "sleepers", "--seconds", 60))
    # To all at once, or to a few dozen at a time as the coordinator does: whichever is faster is what it is compared to.
    manners = [[], ["--at-a-time", 32]]
    bare = min((outcome(load("--bare", size, "--volunteers", CLIENTS, *manner)) for manner in manners),
               key=lambda arrivals: arrivals["last"])
    first = ours["first_round"]
    row(f"{size / 1e6:.1f} MB to {first['count']} clients: half, all", f"{first['median']:.1f} s, {first['last']:.1f} s")
    row(f"the same by tungstenite alone: {bare['count']} clients", f"{bare['median']:.1f} s, {bare['last']:.1f} s")
    row("rate, of that of tungstenite alone", f"{bare['last'] / first['last']:.2f}", "0.7")


def attacks(folder):
    arguments = ["--model", "mlp:32", "--optimizer", "lbfgs", "--local-workers", 0, "--wait-for", 3]
    honest = ["--volunteers", 3, "--speed", 40_000]
    seconds_a_round = None
    for attack, count in [(None, 0), *ATTACKS]:
        with tempfile.TemporaryDirectory(dir=folder) as own, train(own, *arguments) as coordinator:
            helpers = load(coordinator.url, *honest, "--seconds", ATTACK_SECONDS + 15)
            coordinator.wait(lambda status: status["rounds"] >= 2)
            crowd = None
            if attack is not None:
                crowd = load(coordinator.url, "--volunteers", count, "--attack", attack, "--seconds", ATTACK_SECONDS + 10)
                time.sleep(2)
            first, began, times = coordinator.status()["rounds"], time.monotonic(), []
            while time.monotonic() < began + ATTACK_SECONDS:
                asked = time.monotonic()
                status = coordinator.status()
                times.append(time.monotonic() - asked)
                time.sleep(0.1)
            rounds = max(status["rounds"] - first, 1)
            took = (time.monotonic() - began) / rounds
            memory = coordinator.memory()
            for process in filter(None, [helpers, crowd]):
                process.kill()
            times.sort()
            slowest = f"status {1e3 * times[-1]:.0f} ms, {memory / 1e6:.0f} MB"
            if attack is None:
                seconds_a_round = took
                row("three honest volunteers", f"{took:.2f} s a round", slowest)
            else:
                row(f"three honest volunteers and {count} x {attack}",
                    f"{took / seconds_a_round:.2f} times", f"1.5 times; {slowest} (100 ms)")


def liars(folder):
    """Trainings of three honest volunteers and a liar end with the honest weights, and take hardly longer."""
    arguments = ["--model", "mlp:32", "--optimizer", "lbfgs", "--local-workers", 0, "--wait-for", 3]

    def one(own, attack):
        with train(own, *arguments, iterations=LIAR_ITERATIONS) as coordinator:
            crowd = [load(coordinator.url, "--volunteers", 3, "--speed", 40_000, "--seconds", STEP_SECONDS)]
            coordinator.wait(lambda status: status["rounds"] >= 2)
            began = time.monotonic()
            if attack is not None:
                name, count, how = attack
                crowd.append(load(coordinator.url, "--volunteers", count, "--attack", name, "--seconds", STEP_SECONDS,
                                  *how))
            said = json.loads(coordinator.process.communicate(timeout=STEP_SECONDS)[0].splitlines()[-1])
            took = time.monotonic() - began
            for process in crowd:
                process.kill()
        named = {offender["agent"] for offender in said["offenders"]}
        return took, said["weights_digest"], attack is None or f"shoal load {attack[0]}" in named

    def runs(attack):
        all_runs = []
        for _ in range(LIAR_RUNS):
            with tempfile.TemporaryDirectory(dir=folder) as own:
                all_runs.append(one(own, attack))
        return all_runs

    honest = runs(None)
    usual, digest = statistics.median(took for took, *_ in honest), honest[0][1]
    row(f"three honest volunteers, {LIAR_ITERATIONS} iterations", f"{usual:.1f} s", f"medians of {LIAR_RUNS}")
    at_once = [(name, 1, []) for name in LIES]
    later = [(name, 1, ["--after", 20, "--once"]) for name in ("flipped", "scaled", "low-loss")]
    for attack in [*at_once, *later, ("colluding", 2, ["--after", 20, "--once"])]:
        seen = runs(attack)
        took = statistics.median(took for took, *_ in seen) / usual
        same, named = sum(one[1] == digest for one in seen), sum(one[2] for one in seen)
        name, count, how = attack
        after = f", after {how[1]} right results" if how else ""
        row(f"and {count} x {name}{after}", f"{took:.2f} times",
            f"1.15 times; honest weights in {same} of {LIAR_RUNS}, named in {named}")


def kills(folder):
    """A training that is killed again and again ends with the weights of one that is not."""
    run = Path(folder) / "run"
    arguments = ["--data", ROOT / "tests/data/breast_cancer.csv", "--model", "mlp:64", "--optimizer", "sgd",
                 "--learning-rate", 0.01, "--iterations", 4000, "--validation-fraction", 0, "--patience", 0,
                 "--cross-validation", 0, "--local-workers", 1]
    whole = Coordinator(*arguments, "--out", Path(folder) / "whole")
    digest = json.loads(whole.process.communicate(timeout=STEP_SECONDS)[0].splitlines()[-1])["weights_digest"]
    chance, killed = random.Random(1), 0
    end = time.monotonic() + STEP_SECONDS
    coordinator = Coordinator(*arguments, "--out", run)
    while killed < KILLS and time.monotonic() < end:
        time.sleep(chance.uniform(0.05, 1.2))
        if coordinator.process.poll() is not None:
            break
        os.kill(coordinator.process.pid, signal.SIGKILL)
        coordinator.end()
        killed += 1
        command = ("resume", [run]) if (run / "checkpoint").exists() else ("train", [*arguments, "--out", run])
        if command[0] == "train":
            subprocess.run(["rm", "-rf", run], check=True)
        coordinator = Coordinator(*command[1], command=command[0])
    said = coordinator.process.communicate(timeout=STEP_SECONDS)[0]
    same = json.loads(said.splitlines()[-1])["weights_digest"] == digest
    row(f"killed {killed} times and resumed", "the same weights" if same else "OTHER WEIGHTS", "the same")


async def throttle(target, bytes_a_second):
    """A way to `target` that takes so many bytes a second in each direction; answers with its port."""
    async def carry(reader, writer):
        try:
            while data := await reader.read(4096):
                writer.write(data)
                await writer.drain()
                await asyncio.sleep(len(data) / bytes_a_second)
        except (ConnectionError, asyncio.CancelledError):  # One is gone, or the measurement is over.
            pass
        finally:
            writer.close()

    async def visit(reader, writer):
        try:
            there, back = await asyncio.open_connection("127.0.0.1", target, limit=8192)
        except ConnectionError:  # The training is over.
            writer.close()
            return
        await asyncio.gather(carry(reader, back), carry(there, writer))

    return await asyncio.start_server(visit, "127.0.0.1", 0, limit=8192)


def link(folder):
    """A volunteer at 1 Mbit/s, in one round of five million parameters that takes longer than the way of the bytes."""
    arguments = ["--model", "mlp:6250", "--minibatch", 32, "--optimizer", "averaged", "--replicas", 24,
                 "--local-steps", 1500, "--learning-rate", 0.01, "--rounds", 1, "--local-workers", 1]
    with train(folder, *arguments) as coordinator:
        async def help_slowly():
            server = await throttle(int(coordinator.url.rpartition(":")[2]), 125_000)
            port = server.sockets[0].getsockname()[1]
            volunteer = await asyncio.create_subprocess_exec(
                SHOAL, "volunteer", f"http://127.0.0.1:{port}", "--cores", "1", stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            try:
                return (await asyncio.wait_for(volunteer.communicate(), 3000))[0].decode()
            except asyncio.TimeoutError:
                return "it took too long"
            finally:
                if volunteer.returncode is None:
                    volunteer.kill()

        parameters = coordinator.status()["parameters"]
        said = asyncio.run(help_slowly())
        coordinator.process.wait(1200)
        counted = re.search(r"Contributed ([\d,]+) work units?", said)
        row(f"a volunteer at 1 Mbit/s, {parameters / 1e6:.1f} million parameters",
            f"{counted[1]} units" if counted else said.strip()[:22], "at least 1")


STEPS = {"idle": idle, "computing": computing, "fan-out": fan_out, "attacks": attacks, "liars": liars, "kills": kills,
         "link": link}


def main():
    wanted = sys.argv[1:] or [name for name in STEPS if name not in ("link", "liars")]
    if unknown := [name for name in wanted if name not in STEPS]:
        sys.exit(f"no step is called {unknown[0]}; give some of {', '.join(STEPS)}")
    if not SHOAL.exists():
        sys.exit("build the program first: cargo build --release --locked")
    for name in wanted:
        with tempfile.TemporaryDirectory() as folder:
            try:
                STEPS[name](folder)
            except (RuntimeError, OSError, subprocess.TimeoutExpired, KeyError, ValueError) as error:
                row(name, "FAILED", str(error)[:60])


main()
