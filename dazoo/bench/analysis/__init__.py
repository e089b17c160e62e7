"""From records to numbers: metrics, selection, tables, statistics, comparisons, findings."""
