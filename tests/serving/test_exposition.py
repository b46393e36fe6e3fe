import gzip
import subprocess
import zlib

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from serving.exposition import (
    Page,
    Prepared,
    family_header,
    metrics_response,
    render_family,
    render_values,
    series_prefixes,
)
from tests.tools import tool

NASTY = 'a\\b"c\nd é'


def rendered(values, dtype=np.float64) -> str:
    rows = [(f"s{index}", NASTY) for index in range(len(values))]
    return render_family(
        "up_ratio",
        "Share \\ that\nis up.",
        series_prefixes("up_ratio", ("server", "odd"), rows),
        np.array(values, dtype),
    )


def registry() -> CollectorRegistry:
    made = CollectorRegistry()
    Counter("scrapes", "Scrapes so far.", registry=made).inc(3)
    return made


def test_labels_and_help_are_escaped_so_that_parsers_give_them_back():
    for parse, text in ((parse_text, rendered([1.5])), (parse_openmetrics, rendered([1.5]) + "# EOF\n")):
        (family,) = parse(text)
        assert (family.name, family.type, family.documentation) == (
            "up_ratio",
            "gauge",
            "Share \\ that\nis up.",
        )
        assert [(s.labels, s.value) for s in family.samples] == [({"server": "s0", "odd": NASTY}, 1.5)]


def test_the_text_is_exactly_what_the_format_asks_for():
    text = render_family("x", "An x.", series_prefixes("x", ("a",), [("1",), ("2",)]), np.array([1, 0.25]))
    assert text == '# HELP x An x.\n# TYPE x gauge\nx{a="1"} 1.0\nx{a="2"} 0.25\n'
    assert series_prefixes("x", (), [()]) == ["x "]


def test_a_nan_has_no_series_and_a_family_of_nans_no_text():
    (family,) = parse_text(rendered([1, np.nan, 3]))
    assert [(s.labels["server"], s.value) for s in family.samples] == [("s0", 1.0), ("s2", 3.0)]
    assert rendered([np.nan, np.nan]) == ""
    assert rendered([]) == ""


def test_a_page_is_its_families_one_after_the_other_whatever_is_known_this_time():
    names, rows = ("a_ratio", "b", "c_bytes", "d"), [("50 %d", NASTY), ("s1", "%"), ("s2", "\\n%%")]
    prefixes = [series_prefixes(name, ("server", "odd"), rows) for name in names]
    page = Page((family_header(name, f"100 % of {name}."), of) for name, of in zip(names, prefixes, strict=True))
    nan, inf = np.nan, np.inf
    for unknown in ([], [0], [], [0, 1, 2], [2], [1]):
        first = np.array([0.1, 2, -3.3], np.float32)
        first[unknown] = nan
        values = [first, np.array([[0.1], [inf], [nan]]), np.array([True, False, True]), np.array([1e300, -inf, 3.25])]
        text = page.render(values)
        assert text == "".join(
            render_family(name, f"100 % of {name}.", of, numbers.ravel())
            for name, of, numbers in zip(names, prefixes, values, strict=True)
        ).encode()
        assert text.count(b"\na_ratio{") == 3 - len(unknown)


def test_a_page_without_any_value_is_empty_and_one_value_too_few_is_refused():
    page = Page([(family_header("x", "An x."), ["x "]), (family_header("y", "No y."), [])])
    assert page.render([np.array([np.nan]), np.empty(0)]) == b""
    assert page.render([np.array([1]), np.empty((0, 3))]) == b"# HELP x An x.\n# TYPE x gauge\nx 1.0\n"
    assert Page([]).render([]) == b""
    with pytest.raises(ValueError, match=r"\[1, 1\] values; expected one value per series: \[1, 0\]"):
        page.render([np.zeros(1), np.zeros(1)])


def test_infinities_are_written_as_prometheus_reads_them():
    assert render_values(np.array([np.inf, -np.inf, 1])) == ["+Inf", "-Inf", "1.0"]


def test_float32_is_written_with_the_digits_it_holds():
    values = np.array([45.2, 0.1, 123456.7, 8.5e7, -3.3, 0, 1e-20, 2.5e-7, 100], np.float32)
    assert render_values(values) == [
        "45.2",
        "0.1",
        "123456.7",
        "85000000.0",
        "-3.3",
        "0.0",
        "1e-20",
        "2.5e-7",
        "100.0",
    ]
    wide = np.geomspace(1e-35, 1e35, 2000).astype(np.float32)
    assert np.allclose(np.array(render_values(wide), float), wide, rtol=6e-7, atol=0)


def test_float64_is_written_without_loss():
    values = np.random.default_rng(1).random(1000) * 1e9
    assert np.array_equal(np.array(render_values(values), float), values)


def test_wrong_names_rows_and_lengths_are_refused():
    with pytest.raises(ValueError, match="'9x' is not a metric name"):
        series_prefixes("9x", (), [])
    with pytest.raises(ValueError, match="'__a' is not a label name"):
        series_prefixes("x", ("__a",), [])
    with pytest.raises(ValueError, match="zip"):
        series_prefixes("x", ("a", "b"), [("1",)])
    with pytest.raises(ValueError, match="2 series but 1 values"):
        render_family("x", "", ["x ", "x "], np.zeros(1))
    with pytest.raises(ValueError, match="single quotes"):
        family_header("x", 'a "quoted" help')


def test_promtool_accepts_the_text():
    text = metrics_response(registry(), rendered([1, np.nan, np.inf], np.float32).encode(), {}).data
    assert b"scrapes_total 3.0" in text
    assert text.count(b"\nup_ratio{") == 2
    done = subprocess.run(
        [tool("promtool"), "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_plain_text_is_the_default_and_openmetrics_is_given_when_asked_for():
    extra = rendered([1]).encode()
    plain = metrics_response(registry(), extra, {})
    assert plain.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert plain.headers["Vary"] == "Accept, Accept-Encoding"
    assert {f.name for f in parse_text(plain.get_data(as_text=True))} == {
        "scrapes",
        "scrapes_created",
        "up_ratio",
    }
    accept = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;q=0.75,text/plain;q=0.5"
    openmetrics = metrics_response(registry(), extra, {"Accept": accept})
    assert openmetrics.content_type.startswith("application/openmetrics-text; version=1.0.0")
    text = openmetrics.get_data(as_text=True)
    assert text.count("# EOF") == 1
    assert text.endswith("\n# EOF\n")
    assert [f.name for f in parse_openmetrics(text)] == ["scrapes", "up_ratio"]


@pytest.mark.parametrize(
    "accept", ["application/openmetrics-text;version=x", "nonsense", "text/plain;version=,,;"]
)
def test_an_odd_accept_header_is_still_answered(accept):
    assert metrics_response(registry(), b"", {"Accept": accept}).status_code == 200


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip", True),
        ("deflate, gzip;q=0.5", True),
        ("*", True),
        ("", False),
        ("identity", False),
        ("gzip;q=0", False),
    ],
)
def test_gzip_is_used_only_where_it_is_accepted(accepted, packed):
    response = metrics_response(registry(), b"", {"Accept-Encoding": accepted})
    assert response.headers.get("Content-Encoding") == ("gzip" if packed else None)
    text = gzip.decompress(response.data) if packed else response.data
    assert b"scrapes_total 3.0" in text


def members(packed: bytes) -> list[tuple[bytes, bytes]]:
    """(compressed, text) of each gzip member."""
    found = []
    while packed:
        reader = zlib.decompressobj(wbits=31)
        text = reader.decompress(packed) + reader.flush()
        found.append((packed[: len(packed) - len(reader.unused_data)], text))
        packed = reader.unused_data
    return found


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text;version=1.0.0"])
def test_every_part_is_compressed_at_level_1_which_costs_a_tenth_of_level_9(accept):
    extra = [Prepared(rendered(np.random.default_rng(part).random(500)).encode()) for part in (1, 2)]
    headers = {"Accept": accept, "Accept-Encoding": "gzip"}
    found = members(metrics_response(registry(), extra, headers).data)
    assert [text for _, text in found[1:3]] == [part.text for part in extra] and len(found) == 4
    for packed, text in found:
        fast, small = (gzip.compress(text, level, mtime=0) for level in (1, 9))
        assert packed == fast != small
