"""The world in: the latest value of every server and signal, and what there was before.

In: a Prometheus-compatible query API, or /metrics pages. Out: `Reading` and `Readings`, float32 in signal units (readings.py).

    prometheus       queries of a Prometheus-compatible API
    scrape           /metrics pages, all targets at once (memory/scraped.py keeps what they hold)
    exposition_text  the text of such pages, and OpenMetrics files
    naming           which series is which server's
    shard            which servers are this forecaster's
    transport, crew  HTTP requests with a deadline, several at once
"""
