package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

var variablePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// maxExpanded bounds one value after expansion.
const maxExpanded = maxFile

// expand replaces ${NAME} and ${NAME:-default} in the values below n, not in
// keys. As in a shell, a variable that is set to nothing counts as unset.
// $${ is a literal ${.
func expand(n *node, env func(string) string, path string, fail func(n *node, path, message string)) {
	switch n.kind {
	case scalarNode:
		text, err := expandText(n.source, env)
		if err != nil {
			fail(n, path, err.Error())
			// What the value would have been is unknown: nothing more is said
			// of it.
			return
		}
		n.text = text
	case sequenceNode:
		for i, item := range n.items {
			expand(item, env, fmt.Sprintf("%s[%d]", path, i), fail)
		}
	case mappingNode:
		for _, e := range n.entries {
			expand(e.value, env, join(path, e.key), fail)
		}
	}
}

func expandText(text string, env func(string) string) (string, error) {
	if !strings.Contains(text, "${") {
		return text, nil
	}
	var b strings.Builder
	var wrong []string
	for {
		before, rest, found := strings.Cut(text, "${")
		if !found {
			b.WriteString(text)
			break
		}
		if escaped, ok := strings.CutSuffix(before, "$"); ok {
			b.WriteString(escaped + "${")
			text = rest
			continue
		}
		b.WriteString(before)
		reference, after, closed := strings.Cut(rest, "}")
		if !closed {
			return "", fmt.Errorf("${ without } (a literal ${ is written $${)")
		}
		name, fallback, hasFallback := strings.Cut(reference, ":-")
		if !variablePattern.MatchString(name) {
			return "", fmt.Errorf("%s names no environment variable; allowed: ${NAME} and ${NAME:-default}; a literal ${ is written $${", quote("${"+reference+"}"))
		}
		value := env(name)
		if value == "" {
			if !hasFallback {
				wrong = append(wrong, fmt.Sprintf("the environment variable %s is not set, or empty, and ${%s} has no default (${%s:-default})", name, name, name))
			}
			value = fallback
		}
		if b.Len()+len(value) > maxExpanded {
			return "", fmt.Errorf("longer than %d bytes after expansion", maxExpanded)
		}
		b.WriteString(value)
		text = after
	}
	if wrong != nil {
		return "", errors.New(strings.Join(wrong, "; "))
	}
	return b.String(), nil
}
