"""Is what was applied there, and does it work? In kstatus' terms, with the reason of a failing workload.

The door: `has_health` says whether an object must be read at all, `assess` (`examine`, from an event loop) what its health
is, `diagnose` why a workload doesn't get there, and `ApplicationHealth` what follows for the application.
"""

from workers.health.aggregate import ApplicationHealth
from workers.health.custom import CompiledRules, examine
from workers.health.diagnose import diagnose
from workers.health.rules import assess, has_health
from workers.health.sandbox import Sandbox
from workers.health.status import Health, Status

__all__ = [
    "ApplicationHealth",
    "CompiledRules",
    "Health",
    "Sandbox",
    "Status",
    "assess",
    "diagnose",
    "examine",
    "has_health",
]
