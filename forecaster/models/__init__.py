"""Arrays in, forecasts out: `Forecast`, float32 (S servers, C signals, H horizon steps, 3 percentiles) in signal units.

Five words that are easily mixed up. The *tft* is the Temporal Fusion Transformer without its inputs and outputs; the *network*
is the tft between scaled inputs and outputs, a linear autoregression or mixed views beside it. An *engine* computes a network
with given weights: PyTorch (eager) or machine code (compiled). An *artifact* is a folder with weights and all it takes to use
them; a *model* is a loaded artifact with an engine, which takes and gives signal units.

    features, series  the only places that scale: inputs of a fleet's model, and of a model of single series
    tft, network      the transformer, and what stands around it
    engine            what an engine is; eager, compiled/: the two kinds; choice: the fastest that works
    artifact, model   the folder on disk, and what is loaded from it
    heuristic         the trend heuristic
    forecast          who is forecast by what
"""
