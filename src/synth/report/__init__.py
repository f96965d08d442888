"""The report: one HTML file that opens from disk, and the folder of files that it belongs to."""

from synth.report.folder import save_report
from synth.report.page import report_html

__all__ = ["report_html", "save_report"]
