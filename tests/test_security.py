"""Files from strangers cannot run code, write elsewhere or crash. See docs/security.md."""

import ast
import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import SMALL

from raysweep.config.user_function import user_function
from raysweep.driver import lock as lock_module
from raysweep.driver.lock import Lock
from raysweep.driver.worker_environment import refuse_foreign
from raysweep.errors import RaysweepError, SpaceError, StoreError
from raysweep.records.choice import choose
from raysweep.records.results import load
from raysweep.records.store import Store
from raysweep.records.trial_config import TrialConfig
from raysweep.space.parsing import parse_space

ROOT = Path(__file__).parent.parent
LAUGHS = "\n".join(["a0: &a0 [x]", *(f"a{i}: &a{i} [{f'*a{i - 1},' * 9}]" for i in range(1, 12))])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, "aliases"),
        ("name: !!python/object/apply:os.system ['touch owned']", "tag"),
        ("name: !!python/name:os.system", "tag"),
        ("[" * 2_000, "nested too deeply"),
        ("[" * 50_000, "nested too deeply"),
        ("{a: " * 50_000, "nested too deeply"),
        ("- " * 50_000 + "x", "nested too deeply"),
        ("x: " + "y" * 2_000_000, "at most"),
        ("seed: " + "9" * 5_000, "cannot be read"),
        ("x: !!int many", "'many' cannot be read"),
        ("x: !!bool perhaps", "'perhaps' cannot be read"),
    ],
)
def test_a_malicious_space_is_refused_and_runs_nothing(text, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpaceError, match=message):
        parse_space(text, "bomb.yaml")
    (tmp_path / "space.yaml").write_text(text)
    with pytest.raises(StoreError, match=message):
        load(str(tmp_path))
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("wrong", [{"heartbeat": "x"}, {"since": None}, {"pid": [1]}, {"token": 7}])
def test_a_malformed_lock_is_taken_over(tmp_path, monkeypatch, wrong):
    monkeypatch.setattr(lock_module, "STALE", 1.0)
    store = Store(str(tmp_path))
    store.folder.write_bytes(b"x", "space.yaml")
    held = {"host": "h", "pid": 1, "token": "t", "since": 1.0, "heartbeat": 1.0} | wrong
    store.folder.write_bytes(json.dumps(held).encode(), "lock.json")
    with Lock(store, say=lambda _: None):
        assert json.loads(store.folder.read_bytes("lock.json"))["token"] != held["token"]


@pytest.mark.parametrize("name", ["../escape", "/tmp/escape", "a/b", "..", "a\nb", ""])
def test_a_name_cannot_lead_to_another_folder(name):
    with pytest.raises(SpaceError, match="`name` must be letters"):
        parse_space(SMALL.replace("name: small", f"name: {json.dumps(name)}"), "x.yaml")


@pytest.mark.parametrize(
    "reference", ["os:system", "subprocess:run", "torch.hub:load", "ray:init", "raysweep.cli:main"]
)
def test_a_space_may_name_only_functions_of_the_users_own_modules(reference):
    with pytest.raises(SpaceError, match="is not a module of your own"):
        user_function(reference, "model")


def test_a_function_from_the_working_folder_is_found(tmp_path, monkeypatch):
    (tmp_path / "own_module_of_a_user.py").write_text("def f():\n    return 3\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert user_function("own_module_of_a_user:f", "model")() == 3


def stranger(tmp_path, **columns):
    """Return a results folder with one record, some of its columns replaced."""
    space = parse_space(SMALL, "small.yaml")
    folder = tmp_path / "theirs"
    (folder / "trials").mkdir(parents=True)
    (folder / "space.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(space.to_plain()))))
    config = space.baseline()
    row = {"trial_id": config.trial_id, "number": 0, "status": "failed"}
    row |= {"config": config.to_json()} | columns
    pd.DataFrame([row]).to_parquet(folder / "trials" / f"{config.trial_id}.parquet")
    return folder, space


@pytest.mark.parametrize(
    "config",
    ["{}", "[1]", "not json", '{"model": 3}', "[" * 100_000],
)
def test_a_record_with_a_malformed_configuration_is_an_error(config):
    with pytest.raises(StoreError, match="raysweep did not write a record's `config`"):
        TrialConfig.from_json(config)


def test_a_record_cannot_choose_a_module_to_import(tmp_path):
    folder, space = stranger(tmp_path)
    document = json.loads(space.baseline().to_json())
    document["dataset"] = {"name": "evil:run", "command": "touch owned"}
    row = {"trial_id": "x", "config": json.dumps(document)}
    with pytest.raises(StoreError, match="names 'evil:run', which the space does not"):
        refuse_foreign(space, [row])
    document["dataset"] = json.loads(space.baseline().to_json())["dataset"]
    evil = {"name": "evil:run", "command": "touch owned"}
    document["attacks"]["membership"]["data_transfer"] = {"dataset": evil}
    row = {"trial_id": "x", "config": json.dumps(document)}
    with pytest.raises(StoreError, match="names 'evil:run', which the space does not"):
        refuse_foreign(space, [row])
    refuse_foreign(space, load(str(folder)).trials.to_dict("records"))


@pytest.mark.parametrize(
    "columns",
    [
        {"accuracy": "high"},
        {"number": "first"},
        {"status": 3.5},
        {"config": 7},
        {"n_classes": [np.array([1, 2])]},
    ],
)
def test_a_folder_with_wrong_types_is_an_error(tmp_path, columns):
    folder, space = stranger(tmp_path, **{"status": "ok"} | columns)
    with contextlib.suppress(RaysweepError):
        load(str(folder)).front()
    with contextlib.suppress(RaysweepError):
        row = choose(load(str(folder)).trials, space.objectives, [], "accuracy").row
        TrialConfig.from_json(row["config"])


def test_a_parquet_file_with_a_pickled_type_runs_no_code(tmp_path, monkeypatch):
    folder, _ = stranger(tmp_path)
    pickled = b"cposix\nsystem\n(S'touch owned'\ntR."
    field = pa.field(
        "trial_id",
        pa.string(),
        metadata={
            "ARROW:extension:name": "arrow.py_extension_type",
            "ARROW:extension:metadata": pickled,
        },
    )
    table = pa.table([pa.array(["a"])], schema=pa.schema([field]))
    pq.write_table(table, folder / "trials" / "y.parquet")
    monkeypatch.chdir(tmp_path)
    with contextlib.suppress(RaysweepError):
        load(str(folder)).front()
    assert not (tmp_path / "owned").exists()


def test_no_module_unpickles_evaluates_code_or_starts_commands():
    # CIFAR is distributed as pickles: its reader accepts arrays and nothing else.
    modules = {"pickle", "marshal", "shelve", "subprocess", "joblib", "dill", "cloudpickle"}
    forbidden = re.compile(
        rf"({'|'.join(modules)})(\.|$)|eval$|exec$|os\.(system|popen|exec|spawn|posix_spawn)"
        r"|(np|numpy|torch)\.load$|(pd|pandas)\.read_pickle|yaml\.(load|unsafe_load|full_load)"
    )
    for path in (ROOT / "raysweep").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
                safe = keywords.get("allow_pickle") == "False"
                safe |= keywords.get("weights_only") == "True"
                reader = path.name == "cifar.py" and name.startswith("pickle.Unpickl")
                assert not forbidden.match(name) or safe or reader, f"{path}: {name}"
            if isinstance(node, ast.Import) and path.name != "cifar.py":
                assert not {alias.name for alias in node.names} & modules, path
            if isinstance(node, ast.ImportFrom):
                assert node.module not in modules, path


OWN_RAY = """
import json, os, subprocess, sys
import psutil, ray, raysweep
from rich.console import Console
from raysweep.driver.cluster import ray_session

STRANGER = '''
import sys
from ray._raylet import GcsClient
GcsClient(address=sys.argv[1]).internal_kv_put(b"key", b"owned", True, b"test")
'''
with ray_session(None, raysweep.load_space("small.yaml"), Console(stderr=True), at_once=1):
    has_trial = ray.remote(lambda: "raysweep.trial.run" in sys.modules)
    print(json.dumps(ray.get(has_trial.remote())))  # a worker listens too
    listening = set()
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    print(json.dumps([" ".join(process.cmdline()) for process in processes]))
    for process in processes:
        for c in process.net_connections(kind="inet"):
            if c.status == psutil.CONN_LISTEN:
                listening.add((process.name(), c.laddr.ip))
    print(json.dumps(sorted(listening)))
    address = ray.get_runtime_context().gcs_address
    stranger = [sys.executable, "-c", STRANGER, address]
    for mode in ("token", "disabled"):
        environment = {**os.environ, "RAY_AUTH_MODE": mode}
        done = subprocess.run(stranger, env=environment, capture_output=True, text=True)
        print(json.dumps([done.returncode, done.stderr]))
"""


@pytest.mark.ray
def test_ray_listens_here_only_requires_a_token_and_starts_what_a_sweep_needs(tmp_path):
    (tmp_path / "small.yaml").write_text(SMALL)
    done = subprocess.run(
        [sys.executable, "-c", OWN_RAY],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    lines = map(json.loads, done.stdout.splitlines()[-5:])
    has_trial, commands, listening, owner, stranger = lines
    assert has_trial, "a worker has not imported the trial before it is asked to"
    assert any("raylet" in command for command in commands)
    assert sum("ray::" in command for command in commands if "Agent" not in command) == 1
    assert not [c for c in commands if re.search(r"/(monitor|log_monitor|dashboard)\.py", c)]
    assert listening, "nothing listens: the test looked at the wrong processes"
    assert {address for _, address in listening} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}, (
        listening
    )
    assert owner[0] == 0, owner[1]
    assert stranger[0] != 0
    assert "token" in stranger[1].lower()


SECRETS = re.compile(
    r"AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY-----|gh[pousr]_[A-Za-z0-9]{36}"
    r"|xox[baprs]-[0-9A-Za-z-]{10,}|(?i:(secret|token|password)\s*[=:]\s*['\"][A-Za-z0-9/+]{24,}['\"])"
)


def test_no_tracked_file_holds_a_secret():
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.suffix in (".png", ".parquet") or not path.is_file():
            continue
        match = SECRETS.search(path.read_text(encoding="utf-8", errors="ignore"))
        assert match is None, f"{name}: {match and match[0][:12]}..."
