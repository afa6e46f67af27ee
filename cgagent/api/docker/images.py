"""``/images`` and ``/commit``: pull, push, load, save, tag, look, remove."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cgagent.api.answers import Json
from cgagent.api.docker import lookup, progress, schemas
from cgagent.api.docker.creation import entrypoint
from cgagent.api.docker.routing import Route
from cgagent.api.docker.shapes import images as shapes
from cgagent.api.docker.shapes.moments import unix_seconds
from cgagent.api.transfers import downloaded, uploaded
from cgagent.engine.filters import PruneFilters
from cgagent.engine.imageselection import FILTERS, selected
from cgagent.engine.values import Authorship, Instruction, parse_reference, quoted
from cgagent.errors import DeniedError, InvalidInputError, NoSuchImageError, NotFoundError

if TYPE_CHECKING:
    from starlette.responses import Response

    from cgagent.api.docker.calls import Call
    from cgagent.api.docker.schemas import ConfigBody
    from cgagent.api.progress import Tell
    from cgagent.engine.values import Image

_AUTH: Final = "x-registry-auth"


def named(name: str, tag: str) -> str:
    """The whole name; a tag may be a digest."""
    if not tag:
        return name
    return f"{name}@{tag}" if tag.startswith("sha256:") else f"{name}:{tag}"


# -- looking ------------------------------------------------------------------------------------


async def list_(call: Call) -> Response:
    filters = call.filters(*FILTERS)
    found = selected(call.engine.images.all(), dict(filters))
    usage = await _shared(call) if call.flag("shared-size") else {}
    return Json(
        [shapes.summary(image, call.version, shared=usage.get(image.id, -1)) for image in found]
    )


async def _shared(call: Call) -> dict[str, int]:
    """How many bytes of each image others have as well."""
    usage = await call.engine.pruning.disk_usage()
    return {image["id"]: image["shared_bytes"] for image in usage["images"]}


async def inspect(call: Call) -> Response:
    image = lookup.image(call.engine, call.names["name"])
    return Json(shapes.inspect(call.engine, image, call.version))


async def history(call: Call) -> Response:
    image = lookup.image(call.engine, call.names["name"])
    entries = call.engine.images.history(image)
    return Json(
        [
            {
                "Id": "<missing>" if number else image.id,
                "Created": unix_seconds(entry.created),
                "CreatedBy": entry.created_by,
                "Tags": [] if number else list(image.tags),
                "Size": entry.size_bytes,
                "Comment": entry.comment,
            }
            for number, entry in enumerate(entries)
        ]
    )


async def attestations(call: Call) -> Response:
    """None: they are not kept of an image."""
    lookup.image(call.engine, call.names["name"])
    return Json([])


async def search(call: Call) -> Response:
    filters = call.filters("is-official", "is-automated", "stars")
    limit = call.number("limit") or 25
    if not call.text("term"):
        raise InvalidInputError("search term is missing")
    if not 1 <= limit <= 100:  # noqa: PLR2004 - docker's
        raise InvalidInputError(f"limit {limit} is outside the range of [1, 100]")
    found = await call.engine.registries.search(call.text("term"), limit, call.header(_AUTH))
    official, automated = filters.flag("is-official"), filters.flag("is-automated")
    least = max((int(s) for s in filters.get("stars") if s.isdecimal()), default=0)
    return Json(
        [
            asdict(one)
            for one in found
            if one.star_count >= least
            and official in {None, one.is_official}
            and automated in {None, one.is_automated}
        ]
    )


# -- registries ---------------------------------------------------------------------------------


async def create(call: Call) -> Response:
    """Pull, or with `fromSrc` import."""
    if call.text("fromSrc"):
        return await _import(call)
    name, tag = call.text("fromImage"), call.text("tag")
    if not name:
        raise InvalidInputError("fromImage: no image is named")
    login, platform = call.header(_AUTH), call.text("platform")
    whole = named(name, tag)
    is_one = tag or "@" in name or ":" in name.rpartition("/")[2]

    async def work(tell: Tell) -> Any:
        try:
            if is_one:
                return await call.engine.images.pull(whole, tell, login=login, platform=platform)
            return await call.engine.registries.pull_all(name, login, platform, tell)
        except DeniedError as e:
            raise NotFoundError(
                f"pull access denied for {name}, repository does not exist or may require "
                f"'docker login': {e.message}"
            ) from None
        except NotFoundError as e:
            raise NotFoundError(
                f"manifest for {shown.familiar} not found: does not exist or no pull access: "
                f"{e.message}"
            ) from None

    shown = parse_reference(whole)
    return await progress.streamed(work, lambda _: (), tag=shown.tag or shown.digest or "")


async def _import(call: Call) -> Response:
    if call.text("fromSrc") != "-":
        raise InvalidInputError(
            "fromSrc: the agent fetches no files from elsewhere; send the archive with fromSrc=-"
        )
    name = call.text("repo")
    about = Authorship(
        name=named(name, call.text("tag")) if name else None,
        message=call.text("message"),
        changes=tuple(call.texts("changes")),
    )
    got = await uploaded(call.request, call.engine)

    async def work(_tell: Tell) -> Image:
        """Without a word: docker's command line prints it all, and scripts take it for the id."""
        platform = call.text("platform") or None
        return await call.engine.images.import_(got.path, about, _silent, platform=platform)

    def last(image: Image) -> list[dict[str, str]]:
        return [{"status": image.id}]

    return await progress.streamed(work, last, end=got.close)


async def push(call: Call) -> Response:
    name, tag = call.names["name"], call.text("tag")
    login = call.header(_AUTH)

    async def work(tell: Tell) -> Any:
        try:
            return await call.engine.registries.push(
                named(name, tag),
                login,
                tell,
                all_tags=not tag and ":" not in name.rpartition("/")[2],
            )
        except NoSuchImageError:
            short = parse_reference(name).familiar_name
            raise NotFoundError(f"An image does not exist locally with the tag: {short}") from None

    def last(pushed: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for one in pushed:
            text = f"{one.tag}: digest: {one.digest} size: {one.size_bytes}"
            aux = {"Tag": one.tag, "Digest": one.digest, "Size": one.size_bytes}
            found += [{"status": text}, {"progressDetail": {}, "aux": aux}]
        return found

    return await progress.streamed(work, last)


# -- archives -----------------------------------------------------------------------------------


async def load(call: Call) -> Response:
    got = await uploaded(call.request, call.engine)
    is_quiet = call.flag("quiet")

    async def work(tell: Tell) -> Any:
        quietly: Tell = _silent if is_quiet else tell
        return await call.engine.images.load(got.path, quietly, shown="from the client")

    def last(loaded: list[Image]) -> list[dict[str, str]]:
        return [
            {"stream": f"Loaded image: {tag}\n" if tag else f"Loaded image ID: {image.id}\n"}
            for image in loaded
            for tag in (image.tags or ("",))
        ]

    return await progress.streamed(work, last, end=got.close, refuses=False)


def _silent(_: object) -> None:
    """Tell nobody."""


async def save_one(call: Call) -> Response:
    return await _save(call, [call.names["name"]])


async def save(call: Call) -> Response:
    return await _save(call, call.texts("names"))


async def _save(call: Call, names: list[str]) -> Response:
    for name in names:
        lookup.image(call.engine, name)
    if not names:
        raise InvalidInputError("no image is named")
    return await downloaded(partial(call.engine.images.save, names, "docker"))


# -- changes ------------------------------------------------------------------------------------


async def tag(call: Call) -> Response:
    name = call.names["name"]
    lookup.image(call.engine, name)
    if not call.text("repo"):
        raise InvalidInputError("repo: the new name is missing")
    await call.engine.images.tag(name, named(call.text("repo"), call.text("tag")))
    return Json(None, 201)


async def remove(call: Call) -> Response:
    name = call.names["name"]
    lookup.image(call.engine, name)
    removed = await call.engine.images.remove(name, force=call.flag("force"))
    return Json(shapes.removal(removed.lines))


async def prune(call: Call) -> Response:
    filters = call.filters("dangling", "until", "label", "label!")
    removed = await call.engine.images.prune(
        every=filters.flag("dangling") is False,
        filters=PruneFilters.parse(filters.prune_pairs()),
    )
    return Json(
        {
            "ImagesDeleted": shapes.removal(removed.lines),
            "SpaceReclaimed": removed.freed_bytes,
        }
    )


async def commit(call: Call) -> Response:
    container = lookup.container_named(call.engine, call.text("container"))
    body = await call.body(schemas.ConfigBody)
    name = call.text("repo")
    changes = [line for text in call.texts("changes") for line in text.split("\n") if line.strip()]
    about = Authorship(
        name=named(name, call.text("tag")) if name else None,
        message=call.text("comment"),
        author=call.text("author"),
        changes=(*_instructions(body), *changes),
    )
    pause = call.flag("pause", default=True)
    image = await call.engine.commits.commit(container, about, lambda _: None, pause=pause)
    return Json({"Id": image.id}, 201)


def _instructions(body: ConfigBody) -> list[Instruction]:
    """What the request says of the image's configuration, as a Dockerfile has it."""
    import json

    words = entrypoint(body)
    found = [
        *([("USER", quoted(body.User))] if body.User else []),
        *([("WORKDIR", quoted(body.WorkingDir))] if body.WorkingDir else []),
        *([("STOPSIGNAL", quoted(body.StopSignal))] if body.StopSignal else []),
        *(("ENV", f"{n}={quoted(v)}") for n, _, v in (item.partition("=") for item in body.Env)),
        *(("LABEL", f"{quoted(n)}={quoted(v)}") for n, v in body.Labels.items()),
        *(("EXPOSE", port) for port in body.ExposedPorts),
        *([("ENTRYPOINT", json.dumps(list(words)))] if words is not None else []),
        *([("CMD", json.dumps(body.Cmd))] if body.Cmd else []),
        *(("VOLUME", json.dumps([path])) for path in body.Volumes),
    ]
    return [Instruction(name=name, arguments=arguments) for name, arguments in found]


async def distribution(call: Call) -> Response:
    """The digest and the platforms of what a registry has under a name."""
    found = await call.engine.registries.look_up(call.names["name"], call.header(_AUTH))
    descriptor = {
        "mediaType": found.media_type,
        "digest": found.digest,
        "size": found.size_bytes,
    }
    platforms = [
        {
            "architecture": platform.architecture,
            "os": platform.os,
            **({"variant": platform.variant} if platform.variant else {}),
        }
        for platform in found.platforms
    ]
    return Json({"Descriptor": descriptor, "Platforms": platforms})


ROUTES: Final = (
    Route("GET", "/images/json", list_),
    Route("GET", "/images/search", search),
    Route("GET", "/images/get", save),
    Route("POST", "/images/create", create),
    Route("POST", "/images/load", load),
    Route("POST", "/images/prune", prune),
    Route("GET", "/images/{name:path}/json", inspect),
    Route("GET", "/images/{name:path}/history", history),
    Route("GET", "/images/{name:path}/attestations", attestations),
    Route("GET", "/images/{name:path}/get", save_one),
    Route("POST", "/images/{name:path}/push", push),
    Route("POST", "/images/{name:path}/tag", tag),
    Route("DELETE", "/images/{name:path}", remove),
    Route("GET", "/distribution/{name:path}/json", distribution),
    Route("POST", "/commit", commit),
)
