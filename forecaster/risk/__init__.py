"""Forecasts in; points, chances and priorities out. Numpy only, no I/O.

    thresholds  the settings: roles, points, levels, priorities, health
    score       points, score and the weighted incident probability
    priority    P1, P2 or P3 of a score
    chance      calibrated chances of an incident, from all quantiles of a forecast
    recurring   on how many of the last days an expected incident was on at its time of day
    known       means, maxima and names without unknown values
"""
