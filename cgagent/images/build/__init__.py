"""The language of Dockerfiles, and what a build of one comes to. Pure: it touches no file.

    syntax         text ── instructions, with their flags and heredocs
    words          variables and quotes
    stages         the stages of a file, which of them a target needs, and their arguments
    commands       RUN, COPY and ADD with what their flags mean
    configuration  ENV, CMD, LABEL ...: what changes an image's configuration alone
    context        what is in a build context, and which of it a COPY means
    keys           under which key the result of a step is kept

The engine carries it out (`cgagent.engine.build`).
https://docs.docker.com/reference/dockerfile/
"""
