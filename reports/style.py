"""The one stylesheet of a report: system fonts, light and dark, readable on a phone and on paper."""

from __future__ import annotations

_LIGHT = ("#2563c9", "#d1501f", "#1b8a5a", "#8a4fc4", "#b7860b", "#c2347a", "#0d8aa5", "#5d6675")
_DARK = ("#74a8ff", "#ff9466", "#5fd09c", "#c39bf5", "#e6bd4f", "#f487b6", "#5fcbe0", "#a9b3c1")


def _variables(colours: tuple[str, ...]) -> str:
    return "".join(f"--c{n}:{colour};" for n, colour in enumerate(colours))


_SERIES = "".join(
    f".s{n}{{stroke:var(--c{n})}}.f{n}{{fill:var(--c{n})}}.key.c{n}{{background:var(--c{n})}}"
    for n in range(len(_LIGHT))
)

STYLE = (
    ":root{color-scheme:light dark;--ink:#1c2430;--soft:#5c6675;--line:#dde2e9;--page:#f5f6f8;--card:#ffffff;"
    "--best:#e3f4ea;--best-ink:#12633f;"
    + _variables(_LIGHT)
    + "}"
    + "@media (prefers-color-scheme:dark){:root{--ink:#e7ebf1;--soft:#9aa5b4;--line:#2e3642;"
    "--page:#12161c;--card:#1a2028;--best:#173a2a;--best-ink:#8be0b3;"
    + _variables(_DARK)
    + "}}"
    + """
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
font:16px/1.6 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1080px;margin:0 auto;padding:40px 20px 64px}
header{margin-bottom:28px}
h1{font-size:clamp(1.6rem,5vw,2.2rem);line-height:1.2;letter-spacing:-.015em;margin:0 0 8px;text-wrap:balance}
.subtitle{color:var(--soft);font-size:1.05rem;margin:0}
nav{display:flex;flex-wrap:wrap;gap:6px 18px;margin:18px 0 0;font-size:.92rem}
a{color:var(--c0)}
nav a{text-decoration:none}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:24px 28px;margin:0 0 20px}
h2{font-size:1.3rem;line-height:1.3;letter-spacing:-.01em;margin:0 0 14px}
h3,figcaption{font-size:1rem;font-weight:600;text-align:left;color:var(--ink)}
h3{margin:22px 0 10px}
p{margin:0 0 14px;max-width:72ch;overflow-wrap:anywhere}
section>*:last-child{margin-bottom:0}
.caption,.empty{color:var(--soft);font-size:.88rem;margin:8px 0 0}
.scroll{overflow-x:auto;-webkit-overflow-scrolling:touch}
.block,figure{margin:0 0 24px}
table{border-collapse:collapse;width:100%;font-size:.92rem}
figure .scroll table{margin-top:4px}
th,td{padding:8px 12px;text-align:left;border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--soft);font-weight:600;font-size:.82rem;vertical-align:bottom;border-bottom-width:2px}
th:first-child,td:first-child{padding-left:0}
tbody tr:last-child td{border-bottom:0}
.num{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.num small{display:block;color:var(--soft);font-size:.78rem}
.best{background:var(--best);color:var(--best-ink);font-weight:600}
.best small{color:inherit;font-weight:400}
.none{color:var(--soft)}
figure.chart svg{display:block;width:100%;min-width:520px;height:auto;margin-top:6px}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;list-style:none;margin:8px 0 0;padding:0;font-size:.88rem}
.legend li{display:flex;align-items:center;gap:7px}
.key{width:18px;height:4px;border-radius:2px;flex:none}
svg text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif;fill:var(--soft)}
svg .label,svg .value,svg .axis{fill:var(--ink)}
svg .value{font-variant-numeric:tabular-nums}
.grid{stroke:var(--line);stroke-width:1}
.rule{stroke:var(--soft);stroke-width:1}
.line{fill:none;stroke-width:2.5;stroke-linejoin:round;stroke-linecap:round}
.band{opacity:.16}
.whisker{stroke-width:2;stroke:var(--ink)}
"""
    + _SERIES
    + """
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(136px,1fr));gap:12px}
.card{border:1px solid var(--line);border-radius:10px;overflow:hidden;display:flex;flex-direction:column}
.card img,.card .blank{display:block;width:100%;aspect-ratio:1;object-fit:contain;background:#f7f7f7}
.card .blank{background:var(--page)}
.card div.words{padding:9px 11px 11px;font-size:.86rem;line-height:1.4;overflow-wrap:anywhere}
.card b{display:block;font-weight:600}
.card span{display:block;color:var(--soft)}
.card .note{margin-top:4px;font-size:.8rem}
pre{margin:0;font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;
background:var(--page);border-radius:8px;padding:14px 16px;white-space:pre}
footer{color:var(--soft);font-size:.85rem;margin-top:24px}
@media (max-width:560px){main{padding:24px 12px 40px}section{padding:18px 16px;border-radius:10px}}
@media print{body{background:none}section{break-inside:avoid;border:0;padding:0}nav{display:none}}
"""
)
