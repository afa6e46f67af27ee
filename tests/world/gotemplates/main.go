// Fills templates as Go does: lines of {"template": ..., "data": ...} on standard input become lines of
// {"text": ..., "failed": ...}. The functions beside text/template's own are those that docker adds.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"text/template"
)

type asked struct {
	Template string
	Data     any
}

type answer struct {
	Text   string `json:"text"`
	Failed bool   `json:"failed"`
}

func plain(value any) any { // numbers as int where they are whole
	switch found := value.(type) {
	case json.Number:
		if whole, err := found.Int64(); err == nil {
			return int(whole)
		}
		fraction, _ := found.Float64()
		return fraction
	case map[string]any:
		for key, inner := range found {
			found[key] = plain(inner)
		}
	case []any:
		for i, inner := range found {
			found[i] = plain(inner)
		}
	}
	return value
}

var functions = template.FuncMap{
	"json": func(value any) string {
		var text bytes.Buffer
		encoder := json.NewEncoder(&text)
		encoder.SetEscapeHTML(false)
		_ = encoder.Encode(value)
		return strings.TrimSpace(text.String())
	},
	"split": strings.Split,
	"join": func(words []any, sep string) string {
		var all []string
		for _, word := range words {
			all = append(all, word.(string))
		}
		return strings.Join(all, sep)
	},
	"title": strings.Title,
	"lower": strings.ToLower,
	"upper": strings.ToUpper,
	"pad": func(text string, before, after int) string {
		if text == "" {
			return text
		}
		return strings.Repeat(" ", before) + text + strings.Repeat(" ", after)
	},
	"truncate": func(text string, length int) string {
		if len(text) < length {
			return text
		}
		return text[:length]
	},
}

func fill(one asked) answer {
	parsed, err := template.New("").Funcs(functions).Option("missingkey=error").Parse(one.Template)
	var text bytes.Buffer
	if err == nil {
		err = parsed.Execute(&text, one.Data)
	}
	if err != nil {
		return answer{Failed: true, Text: err.Error()}
	}
	return answer{Text: text.String()}
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	answers := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		decoder := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		decoder.UseNumber()
		var one asked
		if err := decoder.Decode(&one); err != nil {
			panic(err)
		}
		one.Data = plain(one.Data)
		_ = answers.Encode(fill(one))
	}
}
