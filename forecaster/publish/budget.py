"""What one remote read may cost. Without bounds a request of a few kilobytes takes gigabytes and minutes.

| bound | why |
|---|---|
| 100 queries, 1,000 matchers | Prometheus sends one query with one matcher more than the selector has |
| 2 s of processor time before the last matcher | those of a thousand servers take milliseconds |
| 65,536 characters in an expression, 2 MiB for it | a thousand names of 60 characters, and less than a second |
| `publish.max_curve_samples`, and a tenth as many series | the labels of a series take as much as ten samples |

How many requests run at once is the lane's affair (serving.net.lanes).
"""

import time
from collections.abc import Callable

from forecaster.publish import remote_pb as pb
from serving.web import RequestError

QUERIES = 100
MATCHERS = 1000
SECONDS = 2.0  # of processor time, of the thread that answers


class Budget:
    """What is left for one request. Each method raises RequestError where it is used up."""

    def __init__(self, samples: int, ticks: Callable[[], float] = time.thread_time):
        self._samples = self._allowed = samples
        self._series = max(1, samples // 10)
        self._ticks, self._end = ticks, ticks() + SECONDS

    def admit(self, request: pb.Message) -> None:
        """Counts the queries and matchers of a ReadRequest."""
        if (queries := len(request.queries)) > QUERIES:
            raise RequestError(f"the request has {queries} queries", "queries", f"at most {QUERIES}")
        if (matchers := sum(len(query.matchers) for query in request.queries)) > MATCHERS:
            raise RequestError(f"the request has {matchers} matchers", "matchers", f"at most {MATCHERS}")

    def go_on(self) -> None:
        """Takes the time since the start."""
        if self._ticks() > self._end:
            raise RequestError(f"the request takes longer than {SECONDS:g} s of processor time", "matchers",
                               "fewer and simpler expressions, such as names joined by |")

    def take(self, series: int, samples: int) -> None:
        """Takes a number of series, each with at most so many samples."""
        self._series -= series
        self._samples -= series * samples
        if self._samples < 0 or self._series < 0:
            raise RequestError(f"the queries select more than {self._allowed} samples, or more than "
                               f"{self._allowed // 10} series", "matchers",
                               "fewer: add matchers on server, profile or percentile, or shorten the range")
