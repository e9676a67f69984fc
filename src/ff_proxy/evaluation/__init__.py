"""The evaluation engine: which variation of a flag does a target get, and why.

Owns the whole of spec/evaluation: an environment's flags and segments are compiled once into an
``Engine`` that is then asked about targets. Everything here is pure and total: no I/O, no clock, no
event loop, and bad data gives a reason, never an exception. The store, the sandbox, the web and the
commands above them may import it; it imports the model only.
"""

from ff_proxy.evaluation.engine import Engine, compile_engine
from ff_proxy.evaluation.explanation import Explanation, Step, StepKind, plain, render

__all__ = ["Engine", "Explanation", "Step", "StepKind", "compile_engine", "plain", "render"]
