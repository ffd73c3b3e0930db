package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
)

// Secret is a value that never prints: String, every verb of fmt, JSON, YAML
// and text say only that it is there. The file has it as a literal, as
// {file: PATH}, {env: NAME} or {secretsmanager: ID}. The zero value is no secret
// at all.
type Secret struct {
	// Two pointers deep, so that even printing a struct that keeps a Secret in
	// an unexported field, where fmt calls no methods, shows addresses alone.
	from *secretSource
}

type secretSource struct {
	literal *string
	file    string // read anew by every Value, so that it can be rotated
	managed *managed
}

// managed is a secret of AWS Secrets Manager.
type managed struct {
	id, field string
	value     func() (string, error) // nil before Bind
	refused   func() bool
}

// maxSecret bounds a secret file: a token or a password, not a document.
const maxSecret = 64 << 10

const redacted = "[secret]"

var (
	errNoSecret   = errors.New("no secret is set")
	errUnbound    = errors.New("it stands in AWS Secrets Manager, which was not asked")
	errLongSecret = fmt.Errorf("longer than %d bytes", maxSecret)
)

// NewSecret is a secret with a literal value.
func NewSecret(literal string) Secret { return Secret{&secretSource{literal: &literal}} }

// IsSet says whether there is a secret.
func (s Secret) IsSet() bool { return s.from != nil }

// SecretsManager names the secret of AWS Secrets Manager, and the field of it
// when it is a JSON object; ok: it stands there.
func (s Secret) SecretsManager() (id, field string, ok bool) {
	if s.from == nil || s.from.managed == nil {
		return "", "", false
	}
	return s.from.managed.id, s.from.managed.field, true
}

// Bind says where the value of a secret of AWS Secrets Manager comes from: the
// configuration itself calls nobody. It comes before the first use. Refused
// tells that a receiver refused the value, and answers whether another one may
// be there soon.
func (s Secret) Bind(value func() (string, error), refused func() bool) {
	s.from.managed.value, s.from.managed.refused = value, refused
}

// Refused is that of Bind; nil for a secret that stands elsewhere.
func (s Secret) Refused() func() bool {
	if s.from == nil || s.from.managed == nil {
		return nil
	}
	return s.from.managed.refused
}

// equal says whether two secrets are the same: the same text, or the same place.
func (s Secret) equal(other Secret) bool {
	a, b := s.from, other.from
	switch {
	case a == nil || b == nil:
		return a == b
	case a.literal != nil && b.literal != nil:
		return *a.literal == *b.literal
	case a.managed != nil && b.managed != nil:
		return a.managed.id == b.managed.id && a.managed.field == b.managed.field
	}
	return a.literal == nil && b.literal == nil && a.managed == nil && b.managed == nil && a.file == b.file
}

// Value is the secret itself. A file is read each time, so that it can be
// rotated; one newline at its end is not part of the secret.
func (s Secret) Value() (string, error) {
	switch {
	case s.from == nil:
		return "", errNoSecret
	case s.from.literal != nil:
		return *s.from.literal, nil
	case s.from.managed != nil && s.from.managed.value == nil:
		return "", errUnbound
	case s.from.managed != nil:
		return s.from.managed.value()
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
	const allowed = "allowed: text, {file: PATH}, {env: NAME} or {secretsmanager: NAME or ARN, with #FIELD of a JSON object}"
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
	case "file", "env", "secretsmanager":
	default:
		d.addAt(e.line, e.column, at, "unknown field"+didYouMean(e.key, []string{"file", "env", "secretsmanager"})+"; "+allowed)
		return
	}
	if e.value.kind != scalarNode || e.value.text == "" {
		d.addf(e.value, at, "%s is not allowed; allowed: the %s's name", e.value.found(), map[string]string{"file": "file", "env": "environment variable", "secretsmanager": "secret"}[e.key])
		return
	}
	name := e.value.text
	switch e.key {
	case "secretsmanager":
		id, field, hasField := strings.Cut(name, "#")
		if wrong := secretID(id); wrong != "" {
			d.addf(e.value, at, "%s is not a secret's name or ARN: %s", e.value.found(), wrong)
			return
		}
		if hasField && field == "" {
			d.addf(e.value, at, "%s names no field after #", e.value.found())
			return
		}
		s.from = &secretSource{managed: &managed{id: id, field: field}}
		return
	case "env":
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

var secretNamePattern = regexp.MustCompile(`^[A-Za-z0-9/_+=.@!-]{1,512}$`)

// secretID says what is wrong with a secret's name or ARN; empty: nothing.
func secretID(id string) string {
	if !strings.HasPrefix(id, "arn:") {
		if !secretNamePattern.MatchString(id) {
			return "a name has 1 to 512 letters, digits and / _ + = . @ ! -"
		}
		return ""
	}
	parts, wrong := splitARN(id, "secretsmanager")
	name, isSecret := strings.CutPrefix(parts[4], "secret:")
	switch {
	case wrong != "":
		return wrong
	case !regionPattern.MatchString(parts[2]):
		return "the region is not one such as eu-west-1"
	case !isSecret || !secretNamePattern.MatchString(name):
		return "the resource is not secret:NAME"
	}
	return ""
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

// Secrets are all secrets of the configuration.
func (c *Config) Secrets() []Secret { return secretsIn(reflect.ValueOf(c), nil) }

func secretsIn(v reflect.Value, found []Secret) []Secret {
	if s, ok := v.Interface().(Secret); ok {
		if s.IsSet() {
			found = append(found, s)
		}
		return found
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			found = secretsIn(v.Elem(), found)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				found = secretsIn(v.Field(i), found)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			found = secretsIn(v.Index(i), found)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			found = secretsIn(v.MapIndex(key), found)
		}
	}
	return found
}
