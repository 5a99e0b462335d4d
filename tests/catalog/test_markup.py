from pathlib import Path

import pytest
from hubspoke.catalog.tables import load_table
from hubspoke.errors import InvalidDataError

RSS = '<rss xmlns:g="http://base.google.com/ns/1.0"><channel><title>Shop</title>{}</channel></rss>'
ATOM = '<?xml version="1.0" encoding="windows-1252"?><feed><link href="http://a"/>{}</feed>'
DECLARED = "<?xml version='1.0' encoding='windows-1252'?>"
OFFERS = DECLARED + "<shop><kinds><kind id='1'>A</kind><kind id='2'>B</kind></kinds>{}</shop>"
GRAPH = '{"@context": "https://schema.org", "@graph": [{"sku": "1", "offers": {"price": 12.0}}, {"sku": "2"}]}'
SCRIPT = '<script type="application/ld+json">'
PAGE = "<!DOCTYPE html><html>" + SCRIPT + "{}</script><script>var a = 1</script></html>"


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        (
            "f.xml",
            RSS.format("<item><g:id>1</g:id><title><![CDATA[A & B]]></title></item>"),
            [{"g:id": "1", "title": "A & B"}],
        ),
        (
            "f.xml",
            ATOM.format("<entry><id>1</id><i>a</i><i>b</i><s><c>SE</c><p>5</p></s><link href='x' rel='y'/></entry>"),
            [{"id": "1", "i": '["a", "b"]', "s": '{"c": "SE", "p": "5"}', "link": "x"}],
        ),
        (
            "f.xml",
            OFFERS.format("<offers><offer id='7'><price of='€'>5</price><p n='a'>x</p><p n='b'>y</p></offer></offers>"),
            [{"id": "7", "price": "5", "price@of": "€", "p": '[{"n": "a", "text": "x"}, {"n": "b", "text": "y"}]'}],
        ),
        (
            "f.csv",
            "<?xml version='1.0'?><all><shoe><id>1</id></shoe><shoe><id>2</id></shoe></all>",
            [{"id": "1"}, {"id": "2"}],
        ),
        ("p.html", PAGE.format(GRAPH), [{"sku": "1", "offers": '{"price": 12}'}, {"sku": "2", "offers": None}]),
        (
            "p.html",
            PAGE.format('[{"sku": "1"}]').replace("<script>", '<script type="application/ld+json">'),
            [{"sku": "1"}],
        ),
        (
            "p.html",
            PAGE.format('//<![CDATA[\n[{"sku": "1", "name": "a\nb, }",}]\n//]]>'),
            [{"sku": "1", "name": "a b, }"}],
        ),
    ],
)
def test_markup_becomes_rows(tmp_path: Path, name: str, text: str, rows: list[dict[str, str]]) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="windows-1252")
    assert load_table(path).frame.to_dicts() == rows


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("f.xml", '<!DOCTYPE x [<!ENTITY a "b">]><x><item><a>&a;</a></item></x>', "entities of its own"),
        ("f.xml", "<rss><item><a>1</a></item><item><a>2</b></item></rss>", "mismatched tag in line 1"),
        ("f.xml", "<x>text</x>", "repeated element"),
        ("f.xml", "<x>" + "<y>" * 300, "repeated element|flatter"),
        ("f.csv", "<html><body>Sign in</body></html>", "web page"),
        ("p.html", "<html></html>", "no JSON-LD"),
        ("p.html", PAGE.format("{"), "cannot be read"),
        ("f.xml", "id,name\n1,a\n", "no XML"),
    ],
)
def test_markup_that_is_no_table(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InvalidDataError, match=message):
        load_table(path)
