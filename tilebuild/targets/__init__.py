"""One folder a target: capabilities, lower (L1 to plan), emit (plan to source text), artifact (build edges).

A target is a plug-in behind the entry point group `tilebuild.targets`; the built-in ones use the same door. Uses
`toolchain`, `ir` and `plan`; nothing outside a target's own folder names it.
"""
