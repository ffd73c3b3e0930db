package config

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

const referencePath = "../../../docs/configuration.md"

// TestReference holds docs/configuration.md to the types: their names, tags,
// comments and defaults. With -update it writes the file.
func TestReference(t *testing.T) {
	head, err := os.ReadFile("testdata/reference/head.md")
	if err != nil {
		t.Fatal(err)
	}
	r := &reference{t: t, comments: comments(t), seen: map[reflect.Type]string{}}
	r.WriteString(string(head))
	r.section("", reflect.ValueOf(*Default()))
	got := r.String()
	if f := flag.Lookup("update"); f != nil && f.Value.String() == "true" {
		if err := os.WriteFile(referencePath, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(referencePath)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is stale: go test ./cmd/shardline/config -run Reference -update", referencePath)
	}
}

// comments is the comment of every type, and of every field as Type.Field.
func comments(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			declaration, ok := n.(*ast.GenDecl)
			if !ok || declaration.Tok != token.TYPE {
				return true
			}
			spec := declaration.Specs[0].(*ast.TypeSpec)
			all[spec.Name.Name] = declaration.Doc.Text()
			if fields, ok := spec.Type.(*ast.StructType); ok {
				for _, f := range fields.Fields.List {
					for _, name := range f.Names {
						all[spec.Name.Name+"."+name.Name] = f.Doc.Text()
					}
				}
			}
			return true
		})
	}
	return all
}

type reference struct {
	strings.Builder
	t        *testing.T
	comments map[string]string
	seen     map[reflect.Type]string // the sections of the types that have one
}

// section writes the fields of the struct v, which stands at path, and then
// the sections of the structs in it.
func (r *reference) section(path string, v reflect.Value) {
	title := "The file"
	if path != "" {
		title = "`" + path + "`"
		r.seen[v.Type()] = path
	}
	fmt.Fprintf(r, "\n## %s\n", title)
	if path != "" {
		text := strings.TrimPrefix(r.comments[v.Type().Name()], v.Type().Name()+" is ")
		fmt.Fprintf(r, "\n%s\n", fill(strings.ToUpper(text[:1])+text[1:], ""))
	}
	r.WriteString("\n")
	type inner struct {
		path string
		v    reflect.Value
	}
	var below []inner
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		name, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if option == "inline" {
			fmt.Fprintf(r, "- every field of [`%[1]s`](#%[1]s): overrides the common one.\n", r.seen[f.Type])
			continue
		}
		comment := strings.TrimSpace(r.comments[v.Type().Name()+"."+f.Name])
		if comment == "" {
			r.t.Errorf("%s.%s has no comment", v.Type().Name(), f.Name)
		}
		at := join(path, name)
		value := v.Field(i)
		later := f.Tag.Get("later") != "" && f.Tag.Get("enum") == ""
		notes := []string{kind(f.Type)}
		switch {
		case later:
			notes = []string{"**not available in this version**"}
		case f.Tag.Get("enum") != "":
			notes[0] = alternatives(f.Tag.Get("enum"))
		}
		if element, suffix := structIn(f.Type); element != nil && !later {
			if first, ok := r.seen[element]; ok {
				notes[0] = fmt.Sprintf("as [`%s`](#%s)", first, anchor(first))
			} else {
				notes[0] = fmt.Sprintf("[%s](#%s)", notes[0], anchor(at+suffix))
				r.seen[element] = at + suffix
				below = append(below, inner{at + suffix, prototype(element, value)})
			}
		}
		if f.Tag.Get("required") != "" {
			notes = append(notes, "required")
		} else if shown := shownDefault(value); shown != "" && !later {
			notes = append(notes, "default "+shown)
		}
		if later := f.Tag.Get("later"); later != "" && f.Tag.Get("enum") != "" {
			notes = append(notes, alternatives(later)+" not available in this version")
		}
		fmt.Fprintf(r, "%s\n", fill(fmt.Sprintf("- `%s` (%s): %s", name, strings.Join(notes, "; "), comment), "  "))
	}
	for _, b := range below {
		r.section(b.path, b.v)
	}
}

// fill breaks text into lines of 80 characters, with indent from the second.
func fill(text, indent string) string {
	var b strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		width := len([]rune(word))
		switch {
		case column == 0:
		case column+1+width > 80:
			b.WriteString("\n" + indent)
			column = len(indent)
		default:
			b.WriteString(" ")
			column++
		}
		b.WriteString(word)
		column += width
	}
	return b.String()
}

func anchor(path string) string {
	return strings.NewReplacer(".", "", "[", "", "]", "").Replace(path)
}

func alternatives(list string) string {
	return "`" + strings.Join(strings.Split(list, ","), "`, `") + "`"
}

// structIn is the struct type that a field's values have, if any.
func structIn(t reflect.Type) (element reflect.Type, suffix string) {
	switch t.Kind() {
	case reflect.Pointer:
		t = t.Elem()
	case reflect.Slice:
		t, suffix = t.Elem(), "[]"
	case reflect.Map:
		t, suffix = t.Elem(), ".NAME"
	}
	if _, own := reflect.New(t).Interface().(decodable); own || t.Kind() != reflect.Struct {
		return nil, ""
	}
	return t, suffix
}

// prototype is a struct as it is before anything is decoded into it.
func prototype(t reflect.Type, value reflect.Value) reflect.Value {
	if value.Type() == t {
		return value
	}
	d := &decoder{loading: &loading{}}
	return d.fresh(t)
}

func kind(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "duration"
	case reflect.TypeFor[Size]():
		return "size"
	case reflect.TypeFor[Secret]():
		return "secret"
	case reflect.TypeFor[StreamARN]():
		return "ARN"
	case reflect.TypeFor[InitialPosition]():
		return "position"
	case reflect.TypeFor[Subscribers]():
		return "list of names, or `all_destinations`"
	case reflect.TypeFor[[]string]():
		return "list of texts"
	case reflect.TypeFor[map[string]Secret]():
		return "mapping of names to texts or secrets"
	case reflect.TypeFor[map[string]string]():
		return "mapping of names to texts"
	case reflect.TypeFor[map[string]ViewTable]():
		return "mapping of names to mappings"
	case reflect.TypeFor[Decimal]():
		return "decimal number"
	case reflect.TypeFor[ClockTime]():
		return "time of day"
	case reflect.TypeFor[Planned]():
		return "`shifts`, `schedule`, `{minutes: NUMBER}`"
	}
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "whole number"
	case reflect.Float64:
		return "number"
	case reflect.Slice:
		return "list of mappings"
	}
	return "mapping"
}

// shownDefault is empty where absence is the default.
func shownDefault(v reflect.Value) string {
	switch value := v.Interface().(type) {
	case time.Duration:
		text := value.String()
		if strings.HasSuffix(text, "m0s") {
			text = strings.TrimSuffix(text, "0s")
		}
		if strings.HasSuffix(text, "h0m") {
			text = strings.TrimSuffix(text, "0m")
		}
		return "`" + text + "`"
	case InitialPosition:
		return "`" + value.String() + "`"
	case Planned:
		return "`" + value.String() + "`"
	}
	switch v.Kind() {
	case reflect.String:
		if v.String() == "" {
			return ""
		}
		return "`" + v.String() + "`"
	case reflect.Bool, reflect.Int, reflect.Int64, reflect.Float64:
		return fmt.Sprintf("`%v`", v.Interface())
	}
	return ""
}
