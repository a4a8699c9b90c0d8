"""The oracle tested by breaking things: classes of faults, planted one at a time into plans that are right.

`faults` has the classes; `self_test` plants each at every place of a plan and says what became of the mutants. It uses
the oracle's own modules and the plan's data; running mutants is the business of whoever calls it.
"""
