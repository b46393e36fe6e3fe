"""The tiles that several dashboards have: the state, what is expected, and how old it is."""

from collections.abc import Callable

from grafana_foundation_sdk.models.common import BigValueTextMode

from grafana import panels, queries, states
from grafana.panels import now

WINDOWS = {"30m": "30 min", "8h": "8 h"}  # of chances, in words
NAME_TOO = BigValueTextMode.VALUE_AND_NAME


def state(title: str, expression: str, shown: BigValueTextMode) -> panels.stat.Panel:
    """The one word. The expression always has a value, so there is none only where Prometheus does not answer."""
    return panels.number(title, states.MEANING, "none", now(expression, "{{why}}"), states=states.SHOWN,
                         nothing="NO ANSWER FROM PROMETHEUS", shown=shown)


def first(expression: str, whose: str) -> panels.stat.Panel:
    """Time until the first incident."""
    made = panels.number("First incident in",
                         f"Time until the first incident {whose} is expected; NOW while one is on.",
                         "s", now(expression), steps=states.FIRST_STEPS)
    return made.mappings(panels.texts(states.FIRST)).decimals(1)  # 1.5 hours is not 2


def chances(expression: Callable[[str], str], description: str, steps: states.Steps) -> list[panels.stat.Panel]:
    """One tile for each window, whose name the description has in place of {}."""
    return [panels.number(f"Incident within {words}", description.format(words), "percentunit",
                          now(expression(window)), steps=steps, nothing="unknown").decimals(0)
            for window, words in WINDOWS.items()]


def forecast_age() -> panels.stat.Panel:
    """Grey where it says since when forecasts are not current."""
    age = panels.number("Forecast age",
                        "Time since the last successful cycle. It is grey while forecasts are not current. Forecasts "
                        "are withheld after 2 minutes.",
                        "s", now(queries.FORECAST_AGE), steps=states.AGE_STEPS, nothing="none in 6 h")
    return age.mappings(panels.at_least(1e9, "never", states.UNKNOWN)).decimals(0)
