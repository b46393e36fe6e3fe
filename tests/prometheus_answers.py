"""What a Prometheus answers when all is well: one series of one server."""

import json

from tests.local_server import Request

T0 = 1_700_000_100  # a multiple of 300
STEP = 300.0
GOOD = json.dumps({"status": "success", "data": {"resultType": "vector", "result": [
    {"metric": {"server": "db1", "profile": "db"}, "value": [T0, "1.5"]}]}})


def good(request: Request) -> None:
    request.answer(200, GOOD)
