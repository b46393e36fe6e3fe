"""The forecaster while it runs: a configuration in, a served Flask application out.

    cycle     the stages in order, every refresh; stages: how they are timed, counted and caught; ticker: the beat
    assembly  the source, model and chances a configuration asks for
    app       everything put together, and put together anew on reload
"""
