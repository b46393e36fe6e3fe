"""Requests that are refused."""

from serving import ServingError


class RequestError(ServingError):
    """An invalid request: the error, the field and what was expected there; `more` adds keys to the JSON body."""

    def __init__(self, error: str, field: str, expected: str, status: int = 400, **more: object):
        super().__init__(error)
        self.body = {"error": error, "field": field, "expected": expected, **more}
        self.status = status
