"""History in, weights out. The only package that needs pytorch-forecasting and Lightning.

    dataset     histories, and the windows and batches cut from them
    simulation  histories of simulated fleets
    histories   recorded histories, from a file or a Prometheus
    library     the network as pytorch-forecasting builds it, for initial weights
    fleet       trains a model of one fleet's signals together
    hosts       trains a model of single series, for hosts of any kind
    trained     the result of both
    chances     trains the networks that make chances of incidents
    mounts      courses of what fills up, of simulated mounts and others
    rhythms     courses of what fills up that repeat
    capacity    trains the network that weighs courses of what fills up
"""
