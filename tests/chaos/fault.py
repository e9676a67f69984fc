"""A kind of trouble that can be made: when it begins, when it is over, and what it may cost."""

import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from enum import Flag, auto

import msgspec

from tests.chaos.world import Form, World

Begin = Callable[[World, random.Random], AbstractAsyncContextManager[None]]
"""Makes the trouble when it is entered, and ends it when it is left; chance chooses what is to be chosen."""


class Touches(Flag):
    """What a fault may cost, beyond being late."""

    NOTHING = 0
    ANSWERS = auto()
    """An answer or an acknowledgement may be lost: what was sent may be sent once more."""
    STORE = auto()
    """What the store holds may be behind what members serve."""
    EMPTIES = auto()
    """Usage that waits in the store is lost, or finds no room there."""
    PROCESSES = auto()
    """Processes are killed: what they had taken in the last second is lost."""
    LIVES = auto()
    """A member ends: what it holds in nothing but memory is lost if Harness does not take it now."""


class Fault(msgspec.Struct, frozen=True):
    """A kind of trouble, the forms in which there is such a thing, and what it may cost.

    The first word of its name is what it befalls; of two that befall the same one would undo the other.
    """

    name: str
    begin: Begin
    touches: Touches = Touches.NOTHING
    forms: frozenset[Form] = frozenset(Form)

    @property
    def befalls(self) -> str:
        """Harness, its streams, a member, a process, a disk or Redis."""
        return self.name.partition(" ")[0]
