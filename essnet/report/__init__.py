"""The comparison of a sweep's trials: gathered once, shown as table, sentence, page, picture and text."""

from essnet.report.answer import answer, answers, describe
from essnet.report.comparison import Comparison, load_comparison, load_comparisons
from essnet.report.configurations import Configuration, best_of, gather, rank
from essnet.report.csv_text import comparison_csv
from essnet.report.json_values import comparison_json
from essnet.report.latex_text import comparison_latex
from essnet.report.markdown_text import comparison_markdown
from essnet.report.tables import comparison_table, legend
from essnet.report.trials import ComparedTrial, TrialReader

__all__ = [
    "ComparedTrial",
    "Comparison",
    "Configuration",
    "TrialReader",
    "answer",
    "answers",
    "best_of",
    "comparison_csv",
    "comparison_json",
    "comparison_latex",
    "comparison_markdown",
    "comparison_table",
    "describe",
    "gather",
    "legend",
    "load_comparison",
    "load_comparisons",
    "rank",
]
