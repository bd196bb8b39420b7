"""The report: one self-contained HTML page, a pure function of saved evaluations and training logs."""

from holdfast.report.page import render, write

__all__ = ["render", "write"]
