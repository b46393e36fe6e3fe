"""History in, weights out. The only package that needs pytorch-forecasting and Lightning.

    dataset    windows and batches of a history, and the history of simulated fleets
    histories  recorded history, from a file or a Prometheus
    fleet      trains a model of one fleet's signals together
    hosts      trains a model of single series, for hosts of any kind
    trained    what either ends with
"""
