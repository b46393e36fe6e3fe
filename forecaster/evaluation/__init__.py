"""A model and a history in, figures out.

    windows       which windows of which history are forecast
    backtest      forecasts of windows as in serving, and their figures
    scoring       the figures: pinball loss, coverage, Brier score; table: how they are printed
    yardsticks    simple forecasts to compare with
    oracle        the best possible forecast of a simulated fleet; limit: how far a model is from it
    calibration   chances of incidents fitted on simulated fleets
    acceptance    what a freshly trained model goes through before it is written
    plots         pictures of all that
"""
