"""Structured logs: one JSON object a line on standard error, for a person's eyes and for a collector."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any

from kt.names import json_text

_MOST = 1000
"""Characters of a value: what a client sends, such as a name of a megabyte, is cut."""

_NOT_EXTRA = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


class JsonLines(logging.Formatter):
    """A record as one line: time, level, message, and whatever `extra` it was logged with."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        line |= {name: _cut(value) for name, value in vars(record).items() if name not in _NOT_EXTRA}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json_text(line, strict=False)


def _cut(value: Any) -> Any:
    return f"{value[:_MOST]}..." if isinstance(value, str) and len(value) > _MOST else value


def to_standard_error() -> None:
    """Send what the server and its libraries log to standard error, once."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name, level in (("kt.serve", logging.INFO), ("uvicorn", logging.WARNING), ("grpc", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
