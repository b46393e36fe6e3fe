"""Tenants: which servers the matchers of one accept."""

import pytest

from forecaster.tenants import Tenant, matchers


@pytest.mark.parametrize(("selector", "accepted"), [
    ('{server="web1"}', {"web1"}),
    ('server="web1"', {"web1"}),
    ('{ server =~ "web.*" , }', {"web1", "web2"}),
    ('server=~"web",profile="front"', set()),
    ('server!="web1",profile="front"', {"web2"}),
    ('server!~"web.*"', {"db1", 'odd"\\name', "a\tb"}),
    ("profile!~'front|back'", {'odd"\\name', "a\tb"}),
    ('profile!="front"', {"db1", 'odd"\\name', "a\tb"}),
    ('server="odd\\"\\\\name"', {'odd"\\name'}),
    ('server=~`odd.\\\\name`', {'odd"\\name'}),
    ('server=~"a\\tb|db\\\\d"', {"a\tb", "db1"}),
    ('server=~"web1|db1",profile="back"', {"db1"}),
    ('server=~".+"', {"web1", "web2", "db1", 'odd"\\name', "a\tb"}),
])
def test_a_server_is_a_tenants_where_all_matchers_accept_it(selector, accepted):
    fleet = {"web1": "front", "web2": "front", "db1": "back", 'odd"\\name': "generic", "a\tb": "generic"}
    tenant = Tenant(selector)
    assert {server for server, profile in fleet.items() if tenant.has(server, profile)} == accepted


def test_matchers_on_a_profile_that_is_not_known_accept_nothing_and_negative_ones_neither():
    for selector in ('profile!="back"', 'profile=~".*"', 'profile!~"x"', 'server=~".+",profile=""'):
        assert not Tenant(selector).has("db1", None)
    assert Tenant('server="db1"').has("db1", None)


@pytest.mark.parametrize(("selector", "said"), [
    ("", "there is no matcher"),
    ("{}", "there is no matcher"),
    ('up{server="a"}', "no matcher at 'up{"),
    ('server="a" profile="b"', "no matcher at"),
    ('server="a",,', "no matcher at"),
    ("server=a", "no matcher at"),
    ('server=="a"', "no matcher at"),
    ('team="a"', "team is not a label"),
    ('server=~"a\\.b"', "write \\\\."),
    ('server=~"("', "not an expression of RE2"),
    (f'server=~"{"(a{1000})" * 200}"', "not an expression of RE2"),
])
def test_a_wrong_selector_is_refused_with_what_is_wrong(selector, said):
    with pytest.raises(ValueError) as caught:
        matchers(selector)
    assert said in str(caught.value) and len(str(caught.value)) < 600
