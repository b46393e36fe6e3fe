"""Pages as odd exporters give them: what cannot be used of a page costs only itself."""

import codecs
import gzip
import logging
import re

import numpy as np
import pytest

from forecaster.memory.scraped import ScrapeSource
from forecaster.readings import Labels, NoData, SourceNonsense
from forecaster.sources.bounds import Bounds
from forecaster.sources.exposition_text import page_reading
from tests.config_signals import signal
from tests.local_server import local_server

T0 = 1_700_000_100.0
CPU, MEM = "cpu_ratio", "mem_ratio"
NAN = float("nan")


def read(text: str | bytes):
    """(server -> [cpu, mem] in percent, what was left out of each, notes) of a page."""
    body = text.encode() if isinstance(text, str) else text
    reading, notes = page_reading(body, T0, [(CPU, 100.0), (MEM, 100.0)],
                                  {"cpu_pct": Bounds(0, 100), "mem_pct": Bounds(0, 100)}, Labels())
    return dict(zip(reading.servers, reading.values.tolist(), strict=True)), dict(reading.left_out), notes.texts()


def lines(server: str, cpu: str = "0.5", mem: str = "0.25", after: str = "\n") -> str:
    return f'{CPU}{{server="{server}"}} {cpu}{after}{MEM}{{server="{server}"}} {mem}{after}'


GOOD = {"a": [50, 25]}


@pytest.mark.parametrize("body", [
    lines("a"), lines("a", after="\r\n"), lines("a") + "# EOF\n", lines("a", after="\n\n"),
    codecs.BOM_UTF8 + lines("a").encode(),
    f'{CPU}\t{{ server = "a" , profile="web" , }}\t 0.5\n{MEM}{{server="a"}}  2.5E-1\n',
    f'{{"{CPU}",server="a"}} 0.5\n{{"{MEM}",server="a"}} 0.25\n',
    'other{path="/mnt/Grün"} 1\n'.encode("latin-1") + lines("a").encode(),
    f"# TYPE {CPU} gauge\n" + lines("a") + f"{CPU}_created{{server=\"b\"}} 1700000000.1\n# EOF\n",
    lines("a", after=f" {T0:.3f}\n") + "# EOF\n", lines("a", after=f" {T0 * 1000:.0f}\n"),
    lines("a", after=' # {trace_id="ab"} 0.4 1600000000.0\n') + "# EOF\n",
    lines("a", after=f' {T0 - 60:.0f} # {{trace_id="ab"}} 0.4\n') + "# EOF\n",
])
def test_what_scrapers_and_exporters_agree_on_is_read_without_a_word(body):
    assert read(body) == (GOOD, {"cpu_pct": 0, "mem_pct": 0}, {})


@pytest.mark.parametrize(("extra", "left_out", "words"), [
    (f"{CPU} 0.4\n", 1, f"without the label 'server' are left out .*: 1, for example {CPU}: {{}}"),
    (f'{CPU}{{server="b"}} NaN\n', 1, "NaN or infinite are left out: 1, for example cpu_pct: nan of .*'b'"),
    (f'{CPU}{{server="b"}} +Inf\n', 1, "NaN or infinite are left out: 1"),
    (f'{CPU}{{server="b"}} 1.13\n', 1, r"values beyond 0\.\.100 are left out: 1, for example cpu_pct: 113 of .*'b'"),
    (f'{CPU}{{server="b"}} -8.62\n', 1, r"values beyond 0\.\.100 are left out: 1, for example cpu_pct: -862 of .*'b'"),
    (f'{CPU}{{server="b" 1\n', 0, "lines that are not in Prometheus' text format are left out: 1"),
    (f'{CPU}{{server="b"}} fast\n', 0, "text format are left out: 1, .*fast"),
    (f'{CPU}{{server="a"}} 0.5\n', 0, "largest value counts .*: 1, for example .*'a' has"),
    (f'{CPU}{{server="a",core="1"}} 0.2\n', 0, "largest value counts .*: 1, for example .*'core': '1'"),
    (f'{CPU}{{server="b"}} 0.9 {(T0 - 3 * 3600) * 1000:.0f}\n', 0, "older than five minutes .*'b'.* is 10800 s old"),
])
def test_one_odd_line_loses_only_itself_and_is_said(extra, left_out, words):
    for text in (lines("a") + extra, extra + lines("a")):
        values, counts, notes = read(text)
        assert {name: row for name, row in values.items() if np.isfinite(row).any()} == GOOD
        assert counts["cpu_pct"] == left_out and counts["mem_pct"] == 0
        (note,) = notes.values()
        assert re.search(words, note), note


def test_of_a_server_listed_twice_the_largest_value_counts():
    values, _, _ = read(lines("a", "0.5", "0.9") + lines("a", "0.7", "0.2") + lines("a", "77", "NaN"))
    np.testing.assert_allclose(values["a"], [70, 90], rtol=1e-6)


def test_a_value_a_little_beyond_a_bound_counts_as_the_bound():
    assert read(lines("a", "1.019", "-0.001"))[0] == {"a": [100, 0]}


def test_stamps_are_seconds_in_openmetrics_and_milliseconds_in_the_text_format():
    old = T0 - 301
    for text in (lines("b", after=f" {old * 1000:.0f}\n"), lines("b", after=f" {old:.3f}\n") + "# EOF\n"):
        with pytest.raises(SourceNonsense, match="older than five minutes are left out: 2, .* is 301 s old"):
            read(text)


def test_a_page_of_an_openmetrics_exporter_comes_through_http_packed_and_with_any_content_type():
    signals = {"cpu_pct": signal(CPU), "mem_pct": signal(MEM)}
    for headers in ({}, {"Content_Type": "text/html"}, {"Content_Type": "application/openmetrics-text"}):
        packed = gzip.compress((lines("a") + "# EOF\n").encode())
        with local_server(lambda r, h=headers, b=packed: r.answer(200, b, Content_Encoding="gzip", **h)) as server:
            source = ScrapeSource([server.url], signals, 60.0, clock=lambda: T0)
            source.scrape()
            assert source.latest(T0).values.tolist() == [[50, 25]]
            source.close()


@pytest.mark.parametrize(("status", "body", "headers", "words"), [
    (204, b"", {}, "HTTP 204, expected 200 and a page of metrics"),
    (200, b"", {}, f"holds none of the metrics {CPU}, {MEM}; it begins with ''"),
    (302, b"", {"Location": "/metrics"}, "HTTP 302, .*redirected to /metrics, put the final address into source.tar"),
])
def test_a_target_without_a_page_is_told_with_what_to_do(status, body, headers, words):
    with local_server(lambda r: r.answer(status, body, **headers)) as server:
        source = ScrapeSource([server.url], {"cpu_pct": signal(CPU), "mem_pct": signal(MEM)}, 60.0, clock=lambda: T0)
        source.scrape()
        with pytest.raises(NoData, match=words):
            source.latest(T0)
        source.close()


def test_of_a_server_on_two_pages_the_largest_value_counts_and_its_other_signals_are_joined(caplog):
    caplog.set_level(logging.WARNING)
    pages = (f'{CPU}{{server="a"}} 0.5\n{MEM}{{server="a"}} 0.25\n{CPU}{{server="b"}} 0.1\n',
             f'{CPU}{{server="a"}} 0.75\n{MEM}{{server="b"}} 0.2\n{CPU} 1\n')
    with local_server(lambda r: r.answer(200, pages[0])) as one, local_server(lambda r: r.answer(200, pages[1])) as two:
        source = ScrapeSource([two.url, one.url], {"cpu_pct": signal(CPU), "mem_pct": signal(MEM)}, 60.0,
                              clock=lambda: T0)
        for _ in range(3):
            source.scrape()
        reading = source.latest(T0)
        source.close()
    np.testing.assert_allclose(reading.values, [[75, 25], [10, 20]], rtol=1e-6)
    assert dict(reading.left_out) == {"cpu_pct": 1, "mem_pct": 0}
    described = source.describe()
    (both,) = described["warnings"]
    assert "several targets" in both and both.endswith(": 1, for example a")
    assert ["without the label" in str(target["warnings"]) for target in described["targets"]] == [True, False]
    assert caplog.text.count("several targets") == 1 and caplog.text.count("without the label") == 1


def test_a_history_file_is_read_as_a_page_is(tmp_path):
    stamps = [T0 - 15, T0 - 10]
    rows = [f'{CPU}{{server="a",disk="{disk}"}} {value} {stamp:.0f}' for disk, value in (("x", 0.5), ("y", 0.7))
            for stamp in stamps]
    rows += [f"{CPU} 0.1 {T0:.0f}", f'{CPU}{{server="b"}} 9 {T0:.0f}', f'{MEM}{{server="b"}} 0.2 {T0:.0f}']
    (tmp_path / "history.om").write_text("\n".join([*rows, "# EOF", ""]))
    with local_server(lambda r: None) as server:
        source = ScrapeSource([server.url], {"cpu_pct": signal(CPU), "mem_pct": signal(MEM)}, 60.0, clock=lambda: T0)
        source.bootstrap(tmp_path / "history.om")
        found = source.range(T0, T0, 60.0)
        source.close()
    assert found.servers == ("a", "b")
    np.testing.assert_allclose(found.values[0], [[70, NAN], [NAN, 20]], rtol=1e-6)
    told = source.describe()["bootstrap"]
    for words in ("without the label 'server' are left out", "beyond 0..100 are left out: 1, for example 900 of",
                  "largest value counts"):
        assert words in told
