"""Commands and their output: every mistake of a user is one message and exit code 2."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import typer
import yaml
from conftest import SMALL
from PIL import Image

from raysweep import cli
from raysweep.driver.preflight import notes
from raysweep.errors import StoreError
from raysweep.records.store import Store
from raysweep.report.output import check_output, write_output
from raysweep.space.parsing import parse_space
from raysweep.space.schema import schema
from raysweep.trial import preflight

RAYSWEEP = str(Path(sys.executable).parent / "raysweep")


def replaced(old, new, name="bad.yaml"):
    assert old in SMALL
    Path(name).write_text(SMALL.replace(old, new, 1))
    return name


DATASET = "{name: digits, members: 120, nonmembers: 60, pool: 200, validation: 100, test: 100}"
MODEL = "{name: mlp, hidden: [32], activation: tanh}"
PRIVATE = "defences: {epsilon: 2, delta: 0.5}\nseed: 3"

MISTAKES = {
    "unknown key": ("epochs: 4", "epoch: 4", "did you mean 'epochs'"),
    "low above high": ("low: 2, high: 16", "low: 20, high: 16", "`low` must be below `high`"),
    "sizes that do not fit": ("members: 120", "members: 5000", "the splits need"),
    "a pool too small": ("pool: 200", "pool: 5", "needs at least 50 pool examples"),
    "delta above one over members": ("seed: 3", PRIVATE, "`delta` must be below 1 / members"),
    "a module that is missing": (MODEL, "{name: 'nowhere:f'}", "no module named 'nowhere'"),
    "a module that raises": (MODEL, "{name: 'raises:f'}", "importing raises raised ValueError: oh"),
    "no such function": (MODEL, "{name: 'theirs:modle'}", "did you mean 'model'"),
    "a model that is none": (MODEL, "{name: 'theirs:model'}", "must return an nn.Module, got int"),
    "data that is none": (DATASET, "{name: 'theirs:rows'}", "must return (features, labels)"),
    "images of two sizes": (
        DATASET,
        "{name: 'theirs:sizes'}",
        "'theirs:sizes': features differ in size",
    ),
    "labels that are floats": (DATASET, "{name: npz, path: floats.npz}", "whole numbers from 0"),
    "an empty class": (DATASET, "{name: npz, path: gap.npz}", "class 1 has no example"),
    "an unreadable image": (
        DATASET,
        "{name: image_folder, path: images}",
        "cannot be read as an image",
    ),
    "a file that is missing": (
        DATASET,
        "{name: npz, path: none.npz}",
        "none.npz; check dataset.path",
    ),
    "a model that does not fit the data": (
        MODEL,
        "{name: mnist_cnn}",
        "needs images of at least 16x16",
    ),
    "a layer that is not there": (
        "decoders: [ridge]",
        "layers: [conv7, output], decoders: [ridge]",
        "no layer 'conv7'",
    ),
    "shadows without a pool": (
        "[max_posterior, loss]",
        "{shadow: {}}\n  # ",
        "needs a pool of at least",
    ),
    "a fixed crop of the whole image": (
        "seed: 3",
        "defences: {random_crop: 8}\nseed: 3",
        "`defences`: `random_crop` must be below the image's smaller side, 8, got 8; take at most",
    ),
    "canaries without models": (
        "seed: 3",
        "measure: {canaries: {duplicated: 20}}\nseed: 3",
        "set `models` too",
    ),
    "a kind of canary that is none": (
        "seed: 3",
        "measure: {models: 4, canaries: {duplicate: 20}}\nseed: 3",
        "unknown key 'duplicate'",
    ),
    "more canaries than half of the population": (
        "seed: 3",
        "measure: {models: 4, canaries: {duplicated: 62}}\nseed: 3",
        "at most half of the 240 examples of the population",
    ),
    "a subgroup of one": (
        DATASET,
        "{name: npz, path: alone.npz}",
        "subgroup alone has a single example",
    ),
    "subgroups that do not pair": (
        DATASET,
        "{name: npz, path: short.npz}",
        "subgroups must pair with labels, got (59,) and (60,)",
    ),
    "an axis over DP with BatchNorm": (
        MODEL,
        "{name: 'theirs:normed'}",
        "layer '1' is BatchNorm1d",
    ),
}


@pytest.fixture
def broken_files(call):
    """Files with mistakes, in the folder of the command."""
    Path("raises.py").write_text("raise ValueError('oh')")
    Path("theirs.py").write_text(
        "from torch import nn\n"
        "def model(shape, n_classes):\n    return 3\n"
        "def rows():\n    return [1, 2]\n"
        "def sizes():\n    return [[0] * 8, [0] * 9], [0, 1]\n"
        "def normed(shape, n_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, n_classes))\n"
        "class Own(nn.Module):\n"
        "    def __init__(self, n):\n        super().__init__()\n"
        "        self.layer = nn.Linear(64, n)\n"
        "    def forward(self, x):\n        return self.layer(x.flatten(1)).tanh()\n"
        "def own(shape, n_classes):\n    return Own(n_classes)\n"
    )
    np.savez("floats.npz", features=np.zeros((60, 4)), labels=np.linspace(0, 1, 60))
    np.savez("gap.npz", features=np.zeros((60, 4)), labels=np.arange(60) % 2 * 2)
    for name, bands in (("alone", ["alone", *59 * ["many"]]), ("short", 59 * ["many"])):
        rows = {"features": np.zeros((60, 4)), "labels": np.arange(60) % 2}
        np.savez(f"{name}.npz", **rows, subgroups=bands)
    Path("images/cat").mkdir(parents=True)
    Image.new("L", (8, 8)).save("images/cat/good.png")
    Path("images/cat/torn.png").write_bytes(b"\x89PNG torn")


@pytest.mark.parametrize(("old", "new", "message"), list(MISTAKES.values()), ids=list(MISTAKES))
def test_a_mistake_is_one_message_and_exit_code_two(call, broken_files, old, new, message):
    import torch

    if "normed" in new or "pool: 5" in new or "shadow" in new:
        old, new = (old, new)
    space = replaced(old, new)
    if "shadow" in new:
        text = Path(space).read_text().replace("pool: 200", "pool: 150")
        Path(space).write_text(text.replace("{shadow: {}}\n  # ", "[shadow]"))
    if "normed" in new:
        text = Path(space).read_text()
        Path(space).write_text(
            text.replace("dropout: {low: 0.0, high: 0.5}", "l2: {values: [0, 1]}")
        )
    with torch.random.fork_rng():
        code, out, err = call("sweep", space, "--out", "out")
    assert code == 2, (out, err)
    assert message in err, err
    assert err.startswith("error: ")
    assert "Traceback" not in err
    assert not Path("out").exists()


def test_missing_data_are_an_error_that_names_the_folders_searched(call, monkeypatch, tmp_path):
    for name in ("XDG_CACHE_HOME", "XDG_DATA_DIRS"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr("raysweep.data.published._download", lambda name: False)
    space = replaced("name: digits", "name: cifar10")
    monkeypatch.setenv("RAYSWEEP_DATA", str(tmp_path / "here"))
    code, _, err = call("trial", space)
    assert code == 2
    assert str(tmp_path / "here") in err
    assert "Three ways" in err
    code, out, err = call("validate", space)
    assert code == 0
    assert "valid" in out
    assert "warning: data set 'cifar10' is not on this machine yet" in err


def test_trial_keeps_other_axes_neutral_and_prints_every_attack(call):
    code, out, _ = call("trial", "small.yaml", "--at", "dropout=0.2", "--json")
    printed = json.loads(out)
    assert code == 0
    assert (printed["trial"]["dropout"], printed["trial"]["epsilon"]) == (0.2, "inf")
    assert [a["attack"] for a in printed["attacks"]] == [
        "max_posterior",
        "loss",
        "activation_decoder",
    ]
    assert len(printed["epochs"]) == 4


def test_trial_prints_a_table(call):
    code, out, _ = call("trial", "small.yaml", "--at", "epsilon=8")
    assert code == 0
    assert "max_posterior" in out
    assert "activation_decoder" in out


def test_trial_prints_the_recipe_beside_the_model(call):
    code, out, _ = call("trial", "small.yaml", "--set", "measure.models=4")
    assert code == 0
    assert "mean accuracy of 4 models 0." in out
    model, recipe = out.split("The recipe: 4 models, each trained on half of 240 examples")
    assert model.count("loss") == recipe.count("loss") == 1
    assert "AUC that counts" in recipe
    assert "AUC that counts" not in model


def test_an_odd_number_of_models_is_refused(call):
    code, _, err = call("validate", "small.yaml", "--set", "measure.models=5")
    assert code == 2
    assert "`measure.models` must be even, got 5" in err


@pytest.mark.parametrize("at", ["epsilon=0", "epsilon", "epsilonn=2", "dropout=much"])
def test_trial_refuses_values_outside_their_range(call, at):
    code, _, err = call("trial", "small.yaml", "--at", at)
    assert code == 2
    assert "error: --at" in err


UNFIT = {
    "sizes that do not fit": ("pool: 200", "pool: 2000", "the splits need 2,380 examples, and the"),
    "too few outsiders for a recipe": (
        "pool: 200, validation: 100, test: 100}\n",
        "pool: 50, validation: 100, test: 100}\nmeasure: {models: 4}\n",
        "lower dataset.members to 110, or enlarge dataset.nonmembers or dataset.pool",
    ),
    "a rate that so few nonmembers cannot show": (
        "\nseed:",
        "\nobjectives: {tpr_at_fpr_0.1: min}\nseed:",
        "objective 'tpr_at_fpr_0_1' needs at least 100 decisions on nonmembers, got 60; set "
        "measure.models to at least 4, or enlarge dataset.nonmembers",
    ),
    "a tail of too few members": (
        "\nseed:",
        "\nobjectives: {tail: min}\nseed:",
        "objective 'tail' needs at least 500 decisions on members, got 120; enlarge",
    ),
    "shadows with a small pool": (
        "pool: 200, validation: 100, test: 100}\n",
        "pool: 170, validation: 100, test: 100}\nscenarios: {all: {attacks.membership: [[shadow]]}}\n",
        "members + nonmembers = 180",
    ),
    "one nonmember": (
        "nonmembers: 60",
        "nonmembers: 1",
        "10 examples of dataset.nonmembers, got 1",
    ),
    "a small validation": ("ation: 100", "ation: 9", "10 examples of dataset.validation, got 9"),
    "a file that is missing": (DATASET, "{name: npz, path: none.npz}", "/none.npz; check dataset."),
    "an axis that does not fit": (
        "  dropout: {",
        "  dataset.members: {low: 50, high: 5000}\n  dropout: {",
        "`search.dataset.members`: the splits need 5,460 examples",
    ),
    "other data that are missing": (
        "[max_posterior, loss]",
        "{data_transfer: {dataset: {name: npz, path: other.npz}}}\n  # ",
        "/other.npz; check dataset.path",
    ),
}


@pytest.mark.parametrize(("old", "new", "message"), UNFIT.values(), ids=UNFIT)
def test_validate_refuses_data_that_sweep_refuses(call, old, new, message):
    space = replaced(old, new)
    for command in (("validate",), ("sweep", "--out", "out")):
        code, out, err = call(*command, space)
        assert code == 2, (out, err)
        assert message in err
    assert not Path("out").exists()


def test_validate_and_trial_tell_what_was_left_out(call):
    images = np.random.default_rng(0).random((300, 5))
    np.savez("mine.npz", features=images, labels=np.arange(300) % 2, more=np.zeros(1))
    sizes = "members: 60, nonmembers: 30, pool: 100, validation: 50, test: 0"
    space = replaced(DATASET, "{name: npz, path: mine.npz, " + sizes + "}")
    for command in ("validate", "trial"):
        code, _, err = call(command, space)
        assert code == 0, err
        assert err.count("mine.npz): arrays left out: more") == 1
        assert "300 rows, 5 features, no groups; dealt 60 members, 30 nonmembers, 100 pool, " in err


def test_validate_prints_the_number_of_trials_and_the_axes(call):
    code, out, _ = call("validate", "small.yaml")
    assert code == 0
    assert "5 trials by random" in out
    assert "epsilon: {low: 2" in out
    assert (
        "training with DP-SGD: optimizer sgd, learning_rate 1.0, momentum 0.0, batch_size 60" in out
    )


def test_validate_counts_one_mistake_of_several_values_once(call):
    Path("rigid.py").write_text(
        "from torch import nn\n"
        "def rigid(shape, n):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, n))\n"
    )
    space = replaced("{name: mlp, hidden: [32], activation: tanh}", "{name: 'rigid:rigid'}")
    code, _, err = call("validate", space)
    assert (code, err.count("cannot have dropout"), "mistakes" in err) == (2, 1, False)

    delta = ("--set", "search.delta={low: 0.01, high: 0.5}")
    code, _, err = call("validate", "small.yaml", *delta)
    assert (code, err.count("`delta` must be below"), "mistakes" in err) == (2, 1, False)

    scenarios = "scenarios={a: {delta: 0.1, target_epsilon: 2}, b: {delta: 0.2, target_epsilon: 2}}"
    code, _, err = call("validate", "small.yaml", "--set", scenarios)
    assert (code, err.count("`delta` must be below")) == (2, 2)
    assert "2 mistakes" in err


def test_validate_tells_mistakes_of_data_model_and_privacy_at_once(call):
    layers = "attacks.inversion.activation_decoder={layers: [conv9]}"
    pool = "dataset.pool=20"
    code, _, err = call(
        "validate", "small.yaml", "--set", layers, "--set", pool, "--set", "delta=0.5"
    )
    assert code == 2
    first, *mistakes = err.splitlines()
    assert first == "error: 3 mistakes:"
    assert "needs at least 50 pool examples" in mistakes[0]
    assert "no layer 'conv9'" in mistakes[1]
    assert "`delta` must be below 1 / members" in mistakes[2]


def test_validate_says_which_settings_dp_trains_with_by_default(call):
    code, out, err = call("validate", "small.yaml", "--set", "training={epochs: 4}")
    assert code == 0
    assert "batch_size 1,024 (above the 120 members: every step takes all of them)" in err
    assert "training with DP-SGD: optimizer sgd" in out
    assert "(the default of `training.private`)" in out
    code, out, _ = call(
        "validate", "small.yaml", "--set", "search={dropout: {low: 0.0, high: 0.5}}"
    )
    assert (code, "DP-SGD" in out) == (0, False)


def test_a_sweep_says_which_settings_dp_trains_with_only_where_nobody_stated_them(space):
    lines = [line for line in SMALL.splitlines(keepends=True) if "private:" not in line]
    (told,) = notes(parse_space("".join(lines), "small.yaml"), {})
    assert "optimizer sgd" in told
    assert "(the default of `training.private`)" in told
    assert notes(space, {}) == []


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("datasets", "digits"),
        ("models", "thesis_cnn"),
        ("defences", "target_epsilon"),
        ("attacks", "shadow"),
        ("samplers", "tpe"),
    ],
)
def test_list_prints_one_line_for_each_entry(call, what, name):
    code, out, _ = call("list", what)
    line = next(line for line in out.splitlines() if line.startswith(name))
    assert code == 0
    assert len(line) > 25


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["sweep"], "error: Missing argument 'space'; `raysweep sweep -h` says what it takes\n"),
        (["sweep", "small.yaml", "--trials", "0"], "error: '--trials': must be greater than or"),
        (["list", "nope"], "error: 'what': 'nope' is not one of 'datasets'"),
        (["nosuch"], "error: No such command 'nosuch'; `raysweep -h` says what it takes\n"),
        (["front", "x", "--x"], "error: No such option: --x; `raysweep front -h` says"),
        ([], "Usage: "),
    ],
)
def test_wrong_use_of_a_command_has_the_words_of_other_errors(call, args, told):
    code, out, err = call(*args)
    assert (code, out) == (2, "")
    assert err.startswith(told)
    assert "Value error" not in err


def test_wrong_use_of_the_command_line_is_exit_code_two(call):
    assert call("sweep", "small.yaml", "--time-budget", "soon")[0] == 2
    assert call("front", "nowhere")[0] == 2


@pytest.mark.parametrize("path", sorted(Path("search_spaces").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_schema_accepts_the_shipped_spaces(path):
    # YAML 1.1 reads 1e-5 as text; editors read YAML 1.2, where it is a number.
    from raysweep.config.yaml import Document

    document = Document(path.read_text(), path.name).value
    plain = json.loads(json.dumps(document).replace("Infinity", '".inf"'))
    jsonschema.validate(plain, schema(), cls=jsonschema.Draft202012Validator)


def test_the_schema_refuses_an_unknown_key():
    document = yaml.safe_load(SMALL.replace("epochs: 4", "epoch: 4"))
    with pytest.raises(jsonschema.ValidationError, match="epoch"):
        jsonschema.validate(document, schema(), cls=jsonschema.Draft202012Validator)


def test_help_takes_half_a_second_and_validate_starts_no_ray(tmp_path):
    seconds = []  # of processor time, which a busy machine changes less than the clock
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([RAYSWEEP, "--help"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 0.5
    code = (
        "import sys; sys.argv = ['raysweep', 'validate', 'search_spaces/quickstart.yaml']\n"
        "from raysweep.cli import app\n"
        "app(standalone_mode=False)\n"
        "sys.exit(any(name in sys.modules for name in ('ray', 'optuna')))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode
        == 0
    )


def test_sweep_stays_a_function_after_its_package_is_imported():
    code = "import raysweep; raysweep.sweep; import raysweep.driver.progress; print(callable(raysweep.sweep))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_axes_that_together_do_not_fit_the_data_are_refused_before_a_trial_runs(call):
    reference = SMALL.replace("pool: 200", "pool: 150, reference: 50")
    assert "epsilon: {low: 2, high: 16, log: true, or: .inf}" in reference
    Path("pair.yaml").write_text(
        reference.replace(
            "  epsilon: {low: 2, high: 16, log: true, or: .inf}",
            "  adversarial_regularisation: {values: [0, 3]}\n  reference_size: {values: [10, 100]}",
        )
    )
    code, out, err = call("sweep", "pair.yaml", "--out", "out")
    assert code == 2, (out, err)
    assert "`search`: `reference_size` must be at most the size of the reference split, 50" in err
    assert not Path("out").exists()


def test_a_mistake_in_an_override_names_the_override(call):
    Path("small.yaml").write_text(SMALL)
    code, _, err = call("sweep", "small.yaml", "--set", "label_smoothing=1")
    assert code == 2
    assert "must be less than 1, got 1 (small.yaml with --set label_smoothing)" in err
    code, _, err = call("validate", "small.yaml", "--set", "nosuch.key=1")
    assert "unknown key 'nosuch'" in err
    assert "(small.yaml with --set nosuch.key)" in err


def test_an_axis_of_thousands_of_values_is_tried_on_the_model_at_some_of_them(call, monkeypatch):
    tried = []
    monkeypatch.setattr(preflight, "CHECKS", [lambda config, splits: tried.append(config)])
    values = [round(0.001 + i / 4000, 6) for i in range(3000)]
    text = SMALL.replace("dropout: {low: 0.0, high: 0.5}", f"dropout: {{values: {values}}}")
    Path("long.yaml").write_text(text.replace("low: 2, high: 16, log: true", "values: [2]"))
    assert call("validate", "long.yaml")[0] == 0
    dropouts = {config.defences["dropout"] for config in tried}
    assert {0.001, values[-1]} < dropouts
    assert len(tried) < 40


@pytest.mark.parametrize("help_option", ["-h", "--help"])
def test_help_is_short_and_no_summary_is_cut(call, help_option):
    code, out, _ = call(help_option)
    assert code == 0
    assert "..." not in out.split("Commands:")[1]


def test_init_writes_a_space_a_model_and_data_that_run_as_they_are(call, monkeypatch, tmp_path):
    code, out, _ = call("init", "my_sweep")
    assert code == 0
    assert "Next: cd my_sweep && raysweep sweep space.yaml" in out
    monkeypatch.chdir(tmp_path / "my_sweep")
    monkeypatch.syspath_prepend(str(tmp_path / "my_sweep"))
    assert call("validate", "space.yaml")[0] == 0

    code, out, err = call("trial", "space.yaml", "--json")
    assert code == 0, err
    result = json.loads(out)
    assert result["trial"]["accuracy"] > 0.85
    assert {attack["attack"] for attack in result["attacks"]} >= {"shadow", "rmia"}

    monkeypatch.chdir(tmp_path)
    code, _, err = call("init", "my_sweep")
    assert (code, "already has space.yaml" in err) == (2, True)


def test_a_space_that_comes_with_raysweep_is_found_by_its_name(call):
    assert call("validate", "quickstart")[0] == 0
    code, _, err = call("validate", "quikstart")
    assert (code, "did you mean 'quickstart'?" in err) == (2, True)


def test_the_doctor_finds_this_machine_able_to_run(call):
    code, out, _ = call("doctor", "--json")
    found = {finding["what"]: finding for finding in json.loads(out)}
    assert code == 0
    assert found["ray"]["found"]
    assert "digits" in found["data found"]["found"]


def test_the_doctor_names_a_temporary_folder_that_ray_cannot_use(call, monkeypatch, tmp_path):
    folder = tmp_path / ("long" * 20)
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    code, out, _ = call("doctor")
    assert code == 0
    assert "too long for Ray's sockets: its sessions go to /tmp" in out

    monkeypatch.setenv("RAY_TMPDIR", str(folder))  # what somebody has said is not changed
    code, out, _ = call("doctor")
    assert code == 1
    assert "! too long for Ray's sockets: set RAY_TMPDIR to a folder with a short path" in out


def test_validate_and_list_print_json(call):
    code, out, _ = call("validate", "small.yaml", "--json")
    assert (code, json.loads(out)["trials"]) == (0, 5)
    code, out, _ = call("list", "attacks", "--json")
    assert (code, "loss" in json.loads(out)) == (0, True)
    code, out, _ = call("list", "attacks")
    assert (code, "less AUC than rmia" in out) == (0, True)


@pytest.mark.parametrize("args", [["validate", "small.yaml"], ["list", "models"], ["schema"]])
def test_a_result_goes_to_a_file_in_the_form_that_its_name_says(call, args, tmp_path):
    code, printed, _ = call(*args)
    assert code == 0
    for name in ("a.txt", "a.json"):
        assert call(*args, "--out", str(tmp_path / name))[:2] == (0, "")
    assert (tmp_path / "a.txt").read_text() == printed
    assert json.loads((tmp_path / "a.json").read_text()) == json.loads(call(*args, "--json")[1])


def test_shared_options_are_the_same_on_every_command():
    commands = typer.main.get_command(cli.app).commands
    found = {}
    for name, command in commands.items():
        for option in command.params:
            found.setdefault(option.name, {})[name] = (option.opts, option.metavar, option.help)
    for name, said in {"where": 4, "everything": 4, "as_json": 14, "settings": 4}.items():
        assert len(found[name]) == said, name
        assert len({str(how) for how in found[name].values()}) == 1, name
    assert {*found["everything"]} == {*found["where"]} == {"front", "best", "report", "confirm"}
    assert {*found["as_json"]} == {*commands} - {"init", "dashboard"}
    assert {*found["out"]} == {*found["as_json"]} - {"confirm"}  # it writes to DIR/confirm
    assert all(opts == ["--out"] for opts, _, _ in found["out"].values())


def test_validate_refuses_bf16_under_dp_for_layers_of_ones_own_and_says_it_once(call, broken_files):
    space = replaced(f"{MODEL}\ntraining:", "{name: 'theirs:own'}\ntraining:\n  precision: bf16")
    code, _, err = call("validate", space)
    assert code == 2
    assert (
        "`search.target_epsilon`: DP-SGD: training.precision bf16 is for models of known layers"
        in err
    )
    assert err.count("set training.precision to fp32") == 1


def test_validate_warns_where_this_machine_has_no_bf16(call, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, _, err = call("validate", "small.yaml", "--set", "training.precision=bf16")
    assert code == 0
    assert "warning: training.precision is bf16 and this cpu does not support it" in err


@pytest.mark.parametrize("port", [99999, -1])
def test_a_port_that_cannot_be_used_is_refused(call, tmp_path, space, port):
    Store(str(tmp_path)).folder.write_bytes(
        yaml.safe_dump(json.loads(json.dumps(space.to_plain()))).encode(), "space.yaml"
    )
    code, _, err = call("dashboard", ".", "--port", port)
    assert code == 2
    assert f"--port {port} cannot be used" in err


def test_an_output_that_is_a_folder_is_told_as_such(tmp_path):
    (tmp_path / "f.csv").mkdir()
    with pytest.raises(
        StoreError, match=r"the output cannot be written to .*f.csv \(Is a directory\)"
    ):
        write_output("x", str(tmp_path / "f.csv"))


def test_a_pipe_keeps_its_place(call, tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    for command in (["schema"], ["trial", "small.yaml"]):
        code, _, err = call(*command, "--out", tmp_path / "pipe.json")
        assert (code, "it is a device or a pipe" in err) == (2, True), err
    assert (tmp_path / "pipe.json").is_fifo()


def test_init_without_a_folder_writes_nothing(call, tmp_path):
    before = sorted(tmp_path.iterdir())
    code, _, err = call("init", "")
    assert (code, "init needs the folder to write" in err) == (2, True), err
    assert sorted(tmp_path.iterdir()) == before


def test_an_output_that_cannot_be_written_is_refused_before_the_trial(call, tmp_path):
    (tmp_path / "file").write_text("x")
    for out, why in {f"{tmp_path}/": "Is a directory", f"{tmp_path}/file/x.json": ""}.items():
        code, printed, err = call("trial", "small.yaml", "--out", out)
        assert (code, printed) == (2, "")
        assert f"the output cannot be written to {out} ({why}" in err
        assert "epoch" not in err
    check_output(str(tmp_path / "new/x.json"))
    check_output(None)


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&- <&-"])
def test_a_closed_output_is_no_error(closed, tmp_path):
    command = f"{sys.executable} -m raysweep list models {closed}"
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr == ""
    assert bool(done.stdout) == (closed == "2>&-")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_an_output_that_has_no_room_is_one_message(tmp_path):
    command = f"{sys.executable} -m raysweep list models > /dev/full"
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        "error: the output cannot be written (No space left on device); what is recorded is safe; "
        "make room, and run the same command again\n"
    )
