"""`backtest --capacity`: forecasts of what fills up, beside the best possible ones, yardsticks and the rules in use.

    courses       what entities used in 5-minute steps; pasts and outcomes cut from it
    recorded      courses from a Prometheus
    yardsticks    simple forecasts and alerts to compare with
    best          the best possible forecast of simulated mounts
    figures       pinball loss, coverage, Brier skill, error of the date
    episodes      alerts and fills as a person counts them
    proof         all of it on several courses
    table         the report as text

Letters: N entities, T steps of 5 minutes, K instants, all whole hours.
"""
