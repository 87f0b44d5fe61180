"""How a page looks, in light and in dark and on paper, and what it may do: nothing but show itself."""

from __future__ import annotations

# The policy keeps the promise of the page even if an escape were forgotten: no script, nothing fetched.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #5c6470; --line: #d9dde3; --back: #ffffff; --band: #f5f6f8;
  --link: #0b5cad; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e6ea; --soft: #9aa3af; --line: #363b44; --back: #16181c;
  --band: #1f2228; --link: #7cb7f2; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 54rem; background: var(--back); color: var(--ink);
  font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  overflow-wrap: break-word; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .6rem; letter-spacing: -.01em; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 2.8rem 0 .6rem; padding-top: 1.2rem;
  border-top: 1px solid var(--line); }
p { margin: 0 0 .9rem; max-width: 42rem; }
.lead { font-size: 1.125rem; color: var(--soft); }
a { color: var(--link); }
nav ul { list-style: none; margin: 1.2rem 0 0; padding: 0; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem;
  font-size: .9rem; }
.scroll { overflow-x: auto; margin: 1rem 0 1.2rem; min-width: 100%; width: max-content; max-width: calc(100vw - 3.5rem);
  position: relative; left: 50%; transform: translateX(-50%); }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: .4rem; }
th, td { padding: .35rem .9rem .35rem .6rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); overflow-wrap: normal; }
th { vertical-align: bottom; border-bottom-width: 2px; }
tbody tr:nth-child(even) { background: var(--band); }
.number { text-align: right; }
td.number { white-space: nowrap; }
figure { margin: 1.2rem 0; }
img { display: block; max-width: 100%; height: auto; background: #ffffff; border: 1px solid var(--line);
  border-radius: 6px; }
.runs { font-size: .8125rem; color: var(--soft); max-width: none; }
.runs a { font-variant-numeric: tabular-nums; }
tr:target { outline: 2px solid var(--link); }
figcaption { margin-top: .4rem; font-size: .875rem; color: var(--soft); }
@media print {
  :root { --ink: #000000; --soft: #444444; --line: #bbbbbb; --back: #ffffff; --band: #f5f6f8; --link: #000000; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { display: none; }
  h2 { break-after: avoid; }
  figure, tr { break-inside: avoid; }
  .scroll { overflow: visible; max-width: none; width: auto; left: 0; transform: none; }
}
"""
