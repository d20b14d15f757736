"""Log lines: fields, formats, secrets and repeats."""

import io
import json
import re

from core import log
from core.clock import ManualClock


def lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def configured(config: log.Config | None = None, clock: ManualClock | None = None) -> io.StringIO:
    stream = io.StringIO()
    log.configure(config, stream=stream, clock=clock or ManualClock())
    return stream


def test_a_text_line_has_time_level_phrase_and_fields() -> None:
    stream = configured()
    log.get_logger("x").info("set decoded", exporter="192.0.2.1", flows=24, why="a b")
    pattern = (
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info set decoded "
        r'exporter=192\.0\.2\.1 flows=24 why="a b"'
    )
    (line,) = lines(stream)
    assert re.fullmatch(pattern, line)


def test_a_newline_in_a_field_does_not_make_a_second_line() -> None:
    stream = configured()
    log.get_logger("x").warning("odd name", name="a\nb")
    assert len(lines(stream)) == 1


def test_a_json_line_is_one_object() -> None:
    stream = configured(log.Config(format=log.Format.JSON))
    log.get_logger("x").error("journal full", free=0)
    (line,) = lines(stream)
    found = json.loads(line)
    assert found.pop("at").endswith("Z")
    assert found == {"level": "error", "logger": "x", "event": "journal full", "free": 0}


def test_lines_below_the_level_are_left_out() -> None:
    stream = configured(log.Config(level="warning"))
    log.get_logger("x").info("started")
    log.get_logger("x").debug("detail")
    log.get_logger("x").warning("odd")
    assert len(lines(stream)) == 1


def test_bound_fields_are_on_every_line_inside() -> None:
    stream = configured()
    logger = log.get_logger("x")
    with log.bind(job_id=7):
        with log.bind(step="a"):
            logger.info("inside")
        logger.info("between")
    logger.info("outside")
    tails = [line.partition(" info ")[2] for line in lines(stream)]
    assert tails == ["inside job_id=7 step=a", "between job_id=7", "outside"]


def test_secrets_are_masked_by_the_name_of_their_field() -> None:
    stream = configured()
    log.get_logger("x").info("connected", password="hush", api_key="hush", token_count="hush")
    assert "hush" not in stream.getvalue()
    assert stream.getvalue().count("***") == 3


def test_a_repeated_phrase_is_held_back_and_then_counted() -> None:
    clock = ManualClock()
    stream = configured(clock=clock)
    logger = log.get_logger("x")
    for _ in range(log.BURST + 7):
        logger.warning("datagram refused")
    logger.warning("another phrase")
    assert len(lines(stream)) == log.BURST + 1
    clock.advance(seconds=log.PERIOD_S)
    logger.warning("datagram refused")
    assert lines(stream)[-1].endswith("warning datagram refused held_back=7")


def test_an_error_may_carry_its_traceback() -> None:
    stream = configured()
    try:
        int("our own bug")
    except ValueError:
        log.get_logger("x").error("task died", exc_info=True)
    assert lines(stream)[-1].startswith("ValueError: ")
