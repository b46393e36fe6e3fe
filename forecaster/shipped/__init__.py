"""What ships for a Prometheus, a Grafana, an Alertmanager and a cluster, made to fit those of one installation.

`rules`, `dashboards`, `kubernetes`, `alertmanager.yml` and `runbook.md` are links to the files in `prometheus/`,
`grafana/dashboards` and `deploy/kubernetes`; a wheel holds the files themselves. `installation` says where they go,
`files` fills that in. In: the files that ship and an installation's values; out: texts by file name.
"""
