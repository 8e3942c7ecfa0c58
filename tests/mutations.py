"""Mutated search spaces and results folders, which must give an answer and never a traceback.

    python tests/mutations.py spaces 5000
    python tests/mutations.py folders 200

The suite runs a few hundred of them (``test_mutations.py``).
"""

import contextlib
import io
import json
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from conftest import SMALL

from raysweep.driver import lock
from raysweep.driver.proposals import Proposals
from raysweep.errors import RaysweepError
from raysweep.records.compaction import compact, drop_orphans, tidy
from raysweep.records.store import Store
from raysweep.records.tables import pack
from raysweep.space.parsing import parse_space
from raysweep.trial.run import run_trial

ROOT = Path(__file__).parent.parent

SLOWEST = 2.0  # seconds of this process that an answer may take

SLOWEST_PAGE = 4.0  # of which the report's figures take most; a machine with much to do doubles it

SPACES = sorted((ROOT / "search_spaces").glob("*.yaml"))

ATOMS = [
    *("0", "-1", "1", "0.5", "1e400", "-1e400", ".inf", "-.inf", ".nan", "1e-320", "null", "true"),
    *("9" * 400, "-" + "9" * 400, "1e15", "'x'", "''", "'[/x]'", "'\\0'", "'" + "y" * 9000 + "'"),
    *("[]", "{}", "[[]]", "{a: 1}", "[1, a, null]", "{low: 0, high: 1}", "2001-01-01", "0o17"),
    *("{low: 1, high: 1e9, log: true}", "{values: [1, [2], {a: b}]}", "{low: 5, high: 2}", "~"),
    *("'mod:f'", "os:system", "epsilon", "digits", "mlp", "grid", "a: b", "&a x", "*a", "!!int x"),
]

KEYS = [
    *("epsilon", "target_epsilon", "dropout", "l2", "seed", "training.epochs", "dataset.members"),
    *("model.name", "attacks.membership", "model", "training", "low", "high", "values", "points"),
    *("or", "log", "name", "sampler", "trials", "pruning", "resources", "scenarios", "search", "x"),
    *("objectives", "attacks", "defences", "delta", "noise_multiplier", "random_crop", "."),
]

TEXTS = [
    "\t",
    "\0",
    "\x1b[2J",
    ":",
    "- ",
    "[",
    "{",
    "}",
    "]",
    '"',
    "'",
    "#",
    "&",
    "*",
    "!",
    "|",
    "\n",
]


def mutated_space(rng):
    """Return the text of a search space after one to four changes."""
    lines = rng.choice(SPACES).read_text().splitlines()
    lines = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    for _ in range(rng.randint(1, 4)):
        i = rng.randrange(len(lines))
        key, colon, _value = lines[i].partition(":")
        change = rng.randrange(8)
        if change <= 2 and colon:
            lines[i] = f"{key}: {rng.choice(ATOMS)}"
        elif change == 3:
            indent = " " * (len(key) - len(key.lstrip()))
            lines.insert(i, f"{indent}{rng.choice(KEYS)}: {rng.choice(ATOMS)}")
        elif change == 4 and len(lines) > 1:
            del lines[i]
        elif change == 5:
            lines.insert(i, lines[rng.randrange(len(lines))])
        elif change == 6:
            at = rng.randrange(len(lines[i]) + 1)
            lines[i] = lines[i][:at] + rng.choice(TEXTS) * rng.choice([1, 1, 3000]) + lines[i][at:]
        else:
            words = lines[i].split(" ")
            words[rng.randrange(len(words))] = rng.choice([*ATOMS, *KEYS])
            lines[i] = " ".join(words)
    return "\n".join(lines) + "\n"


def use_space(text):
    """Do with a space what `validate` does."""
    space = parse_space(text, "mutated.yaml")
    space.size()
    list(space.scenario_points())
    space.rungs()
    json.dumps(space.to_plain(), allow_nan=True)


CELLS = [
    *("[/x]", "[link=http://x]x[/link]", "\x1b]0;owned\x07", "=cmd|' /C calc'!A0", "\0", "", None),
    *(float("nan"), float("inf"), -float("inf"), 1e308, -1.0, 2**62, -5, True, "9" * 5000, "{}"),
    *('{"model": 3}', "x\nmodel: y", "../../x", [1, 2], b"\xff", "ok", "failed"),
]


def mutate_folder(rng, folder):
    """Change a results folder in one to three ways."""
    for _ in range(rng.randint(1, 3)):
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        tables = [path for path in files if path.suffix == ".parquet"]
        change = rng.randrange(9)
        path = rng.choice(files)
        if change <= 3 and tables:
            _change_cells(rng, rng.choice(tables))
        elif change == 4:
            content = bytearray(path.read_bytes())
            for _ in range(rng.randint(1, 20)):
                content[rng.randrange(len(content))] = rng.randrange(256)
            path.write_bytes(content)
        elif change == 5:
            path.write_bytes(path.read_bytes()[: rng.randrange(1, 200)])
        elif change == 6:
            names = [
                "zzz.parquet",
                "merged-abc.parquet",
                "merged-9.parquet",
                ".x.tmp",
                "a b.parquet",
            ]
            shutil.copy(path, rng.choice(sorted({p.parent for p in files})) / rng.choice(names))
        elif change == 7:
            path.unlink()
            rng.choice([os.mkfifo, os.mkdir, lambda p: os.symlink("/dev/zero", p)])(path)
        else:
            (folder / "space.yaml").unlink(missing_ok=True)
            (folder / "space.yaml").write_text(mutated_space(rng))


def _change_cells(rng, path):
    """Put a strange value into some column of a table, with whatever type it has."""
    with contextlib.suppress(pa.ArrowException, OSError):
        rows = pq.read_table(path).to_pylist()
        key, value = rng.choice(sorted(rows[0])), rng.choice(CELLS)
        for row in rows[: rng.choice([1, len(rows)])]:
            row[key] = value
        pq.write_table(pa.Table.from_pylist(rows), path)


COMMANDS = 8  # that read a results folder

REPORT = 4


def use_folder(folder, number):
    """Do with a results folder what one of COMMANDS does; the last is the start of `sweep`."""
    from raysweep import cli

    commands = (
        ["front", folder],
        ["front", folder, "--format", "csv", "--all"],
        ["front", folder, "--format", "json"],
        ["best", folder, "--where", "accuracy >= 0.1"],
        ["report", folder, "--out", f"{folder}/report.html"],
        ["status", folder],
        ["ledger", folder, "--trial", SPACE_OF_RESULTS.config({"dropout": 0.1}).trial_id[:6]],
    )
    if number == len(commands):
        start_sweep(folder)
        return
    with contextlib.redirect_stdout(io.StringIO()) as out:
        cli.app(commands[number], standalone_mode=False)
    assert "\x1b" not in out.getvalue(), "an escape sequence was printed"


def start_sweep(folder):
    """Do what `sweep` does in its results folder before it starts Ray, and write what it merges."""
    store = Store(folder)
    store.refuse_links()
    store.space_document()
    lock.SETTLE = 0.0  # no other driver is about
    with lock.Lock(store, say=lambda _: None):
        tidy(store)
        compact(store, least=1)
        trials = store.read("trials")
        drop_orphans(store, set(trials["trial_id"]))
        Proposals(SPACE_OF_RESULTS, trials).next()


SPACE_OF_RESULTS = parse_space(SMALL, "small.yaml")


def write_results(folder):
    """Write a results folder with the records of a baseline and of three other trials."""
    store = Store(str(folder))
    document = json.loads(json.dumps(SPACE_OF_RESULTS.to_plain()))
    store.folder.write_bytes(yaml.safe_dump(document, sort_keys=False).encode(), "space.yaml")
    base = None
    for number, dropout in enumerate((0.0, 0.1, 0.2, 0.3)):
        config = SPACE_OF_RESULTS.config({"dropout": dropout})
        base = run_trial(config) if number == 0 else base
        found = _renamed(base, config, number)
        store.write(pack(found).with_number(number=number, scenario=None, retries=[]))


def _renamed(result, config, number):
    """Return the records of one trial as those of another."""
    name = {"trial_id": config.trial_id}
    trial = replace(
        result.trial,
        **name,
        config=config.to_json(),
        defences=config.defences,
        accuracy=result.trial.accuracy - number / 100,
        attack_auc=result.trial.attack_auc - number / 100,
    )
    attacks = tuple(replace(record, **name) for record in result.attacks)
    epochs = tuple(replace(record, **name) for record in result.epochs)
    return replace(result, trial=trial, attacks=attacks, epochs=epochs)


def answers(kind, n, seed):
    """Yield what each answer to ``n`` mutations is, its seconds, and a traceback or "".

    A space has one answer, a folder one of each command that reads it.
    """
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        original = Path(name) / "original"
        if kind == "folders":
            write_results(original)
            for command in range(COMMANDS):  # what they import is not the answer
                use_folder(str(original), command)
        for number in range(n):
            before = rng.getrandbits(32)
            one = random.Random(before)
            what = f"{kind} {number} (seed {before})"
            if kind == "spaces":
                text = mutated_space(one)
                yield _answer(f"{what}\n{text}", use_space, text)
            else:
                yield from _folder_answers(what, one, original, Path(name) / f"{number}")


def _folder_answers(what, rng, original, folder):
    """Yield the answer of each command to one mutated folder."""
    shutil.copytree(original, folder)
    try:
        mutate_folder(rng, folder)
        for command in range(COMMANDS):
            name = "report" if command == REPORT else f"command {command}"
            yield _answer(f"{what}, {name}", use_folder, str(folder), command)
    finally:
        shutil.rmtree(folder)


def _answer(what, use, *arguments):
    """Return what an answer is, the seconds that it took, and a traceback or ""."""
    crash, began = "", time.process_time()
    try:
        use(*arguments)
    except (RaysweepError, SystemExit):
        pass
    except Exception:
        crash = traceback.format_exc()
    return what, time.process_time() - began, crash


def failures(kind, n, seed):
    """Yield a text about each answer to ``n`` mutations that crashed or took too long."""
    for what, seconds, crash in answers(kind, n, seed):
        if crash or is_late(what, seconds):
            yield f"{what}: {seconds:.1f} s\n{crash}"


def is_late(what, seconds):
    """Return whether an answer took too long."""
    return seconds > (SLOWEST_PAGE if what.endswith(", report") else SLOWEST)


if __name__ == "__main__":
    kind, n = sys.argv[1], int(sys.argv[2])
    n_bad, slowest, most = 0, "", 0.0
    for what, seconds, crash in answers(kind, n, int(sys.argv[3]) if len(sys.argv) > 3 else 0):
        slowest, most = max((slowest, most), (what, seconds), key=lambda one: one[1])
        if crash or is_late(what, seconds):
            n_bad += 1
            sys.stdout.write(f"{what}: {seconds:.1f} s\n{crash}\n")
            sys.stdout.flush()
    sys.stdout.write(
        f"{n} {kind}, {n_bad} bad answers; the slowest took {most:.2f} s:\n{slowest}\n"
    )
    raise SystemExit(n_bad > 0)
