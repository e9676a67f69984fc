"""Reading what /metrics shows."""


def metric_sum(text: str, name: str, label: str = "") -> float:
    """The sum of a metric's samples, of those only that have the ``label``, such as ``method="GET"``."""
    found = 0.0
    for line in text.splitlines():
        sample, _, value = line.rpartition(" ")
        shown, _, labels = sample.partition("{")
        if shown == name and label in labels:
            found += float(value)
    return found
