"""Layer 6: suites, plans, records, selection, statistics and reports. The harness never names a method."""
