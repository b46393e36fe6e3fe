"""One immutable result in; gauges, future curves, JSON and a web page out.

    result        what a cycle made, and the board it is shown on
    gauges        the series on /metrics; self_metrics: the forecaster's own
    remote_read   curves that lie in the future, over Prometheus' remote-read protocol (remote_pb: its messages)
    push          the same curves written to VictoriaMetrics
    api, page     JSON, and the tables of the web page
"""
