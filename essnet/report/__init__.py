"""The comparison of a sweep's trials: gathered once, shown as table, sentence, picture, JSON and CSV."""

from essnet.report.answer import answer, describe
from essnet.report.comparison import ComparedTrial, Comparison, load_comparison
from essnet.report.tables import comparison_csv, comparison_table, legend

__all__ = [
    "ComparedTrial",
    "Comparison",
    "answer",
    "comparison_csv",
    "comparison_table",
    "describe",
    "legend",
    "load_comparison",
]
