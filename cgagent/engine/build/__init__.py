"""Builds of images: a Dockerfile is carried out step by step, each under the build's own limits.

builds      one build from its context to its image; which there are, and what earlier left
stage       one stage: its steps in their order, each looked up in the cache first
commands    RUN: a container in the build's cgroup, whose upper directory is the layer
mounts      what RUN --mount asks for; `caches` are the directories of type=cache
files       COPY, ADD and WORKDIR, by a `worker` in the step's cgroup; `fetching` of URLs
workspace   a build's directory, its context and its cgroup
accounts    what a step has used
values      what a build is asked for, and what it tells while it goes on
outputs     the same, kept for who looks in

build ── /cgagent/build-ID, with the limits
  ├── step's container   /cgagent/build-ID/CONTAINER
  └── step's worker      /cgagent/build-ID/files-N
"""
