"""Who is up, how often servers are scraped, and what follows for queries and values; times are made up."""

import numpy as np
import pytest

from forecaster.sources.up import Up, hold

QUERY = "rate(x_total[$step])"


def up(label: str = "instance", **scrapes: float) -> Up:
    """Of servers with so many scrapes in an hour."""
    made = Up('up{job="node"}', label, 300.0)
    made.counted(tuple(scrapes), np.array([*scrapes.values()], np.float32))
    return made


def test_a_label_of_prometheus_3_is_quoted():
    assert up().scraped.startswith("max by (instance) (timestamp(up")
    assert up("host.name").scraped.startswith('max by ("host.name") (timestamp(up')


@pytest.mark.parametrize("scrapes", [{}, {"a": 720}, {"a": 720, "b": 48}])
def test_a_step_that_holds_four_scrapes_of_every_server_is_the_window(scrapes):
    assert up(**scrapes).render(QUERY) == "rate(x_total[300s])"


@pytest.mark.parametrize(("scrapes", "window"), [(30, "480s"), (12, "1200s"), (8, "1200s")])
def test_servers_scraped_too_seldom_get_four_scrapes_and_at_most_four_steps(scrapes, window):
    query = up(a=720, b=scrapes).render(QUERY)
    assert query.startswith("((rate(x_total[300s])) unless on (instance) (")
    assert f"or ((rate(x_total[{window}])) and on (instance) (" in query


@pytest.mark.parametrize(("scrapes", "age", "recent"), [
    (240, 37, True), (240, 38, False),    # 2.5 intervals of 15 s
    (720, 30, True), (720, 31, False),    # of 5 s, and no less than a tenth of the step
    (12, 299, True), (240, 1e6, False),   # a scrape that failed
    (240, np.nan, False),                 # no longer a target
])
def test_a_scrape_is_recent_for_two_and_a_half_intervals(scrapes, age, recent):
    assert up(a=scrapes).recent(("a",), np.array([[-age]], np.float32)).tolist() == [[recent]]


def test_a_slower_interval_is_known_from_the_first_two_scrapes_that_are_that_far_apart():
    made, age = up(a=240), np.array([[-59]], np.float32)
    assert made.recent(("a",), age).tolist() == [[False]]
    made.seen(("a",), np.array([60.0]), 15.0)
    made.seen(("a",), np.array([0.0]), 15.0)  # the same scrape again
    assert made.recent(("a",), age).tolist() == [[True]]
    assert made.recent(("a",), np.array([[-113]], np.float32)).tolist() == [[False]], "2.5 times at least 45 s"
    made.seen(("a",), np.array([15.0]), 15.0)
    assert made.recent(("a",), age).tolist() == [[False]]


def test_in_a_range_the_interval_may_have_been_longer_than_it_is_now():
    ages = np.full((20, 2), 50, np.float32)  # of a scrape a minute, as seen from a grid of 5 minutes
    ages[:, 1], ages[18:, 1] = 10, (170, 290)  # scraped more often, and then no more
    recent = up(a=240, b=240).recent(("a", "b"), -ages)
    assert recent[:, 0].all() and recent[:, 1].tolist() == [True] * 18 + [False] * 2


def test_a_new_server_has_a_step_and_one_of_which_nothing_is_known_counts():
    scraped = np.array([[-299, -301, np.nan]], np.float32)
    assert up(z=240).recent(("new", "late", "unknown"), scraped).tolist() == [[True, False, True]]


def test_a_value_stands_until_the_next_scrape_and_one_that_was_missing_is_taken():
    instants, nan = np.array([1e9, 1e9 + 15, 1e9 + 30]), np.nan
    scraped = np.array([[-1], [-16], [-1]], np.float32)
    values = np.array([[[5, nan]], [[4, 2]], [[3, 3]]], np.float32)
    hold(instants, scraped, values)
    assert values[:, 0].tolist()[1:] == [[5, 2], [3, 3]]
