"""The engine: what the agent does, in terms of containers, images and jobs.

It composes the layers below with plain values and knows no HTTP. `engine.Engine` is built by
``cgagent serve`` and lives as long as the agent.
"""
