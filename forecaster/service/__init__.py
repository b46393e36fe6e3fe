"""The forecaster while it runs: a configuration in, a served Flask application out.

    cycle     the stages in order, every refresh; stages: times, counts and catches them; ticker: the thread
    capacity  the watch over what fills up, in a thread of its own; history: which history it reads next
    assembly  makes the parts that a configuration asks for
    parts     these parts: how they start, close, and what of them a reload keeps
    admission which tenants' servers a request gets
    reads     which columns of the window a forecast reads, so that a start waits for no others
    counting  tells the record of pages what a cycle has found
    heap      keeps the process small: gives memory back, and few arenas for all threads
    app       the Flask application over them, and the reload
"""
