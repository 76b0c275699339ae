"""What the stages of a run came to, as its termination message tells it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from asrtune_api.runspec import RunSpec
from asrtune_api.stages import StageType
from asrtune_api.status import StageState
from asrtune_api.termination import LEDGER, MODEL, REPORT, Result, metric_entries, state_entry
from asrtune_api.uris import stage_uri
from asrtune_trainer.stages.manifest import StageManifest
from asrtune_trainer.stages.outcome import evaluation_entries

_IMPORTANCE = (
    StageType.TRAIN,
    StageType.PREPARE,
    StageType.SIMULATE,
    StageType.AVERAGE,
    StageType.EXPORT,
    StageType.PUBLISH,
    StageType.EVALUATE,  # its scores have entries of their own
)


def result_entries(
    run: RunSpec,
    manifests: Mapping[str, StageManifest],
    *,
    ran: Collection[str],
    taken: Collection[str],
    ended: bool,
) -> dict[str, Result]:
    """Entries for the message, the most important first.

    Args:
        run: whose stages they are.
        manifests: of all finished stages, in chain order.
        ran: stages that this process ran.
        taken: stages before its part of the chain, whose state is no news.
        ended: the chain has come to its end, and its ledger is written.
    """
    news = [one for one in manifests.values() if one.stage not in taken]
    ranked = sorted(news, key=lambda one: _IMPORTANCE.index(StageType(one.type)))
    entries: dict[str, Result] = {
        **evaluation_entries(run, manifests),
        **_places(run, manifests, ended=ended),
    }
    for one in news:
        entries |= state_entry(one.stage, StageState.SUCCEEDED if one.stage in ran else StageState.SKIPPED)
    for one in ranked:
        entries |= metric_entries(one.stage, one.metrics, one.seconds)
    return entries


def _places(run: RunSpec, manifests: Mapping[str, StageManifest], *, ended: bool) -> dict[str, Result]:
    """URIs of what was made, where it can be had."""
    places: dict[str, Result] = {}
    for one in manifests.values():
        published = one.details.get("published", {})
        if MODEL in published:
            places[MODEL] = published[MODEL]
        if REPORT in published:
            places[REPORT] = f"{published[REPORT]}/index.html"
        elif REPORT in one.outputs:
            places[REPORT] = f"{stage_uri(run.output, one.stage)}/{one.outputs[REPORT]}"
    return places | ({LEDGER: f"{run.output.rstrip('/')}/ledger.json"} if ended else {})
