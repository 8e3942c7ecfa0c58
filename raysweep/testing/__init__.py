"""The contracts of attacks, defences, models and data, to test your own against.

    from raysweep.testing import check_attack, check_defence, check_model, check_data

    def test_my_attack():
        check_attack(Margin)

Each function trains small networks on scikit-learn's digits, in seconds, and raises
:class:`BrokenRule` with the rule and what was found. The project's own tests call the same rules.
"""

from raysweep.testing.attacks import check_attack
from raysweep.testing.defences import check_defence
from raysweep.testing.functions import check_data, check_model
from raysweep.testing.rules import BrokenRule

__all__ = ["BrokenRule", "check_attack", "check_data", "check_defence", "check_model"]
