"""`python -m tests.faults.planted`: the list of planted mistakes, and the score.

Exit code 1 when one of them is not found, not shrunk to two faults, not replayed from its token,
or when its token breaks a rule without it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

from rich.console import Console
from rich.table import Table

from tests.faults.planted.mistake import Mistake
from tests.faults.planted.nursery import Nursery
from tests.faults.planted.proof import Finding, prove
from tests.faults.planted.table import MISTAKES

# rows at a time
AT_ONCE = 2


def prove_all(mistakes: Sequence[Mistake]) -> Iterator[Finding]:
    """What became of each, in the order of the table."""
    free: SimpleQueue[Nursery] = SimpleQueue()

    def one(mistake: Mistake) -> Finding:
        nursery = free.get()
        try:
            return prove(mistake, nursery)
        finally:
            free.put(nursery)

    count = min(AT_ONCE, len(mistakes))
    nurseries = [Nursery() for _ in range(count)]
    for nursery in nurseries:
        free.put(nursery)
    with ThreadPoolExecutor(count) as pool:
        yield from pool.map(one, mistakes)
    for nursery in nurseries:
        nursery.__exit__()


def score(findings: Sequence[Finding]) -> str:
    """The score in one line."""
    total = len(findings)
    without = sum(each.found and not each.faults for each in findings)
    parts = [
        f"{sum(each.found for each in findings)} of {total} found",
        f"{sum(each.shrunk for each in findings)} shrunk to at most 2 faults",
        f"{sum(each.replayed for each in findings)} replayed from their tokens",
        f"{sum(each.clean for each in findings)} clean without the mistake",
    ]
    if without:
        parts.append(f"{without} of them need no fault at all")
    return f"planted faults: {', '.join(parts)}"


def _table(findings: Sequence[Finding]) -> Table:
    table = Table(box=None, pad_edge=False)
    for head in ("MISTAKE", "KIND", "SCENE", "RULE", "FAULTS", "REPLAY", "CLEAN", "S", "TOKEN"):
        right = head in ("FAULTS", "S")
        table.add_column(head, justify="right" if right else "left", overflow="fold")
    for each in findings:
        table.add_row(
            each.mistake.name, each.mistake.sort, each.mistake.scene,
            ", ".join(each.rules) if each.found else "[bold red]MISSED[/]",
            str(each.faults) if each.found else "", _sign(each.replayed), _sign(each.clean),
            f"{each.seconds:.1f}", each.token,
        )  # fmt: skip
    return table


def _sign(holds: bool) -> str:
    return "yes" if holds else "[bold red]no[/]"


def _progress(number: int, total: int, each: Finding) -> str:
    if not each.found:
        return f"{number}/{total}  MISSED  {each.mistake.name} {' '.join(each.errors)}"
    sign = "found" if each.proven else "UNPROVEN"
    faults = "1 fault" if each.faults == 1 else f"{each.faults} faults"
    rules = ", ".join(each.rules)
    return f"{number}/{total}  {sign}  {each.mistake.name}: {rules}, {faults}, {each.seconds:.1f} s"


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.planted", description=__doc__)
    parser.add_argument("--only", metavar="NAME", action="append", help="this row; repeatable")
    parser.add_argument("--list", action="store_true", help="the table, without running anything")
    parser.add_argument("--json", action="store_true", help="a JSON document on stdout")
    parser.add_argument("--stories", action="store_true", help="tell the story of each as well")
    given = parser.parse_args(arguments)
    names = {mistake.name for mistake in MISTAKES}
    for name in given.only or ():
        if name not in names:
            parser.error(f"no planted mistake is called {name!r}; --list names them")
    chosen = [each for each in MISTAKES if not given.only or each.name in given.only]
    out, err = Console(soft_wrap=True, highlight=False), Console(stderr=True, highlight=False)
    if given.list:
        for mistake in chosen:
            out.print(f"{mistake.name}: {mistake.why} ({mistake.sort}; {mistake.module})")
        return 0
    findings: list[Finding] = []
    for number, finding in enumerate(prove_all(chosen), start=1):
        findings.append(finding)
        err.print(_progress(number, len(chosen), finding), markup=False)
    if given.json:
        print(json.dumps({"score": score(findings), "rows": [f.as_json() for f in findings]}))
    else:
        out.print(_table(findings))
        for finding in findings:
            if given.stories or not finding.proven:
                lines = [*finding.story, *finding.errors]
                out.print(f"\n{finding.mistake.name}: {finding.mistake.why}", markup=False)
                out.print("\n".join(lines) or "no plan breaks a rule", markup=False)
        out.print(score(findings), markup=False)
    return 0 if all(each.proven for each in findings) else 1


if __name__ == "__main__":
    sys.exit(main())
