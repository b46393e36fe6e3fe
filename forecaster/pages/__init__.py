"""The forecaster's pages for people: one file a view. What they show they get from `Look`, and only from there.

    seen       what the pages show, as of one instant
    site       all views
    fleet      the landing page: what comes first, every server, the next 8 hours
    incidents  what is on and expected, in the order in which it comes
"""
