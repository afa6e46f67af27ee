"""Templates of ``--format``: what Go makes of them, and what docker's command line prints."""

import json
import subprocess

import pytest

from cgagent.cli.templates import Template, TemplateError
from tests.world import dockers

pytestmark = [pytest.mark.system, pytest.mark.native]

DATA = {
    "Name": "web",
    "Text": 'a "quoted" \\ text, ünï\n',
    "Empty": "",
    "Whole": 42,
    "Zero": 0,
    "Fraction": 0.25,
    "Large": 1.5e22,
    "Small": 1.25e-7,
    "Yes": True,
    "No": False,
    "Nil": None,
    "Words": ["x", "y", "z"],
    "None": [],
    "Mixed": [1, "two", None, 2.5, True, ["in"]],
    "Map": {"b": {"c": 1}, "a": [1, 2]},
    "Labels": {"com.example.x-y": "one", "b": "two"},
    "Ports": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}], "90/udp": None},
}
TEMPLATES = (
    *("", "text", "{{.}}", "{{.Name}}", "{{ .Name }}", "a{{- .Name -}} b", "a {{- /* c */ -}} b"),
    *("{{/* only */}}x", "{{.Whole}} {{.Fraction}} {{.Large}} {{.Small}} {{.Yes}} {{.Nil}}"),
    *("{{.Words}} {{.None}} {{.Mixed}} {{.Map}}", "{{.Map.b.c}}", "{{.Map.b.d}}", "{{.Nothing}}"),
    *("{{.Name.x}}", "{{.Nil.x}}", "{{$.Name}} {{$x := .Name}}{{$x}}", "{{$x}}", "{{$x = 1}}"),
    *("{{json .Words}}", "{{json .Ports}} {{json .Text}} {{json .Nil}}", "{{.Name | json | len}}"),
    *("{{if .Name}}a{{end}}", "{{if .Empty}}a{{else}}b{{end}}", "{{if .None}}a{{end}}"),
    *("{{if .No}}a{{else if .Zero}}b{{else if .Words}}c{{else}}d{{end}}", "{{if .Name}}a"),
    *("{{if not .Name}}a{{else}}b{{end}}", "{{if and .Name (eq .Whole 42)}}a{{end}}"),
    *("{{with .Map.b}}{{.c}}{{$.Name}}{{end}}", "{{with .Nil}}a{{else}}b{{end}}"),
    *("{{with $x := .Name}}{{$x}}{{.}}{{end}}", "{{with $x := .Name}}{{end}}{{$x}}"),
    *(
        "{{range .Words}}{{.}},{{end}}",
        "{{range .None}}a{{else}}b{{end}}",
        "{{range .Nil}}a{{end}}",
    ),
    *(
        "{{range $i, $w := .Words}}{{if $i}}, {{end}}{{$w}}{{end}}",
        "{{range $w := .Words}}{{$w}}{{end}}",
    ),
    *(
        "{{range $k, $v := .Map}}{{$k}}={{$v}};{{end}}",
        "{{range 3}}{{.}}{{end}}",
        "{{range .Name}}{{end}}",
    ),
    *('{{range .Words}}{{if eq . "y"}}{{continue}}{{end}}{{.}}{{end}}', "{{break}}"),
    *(
        '{{range .Words}}{{if eq . "y"}}{{break}}{{end}}{{.}}{{end}}',
        "{{range .Mixed}}{{.}}|{{end}}",
    ),
    *(
        "{{$n := 0}}{{range .Words}}{{$n = len .}}{{end}}{{$n}}",
        "{{range $a, $b, $c := .Words}}{{end}}",
    ),
    *("{{range $p, $c := .Ports}}{{$p}}{{with $c}} -> {{(index . 0).HostPort}}{{end}} {{end}}",),
    *('{{(index (index .Ports "80/tcp") 0).HostPort}}', "{{index .Words 1}}", "{{index .Words 3}}"),
    *('{{index .Labels "b"}}', '{{index .Map "a" 1}}', '{{index .Words "a"}}', "{{index .Nil 1}}"),
    *(
        "{{len .Words}} {{len .Map}} {{len .Text}}",
        "{{len .Whole}}",
        "{{slice .Name 1}}{{slice .Words 1 2}}",
    ),
    *(
        "{{slice .Name 2 1}}",
        "{{slice .Whole 1}}",
        '{{printf "%s %d %v %q" .Name .Whole .Words .Text}}',
    ),
    *(
        '{{printf "%5s|%-5s|%05d|%+d" .Name .Name .Whole .Whole}}',
        '{{printf "%x|%X|%o|%b|%c" .Whole .Name .Whole .Whole .Whole}}',
    ),
    *('{{printf "%.2f %6.1f %e %g %t %%" .Fraction .Fraction .Fraction .Large .Yes}}',),
    *('{{printf "%d" .Name}} {{printf "%s" .Whole}} {{printf "%s"}} {{printf "x" .Whole}}',),
    *(
        '{{printf "%*d|%.1s|%v|%v" 5 .Whole .Name .Nil .Yes}}',
        '{{printf "%z" .Whole}}',
        '{{printf "%"}}',
    ),
    *("{{print .Name .Whole .Yes .Name}}", "{{print .Whole .Whole}}", "{{println .Name .Whole}}"),
    *('{{eq .Name "web"}} {{ne .Name "web"}} {{eq .Whole 1 42}}', "{{eq .Name 1}}", "{{eq .Name}}"),
    *(
        '{{lt .Whole 43}} {{le .Whole 42}} {{gt .Fraction 0.5}} {{ge .Name "wea"}}',
        "{{lt .Yes .No}}",
    ),
    *(
        "{{eq .Words .Words}}",
        "{{eq .Nil nil}}",
        "{{and .Name .Zero .Nope}}",
        "{{or .Zero .Name .Nope}}",
    ),
    *("{{and}}", "{{not}}", "{{nothing .Name}}", '{{.Name | printf "%s-%s" "a" | upper}}'),
    *(
        '{{html "<a href=\'x\'>&</a>"}} {{urlquery "a b&c"}}',
        '{{join .Words "-"}} {{split "a,b" ","}}',
    ),
    *(
        '{{title "some words/a-b_c.d 1x"}} {{lower .Name}} {{upper .Name}}',
        "{{pad .Name 1 2}}|{{pad .Empty 1 2}}|",
    ),
    *(
        "{{truncate .Name 2}} {{truncate .Name 9}}",
        '{{"}}"}}{{`raw \\n`}}{{"\\t\\u00e9\\x41"}}{{\'a\'}}',
    ),
    *(
        "{{0x1f}} {{1e3}} {{-7}} {{1_000}} {{.5}} {{0b11}} {{0o17}} {{1.}}",
        "{{1x}}",
        "{{true}} {{false}}",
    ),
    *(
        "{{nil}}",
        "{{}}",
        "{{",
        "{{.Name",
        "{{.Name}} }}",
        '{{"open}}',
        "{{end}}",
        "{{else}}",
        "{{.Name |}}",
    ),
    *(
        "{{(.Name)}}",
        "{{(.Map).b.c}}",
        "{{(.Name}}",
        "{{.Name)}}",
        "{{$x, $y := .Words}}",
        "{{. .}}",
    ),
    *(
        "{{.Name .Name}}",
        "{{1 | .Name}}",
        "{{if}}a{{end}}",
        "{{range}}a{{end}}",
        "{{end x}}",
        "{{ .Map . b}}",
    ),
    *(
        "{{ if .Yes }} a {{- else -}} b {{ end -}}  c",
        "{{.Map.b}}{{println}}",
        "{{println (len .Words) | print}}",
    ),
)


@pytest.fixture(scope="module")
def in_go():
    """What Go makes of each template; None: it refuses it."""
    program = dockers.go_program("gotemplates")
    if program is None:
        pytest.skip("no Go of 2025 or later")
    asked = "".join(json.dumps({"template": t, "data": DATA}) + "\n" for t in TEMPLATES)
    done = subprocess.run([program], input=asked, check=True, capture_output=True, text=True)
    answers = list(map(json.loads, done.stdout.splitlines()))
    return {t: (a["failed"], a["text"]) for t, a in zip(TEMPLATES, answers, strict=True)}


@pytest.mark.parametrize("template", TEMPLATES)
def test_go_makes_the_same_of_it(in_go, template):
    failed, text = in_go[template]
    if failed:
        with pytest.raises(TemplateError):
            print(repr(Template(template).render(DATA)), "where Go says", text)
    else:
        assert Template(template).render(DATA) == text
