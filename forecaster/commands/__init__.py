"""The command line: one file a command, the flags they share, and outputs, the files that `backtest` writes."""
