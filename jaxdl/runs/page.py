"""The few pieces of HTML that a report is made of; every text is escaped."""

import base64
import html
from collections.abc import Iterable, Sequence

# A report is one file: no script, and nothing fetched from anywhere. The policy
# holds even if a text slipped through unescaped.
_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
"""
_TAIL = "</main>\n</body>\n</html>\n"
_STYLE = """
:root { color-scheme: light dark; --line: #d5d8dc; --soft: #5d6670; --mark: #0b4f8a; }
@media (prefers-color-scheme: dark) {
  :root { --line: #3a3f45; --soft: #a3abb3; --mark: #7fb6e6; }
}
body { font: 15px/1.5 system-ui, sans-serif; margin: 0; padding: 1.5rem; }
main { max-width: 62rem; margin: 0 auto; }
h1 { font-size: 1.6rem; margin: 0; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid var(--line); }
.lead { font-size: 1.15rem; color: var(--mark); font-weight: 600; margin: .4rem 0; }
.soft, figcaption { color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .2rem 1.4rem .2rem 0; vertical-align: top;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
th { color: var(--soft); font-weight: 600; }
th.number, td.number { text-align: right; overflow-wrap: normal; }
tr.own td { font-weight: 600; }
figure { margin: 1rem 0 1.8rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85rem;
  border-left: 3px solid var(--line); padding-left: 1rem; }
figure img { max-width: 100%; background: white; border-radius: 4px; }
@media print {
  body { padding: 0; font-size: 11px; }
  h2 { break-after: avoid; }
  figure, tr { break-inside: avoid; }
}
"""


def page(title: str, parts: Iterable[str]) -> str:
    """A whole page of ``parts``, which are HTML already."""
    head = _HEAD.format(title=escape(title), style=_STYLE)
    return head + "\n".join(part for part in parts if part) + _TAIL


def escape(value: object) -> str:
    """Text as HTML; characters that no page can hold become question marks."""
    # Lone surrogates (file names that are not UTF-8) cannot be encoded.
    text = str(value).encode("utf-8", "replace").decode("utf-8")
    return html.escape(text, quote=True)


def element(tag: str, value: object, style: str = "") -> str:
    """``<tag class="style">value</tag>`` with the value escaped."""
    attribute = f' class="{style}"' if style else ""
    return f"<{tag}{attribute}>{escape(value)}</{tag}>"


def section(title: str, *parts: str) -> str:
    """A heading over ``parts``, which are HTML; nothing where they are empty."""
    body = "\n".join(part for part in parts if part)
    return f"{element('h2', title)}\n{body}" if body else ""


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    numbers: Sequence[str] = (),
    own: int | None = None,
) -> str:
    """A table of escaped cells; nothing without rows.

    Args:
      columns: the headings; none are shown if all are empty.
      rows: a cell a column.
      numbers: the columns whose cells stand to the right.
      own: the row that stands out.
    """
    if not rows:
        return ""
    styles = ["number" if name in numbers else "" for name in columns]
    lines = ['<div class="wide"><table>']
    if any(columns):
        lines.append(_row("th", columns, styles))
    for index, row in enumerate(rows):
        lines.append(_row("td", row, styles, "own" if index == own else ""))
    lines.append("</table></div>")
    return "\n".join(lines)


def _row(
    tag: str, cells: Sequence[object], styles: Sequence[str], style: str = ""
) -> str:
    inner = "".join(
        element(tag, cell, kind) for cell, kind in zip(cells, styles, strict=True)
    )
    return f'<tr class="{style}">{inner}</tr>' if style else f"<tr>{inner}</tr>"


def picture(content: bytes, caption: str) -> str:
    """A PNG, kept in the page itself, with its caption."""
    data = base64.b64encode(content).decode("ascii")
    image = f'<img alt="{escape(caption)}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}{element('figcaption', caption)}</figure>"
