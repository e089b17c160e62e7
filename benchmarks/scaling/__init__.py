"""Time and memory of shallow methods as the number of samples grows.

``python -m benchmarks.scaling`` measures every case at n = 1k ... 100k samples per domain and 256 features, each
measurement in a process of its own with limits on time and memory, and writes ``results/scaling/scaling.{csv,md,png,
pdf}``. Finished measurements stay in the CSV and are not repeated on the same machine with the same versions unless
``--again`` asks for it.
"""
