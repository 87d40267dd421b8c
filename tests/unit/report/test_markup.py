"""HTML as text: whatever was recorded comes out as what it is."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from harness.report.markup import Html, cut, element, join, text


class _Seen(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.said += data


NASTY = ["</script><b>", "<img onerror=x>", "a & b &lt;", "\"'>", "<!-- x", "]]>"]


@pytest.mark.parametrize("nasty", NASTY)
def test_text_reads_as_it_was_recorded_and_is_no_markup(nasty: str) -> None:
    seen = _Seen(element("p", nasty))
    assert (seen.tags, seen.said) == ([("p", {})], nasty)


@pytest.mark.parametrize("nasty", NASTY)
def test_attributes_keep_what_they_are_given(nasty: str) -> None:
    assert _Seen(element("a", "x", href=nasty)).tags == [("a", {"href": nasty})]


def test_html_is_put_in_as_it_is_and_an_attribute_never_is() -> None:
    inner = element("b", "x")
    assert element("p", inner) == "<p><b>x</b></p>"
    assert _Seen(element("p", title=Html('"><i>'))).tags == [("p", {"title": '"><i>'})]


def test_names_of_attributes_and_those_that_are_left_out() -> None:
    made = element("p", class_="a", data_op=0, hidden=True, title=None, id=False)
    assert made == '<p class="a" data-op="0" hidden></p>'


def test_control_characters_and_lone_surrogates_are_replaced() -> None:
    assert text("a\x00b\x1b[1m\ud800\n") == "a\ufffdb\ufffd[1m\ufffd\n"


def test_none_is_left_out_of_what_is_joined() -> None:
    assert join("a", None, "<", by=",") == "a,&lt;"


def test_long_values_say_how_long_they_were() -> None:
    assert cut("abcdef", 3) == "abc… (6 characters)"
    assert cut("abc", 3) == "abc"
