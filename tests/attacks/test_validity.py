"""The calibration of the instruments runs, and each instrument is calibrated as far as few draws say."""

import json

import pytest

from benchmarks import validity


@pytest.mark.slow
def test_the_instruments_are_calibrated(capsys):
    validity.main(
        [
            "--json",
            "--draws",
            "60",
            "--repeats",
            "40",
            "--targets",
            "2",
            "--epochs",
            "5",
            "--audits",
            "2",
        ]
    )
    found = json.loads(capsys.readouterr().out)

    assert all(share >= 0.85 for share in found["coverage"].values())
    assert sum(found["coverage"].values()) / len(found["coverage"]) == pytest.approx(0.96, abs=0.03)

    null = found["null"]
    assert null["repeats"] == 40
    assert null["strongest_auc"]["mean"] == pytest.approx(null["its_null"]["mean"], abs=0.015)
    assert null["strongest_holds_one_half"] >= 0.85

    assert found["memoriser"]["auc"][0] == found["memoriser"]["tpr_at_fpr_0_01"][0] == 1.0
    assert found["memoriser"]["tpr_at_fpr_0_01"][2] == 1.0

    assert [*found["selftest"]] == [f"epsilon {claimed}" for claimed in (1, 2, 4, 8)]
    for of_claim in found["selftest"].values():
        assert (of_claim["shown"]["n"], of_claim["above"], of_claim["flagged"]) == (2, 0, [])
