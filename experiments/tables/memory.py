#!/usr/bin/env python3
"""Measures the peak memory of `shoal` on tables of three million rows, beside the size of the prepared data.

    cargo build --release --locked
    experiments/tables/memory.py FOLDER [ROWS]

One table has 20 numbers, which take 4 bytes each when they are prepared; the other has 50 whole numbers from 0 to 255,
which take one (four as svmlight). Both have a class of three. FOLDER keeps the files: CSV and svmlight, and with numpy
and pyarrow the same as Parquet and NPZ. SHOAL names another program. Needs Linux and 5 GB of disk.
"""

import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SHOAL = os.environ.get("SHOAL") or Path(__file__).resolve().parents[2] / "target/release/shoal"
BLOCK_ROWS = 100_000
FOLDER = Path(sys.argv[1])
ROWS = int(sys.argv[2]) if len(sys.argv) > 2 else 3_000_000
TRAIN = "--model mlp:16 --iterations 1 --listen 127.0.0.1:0 --local-workers 1"
# Columns, how a number of them is drawn, and bytes of a prepared one by format.
TABLES = {
    "numbers": (20, lambda draw: f"{draw.gauss(0, 1):.6g}", {}, 4),
    "bytes": (50, lambda draw: str(draw.randrange(256)), {"svmlight": 4}, 1),
}


def turned(columns, block):
    """Columns whose cells are moved round, each by another number of rows, so that no two blocks of rows are equal."""
    return [column[at:] + column[:at] for one, column in enumerate(columns)
            for at in [(one + 1) * (block * 997) % BLOCK_ROWS]]


def make_text(table, csv, svmlight):
    count, number = TABLES[table][:2]
    draw = random.Random(1)
    columns = [[number(draw) for _ in range(BLOCK_ROWS)] for _ in range(count)]
    numbered = [[f"{place}:{value}" for value in column] for place, column in enumerate(columns, 1)]
    labels = [draw.choice("abc") for _ in range(BLOCK_ROWS)]
    with open(csv, "w") as rows:
        rows.write(",".join(f"c{one}" for one in range(count)) + ",label\n")
        for block in range(ROWS // BLOCK_ROWS):
            rows.writelines(",".join(row) + "\n" for row in zip(*turned(columns, block), labels))
    with open(svmlight, "w") as rows:
        digits = [str("abc".index(label)) for label in labels]
        for block in range(ROWS // BLOCK_ROWS):
            rows.writelines(" ".join(row) + "\n" for row in zip(digits, *turned(numbered, block)))


def make_others(table, csv, parquet, npz):
    try:
        import numpy
        import pyarrow.csv
        import pyarrow.parquet
    except ImportError:
        print("numpy or pyarrow is missing: text alone")
        return
    read = pyarrow.csv.read_csv(csv)
    pyarrow.parquet.write_table(read, parquet)
    columns = [read.column(one).to_numpy() for one in range(TABLES[table][0])]
    inputs = numpy.stack(columns, axis=1).astype("f4" if table == "numbers" else "u1")
    labels = numpy.unique(read.column("label").to_numpy(zero_copy_only=False).astype("U1"), return_inverse=True)[1]
    numpy.savez(npz, x=inputs, y=labels.astype("i8"))


def peak(arguments, where):
    """The most memory of a command, in bytes."""
    process = subprocess.Popen([SHOAL, *arguments.split()], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=where)
    told = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{arguments}: {told.decode()[-2000:]}")
    return usage.ru_maxrss * 1024


def measure(table, place):
    columns, _, other, usual = TABLES[table]
    files = {kind: FOLDER / f"{table}-{ROWS}.{kind}" for kind in ["csv", "parquet", "npz", "svmlight"]}
    csv, parquet, npz, svmlight = files.values()
    # In other processes, because a program begins with the peak of the one that starts it.
    for make, made, arguments in [
        (make_text, svmlight, (table, csv, svmlight)),
        (make_others, npz, (table, csv, parquet, npz)),
    ]:
        if not made.exists():
            child = multiprocessing.get_context("spawn").Process(target=make, args=arguments)
            child.start()
            child.join()
    for kind, file in files.items():
        if not file.exists():
            continue
        prepared = ROWS * columns * other.get(kind, usual)
        label = " --label label" if kind in ("csv", "parquet") else ""
        run = place / f"{table}-{kind}"
        for name, arguments in {
            "inspect": f"inspect {file}{label}",
            "train": f"train --data {file}{label} --task classes {TRAIN} --out {run}",
            "evaluate": f"evaluate {run} --data {file}",
            "predict": f"predict {run} --data {file}",
        }.items():
            most = peak(arguments, place)
            figures = f"{most / 1e6:.0f} MB | {prepared / 1e6:.0f} MB | {most / prepared:.2f}"
            print(f"| `shoal {name}`, {table}, {kind} | {figures} |", flush=True)


def main():
    print(f"{ROWS:,} rows\n\n| command | peak | prepared | times |\n| --- | ---: | ---: | ---: |")
    place = Path(tempfile.mkdtemp(dir=FOLDER))
    try:
        for table in TABLES:
            measure(table, place)
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
