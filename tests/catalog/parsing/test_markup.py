import polars as pl
import pytest
from hubspoke.catalog.parsing.markup import strip_markup
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("marked", "plain"),
    [
        ("<p>Apron of <strong>washed</strong> linen.</p><p>Cross&nbsp;back &amp; no ties</p>",
         "Apron of washed linen. Cross back & no ties"),
        ("<ul><li>Oak</li>\n<li>Steel</li></ul>", "Oak. Steel"),
        ("Works <br /> well", "Works well"),
        ("wash<b>ed</b> <a href='x' title=\"a > b\">linen</a>", "washed linen"),
        ("A<script>if (a < b) { x() }</script><style>p {}</style><!-- note -->B", "A B"),
        ("&lt;p&gt;Escaped &amp;amp; twice&lt;/p&gt;", "Escaped & twice"),
        ("<![CDATA[<b>Oak</b> table]]>", "Oak table"),
        ("caf&#233; &#x20AC;5 &quot;x&quot;", 'café €5 "x"'),
        ("<p title=5\">text</p><p title=5\">more</p>", "text. more"),
        ("Oak table <a href=\"https://shop", "Oak table"),
        ("Oak<script>var a = '<b>';", "Oak"),
        ("Oak <style>.a{b:c}", "Oak"),
        ("<w:Doc><w:View>Oak</w:View></w:Doc>", "Oak"),
        ("[vc_row][vc_column width=\"1/2\"]Oak[/vc_column][/vc_row] [gallery ids=\"1,2\"] [tabs x=\"1\"]", "Oak"),
        ("Oak {{widget type=\"A\\B\"}} and {% if a %}ash{% endif %} %%NAME%%", "Oak and ash"),
        ("<o:p></o:p><span style=\"color:red\">Red</span>", "Red"),
    ],
)  # fmt: skip
def test_tags_and_entities_go(marked: str, plain: str) -> None:
    assert strip_markup(pl.Series([marked, None, "x"])).to_list() == [plain, None, "x"]


@pytest.mark.parametrize(
    "text",
    ["a < b > c", '5" <10mm', "AT&T; R&D", "I <3 this", "<unknown>x</unknown>", "x &unknown; y", "a  b\nc", "[a]",
             "Mug [red, 2 of them] {a} <style>", "[set of 2]", "HTML <script> tags"],
)  # fmt: skip
def test_text_that_only_looks_like_it_stays(text: str) -> None:
    assert strip_markup(pl.Series([text])).to_list() == [text]


@given(st.text(alphabet=st.sampled_from(list("<>/&;pb quotamp!-\"'=")), max_size=40))
def test_stripped_twice_is_stripped_once(text: str) -> None:
    once = strip_markup(pl.Series([f"<p>{text}</p>"]))
    for _ in range(3):
        once = strip_markup(once)
    assert strip_markup(once).to_list() == once.to_list()
