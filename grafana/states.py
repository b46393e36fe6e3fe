"""Colours, and what is said with them: the states of servers and fleets, steps of figures, words beside numbers.

Nothing is said by a colour alone: every state is a word as well. Grounds are dark or light enough for 4.5:1 with the
text that Grafana writes on them: light, or dark where the ground's brightness is above 180 of 255. What has no value is
grey; what is as it should be has the panel's own ground, so that a quiet fleet shows no colours.
"""

from collections.abc import Mapping, Sequence

# lines: Okabe and Ito's palette without its yellow, which nobody sees on white
BLUE, SKY, GREEN = "#0072B2", "#56B4E9", "#009E73"
ORANGE, VERMILLION, PURPLE, GREY = "#E69F00", "#D55E00", "#CC79A7", "#8C8C8C"

# grounds: the same hues, for text
CRITICAL, WARNING, NOTICE = "#C43C00", "#F0BE5A", BLUE
ENDING, GOOD, UNKNOWN = "#9A4F7E", "#007A59", "#484848"
QUIET = "transparent"
FAINT, LIGHT = "rgba(0, 114, 178, 0.2)", "rgba(0, 114, 178, 0.5)"  # small chances on the risk map, which has no text

# value -> (text, colour)
States = Mapping[float, tuple[str, str]]
# forecast_state, and the records server:forecast_state:max and fleet:forecast_state:max
STATE: States = {
    -1: ("BLIND", UNKNOWN),
    0: ("SAFE", GOOD),
    1: ("WATCH", NOTICE),
    2: ("CLEARING", ENDING),
    3: ("LIKELY", WARNING),
    4: ("ACT NOW", CRITICAL),
}
PENDING = 3.5
SHOWN: States = {**STATE, PENDING: ("PENDING", WARNING)}  # as the forecaster's pages show it
MEANING = ("ACT NOW: P1. PENDING: P1, and its alert waits. LIKELY: P2 or a chance of 50% in 8 h. CLEARING: P1 or P2 "
           "has just ended. WATCH: 10%, or no chance known. BLIND: no current data.")
FIRST: States = {  # beside the seconds until the first incident is expected
    -3: ("unknown", UNKNOWN),
    -2: ("no time known", WARNING),
    -1: ("not likely in 8 h", QUIET),
    0: ("NOW", CRITICAL),
}
CHAIN: States = {  # fleet:alert_chain:broken
    0: ("works", QUIET),
    1: ("NO CURRENT FORECAST", CRITICAL),
    2: ("RULES FAIL", CRITICAL),
    3: ("NO ALERTMANAGER", CRITICAL),
    4: ("NOT DELIVERED", CRITICAL),
}
ON: States = {0: ("off", QUIET), 1: ("on", CRITICAL)}
METHOD: States = {0: ("Model", QUIET), 1: ("Fallback", WARNING)}
UP: States = {0: ("DOWN", CRITICAL), 1: ("up", QUIET)}

Steps = Sequence[tuple[float | None, str]]
PLAIN: Steps = ((None, QUIET),)
BARS: Steps = ((None, BLUE),)
RISK_STEPS: Steps = ((None, QUIET), (40, WARNING), (70, CRITICAL))  # risk.priorities of forecaster/presets/fleet.yml
# p2_chance and p1_chance of risk.priorities; from 10% on a server is WATCH
CHANCE_STEPS: Steps = ((None, QUIET), (0.1, NOTICE), (0.5, WARNING), (0.8, CRITICAL))
CHANCE_BARS: Steps = ((None, SKY), *CHANCE_STEPS[2:])
HEAT_STEPS: Steps = ((None, FAINT), (0.02, LIGHT), *CHANCE_STEPS[1:])
AGE_STEPS: Steps = ((None, QUIET), (60, UNKNOWN))  # seconds: what is not current is grey
ANY_IS_BAD: Steps = ((None, QUIET), (1, CRITICAL))
FIRST_STEPS: Steps = ((None, QUIET), (0, CRITICAL), (3600, WARNING))
HEALTH_LIMITS = ((0.4, ORANGE), (0.7, VERMILLION))  # risk.health, likewise


def grounded(steps: Steps) -> Steps:
    """The same steps for a tile: what has no value, which Grafana takes for minus infinity, is grey."""
    return ((None, UNKNOWN), (-1e9, steps[0][1]), *steps[1:])
