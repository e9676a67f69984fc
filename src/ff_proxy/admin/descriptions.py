"""Describes flags and target groups in words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ff_proxy.evaluation.clauses import SEGMENT_MATCH
from ff_proxy.evaluation.explain_clauses import OPERATOR_WORDS, SEVERAL_VALUES, join_names, quote
from ff_proxy.evaluation.explanation import display_name
from ff_proxy.model.feature import Clause, FeatureConfig, Segment, Serve


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: ``when`` it applies, in words, and what it ``serves``: a variation or percentages."""

    when: str
    serves: str


def serve_text(serve: Serve) -> str:
    """Describe what is served."""
    if serve.distribution is not None and serve.distribution.variations:
        shares = ", ".join(
            f"{display_name(share.variation)} {share.weight}%" for share in serve.distribution.variations
        )
        return f"{shares} (by {serve.distribution.bucket_by or 'identifier'})"
    return display_name(serve.variation) if serve.variation else "nothing"


def clause_text(clause: Clause) -> str:
    """Describe a condition."""
    if clause.op == SEGMENT_MATCH:
        return (
            f"is in {'group' if len(clause.values) == 1 else 'one of the groups'} {join_names(clause.values)}"
        )
    words = OPERATOR_WORDS.get(clause.op)
    if words is None:
        return f"{quote(clause.attribute)} has an operator that never matches: {quote(clause.op)}"
    # Other operators look at the first value only.
    values = clause.values if clause.op in SEVERAL_VALUES else clause.values[:1]
    compared = join_names(values) or "nothing, so it never matches"
    return f"{clause.attribute or 'an attribute without a name'} {words[0]} {compared}"


def clauses_text(clauses: Sequence[Clause]) -> str:
    """Describe conditions that must all be true."""
    return " and ".join(clause_text(clause) for clause in clauses) or "everybody"


def flag_rules(flag: FeatureConfig) -> tuple[Rule, ...]:
    """The rules that decide the flag's variation while it is on, in the order of evaluation."""
    return tuple(_rules(flag))


def _rules(flag: FeatureConfig) -> Iterator[Rule]:
    for entry in flag.prerequisites:
        yield Rule(
            f"unless flag {quote(entry.feature)} is {join_names(entry.variations) or 'nothing'}",
            flag.off_variation or "nothing",
        )
    for mapped in flag.variation_map:
        if mapped.targets:
            yield Rule(f"target is {join_names(mapped.targets)}", mapped.variation or "nothing")
        if mapped.segments:
            yield Rule(f"is in group {join_names(mapped.segments)}", mapped.variation or "nothing")
    for rule in sorted(flag.rules, key=lambda one: one.priority):
        yield Rule(clauses_text(rule.clauses), serve_text(rule.serve))
    yield Rule("everybody else", serve_text(flag.default_serve))


def group_rules(group: Segment, *, and_rules: bool) -> tuple[str, ...]:
    """Describe who is in a target group."""
    lines = []
    if group.excluded:
        lines.append(f"never {join_names(sorted(group.excluded))}")
    if group.included:
        lines.append(f"always {join_names(sorted(group.included))}")
    if and_rules and group.serving_rules:
        ordered = sorted(group.serving_rules, key=lambda one: one.priority)
        lines += [f"if {clauses_text(rule.clauses)}" for rule in ordered]
    else:
        lines += [f"if {clause_text(clause)}" for clause in group.rules]
    return tuple(lines)
