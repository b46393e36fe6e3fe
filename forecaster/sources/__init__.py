"""Sources: the latest value of every server and signal, and earlier ones.

In: a Prometheus-compatible query API, or /metrics pages. Out: `Reading` and `Readings` (readings.py), float32 in signal
units.

    prometheus       queries of a Prometheus-compatible API
    signal_query     one signal's query and what of its answers is used
    answers          their answers: JSON to label sets and values, ranges to one array
    up               who is up, scraped when and how often; $step filled in to fit
    gate             values kept to servers that are up and were scraped recently
    scrape           /metrics pages, all targets at once (memory/scraped.py keeps their samples)
    exposition_text  the text of such pages, and OpenMetrics files
    naming           which series belongs to which server
    bounds           which values are taken as measured
    notes            what is left out, and how it is said
    shard            which servers this forecaster forecasts
    transport, crew  HTTP requests with a deadline, several at once
    clock            the time by the source, where its clock differs
"""
