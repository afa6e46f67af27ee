"""Rulesets: when something is to be done about whom, in grades from gentle to harsh.

The words are oomd's. `model` has what a ruleset is and `parse` makes one of a table; `figures` are
what detectors look at, `conditions` whether they hold for how long, `victims` who is acted on, and
`course` which grade is next.
"""
