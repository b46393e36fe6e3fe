"""Forecasts in; points, chances and priorities out. Numpy only, no I/O.

    thresholds  what the configuration says: roles, points, levels, priorities, health
    score       points, score, priority and the weighted incident probability
    chance      calibrated chances of an incident, from all quantiles of a forecast
    known       means and maxima that leave out what is unknown
"""
