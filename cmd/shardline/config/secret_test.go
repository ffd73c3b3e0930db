package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/shardline/shardline/cmd/shardline/config"
)

// TestSecretRedactsItself prints a whole configuration with secrets of each
// kind in every way that a program prints things.
func TestSecretRedactsItself(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "password"), []byte("hunter-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "c.yaml")
	text := strings.Replace(minimal, "url:", `headers: {X-A: hunter-literal, X-B: {env: FROM_ENV}, X-C: "${EXPANDED}"}
    auth: {type: basic, username: u, password: {file: password}}
    url:`, 1)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(path, func(name string) string {
		return map[string]string{"FROM_ENV": "hunter-env", "EXPANDED": "hunter-expanded"}[name]
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string]config.Secret{"hunter-file": c.Destinations[0].Auth.Password}
	for header, want := range map[string]string{"X-A": "hunter-literal", "X-B": "hunter-env", "X-C": "hunter-expanded"} {
		secrets[want] = c.Destinations[0].Headers[header]
	}
	for want, secret := range secrets {
		if got, err := secret.Value(); err != nil || got != want {
			t.Fatalf("Value() = %q, %v; want %q", got, err, want)
		}
	}

	// A struct that keeps a secret where fmt can call no method.
	type keeper struct{ secret config.Secret }
	kept := keeper{c.Destinations[0].Headers["X-A"]}
	things := []any{c, *c, &c.Destinations, kept, &kept, []keeper{kept}, errors.New(fmt.Sprint(kept.secret)),
		fmt.Errorf("auth %v", kept.secret)}
	for _, s := range secrets {
		things = append(things, s, &s)
	}
	check := func(how, got string) {
		t.Helper()
		for want := range secrets {
			// Base 16 and quoted forms too.
			if strings.Contains(got, want) || strings.Contains(got, fmt.Sprintf("%x", want)) || strings.Contains(got, fmt.Sprintf("%X", want)) {
				t.Errorf("%s shows %q: %s", how, want, got)
			}
		}
	}
	for _, thing := range things {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%08.3f"} {
			check(fmt.Sprintf("%s of a %T", verb, thing), fmt.Sprintf(verb, thing))
		}
		if data, err := json.Marshal(thing); err == nil {
			check("JSON", string(data))
		}
		if data, err := yaml.Marshal(thing); err == nil {
			check("YAML", string(data))
		}
		var log bytes.Buffer
		for _, encoder := range []zapcore.Encoder{
			zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()),
			zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()),
		} {
			logger := zap.New(zapcore.NewCore(encoder, zapcore.AddSync(&log), zap.DebugLevel))
			logger.Info("thing", zap.Any("any", thing), zap.Reflect("reflect", thing))
			logger.Sugar().Infow("thing", "thing", thing)
			logger.Sugar().Info(thing)
		}
		check("zap", log.String())
	}

	secret := c.Destinations[0].Auth.Password
	var json bytes.Buffer
	fmt.Fprintf(&json, "%v %#v %q %s", secret, secret, secret, secret)
	if want := "[secret] config.Secret{[secret]} [secret] [secret]"; json.String() != want {
		t.Errorf("got %s, want %s", json.String(), want)
	}
	if got := fmt.Sprintf("%v|%#v", config.Secret{}, config.Secret{}); got != "|config.Secret{}" {
		t.Errorf("no secret prints as %q", got)
	}
}

// TestSecretFileIsReadAnew shows that a secret can be rotated, and that one
// newline alone is taken off.
func TestSecretFileIsReadAnew(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "token")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	path := filepath.Join(folder, "c.yaml")
	text := strings.Replace(minimal, "url:", "auth: {type: bearer, token: {file: ./token}}\n    url:", 1)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(path, none, nil)
	if err != nil {
		t.Fatal(err)
	}
	token := c.Destinations[0].Auth.Token
	for text, want := range map[string]string{
		"second\n": "second", "third\n\n": "third\n", "fourth\r\n": "fourth", "fifth\r": "fifth\r", " ${HOME} ": " ${HOME} ",
	} {
		write(text)
		if got, err := token.Value(); err != nil || got != want {
			t.Errorf("%q: Value() = %q, %v; want %q", text, got, err, want)
		}
	}
	write(strings.Repeat("x", 64<<10+1))
	if _, err := token.Value(); err == nil || !strings.Contains(err.Error(), "longer than 65536 bytes") {
		t.Errorf("a file without end: %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := token.Value(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is gone: %v", err)
	}
	if _, err := (config.Secret{}).Value(); err == nil {
		t.Error("no secret has a value")
	}
}
