"""The comparison as one HTML file that needs nothing else: to look at, to mail, to print."""

from essnet.report.page.chart import Absent, Chart, axis, marker, plain
from essnet.report.page.figures import Figure
from essnet.report.page.writing import write_page

__all__ = ["Absent", "Chart", "Figure", "axis", "marker", "plain", "write_page"]
