#!/usr/bin/env python3
"""Trains two rounds on data that are never in memory, and prints the most memory that the program took.

    cargo build --release --locked
    experiments/scale/large.py 20 /path/with/room       20 GB prepared, of which the CSV takes 15

The CSV has a class and 100 columns of whole numbers from 0 to 99: blocks of random rows in random order. Prepared, each
number takes 4 bytes. The folder needs the size of the CSV and about half of the prepared size.
Needs Linux. Python 3.9, no packages.
"""

import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SHOAL = Path(__file__).resolve().parents[2] / "target/release/shoal"
COLUMNS, BLOCKS, BLOCK_ROWS = 100, 64, 2_000


def blocks(random_):
    for _ in range(BLOCKS):
        rows = []
        for _ in range(BLOCK_ROWS):
            cells = [random_.randrange(100) for _ in range(COLUMNS)]
            rows.append(",".join(map(str, cells)) + (",yes\n" if cells[0] + cells[1] > cells[2] + 40 else ",no\n"))
        yield "".join(rows).encode()


def peak(process):
    text = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+)", text)
    return int(found[1]) * 1024 if found else 0


def main():
    gigabytes, place = float(sys.argv[1]), Path(sys.argv[2])
    rows = int(gigabytes * 1e9 / 4 / COLUMNS)
    random_ = random.Random(1)
    folder = Path(tempfile.mkdtemp(prefix="shoal-large-", dir=place))
    try:
        pool = list(blocks(random_))
        with open(folder / "large.csv", "wb") as file:
            file.write((",".join(f"c{one}" for one in range(COLUMNS)) + ",label\n").encode())
            for _ in range(rows // BLOCK_ROWS):
                file.write(random_.choice(pool))
        size = (folder / "large.csv").stat().st_size
        began, most = time.monotonic(), 0
        log = open(folder / "log", "w+")
        process = subprocess.Popen(
            [SHOAL, "train", "--data", folder / "large.csv", "--label", "label", "--cache", folder / "cache",
             "--out", folder / "run", "--listen", "127.0.0.1:0", "--model", "mlp:8", "--optimizer", "lbfgs",
             "--rounds", "2", "--test-fraction", "0", "--validation-fraction", "0", "--cross-validation", "0"],
            stdout=subprocess.DEVNULL, stderr=log)
        training = None
        while process.poll() is None:
            try:
                most = max(most, peak(process))
            except OSError:
                pass
            if training is None and (folder / "run/metrics.jsonl").exists():
                training = time.monotonic() - began
            time.sleep(0.2)
        seconds = time.monotonic() - began
        log.seek(0)
        print(log.read()[-2000:], file=sys.stderr)
        kept = sum(file.stat().st_size for file in (folder / "cache").rglob("*") if file.is_file())
        print(f"{rows:,} rows, {gigabytes:g} GB prepared, CSV {size / 1e9:.1f} GB, shards {kept / 1e9:.1f} GB")
        print(f"exit {process.returncode}, {seconds:.0f} s (run directory after {training or 0:.0f} s), peak {most / 1e6:,.0f} MB")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


main()
