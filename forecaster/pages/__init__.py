"""The forecaster's pages for people: one file a view. What they show they get from `Look`, and only from there.

    seen       what the pages show, as of one instant
    site       all views
    fleet      the landing page: what comes first, every server, the next 8 hours
    headline   what it says first, and the states as all pages show them
    incidents  what is on and expected, in the order in which it comes
    server     one server: measured and forecast, incidents, its record; courses: one signal of it
    capacity   what fills up, and the course of one entity
    record     whether forecasts and chances have come true
    pages      pages that were sent and how they turned out, as record and server show them
    alerts     servers that need attention, and what fires at Alertmanager
    chart      curves as SVG; words: figures and times as they are said
"""
