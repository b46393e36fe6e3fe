"""Fleetcast's forecaster: reads a fleet's metrics, forecasts them, and publishes the forecasts as Prometheus series."""
