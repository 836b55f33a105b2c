"""The comparison of a sweep's trials: gathered once, shown as table, sentence, picture, JSON and CSV."""

from essnet.report.answer import answer, describe
from essnet.report.comparison import Comparison, load_comparison
from essnet.report.configurations import Configuration, best_of, gather, rank
from essnet.report.csv_text import comparison_csv
from essnet.report.tables import comparison_table, legend
from essnet.report.trials import ComparedTrial, TrialReader

__all__ = [
    "ComparedTrial",
    "Comparison",
    "Configuration",
    "TrialReader",
    "answer",
    "best_of",
    "comparison_csv",
    "comparison_table",
    "describe",
    "gather",
    "legend",
    "load_comparison",
    "rank",
]
