"""Structured logs: one JSON object a line on standard error, readable for people and for log collectors."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any

from kt.base.names import json_text

_MOST = 1000
"""The most characters of a value: longer ones, such as a name of a megabyte that a client sends, are cut."""

_NOT_EXTRA = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


class JsonLines(logging.Formatter):
    """Formats a record as one line: time, level, message, and the `extra` that it was logged with."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without a line break."""
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
    """Send the logs of the server and its libraries to standard error, each line once."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name, level in (("kt.serve", logging.INFO), ("uvicorn", logging.WARNING), ("grpc", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
