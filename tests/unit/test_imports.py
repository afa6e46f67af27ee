"""The tree of imports has no cycle: neither one inside a function, nor one for types alone."""

from graphlib import TopologicalSorter

import grimp


def test_no_module_leads_back_to_itself():
    graph = grimp.build_graph("cgagent", cache_dir=None)
    TopologicalSorter(
        {m: graph.find_modules_directly_imported_by(m) for m in graph.modules}
    ).prepare()
