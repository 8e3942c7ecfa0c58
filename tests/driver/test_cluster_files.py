"""The cluster files against Ray's own schema, defaults and checks, and against a mock of EC2."""

import copy
import re
import shlex
import subprocess
from pathlib import Path

import boto3
import pytest
import yaml
from moto import mock_aws
from ray.autoscaler import tags
from ray.autoscaler._private.aws.config import _configure_security_group, bootstrap_aws
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parent.parent.parent
FILES = ("cluster.yaml", "cluster.local.yaml")


def read(name):
    return yaml.safe_load((ROOT / name).read_text())


@pytest.mark.parametrize("name", FILES)
def test_a_cluster_file_passes_rays_own_checks(name):
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
def test_the_cluster_needs_a_token_and_the_dashboard_a_tunnel(name):
    document = read(name)
    head, worker = (document[f"{part}_start_ray_commands"][-1] for part in ("head", "worker"))
    assert "RAY_AUTH_MODE=token ray start --head" in head
    assert "RAY_enable_autoscaler_v2=0 " in head  # the one that the cluster's tests exercise
    assert "RAY_AUTH_MODE=token ray start --address" in worker
    assert "--dashboard-host=127.0.0.1" in head
    assert document["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert "auth_token=" not in (ROOT / name).read_text()  # a path is shipped, never a value


@pytest.mark.parametrize("name", FILES)
def test_a_shell_can_parse_every_command(name):
    """A blank and # end a plain YAML value, which would cut a command in half."""
    document = read(name)
    for key in document:
        for command in document[key] if key.endswith("_commands") else []:
            assert shlex.split(command), command


@pytest.mark.parametrize("name", FILES)
def test_every_machine_installs_the_checkout_with_the_tested_versions(name):
    document = read(name)
    install = " ".join(document["setup_commands"])
    assert document["file_mounts"]["~/raysweep"] == "."
    assert "-c ~/raysweep/constraints.txt -e " in install


@pytest.mark.parametrize("name", FILES)
def test_the_install_command_names_the_checkout_in_the_home_folder(name, tmp_path):
    """Run the command in a shell, with a pip and a uv that print their arguments."""
    for tool in (".local/bin/uv", "venv/bin/python"):
        (tmp_path / tool).parent.mkdir(parents=True)
        (tmp_path / tool).write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        (tmp_path / tool).chmod(0o755)
    (line,) = (line for line in read(name)["setup_commands"] if "constraints.txt" in line)
    given = subprocess.run(
        ["bash", "-c", line],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.splitlines()
    home = str(tmp_path)
    assert given[-4:] == [
        "-c",
        f"{home}/raysweep/constraints.txt",
        "-e",
        f"{home}/raysweep[cluster]",
    ]


@pytest.mark.parametrize("name", FILES)
def test_another_results_folder_replaces_the_first(name, tmp_path):
    (line,) = (line for line in read(name)["head_setup_commands"])
    (tmp_path / ".bashrc").write_text("# mine\n")
    for command in (line, line.replace("RAYSWEEP_RESULTS=", "RAYSWEEP_RESULTS=/new/")):
        home = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
        subprocess.run(["bash", "-c", command], env=home, check=True)
    lines = (tmp_path / ".bashrc").read_text().splitlines()
    assert lines[0] == "# mine"
    assert [line.startswith("export RAYSWEEP_RESULTS=/new/") for line in lines[1:]] == [True]


def test_the_head_on_aws_takes_no_trial_and_workers_come_and_go():
    types = read("cluster.yaml")["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0, "GPU": 0}
    assert types["gpu"]["min_workers"] == 0
    assert types["gpu"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "IamInstanceProfile" not in types["gpu"]["node_config"]


def test_ray_adds_no_open_security_group_on_aws():
    prepared = prepare_config(read("cluster.yaml"))
    before = copy.deepcopy(prepared["available_node_types"])
    with_groups = _configure_security_group(prepared)  # would call AWS to create a group
    assert with_groups["available_node_types"] == before


@pytest.fixture
def aws(tmp_path, monkeypatch):
    """Return an empty AWS account of moto; no machine starts."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # Ray puts its key pair there
    monkeypatch.setattr("ray.autoscaler._private.aws.config.time.sleep", lambda _: None)
    with mock_aws(config={"iam": {"load_aws_managed_policies": True}}):
        yield boto3.client("ec2", read("cluster.yaml")["provider"]["region"])


@pytest.mark.slow
def test_ec2_accepts_rays_machines_and_deletes_them_with_their_disks(aws, tmp_path):
    """Ray's own AWS provider, from the file to `ray down`: all but SSH to the machines."""
    vpc = aws.describe_vpcs()["Vpcs"][0]["VpcId"]
    group = aws.create_security_group(GroupName="raysweep", Description="sweeps", VpcId=vpc)
    text = (ROOT / "cluster.yaml").read_text().replace("sg-00000000000000000", group["GroupId"])
    image = aws.describe_images()["Images"][0]["ImageId"]
    text = text.replace("ami-00000000000000000", image)
    ready = prepare_config(yaml.safe_load(text))
    validate_config(ready)
    ready = bootstrap_aws(ready)
    provider = AWSNodeProvider(ready["provider"], ready["cluster_name"])
    types = ready["available_node_types"]
    assert "IamInstanceProfile" in ready["head_node"]
    assert "IamInstanceProfile" not in types["gpu"]["node_config"]  # workers hold no credentials
    for name, kind in (("head", tags.NODE_KIND_HEAD), ("gpu", tags.NODE_KIND_WORKER)):
        provider.create_node(types[name]["node_config"], {tags.TAG_RAY_NODE_KIND: kind}, 1)
    found = [i for r in aws.describe_instances()["Reservations"] for i in r["Instances"]]
    head, worker = sorted(found, key=lambda machine: machine["InstanceType"], reverse=True)
    assert (head["InstanceType"], head.get("InstanceLifecycle")) == ("m5.large", None)
    assert (worker["InstanceType"], worker["InstanceLifecycle"]) == ("g4dn.xlarge", "spot")
    keys = {machine["KeyName"] for machine in found}
    assert [file.stem for file in (tmp_path / ".ssh").iterdir()] == [*keys]
    volumes = aws.describe_volumes()["Volumes"]
    assert [(volume["Size"], volume["VolumeType"]) for volume in volumes] == [(100, "gp3")] * 2
    for machine in found:
        assert [own["GroupId"] for own in machine["SecurityGroups"]] == [group["GroupId"]]
        assert machine["ImageId"] == image
        assert machine["BlockDeviceMappings"][0]["Ebs"]["DeleteOnTermination"]
    named = {own["GroupName"] for own in aws.describe_security_groups()["SecurityGroups"]}
    assert named == {"default", "raysweep"}  # Ray's own group, open to the world, is not made
    provider.terminate_nodes(provider.non_terminated_nodes({}))
    assert provider.non_terminated_nodes({}) == []
    assert aws.describe_volumes()["Volumes"] == []
