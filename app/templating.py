"""The Jinja2 environment: strict, escaping, with the few filters that the templates use."""

import zlib
from datetime import UTC, datetime
from functools import cache
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from app import figures, filters, forms, progress
from app.layout import ROW_HEIGHT, style_version
from app.model import Report
from app.pages import KEPT_ROWS
from app.settings import STATIC, TEMPLATES

_HISTOGRAM_HEIGHT = 28  # of its own units; pixels, too, in static/app.css


def environment() -> Environment:
    """Compiles every template at once, so that a broken one stops the start and not a request."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "rows": progress.rows,
        "spoken": progress.spoken,
        "when": _when,
        "day": _day,
        "iso": lambda seconds: _moment(seconds).isoformat(),
        "segment": lambda text: quote(text, safe=""),
    }
    made.filters |= {"sentences": filters.sentences, "shortly": filters.shortly}
    made.tests["final"] = lambda status: status.final
    made.globals |= {"describe": progress.describe, "duration": progress.duration, "asset": _asset}
    made.globals |= {"file_left": progress.file_left, "once_more": forms.once_more}
    made.globals |= {"kept_rows": KEPT_ROWS, "row_height": ROW_HEIGHT, "style_version": _style_version}
    made.globals |= {"figures": figures, "histogram_height": _HISTOGRAM_HEIGHT}
    for name in made.list_templates():
        made.get_template(name)
    return made


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _when(seconds: float) -> str:
    return f"{_moment(seconds):%Y-%m-%d %H:%M} UTC"


def _day(seconds: float) -> str:
    moment = _moment(seconds)
    return f"{moment.day} {moment:%B %Y}"


@cache
def _style_template() -> int:
    return zlib.crc32((TEMPLATES / "reports/table.css").read_bytes())


def _style_version(report: Report) -> str:
    """Browsers keep a report's stylesheet until its columns or the template change."""
    return f"{style_version(report)}-{_style_template():x}"


def _asset(path: str) -> str:
    """The URL of a static file, with its age so that browsers may keep it and still see a new one."""
    return f"/static/{path}?v={int((STATIC / path).stat().st_mtime)}"
