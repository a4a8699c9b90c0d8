"""A plan's instructions as the tree of regions they stand in, in program order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Union

from tilebuild.plan.model import Instr, Plan, Region


@dataclass
class Node:
    """A region and what it runs."""

    region: Region
    items: list[Item] = field(default_factory=list)


Item = Union[Instr, Node]


def tree(plan: Plan) -> Node:
    """The program's node. The plan must be well formed: every region's instructions stand together."""
    regions: Mapping[int, Region] = {r.id: r for r in plan.regions}
    root = Node(regions[0])
    open_nodes = [root]
    for instr in plan.instructions:
        path = [instr.region]
        while path[-1] != 0:
            path.append(regions[path[-1]].parent)
        path.reverse()
        depth = 0
        while depth < min(len(path), len(open_nodes)) and open_nodes[depth].region.id == path[depth]:
            depth += 1
        del open_nodes[depth:]
        for region in path[depth:]:
            node = Node(regions[region])
            open_nodes[-1].items.append(node)
            open_nodes.append(node)
        open_nodes[-1].items.append(instr)
    return root
