"""Groups of containers: named cgroups between the agent's own and containers', with shared limits.

A group is a cgroup parent with a record: who is in it is said by the paths of containers' groups
alone. `group` is what is kept of one, `registry` the set of them, `directories` their cgroups,
`grouping` the changes of them, `moving` takes a container from one to another.
"""
