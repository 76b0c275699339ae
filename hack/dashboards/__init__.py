"""Grafana dashboards as code: `python -m dashboards` writes charts/asrtune/dashboards/*.json from these modules.

A dashboard is data (`model.py`): panels that say what they ask, what it means and what to do about it. `render.py`
makes Grafana's JSON of it, with Grafana's own schema as types.
"""
