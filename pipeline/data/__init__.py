"""Bars and context series as they lie in a folder: found, checked, read, and samples written."""

from pipeline.data.bars import BAR_COLUMNS, find_bars, load_bars
from pipeline.data.check import FileReport, check_folder
from pipeline.data.external import context_sources, find_external, load_external, source_names
from pipeline.data.samples import write_samples

__all__ = [
    "BAR_COLUMNS",
    "FileReport",
    "check_folder",
    "context_sources",
    "find_bars",
    "find_external",
    "load_bars",
    "load_external",
    "source_names",
    "write_samples",
]
