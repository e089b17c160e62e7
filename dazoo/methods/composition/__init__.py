"""Methods put together by name."""
