"""What fills up, days ahead: used shares of a limit in, their forecast for 14 days out. Numpy only, no I/O but a file
of weights.

    past      what is known of entities, and the statistics that everything else reads
    growth    growth now and before, when it changed, and the largest step of the last day
    forecast  percentiles for 14 days, when each is full, and the chances of full
"""
