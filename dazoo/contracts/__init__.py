"""Layer 6: what every method promises, as functions that try one promise on synthetic data.

A ``check_*`` function takes a method class and returns nothing, or raises ``ContractFailure`` with a message in terms
of the method. ``dazoo check`` runs them on anybody's class, ``tests/test_contracts.py`` on every class of the registry.
No real data, no harness and no command line in here.
"""

from __future__ import annotations

from dazoo.contracts.failure import ContractFailure
from dazoo.contracts.runner import CONTRACTS, Contract, Outcome, check_method

__all__ = ["CONTRACTS", "Contract", "ContractFailure", "Outcome", "check_method"]
