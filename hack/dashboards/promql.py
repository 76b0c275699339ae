"""PromQL that dashboards share. The operator knows a run by kind, namespace and name; its pods by namespace and run."""

from __future__ import annotations


def of_run(metric: str, **labels: str) -> str:
    """A series of the operator about the chosen run; it outlives the pods."""
    return _select(metric, 'kind="$kind",namespace="$namespace",name="$run"', labels)


def of_pods(metric: str, *by: str) -> str:
    """A series of the chosen run's own pods: one for all its attempts, by stage or by what is given."""
    return f"max by ({', '.join(by or ('stage',))}) ({_of_pods(metric)})"


def of_fleet(metric: str, **labels: str) -> str:
    """A series of the operator about every run of the chosen namespaces."""
    return _select(metric, 'namespace=~"$namespace"', labels)


def of_operator(metric: str, **labels: str) -> str:
    """A series of the operator about itself."""
    return _select(metric, 'job=~"$job"', labels)


def lasting(pods: str, run: str) -> str:
    """What the pods say of a metric, and what the operator remembers of it by another when they are gone."""
    return f"{of_pods(pods, 'namespace')} or on (namespace) max by (namespace) ({of_run(run)})"


def spent(series: str) -> str:
    """What a figure of a run that only grows has grown by within the dashboard's time.

    Where the time begins the operator may just have been away: the last ten minutes before it count.
    """
    before = f"max_over_time({series}[10m] offset $__range)"
    return f"(max_over_time({series}[$__range]) - ({before} or 0 * max_over_time({series}[$__range])))"


def _of_pods(metric: str) -> str:
    return _select(metric, 'namespace="$namespace",run="$run"', {})


def _select(metric: str, own: str, labels: dict[str, str]) -> str:
    """`a="x"` for a value, `a=~"x|y"` for one with a bar, `a!="x"` for one that begins with an exclamation mark."""
    more = "".join(f",{name}{_match(value)}" for name, value in labels.items())
    return f"{metric}{{{own}{more}}}"


def _match(value: str) -> str:
    if value.startswith("!"):
        return f'!="{value[1:]}"'
    return f'=~"{value}"' if "|" in value else f'="{value}"'
