"""The operations as objects: `tb.exp` names one, and finds what computes it when it is called on the reference path."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Operation:
    """An operation of the tile language (docs/language.md): the compiler reads its name, the reference executes it."""

    def __init__(self, name: str) -> None:
        self.__name__ = self.__qualname__ = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from tilebuild.lang.reference import operations

        return getattr(operations, self.__name__)(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<tilebuild operation {self.__name__}>"


def __getattr__(name: str) -> Operation:
    if name.startswith("_"):
        raise AttributeError(name)
    return Operation(name)
