"""Links to what stands beside a service: which are taken, and what is said of others."""

import argparse

import pytest

from serving.page.links import MOST, add_flag, checked

PAGER = "http://127.0.0.1:8003/"


@pytest.mark.parametrize(("links", "said"), [
    ({"Pager": "127.0.0.1:8003"}, "Pager is '127.0.0.1:8003'; expected an address such as"),
    ({"Pager": "javascript:alert(1)"}, "start it with http"),
    ({"Pager": "http://"}, "expected an address"),
    ({"Pager": "http://[::1"}, "expected an address"),
    ({"Pager": "http://host:x/"}, "expected an address"),
    ({"Pager": "http://a b/"}, "expected an address"),
    ({"Pager": "http://host/\n"}, "expected an address"),
    ({"Pager": "https://host/" + "x" * 400}, "of at most 400 characters"),
    ({"Pager": "http://me:secret@host/"}, "has a user or password"),
    ({"": PAGER}, "expected 1 to 40 characters"),
    ({"x" * 41: PAGER}, "expected 1 to 40 characters"),
    ({"a\x1b[2J": PAGER}, "that can be read"),
    ({f"Page {n}": PAGER for n in range(MOST + 1)}, "13 links; expected at most 12"),
])
def test_a_link_that_no_page_may_have_is_refused_with_what_was_expected(links, said):
    with pytest.raises(ValueError, match=".") as error:
        checked(links)
    assert said in str(error.value) and "secret" not in str(error.value)


def test_the_flag_may_be_repeated_and_says_what_is_wrong(capsys):
    parser = argparse.ArgumentParser()
    add_flag(parser)
    flags = ["--web.link", f"Pager={PAGER}", "--web.link", "Shop=https://shop.example.com/?a=b"]
    assert parser.parse_args(flags).links == {"Pager": PAGER, "Shop": "https://shop.example.com/?a=b"}
    assert parser.parse_args([]).links == {}
    for wrong, said in (("Pager", "expected TITLE=ADDRESS"), ("Pager=nowhere", "expected an address")):
        with pytest.raises(SystemExit):
            parser.parse_args(["--web.link", wrong])
        assert said in capsys.readouterr().err
