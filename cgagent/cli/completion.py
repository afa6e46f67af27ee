"""``completion``: the words that may come next, and the scripts that have a shell ask for them.

A shell asks ``cgagent completion words -- WORD...`` with all that stands before the cursor, the
last word being what is typed so far. Each answer is a line: a word, a tab, what it is; the line
``:files`` asks for the shell's own completion of paths.
"""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING, Final

from cgagent.cli import catalog
from cgagent.cli.agent import connect
from cgagent.cli.flags import REMAINDER
from cgagent.cli.imagelist import names
from cgagent.cli.main import COMMANDS, global_flags
from cgagent.cli.verbs import choose
from cgagent.errors import CgagentError
from cgagent.standard import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from cgagent.cli.flags import Flag
    from cgagent.cli.main import Context

    Words = Iterator[tuple[str, str]]

_PATIENCE_S: Final = 2.0
_TOLD: Final = frozenset({"-h", "--help", "--version"})
"""Global flags that print something and end."""
_FILES: Final = (":files", "")
_SCRIPTS: Final = {
    "bash": r"""# cgagent in bash: eval "$(cgagent completion bash)"
_cgagent() {
    local typed=${COMP_LINE:0:COMP_POINT} line prefix word
    local -a words found
    read -ra words <<<"$typed"
    [[ $typed == *[[:space:]] ]] && words+=("")
    word=${words[-1]}
    prefix=${word%"${word##*[:=]}"} # readline takes what stands before it for another word
    COMPREPLY=()
    mapfile -t found < <("${words[0]}" completion words -- "${words[@]:1}" 2>/dev/null)
    for line in "${found[@]}"; do
        if [[ $line == :files* ]]; then
            compopt -o filenames
            mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$word")
        else
            line=${line%%$'\t'*}
            COMPREPLY+=("${line#"$prefix"}")
        fi
    done
}
complete -F _cgagent cgagent""",
    "zsh": r"""#compdef cgagent
# cgagent in zsh: eval "$(cgagent completion zsh)", or this as _cgagent in $fpath
_cgagent() {
    local -a found described
    local line
    found=("${(@f)$("${words[1]}" completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    for line in $found; do
        if [[ $line == :files* ]]; then
            _files
        else
            described+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
        fi
    done
    (( $#described )) && _describe -V cgagent described
}
if [[ $funcstack[1] == _cgagent ]]; then _cgagent; else compdef _cgagent cgagent; fi""",
    "fish": r"""# cgagent in fish: cgagent completion fish | source
function __cgagent_words
    set -l words (commandline -opc)
    set -l typed (commandline -ct)
    for line in ($words[1] completion words -- $words[2..-1] "$typed" 2>/dev/null)
        if string match -q ':files*' -- $line
            __fish_complete_path "$typed"
        else
            echo $line
        end
    end
end
complete -c cgagent -f -a '(__cgagent_words)'""",
}


def completion(context: Context) -> int:
    shell = choose(
        context,
        (*_SCRIPTS, "words"),
        ", ".join(_SCRIPTS),
        usage="bash|zsh|fish",
        description="Print the script that completes cgagent's words in a shell.",
    )
    if shell == "words":
        return _words(context)
    parser = context.parser("", f'Complete words in {shell}: eval "$(cgagent completion {shell})".')
    parser.parse_args(context.args)
    print(_SCRIPTS[shell])
    return 0


def _words(context: Context) -> int:
    parser = context.parser("-- [WORD...]", "Print what the last word may become, for the scripts.")
    parser.add_argument("words", nargs=REMAINDER, metavar="WORD")
    words = parser.parse_args(context.args).words
    with contextlib.suppress(CgagentError):  # which agent is meant
        context.flags = global_flags().parse_args([w for w in words[:-1] if w not in _TOLD])
    with _patience():
        for word, about in following(words, lambda path: _names(context, path)):
            print(f"{word}\t{printable(about)}")
    return 0


def _names(context: Context, path: str) -> Iterable[str]:
    """Of what an agent has; none where no agent listens. Completion starts none."""
    context.start = False
    with contextlib.suppress(CgagentError, OSError):
        for item in connect(context).request("GET", path):
            if "names" in item:
                yield from (f"{name}:{tag}" for name, tag, _ in names(item, with_digest=False))
            else:
                yield item["name"]


class _Over(Exception):  # noqa: N818 - no error: an agent that does not answer at once
    pass


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    """Its body ends when it takes longer than a person at a prompt waits."""

    def over(*_: object) -> None:
        raise _Over

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE_S)
    try:
        with contextlib.suppress(_Over):
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


_PLACES: Final = {
    "CONTAINER": "/v1/containers?all=true",
    "IMAGE": "/v1/images",
    "VOLUME": "/v1/volumes",
    "NETWORK": "/v1/networks",
    "GROUP": "/v1/groups",
}
"""Where an agent tells the names, by the word that help has for them."""
_PATHS: Final = frozenset({"FILE", "DIR", "DIRECTORY", "PATH", "SOURCE", "DESTINATION"})


def following(words: Sequence[str], known: Callable[[str], Iterable[str]]) -> Words:
    """What the last of `words` may become, with what it is; `known` are the names at a path."""
    *before, typed = words or [""]
    for word, about in _all(before, typed, known):
        if word.startswith(typed) or (word, about) == _FILES:
            yield word, about


def _all(before: Sequence[str], typed: str, known: Callable[[str], Iterable[str]]) -> Words:
    global_flags = catalog.global_form()
    waiting, rest = _split(before, global_flags)
    if waiting is not None:
        yield from _values(waiting, known)
    elif not rest:
        if typed.startswith("-"):
            yield from _flags(global_flags)
        else:
            yield from ((c.name, c.help) for c in COMMANDS)
    else:
        yield from _of_command(rest, typed, known)


def _of_command(words: Sequence[str], typed: str, known: Callable[[str], Iterable[str]]) -> Words:
    found = catalog.described(words[:1])
    if found is None:
        return
    if found.verbs:
        if len(words) == 1:
            yield from ((verb, "") for verb in found.verbs)
            return
        found = catalog.described(words[:2])
        if found is None:
            return
    flags = [flag for _, flag in found.flags if not flag.is_argument]
    arguments = [flag for _, flag in found.flags if flag.is_argument]
    waiting, given = _split(words[len(found.words) :], flags, all_flags=True)
    if waiting is not None:
        yield from _values(waiting, known)
    elif typed.startswith("-"):
        yield from _flags(flags)
    elif arguments:
        yield from _values(arguments[min(len(given), len(arguments) - 1)], known)


def _split(
    words: Sequence[str], flags: Iterable[Flag], *, all_flags: bool = False
) -> tuple[Flag | None, list[str]]:
    """The flag whose value comes next, and the words that are none of the flags' from the first on.

    With `all_flags` those after such a word are left out, too.
    """
    known = {name: flag for flag in flags if not flag.is_argument for name in flag.names}
    rest: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "-" or not word.startswith("-"):
            rest.append(word)
            if not all_flags:
                return None, [*rest, *left]
            continue
        flag = known.get(word if word.startswith("--") else f"-{word[-1]}")
        if flag is None or flag.is_switch or flag.action in {"help", "version"}:
            continue
        if not left:
            return flag, rest
        left.pop(0)
    return None, rest


def _flags(flags: Iterable[Flag]) -> Words:
    for flag in flags:
        if not flag.is_argument:
            about = str(flag.options.get("help", ""))
            yield from ((name, about) for name in flag.names if name.startswith("--"))


def _values(flag: Flag, known: Callable[[str], Iterable[str]]) -> Words:
    choices = flag.options.get("choices")
    if choices:
        yield from ((str(choice), "") for choice in choices)
        return
    meant = str(flag.options.get("metavar") or flag.dest).upper()
    for word, path in _PLACES.items():
        if word in meant or (word == "NETWORK" and flag.dest in {"network", "net"}):
            yield from ((name, word.lower()) for name in known(path))
    if meant in _PATHS or any(part in _PATHS for part in meant.split("|")):
        yield _FILES
