"""Texts with tokens lost, doubled, swapped and cut: the emulator runs them or refuses them, and never breaks."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from foreign_launches import launch, text

from tilebuild.diagnostics import TilebuildError

LAUNCHES: Mapping[str, Mapping[str, Any]] = {
    "triton_softmax": {"columns": 100, "stride": 100, "rows": 2},
    "nvcc_o3/two_stages": {"steps": 3, "blocks": 2},
    "nvcc_o0/rmsnorm": {"columns": 100, "eps": 1e-5, "rows": 2},
}


def mutated(tokens: list[str], chance: random.Random) -> str:
    tokens = list(tokens)
    for _ in range(chance.randint(1, 3)):
        at, kind = chance.randrange(len(tokens)), chance.randrange(4)
        if kind == 0:
            del tokens[at]
        elif kind == 1:
            tokens[at] = chance.choice(tokens)
        elif kind == 2:
            tokens.insert(at, chance.choice(tokens))
        else:
            tokens[at] = tokens[at][: chance.randint(0, len(tokens[at]))]
    return "".join(tokens)


@pytest.mark.parametrize("name", LAUNCHES)
def test_damaged_texts(name: str) -> None:
    tokens = re.findall(r"\s+|[\w.$%]+|.", text(name))
    codes = set()
    for seed in range(25):
        given = {"x": np.ones(768, np.float32), "y": np.zeros(768, np.float32), **LAUNCHES[name]}
        try:
            launch(name, given, text=mutated(tokens, random.Random(seed)), limit=30_000, strict=True)
        except TilebuildError as error:
            codes.add(error.diagnostics[0].code)
    assert codes
    assert all(code.startswith("EMU-") for code in codes)
