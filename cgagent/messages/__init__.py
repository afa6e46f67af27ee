"""How our processes talk: frozen records with one codec, as packets with descriptors.

Which messages there are is a matter of each pair of processes: `cgagent.runtime.messages`,
`cgagent.network.names.messages`. Standard library and `cgagent.errors` only.
"""
