"""The cluster files against Ray's own schema, defaults and checks: no cloud is called."""

import copy
import re
import shlex
from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.aws.config import _configure_security_group
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parent.parent
FILES = ("cluster.yaml", "cluster.local.yaml")


def read(name):
    return yaml.safe_load((ROOT / name).read_text())


@pytest.mark.parametrize("name", FILES)
def test_a_cluster_file_holds_by_rays_own_schema_and_checks(name):
    prepared = prepare_config(read(name))
    validate_config(prepared)
    head = prepared["available_node_types"][prepared["head_node_type"]]
    assert head["max_workers"] == 0 or prepared["provider"]["type"] == "local"


@pytest.mark.parametrize("name", FILES)
def test_a_key_that_ray_does_not_know_is_refused(name):
    with pytest.raises(Exception, match="Additional properties are not allowed"):
        validate_config(prepare_config({**read(name), "idle_minutes": 5}))


@pytest.mark.parametrize("name", FILES)
def test_every_key_is_commented(name):
    """A top-level key, and each key of a machine, has a comment on its line or above it."""
    lines = (ROOT / name).read_text().splitlines()
    for i, line in enumerate(lines):
        if not re.match(r"[a-z_]+:", line):
            continue
        end = next((j for j in range(i + 1, len(lines)) if re.match(r"[a-z_#]", lines[j])), None)
        block = "\n".join(lines[max(0, i - 1) : end])
        assert "#" in block, f"{name}, line {i + 1}: {line}"


@pytest.mark.parametrize("name", FILES)
def test_nobody_reaches_the_cluster_without_the_token_or_the_dashboard_without_a_tunnel(name):
    document = read(name)
    head, worker = (document[f"{part}_start_ray_commands"][-1] for part in ("head", "worker"))
    assert "RAY_AUTH_MODE=token ray start --head" in head
    assert "RAY_AUTH_MODE=token ray start --address" in worker
    assert "--dashboard-host=127.0.0.1" in head
    assert document["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert "auth_token=" not in (ROOT / name).read_text()  # a path is shipped, never a value


@pytest.mark.parametrize("name", FILES)
def test_every_command_is_whole_to_a_shell(name):
    """A blank and # end a plain YAML value: half a command would be left."""
    document = read(name)
    for key in document:
        for command in document[key] if key.endswith("_commands") else []:
            assert shlex.split(command), command


@pytest.mark.parametrize("name", FILES)
def test_every_machine_installs_the_checkout_with_the_tested_versions(name):
    document = read(name)
    install = " ".join(document["setup_commands"])
    assert document["file_mounts"]["~/raysweep"] == "."
    assert "-c ~/raysweep/constraints.txt -e '~/raysweep[cluster]'" in install


def test_the_head_on_aws_takes_no_trial_and_workers_come_and_go():
    types = read("cluster.yaml")["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0, "GPU": 0}
    assert types["gpu"]["min_workers"] == 0
    assert types["gpu"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "IamInstanceProfile" not in types["gpu"]["node_config"]


def test_ray_adds_no_open_security_group_on_aws():
    prepared = prepare_config(read("cluster.yaml"))
    before = copy.deepcopy(prepared["available_node_types"])
    with_groups = _configure_security_group(prepared)  # would call AWS if it had to make one
    assert with_groups["available_node_types"] == before
