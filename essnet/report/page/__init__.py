"""The comparison as one HTML file that needs nothing else: to look at, to mail, to print."""

from essnet.report.page.writing import write_page

__all__ = ["write_page"]
