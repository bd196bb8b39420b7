"""The report: one self-contained HTML page, a pure function of saved evaluations and training logs."""

from holdfast.report.comparison import render_comparison, write_comparison
from holdfast.report.page import render, write

__all__ = ["render", "render_comparison", "write", "write_comparison"]
