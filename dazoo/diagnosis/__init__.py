"""What can be known about a task before training: shift tests, separability, transferability scores, advice.

May look at what ``Task.seen`` shows, and hold neither training nor hidden labels.
"""

from __future__ import annotations

from dazoo.diagnosis.advice import Advice as Advice
from dazoo.diagnosis.diagnose import Diagnosis as Diagnosis
from dazoo.diagnosis.diagnose import diagnose as diagnose
