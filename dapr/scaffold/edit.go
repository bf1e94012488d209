package scaffold

import (
	"fmt"
	"go/format"
	"regexp"
	"strconv"
	"strings"
)

// before inserts text in front of the only line that is anchor.
func before(content, anchor, text string) (string, error) {
	at, err := lineOf(content, anchor)
	if err != nil {
		return "", err
	}
	return content[:at] + text + content[at:], nil
}

// lineOf is where the only line that is anchor begins.
func lineOf(content, anchor string) (int, error) {
	switch strings.Count("\n"+content, "\n"+anchor+"\n") {
	case 0:
		return 0, fmt.Errorf("it has no line %q", anchor)
	case 1:
		return strings.Index("\n"+content, "\n"+anchor+"\n"), nil
	}
	return 0, fmt.Errorf("it has the line %q more than once", anchor)
}

// indentOf counts the spaces in front of a line, and reports false for one without content.
func indentOf(line string) (int, bool) {
	trimmed := strings.TrimLeft(line, " ")
	return len(line) - len(trimmed), strings.TrimSpace(trimmed) != ""
}

// blockEnd is where the block of the line at a place ends: in front of the next line that is not indented further, without
// the empty lines and comments in between.
func blockEnd(content string, at int) int {
	own, _ := indentOf(content[at:])
	end, last := at, at
	for i, line := range strings.SplitAfter(content[at:], "\n") {
		indent, filled := indentOf(line)
		if i > 0 && filled && indent <= own {
			break
		}
		end += len(line)
		if filled {
			last = end
		}
	}
	return last
}

// appendTo adds a line or lines at the end of the block that begins with the line header.
func appendTo(content, header, text string) (string, error) {
	at, err := lineOf(content, header)
	if err != nil {
		return "", err
	}
	end := blockEnd(content, at)
	return content[:end] + text + content[end:], nil
}

// repeatBlocks copies the blocks from that of the line first to that of the line last, changed, behind themselves.
func repeatBlocks(content, first, last string, change func(string) string) (string, error) {
	from, err := lineOf(content, first)
	if err != nil {
		return "", err
	}
	to, err := lineOf(content, last)
	if err != nil {
		return "", err
	}
	end, gap := blockEnd(content, to), ""
	if strings.HasSuffix(content[:from], "\n\n") {
		gap = "\n"
	}
	return content[:end] + gap + change(content[from:end]) + content[end:], nil
}

// separator is between the documents of a YAML file.
const separator = "---\n"

// documentWith returns the only document that has the line, without the comment above the first one, which is about the file.
func documentWith(content, line string) (string, error) {
	found := ""
	for i, document := range strings.Split(content, "\n"+separator) {
		for i == 0 && strings.HasPrefix(document, "#") {
			_, document, _ = strings.Cut(document, "\n")
		}
		if !strings.Contains("\n"+document+"\n", "\n"+line+"\n") {
			continue
		}
		if found != "" {
			return "", fmt.Errorf("it has the line %q in more than one document", line)
		}
		found = strings.TrimSuffix(document, "\n") + "\n"
	}
	if found == "" {
		return "", fmt.Errorf("it has no document with the line %q", line)
	}
	return found, nil
}

// repeatDocument copies the document that has the line, changed, behind itself.
func repeatDocument(content, line string, change func(string) string) (string, error) {
	found, err := documentWith(content, line)
	if err != nil {
		return "", err
	}
	return strings.Replace(content, found, found+separator+change(found), 1), nil
}

// inList adds an item to the only list in one line, [a, b], that begins with the prefix.
func inList(content, prefix, item string) (string, error) {
	pattern := regexp.MustCompile(`(` + regexp.QuoteMeta(prefix) + `[^\]\n]*)\]`)
	switch len(pattern.FindAllString(content, -1)) {
	case 0:
		return "", fmt.Errorf("it has no list that begins with %q", prefix)
	case 1:
		return pattern.ReplaceAllString(content, "${1}, "+item+"]"), nil
	}
	return "", fmt.Errorf("it has more than one list that begins with %q", prefix)
}

// allowed adds a caller to the only network policy of a program.
func allowed(content, caller string) (string, error) {
	return inList(content, "operator: In, values: [", caller)
}

// accepted adds a caller to those whose calls the sidecar of an app takes.
func accepted(content, app, caller string) (string, error) {
	found, err := documentWith(content, "metadata: {name: "+app+"}")
	if err != nil {
		return "", err
	}
	of := regexp.MustCompile(`(?m)^      - \{appId: gateway,(.*\n)`).FindStringSubmatch(found)
	if of == nil {
		return "", fmt.Errorf("%s takes no calls of the gateway, whose line is copied", app)
	}
	longer, err := appendTo(found, "    policies:", "      - {appId: "+caller+","+of[1])
	if err != nil {
		return "", err
	}
	return strings.Replace(content, found, longer, 1), nil
}

// imported adds an import to a Go file that has one already, in the last group of its imports.
func imported(content, name, path string) string {
	line := name + " " + strconv.Quote(path)
	if strings.Contains(content, line) {
		return content
	}
	if single := regexp.MustCompile(`(?m)^import (.*")$`); single.MatchString(content) {
		return single.ReplaceAllString(content, "import (\n\t${1}\n\t"+line+"\n)")
	}
	return strings.Replace(content, "\n)\n", "\n\t"+line+"\n)\n", 1)
}

func formatted(source string) (string, error) {
	out, err := format.Source([]byte(source))
	if err != nil {
		return "", fmt.Errorf("formatting: %w", err)
	}
	return string(out), nil
}
