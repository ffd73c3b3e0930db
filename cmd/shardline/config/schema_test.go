package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

const schemaPath = "../../../docs/schema/configuration.json"

// TestSchema holds docs/schema/configuration.json, which editors read, to the
// types. With -update it writes the file. It is as strict as a schema can be:
// what one field says of another, Load checks alone.
func TestSchema(t *testing.T) {
	s := &schema{t: t, comments: comments(t)}
	root := s.object(reflect.ValueOf(*Default()))
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["$id"] = "https://github.com/shardline/shardline/docs/schema/configuration.json"
	root["title"] = "Configuration of Shardline"
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(root); err != nil {
		t.Fatal(err)
	}
	if f := flag.Lookup("update"); f != nil && f.Value.String() == "true" {
		if err := os.WriteFile(schemaPath, text.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(schemaPath)
	if err != nil {
		t.Fatal(err)
	}
	if text.String() != string(want) {
		t.Errorf("%s is stale: go test ./cmd/shardline/config -run 'Reference|Schema' -update", schemaPath)
	}

	document, err := jsonschema.UnmarshalJSON(&text)
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("configuration.json", document); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("configuration.json")
	if err != nil {
		t.Fatal(err)
	}
	check := func(pattern string, least int, good bool) {
		t.Helper()
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) < least {
			t.Fatalf("%s: %d files: %v", pattern, len(paths), err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var value any
			if err := yaml.Unmarshal(data, &value); err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			plain, err := json.Marshal(value) // as a reader of JSON has it
			if err != nil {
				t.Fatal(err)
			}
			if value, err = jsonschema.UnmarshalJSON(bytes.NewReader(plain)); err != nil {
				t.Fatal(err)
			}
			if err := compiled.Validate(value); (err == nil) != good {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
	check("testdata/good/*.yaml", 4, true)
	check("../../../deploy/examples/*.yaml", 7, true)
	for _, name := range []string{"unknown-field", "enumerations", "durations", "sizes", "auth-as-text", "headers-as-text", "subscribers-scalar",
		"view-bare", "view-states", "view-tables", "view-shifts", "view-lines"} {
		check("testdata/bad/"+name+".yaml", 1, false)
	}
}

type schema struct {
	t        *testing.T
	comments map[string]string
}

// object is the schema of a struct; v has its defaults.
func (s *schema) object(v reflect.Value) map[string]any {
	properties, required := map[string]any{}, []string{}
	s.fields(v, properties, &required)
	o := map[string]any{"type": []string{"object", "null"}, "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		o["type"], o["required"] = "object", required
	}
	return o
}

func (s *schema) fields(v reflect.Value, properties map[string]any, required *[]string) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case option == "inline":
			s.fields(v.Field(i), properties, required)
			continue
		case name == "" || f.Tag.Get("later") != "" && f.Tag.Get("enum") == "":
			continue // a field of a later version is refused
		}
		p := s.value(f.Type, v.Field(i), f.Tag)
		p["description"] = strings.Join(strings.Fields(s.comments[v.Type().Name()+"."+f.Name]), " ")
		properties[name] = p
		if f.Tag.Get("required") != "" {
			*required = append(*required, name)
		}
	}
}

// value is the schema of what a field takes.
func (s *schema) value(t reflect.Type, v reflect.Value, tag reflect.StructTag) map[string]any {
	text := map[string]any{"type": "string"}
	pattern := func(p string) map[string]any { return map[string]any{"type": "string", "pattern": p + `|\$\{`} }
	either := func(of ...any) map[string]any { return map[string]any{"anyOf": of} }
	expanded := map[string]any{"type": "string", "pattern": `\$\{`} // from the environment
	list := func(item any) map[string]any {
		return map[string]any{"type": []string{"array", "null"}, "items": item}
	}
	switch t {
	case reflect.TypeFor[time.Duration]():
		return either(map[string]any{"const": 0}, pattern(`^[+-]?(0|([0-9.]+(ns|us|µs|ms|s|m|h))+)$`))
	case reflect.TypeFor[Size]():
		return either(map[string]any{"type": "integer", "minimum": 0}, pattern(`^[0-9]+(B|KiB|MiB|GiB)?$`))
	case reflect.TypeFor[Secret]():
		one := map[string]any{"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": false,
			"properties": map[string]any{"file": text, "env": text, "secretsmanager": text}}
		return either(map[string]any{"type": []string{"string", "number", "boolean", "null"}}, one)
	case reflect.TypeFor[StreamARN]():
		return pattern(`^arn:[a-z-]+:kinesis:[a-z0-9-]+:[0-9]{12}:stream/[a-zA-Z0-9_.-]{1,128}$`)
	case reflect.TypeFor[InitialPosition]():
		return pattern(`^(trim_horizon|latest|[0-9]{4}-[0-9]{2}-[0-9]{2}T.*)$`)
	case reflect.TypeFor[Subscribers]():
		return either(map[string]any{"const": allDestinations}, expanded, list(text))
	case reflect.TypeFor[Decimal]():
		return either(map[string]any{"type": "number", "minimum": 0}, pattern(decimalPattern.String()))
	case reflect.TypeFor[ClockTime]():
		return pattern(`^([01][0-9]|2[0-3]):[0-5][0-9]$`)
	case reflect.TypeFor[Planned]():
		return either(map[string]any{"enum": []string{PlannedShifts, PlannedSchedule}}, expanded, map[string]any{"type": "object", "additionalProperties": false,
			"required": []string{"minutes"}, "properties": map[string]any{"minutes": either(map[string]any{"type": "integer"}, expanded)}})
	}
	switch t.Kind() {
	case reflect.String:
		if enum := tag.Get("enum"); enum != "" {
			choices := []any{expanded}
			for _, value := range strings.Split(enum, ",") {
				if begin, open := strings.CutSuffix(value, "…"); open {
					choices = append(choices, map[string]any{"type": "string", "pattern": "^" + begin})
				} else {
					choices = append(choices, map[string]any{"const": value})
				}
			}
			return either(choices...)
		}
		return map[string]any{"type": []string{"string", "number", "boolean"}}
	case reflect.Bool:
		return either(map[string]any{"type": "boolean"}, expanded)
	case reflect.Int:
		return either(map[string]any{"type": "integer"}, expanded)
	case reflect.Float64:
		return either(map[string]any{"type": "number"}, expanded)
	case reflect.Struct:
		return s.object(prototype(t, v))
	case reflect.Pointer:
		o := s.object(prototype(t.Elem(), v))
		o["type"] = []string{"object", "null"}
		return o
	case reflect.Slice:
		return list(s.value(t.Elem(), v, ""))
	case reflect.Map:
		return map[string]any{"type": []string{"object", "null"}, "additionalProperties": s.value(t.Elem(), v, "")}
	}
	s.t.Fatalf("no schema of %s", t)
	return nil
}
