"""What every package may use: record declarations, configuration, clock, errors, log, metrics."""
