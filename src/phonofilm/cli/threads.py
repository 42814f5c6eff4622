"""How threads wait for each other, chosen once and before torch is loaded.

torch's threads meet at the end of every operation. By default the one that comes first keeps its core busy while it
waits (GNU's OpenMP looks for some milliseconds before it sleeps), which is fastest on an idle machine. Beside other
programs it holds the very core that the late thread is waiting for. Looking a thousand times before sleeping costs
nothing on an idle machine and halves a clip's time on a busy one (docs/log.md, 2026-11-28).
"""

from __future__ import annotations

import os
import sys

from phonofilm.errors import UserError

SPINS = "1000"
"""How often a thread looks before it sleeps; 300,000 times if GNU's OpenMP is left alone."""
SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
"""Variables of the environment that say how threads wait; who sets one has chosen."""


def share_cores() -> str:
    """Let torch's threads sleep soon while they wait, so that they get on beside other programs; returns what holds.

    Call it before torch is imported: OpenMP reads its settings when it is loaded. The command line calls it; ``load``
    does not, since it changes the whole program. Other OpenMPs than GNU's (macOS, Windows) take no notice. Raises
    ``UserError`` where torch is loaded already.
    """
    chosen = [f"{name}={os.environ[name]}" for name in SETTINGS if name in os.environ]
    if chosen:
        return f"threads wait as the environment says: {', '.join(chosen)}"
    if "torch" in sys.modules:
        raise UserError(
            "share_cores comes too late: torch is loaded already; call it first, or set GOMP_SPINCOUNT=1000 "
            "in the environment"
        )
    os.environ["GOMP_SPINCOUNT"] = SPINS
    count = os.environ.get("OMP_NUM_THREADS", str(os.cpu_count()))
    return (
        f"{count} threads, which sleep after {SPINS} looks while they wait; OMP_NUM_THREADS, OMP_WAIT_POLICY or "
        "GOMP_SPINCOUNT in the environment change that"
    )
