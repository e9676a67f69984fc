"""What a process may fill with what clients send."""

from ff_proxy.config.records import ServingOptions
from ff_proxy.model.memory import LEAST_BUDGET, MemoryShares, shares_of
from ff_proxy.runtime.memory import default_budget


def memory_shares(options: ServingOptions) -> MemoryShares:
    """The memory budget, shared out among the processes of this proxy and in each among its containers."""
    budget = options.limits.memory_budget
    whole = default_budget() if budget is None else max(budget, LEAST_BUDGET)
    processes = 1 if options.workers == 1 else options.workers + 1
    return shares_of(whole // processes)
