"""Conformance checks for threat models, attacks and methods, Holdfast's own and yours.

    def test_my_attack():
        check_attack(MyAttack(steps=20))

Each check raises AssertionError with the law that was broken and by how much.
"""

from holdfast.testing.attack_laws import check_attack
from holdfast.testing.method_laws import check_method
from holdfast.testing.threat_laws import check_threat

__all__ = ["check_attack", "check_method", "check_threat"]
