"""The commands on guarantees: a ledger, a test of the private step, and a saved model."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from raysweep.cli.options import AsJson, Folder, OutFile, Settings, SpaceFile
from raysweep.cli.result import put


def ledger(
    folder: Folder,
    trial: Annotated[
        str, typer.Option(metavar="ID", help="The trial: its id, or the beginning of it.")
    ],
    as_json: AsJson = False,
    out: OutFile = None,
) -> None:
    """Print what a trial's epsilon promises, and to whom."""
    from raysweep.records.ledger import ledger_of
    from raysweep.records.results import load

    found = ledger_of(load(folder), trial)
    put(found.to_plain(), found.to_text(), as_json=as_json, out=out)


def selftest(
    space: SpaceFile = "quickstart",
    at: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="The value of an axis: --at target_epsilon=2."),
    ] = None,
    settings: Settings = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of canaries and noise.")] = 0,
    as_json: AsJson = False,
    out: OutFile = None,
) -> None:
    """Test whether DP-SGD keeps its guarantee with a space's model.

    A configuration without DP-SGD is tested at a target_epsilon of 4.
    """
    from raysweep import data
    from raysweep.config.yaml import parse_pairs
    from raysweep.space.parsing import load_space
    from raysweep.trial.selftest import selftest as examine

    loaded = load_space(space, parse_pairs(settings, "--set"))
    given = parse_pairs(at, "--at")
    config = loaded.config(given)
    if not config.defences.is_private and not {"target_epsilon", "epsilon"} & {*given}:
        config = loaded.config({**given, "target_epsilon": 4.0})

    findings = examine(config, data.load(config.dataset, seed=config.seed), seed=seed)
    lines = [f"{'ok  ' if f.is_right else 'FAIL'}  {f.name}: {f.text}\n" for f in findings]
    put([asdict(f) for f in findings], "".join(lines), as_json=as_json, out=out)
    raise typer.Exit(0 if all(finding.is_right for finding in findings) else 1)


def load(
    model: Annotated[str, typer.Argument(help="A model that `trial --save` wrote (.safetensors).")],
    as_json: AsJson = False,
    out: OutFile = None,
) -> None:
    """Check a saved model and its card, and print what it is.

    Python gives the module itself: raysweep.load_model(FILE).
    """
    from raysweep.trial.saved_model import load_model

    module, card = load_model(model)
    n_weights = sum(parameter.numel() for parameter in module.parameters())
    privacy, figures = card["privacy"], card["figures"]
    text = (
        f"{model}: trial {card.trial_id}, {n_weights:,} parameters, SHA-256 {card.sha256}\n"
        f"inputs {card.shape}, {card.n_classes} classes, accuracy {figures.get('accuracy')}\n"
        f"epsilon {privacy.get('epsilon')}: {privacy.get('statement')}\n"
    )
    put(dict(card), text, as_json=as_json, out=out)
