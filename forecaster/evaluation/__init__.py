"""A model and a history in, figures out.

    windows       which windows of which history are forecast
    backtest      forecasts of windows as in serving, and their figures
    scoring       the figures: pinball loss, coverage, Brier score; table: the report as text and JSON
    yardsticks    simple forecasts to compare with
    incidents     outcomes of incidents, and figures of their chances
    chances       rules that say a chance, to compare with; boosted: a gradient-boosted classifier
    comparison    chances of models and rules on the same windows, over several draws
    episodes      pages and incidents as a person counts them
    oracle        the best possible forecast of a simulated fleet; limit: comparison of models with it;
                  leads: how early P1 rings
    capacity/     forecasts and alerts of what fills up, beside the best possible ones, yardsticks and rules in use
    calibration   incident probabilities fitted on simulated fleets
    acceptance    evaluation of a trained model before it is written
    plots         fan charts, reliability diagram, loss by horizon
"""
