package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Secret is a value that never prints: String, every verb of fmt, JSON, YAML
// and text say only that it is there. The file has it as a literal, as
// {file: PATH} or as {env: NAME}. The zero value is no secret at all.
type Secret struct {
	// Two pointers deep, so that even printing a struct that keeps a Secret in
	// an unexported field, where fmt calls no methods, shows addresses alone.
	from *secretSource
}

type secretSource struct {
	literal *string
	file    string // read anew by every Value, so that it can be rotated
}

// maxSecret bounds a secret file: a token or a password, not a document.
const maxSecret = 64 << 10

const redacted = "[secret]"

var (
	errNoSecret   = errors.New("no secret is set")
	errLongSecret = fmt.Errorf("longer than %d bytes", maxSecret)
)

// NewSecret is a secret with a literal value.
func NewSecret(literal string) Secret { return Secret{&secretSource{literal: &literal}} }

// IsSet says whether there is a secret.
func (s Secret) IsSet() bool { return s.from != nil }

// Value is the secret itself. A file is read each time, so that it can be
// rotated; one newline at its end is not part of the secret.
func (s Secret) Value() (string, error) {
	switch {
	case s.from == nil:
		return "", errNoSecret
	case s.from.literal != nil:
		return *s.from.literal, nil
	}
	f, err := os.Open(s.from.file)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	if len(data) > maxSecret {
		return "", fmt.Errorf("read secret: %w", &os.PathError{Op: "read", Path: s.from.file, Err: errLongSecret})
	}
	text := string(data)
	if trimmed, ok := strings.CutSuffix(text, "\r\n"); ok {
		return trimmed, nil
	}
	return strings.TrimSuffix(text, "\n"), nil
}

// String is redacted.
func (s Secret) String() string {
	if s.from == nil {
		return ""
	}
	return redacted
}

// GoString is redacted.
func (s Secret) GoString() string { return "config.Secret{" + s.String() + "}" }

// Format is redacted, whatever the verb.
func (s Secret) Format(f fmt.State, verb rune) {
	if verb == 'v' && f.Flag('#') {
		_, _ = io.WriteString(f, s.GoString())
		return
	}
	_, _ = io.WriteString(f, s.String())
}

// MarshalText is redacted.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON is redacted; null without a secret.
func (s Secret) MarshalJSON() ([]byte, error) {
	if s.from == nil {
		return []byte("null"), nil
	}
	return []byte(`"` + redacted + `"`), nil
}

// MarshalYAML is redacted; null without a secret.
func (s Secret) MarshalYAML() (any, error) {
	if s.from == nil {
		return nil, nil
	}
	return redacted, nil
}

func (s *Secret) decode(d *decoder, n *node, path string) {
	const allowed = "allowed: text, {file: PATH} or {env: NAME}"
	switch n.kind {
	case scalarNode:
		*s = NewSecret(n.text)
		return
	case mappingNode:
	default:
		d.addf(n, path, "a secret is not %s; %s", n.kind, allowed)
		return
	}
	if len(n.entries) != 1 {
		d.addf(n, path, "a secret has exactly one place, not %d; %s", len(n.entries), allowed)
		return
	}
	e := n.entries[0]
	at := join(path, e.key)
	switch e.key {
	case "secretsmanager":
		d.addAt(e.line, e.column, at, "secrets from AWS Secrets Manager are not available in this version; "+allowed)
		return
	case "file", "env":
	default:
		d.addAt(e.line, e.column, at, "unknown field"+didYouMean(e.key, []string{"file", "env"})+"; "+allowed)
		return
	}
	if e.value.kind != scalarNode || e.value.text == "" {
		d.addf(e.value, at, "%s is not allowed; allowed: the %s's name", e.value.found(), map[string]string{"file": "file", "env": "environment variable"}[e.key])
		return
	}
	name := e.value.text
	if e.key == "env" {
		value := d.env(name)
		if value == "" {
			d.addf(e.value, at, "the environment variable %s is not set, or empty", e.value.found())
			return
		}
		*s = NewSecret(value)
		return
	}
	s.from = &secretSource{file: d.resolve(name)}
	if _, err := s.Value(); err != nil {
		d.addf(e.value, at, "the secret's file %s cannot be read: %s", e.value.found(), reason(err))
	}
}

// resolve is a path as the configuration means it: relative to its folder.
func (d *decoder) resolve(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(d.folder, path)
}

// reason is why a file cannot be used, without its name, which may come from
// the environment.
func reason(err error) string {
	var pathError *os.PathError
	if errors.As(err, &pathError) {
		return pathError.Err.Error()
	}
	return "unreadable"
}
