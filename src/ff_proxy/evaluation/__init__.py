"""The evaluation engine: which variation of a flag does a target get, and why.

This room implements spec/evaluation: it compiles an environment's flags and segments once into an ``Engine``,
which then evaluates them for targets. All of it is pure and total: no I/O, no clock, no event loop; bad data
gives a reason, never an exception. ``snapshots``, ``api``, ``sandbox`` and ``commands`` may import it; it
imports ``model`` and ``wire`` only.
"""

from ff_proxy.evaluation.engine import Engine, compile_engine
from ff_proxy.evaluation.explanation import Explanation, Step, StepKind, display_name, render

__all__ = ["Engine", "Explanation", "Step", "StepKind", "compile_engine", "display_name", "render"]
