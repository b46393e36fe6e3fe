"""The memory: readings in, float32 arrays (S servers, C signals, T steps) out, NaN where unobserved.

    window    the last hours at refresh resolution; ring: its cells; again: when what it lacks is asked for again
    past      the days before it at the model's step
    record    past forecasts compared with their outcomes: coverage, loss, and how much bands are widened; scores: how;
              by_server: the same of each server
    outcomes  what chances said of incidents, and what came
    pages     pages and tickets of the last weeks, and how they turned out; episodes: one of them
    memory    all of them together, as a cycle uses them
    scraped   scraped samples, kept as the source of a fleet without Prometheus
    keeping   when snapshots are written; snapshot: how a file is written whole
"""
