#!/usr/bin/env python3
"""Measures trainings of several processes against one of a single process, and prints a table.

    cargo build --release --locked
    experiments/scale/measure.py               all; six minutes
    experiments/scale/measure.py rounds takeover    some of: rounds crowd takeover

rounds    rounds a second of one coordinator with two volunteers, and of a coordinator with two gateways of one each
crowd     the same with 500 volunteers that are played (`shoal load`), and processor time by process
takeover  seconds from the death of the leader to the first state that the standby saves

Needs Linux, nats-server and nothing else on the machine. Python 3.9, no packages.
"""

import json
import os
import shutil
import socket
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
TASK = ["--data", "embedded:mnist", "--model", "mlp:64", "--optimizer", "lbfgs", "--iterations", "100000",
        "--validation-fraction", "0", "--cross-validation", "0", "--patience", "0"]
SECONDS = 20
CROWD = 500
TAKEOVERS = 3


def row(what, value):
    print(f"{what:72} {value:>24}", flush=True)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Cast:
    """Processes that end with the block."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="shoal-scale-"))
        self.processes = []
        self.nats = free_port()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, *arguments, log=None):
        out = open(log, "w") if log else subprocess.DEVNULL
        process = subprocess.Popen([str(one) for one in arguments], stdout=subprocess.DEVNULL, stderr=out)
        self.processes.append(process)
        return process

    def shared(self):
        return ["--link", f"nats://127.0.0.1:{self.nats}", "--store", self.folder / "store"]

    def bus(self):
        return self.start("nats-server", "-a", "127.0.0.1", "-p", self.nats)

    def coordinator(self, name, *more):
        port = free_port()
        process = self.start(SHOAL, "train", *TASK, "--local-workers", 0, "--listen", f"127.0.0.1:{port}",
                             "--out", self.folder / name, *more)
        return process, f"http://127.0.0.1:{port}"

    def gateway(self):
        port = free_port()
        process = self.start(SHOAL, "gateway", *self.shared(), "--listen", f"127.0.0.1:{port}")
        return process, f"http://127.0.0.1:{port}"


def status(url):
    with urllib.request.urlopen(url + "/api/status", timeout=10) as answer:
        return json.load(answer)


def wait(holds, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if holds():
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise RuntimeError("waited in vain")


def cpu_seconds(process):
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rate(url):
    """Rounds a second, from the fifth round on."""
    wait(lambda: status(url)["rounds"] >= 5)
    first, began = status(url)["rounds"], time.monotonic()
    time.sleep(SECONDS)
    return (status(url)["rounds"] - first) / (time.monotonic() - began)


def rounds():
    with Cast() as alone:
        _, url = alone.coordinator("one")
        for _ in range(2):
            alone.start(SHOAL, "volunteer", url, "--cores", 1)
        single = rate(url)
    with Cast() as several:
        several.bus()
        _, url = several.coordinator("one", *several.shared())
        for _ in range(2):
            _, gateway = several.gateway()
            wait(lambda: status(gateway))
            several.start(SHOAL, "volunteer", gateway, "--cores", 1)
        many = rate(url)
    row("rounds a second, one coordinator, two volunteers", f"{single:.2f}")
    row("rounds a second, a coordinator and two gateways, a volunteer each", f"{many:.2f}")
    row("of the single process's", f"{many / single:.2f}")


def crowd():
    with Cast() as alone:
        process, url = alone.coordinator("one")
        alone.start(SHOAL, "load", url, "--volunteers", CROWD, "--seconds", 10 * SECONDS)
        wait(lambda: status(url)["rounds"] >= 5, 120)
        before = cpu_seconds(process)
        single = rate(url)
        used = cpu_seconds(process) - before
    row(f"{CROWD} played volunteers: rounds a second, one coordinator", f"{single:.2f}")
    row("  its processor seconds a round", f"{used / (single * SECONDS):.3f}")
    with Cast() as several:
        several.bus()
        process, url = several.coordinator("one", *several.shared())
        gateways = [several.gateway() for _ in range(2)]
        for _, gateway in gateways:
            wait(lambda: status(gateway))
            several.start(SHOAL, "load", gateway, "--volunteers", CROWD // 2, "--seconds", 10 * SECONDS)
        wait(lambda: status(url)["rounds"] >= 5, 120)
        before = [cpu_seconds(one) for one in [process] + [gateway for gateway, _ in gateways]]
        many = rate(url)
        after = [cpu_seconds(one) for one in [process] + [gateway for gateway, _ in gateways]]
    used = [(late - early) / (many * SECONDS) for early, late in zip(before, after)]
    row(f"{CROWD} played volunteers: rounds a second, two gateways", f"{many:.2f}")
    row("  processor seconds a round: coordinator; each gateway", "; ".join(f"{one:.3f}" for one in used))


def newest(folder):
    names = [name for name in os.listdir(folder / "store/checkpoints") if "#" not in name]
    return max(names, default="")


def takeover():
    times = []
    for _ in range(TAKEOVERS):
        with Cast() as cast:
            cast.bus()
            leader, url = cast.coordinator("one", *cast.shared())
            wait(lambda: status(url)["phase"] == "waiting")
            cast.coordinator("two", *cast.shared(), "--standby")
            _, gateway = cast.gateway()
            wait(lambda: status(gateway))
            cast.start(SHOAL, "volunteer", gateway, "--cores", 1)
            wait(lambda: status(url)["rounds"] >= 5)
            term = newest(cast.folder)[:16]
            leader.kill()
            died = time.monotonic()
            wait(lambda: newest(cast.folder)[:16] > term)
            times.append(time.monotonic() - died)
    row(f"seconds from the leader's death to the standby's first state, {TAKEOVERS} times",
        f"{min(times):.1f} to {max(times):.1f}, median {statistics.median(times):.1f}")


ALL = {"rounds": rounds, "crowd": crowd, "takeover": takeover}
for name in sys.argv[1:] or ALL:
    ALL[name]()
