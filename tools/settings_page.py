"""docs/settings.md from the settings class: `python -m tools.settings_page > docs/settings.md` (make docs)."""

from __future__ import annotations

from pydantic.fields import FieldInfo

from pgleaderboard.settings import Settings

_HEAD = """\
# Settings

Environment variables, or lines in `.env` in the folder where the program is started; the environment wins. An empty
value counts as not set. This page is written by `make docs` from `worker/pgleaderboard/settings.py`.

| name | default | allowed | meaning |
| --- | --- | --- | --- |
"""


def page() -> str:
    """The page as Markdown."""
    return _HEAD + "".join(_row(field) for field in Settings.model_fields.values())


def _row(field: FieldInfo) -> str:
    default = field.default
    shown = f"`{default:g}`" if isinstance(default, float) else f"`{default}`"
    if default is None or field.is_required() or field.default_factory:
        shown = "not set"
    return f"| `{field.validation_alias}` | {shown} | {_allowed(field)} | {field.description} |\n"


def _allowed(field: FieldInfo) -> str:
    bounds = {
        name: getattr(rule, name) for rule in field.metadata for name in ("ge", "gt", "le") if hasattr(rule, name)
    }
    parts = [
        f"{word} {bounds[name]:g}"
        for name, word in (("ge", "from"), ("gt", "above"), ("le", "to"))
        if bounds.get(name) is not None
    ]
    choices = getattr(field.annotation, "__args__", ())
    if parts:
        return " ".join(parts)
    return " or ".join(f"`{choice}`" for choice in choices) if all(isinstance(c, str) for c in choices) else ""


if __name__ == "__main__":
    print(page(), end="")
