"""Forecasts in; points, chances and priorities out. Numpy only, no I/O but a file of weights.

    thresholds  the settings: roles, points, levels, priorities, health
    conditions  the settings of incidents: named conditions on a signal
    score       points, score and the weighted incident probability
    evidence    what speaks for an incident: inputs of the chances, from a forecast and the history before it
    chances     the chance of an incident, by a small network that reads the evidence
    recurring   on how many of the last days an incident was on at its expected time of day
    incidents   the incidents of each server: on, chances, expected time, priority, message
    priority    P1, P2 or P3 of a score, or of the chances of incidents
    state       ACT NOW, LIKELY, CLEARING, WATCH, SAFE or BLIND, followed through the cycles
    known       means, maxima and names without unknown values
"""
