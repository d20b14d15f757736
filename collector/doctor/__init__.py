"""A look at what routers send: one set of facts a stream, and advice on what to set."""

from collector.doctor import words
from collector.doctor.advice import Advice, Severity
from collector.doctor.doctor import Doctor
from collector.doctor.facts import Exporter, NatPosition
from collector.doctor.report import Report
from collector.doctor.rules import advise

__all__ = ["Advice", "Doctor", "Exporter", "NatPosition", "Report", "Severity", "advise", "words"]
