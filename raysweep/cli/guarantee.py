"""The commands on guarantees: a ledger, a test of the private step, and a saved model."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from raysweep.cli.options import AsJson, Folder, Settings, SpaceFile


def ledger(
    folder: Folder,
    trial: Annotated[
        str, typer.Option(metavar="ID", help="The trial: its id, or the beginning of it.")
    ],
    as_json: AsJson = False,
) -> None:
    """Print what a trial's epsilon promises, and to whom."""
    from raysweep.records.ledger import ledger_of
    from raysweep.records.results import load
    from raysweep.report.output import as_json as to_json

    found = ledger_of(load(folder), trial)
    print(to_json(found.to_plain()) if as_json else found.to_text(), end="")


def selftest(
    space: SpaceFile = "quickstart",
    at: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="The value of an axis: --at target_epsilon=2."),
    ] = None,
    settings: Settings = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of canaries and noise.")] = 0,
    as_json: AsJson = False,
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
    if as_json:
        from raysweep.report.output import as_json as to_json  # here, because it loads pandas

        print(to_json([asdict(finding) for finding in findings]), end="")
    else:
        for finding in findings:
            print(f"{'ok  ' if finding.is_right else 'FAIL'}  {finding.name}: {finding.text}")
    raise typer.Exit(0 if all(finding.is_right for finding in findings) else 1)


def load(
    model: Annotated[str, typer.Argument(help="A model that `trial --save` wrote (.safetensors).")],
    as_json: AsJson = False,
) -> None:
    """Check a saved model and its card, and print what it is.

    Python gives the module itself: raysweep.load_model(FILE).
    """
    from raysweep.report.output import as_json as to_json
    from raysweep.trial.saved_model import load_model

    module, card = load_model(model)
    if as_json:
        print(to_json(dict(card)), end="")
        return
    n_weights = sum(parameter.numel() for parameter in module.parameters())
    privacy, figures = card["privacy"], card["figures"]
    print(f"{model}: trial {card.trial_id}, {n_weights:,} parameters, SHA-256 {card.sha256}")
    print(f"inputs {card.shape}, {card.n_classes} classes, accuracy {figures.get('accuracy')}")
    print(f"epsilon {privacy.get('epsilon')}: {privacy.get('statement')}")
