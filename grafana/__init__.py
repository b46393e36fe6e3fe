"""The Grafana dashboards as code: PromQL in `queries`, looks in `panels`, one module for each dashboard.

`python -m grafana.render` writes them to grafana/dashboards/*.json, which Grafana loads.
"""
