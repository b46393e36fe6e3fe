"""Arrays in, forecasts out: `Forecast`, float32 (S servers, C signals, H horizon steps, 3 percentiles) in signal units.

Five terms to tell apart. The *tft* is the Temporal Fusion Transformer alone, from scaled inputs to raw outputs. The
*network* is the tft and what is computed beside it: a linear autoregression, or the mixing of views. An *engine*
computes a network with given weights and returns signal units: PyTorch (eager) or machine code (compiled). An
*artifact* is a folder on disk with the weights and what is needed to use them. A *model* is a loaded artifact with an
engine: it encodes windows, runs the engine and returns quantiles in signal units.

    features, series  inputs of a fleet's model and of a model of single series; nothing else scales
    views             simple forecasts that a model of single series mixes
    zone              the clock of a time zone, and where it changes
    tft, network      the transformer, and what is computed beside it
    engine            the protocol of an engine; eager, compiled/: the two kinds; choice: the fastest that works
    artifact, model   the folder on disk, and what is loaded from it
    weights_file      the file of a small network, such as that of chances
    heuristic         the trend heuristic
    forecast          who is forecast by what; unforecast: who is not, and why
"""
