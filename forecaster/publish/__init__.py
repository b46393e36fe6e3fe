"""One immutable result in; gauges, future curves and JSON out.

    result        the result of a cycle, and the board that holds the latest one
    gauges        the series of forecasts; layout: which of them; collector: renders them for /metrics
    self_metrics  the forecaster's own series
    remote_read   curves that lie in the future, over Prometheus' remote-read protocol; remote_pb: its messages;
                  matching: its matchers; budget: what a request may cost
    capacity_gauges, capacity_curves, capacity_json  the same of what fills up
    view          what a reader sees of these: the whole fleet, or the servers of tenants
    push          the same curves written to VictoriaMetrics
    alertmanager  tells Alertmanager that Prometheus is down; firing: the alerts that it has now, for a page
    api           JSON; alerts: what needs attention; values: as JSON has them
"""
