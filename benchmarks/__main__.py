"""`python -m benchmarks`: everything, or MEASURE=push_to_applied (or any other in `MEASURES`), N=10|1000|10000."""

from __future__ import annotations

import asyncio
import os
import sys

from benchmarks import (
    drift_to_undone,
    first_sync,
    image_to_pull_request,
    memory,
    merge_to_applied,
    noop,
    push_to_applied,
    rendered_push,
    thousand_apps,
    webhook_ack,
)

MEASURES = {
    "push_to_applied": push_to_applied.measure,  # with memory and cpu
    "kustomize_push": rendered_push.kustomize,
    "helm_push": rendered_push.helm,
    "thousand_apps": thousand_apps.measure,
    "noop": noop.measure,
    "drift_to_undone": drift_to_undone.measure,
    "memory": memory.measure,  # under watch; push_to_applied tells it at each N
    "first_sync": first_sync.measure,
    "webhook_ack": webhook_ack.measure,
    "image_to_pull_request": image_to_pull_request.measure,
    "merge_to_applied": merge_to_applied.measure,
}
PART_OF = {"cpu": ("push_to_applied",), "memory": ("push_to_applied", "memory")}


def main() -> int:
    wanted = os.environ.get("MEASURE", "")
    chosen = PART_OF.get(wanted, (wanted,) if wanted else tuple(MEASURES))
    if not MEASURES.keys() >= set(chosen):
        print(f"MEASURE={wanted}: expected one of {', '.join({**MEASURES, **PART_OF})}", file=sys.stderr)
        return 2
    sizes = [int(os.environ["N"])] if os.environ.get("N") else [10, 1000, 10000]
    for name, measure in MEASURES.items():
        if name in chosen:
            asyncio.run(measure(sizes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
