package report_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/shardline/shardline/pipeline/oee"
	"github.com/shardline/shardline/pipeline/oee/report"
)

const schemas = "../../../docs/schema/"

// strict compiles a published schema, which lets a client ignore what it does
// not know, so that it knows everything: a field that is written and not
// described is found.
func strict(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	for _, file := range []string{"oee-result-1.json", "oee-report-1.json"} {
		text, err := os.ReadFile(schemas + file)
		if err != nil {
			t.Fatal(err)
		}
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if err := c.AddResource("https://github.com/shardline/shardline/docs/schema/"+file, closed(document)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := c.Compile("https://github.com/shardline/shardline/docs/schema/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// closed refuses further properties wherever some are described.
func closed(node any) any {
	switch n := node.(type) {
	case map[string]any:
		for k, v := range n {
			n[k] = closed(v)
		}
		if _, ok := n["properties"].(map[string]any); ok && n["type"] != nil {
			n["additionalProperties"] = false
		}
	case []any:
		for i, v := range n {
			n[i] = closed(v)
		}
	}
	return node
}

func instance(t *testing.T, text []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Results and reports are what their published schemas say.
func TestSchema(t *testing.T) {
	r := sample(t)
	of := strict(t, "oee-result-1.json")
	all := r.Results()
	whole := all[0]
	whole.Window.Kind, whole.Window.Name = "1h30m", ""
	hour := all[1]
	hour.Window.Kind, hour.State, hour.Machine, hour.Line = "hour", oee.OnTime, "", "line-1"
	for _, x := range append(all, whole, hour) {
		text, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		if err := of.Validate(instance(t, text)); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	}
	var out bytes.Buffer
	if err := r.JSON(&out); err != nil {
		t.Fatal(err)
	}
	if err := strict(t, "oee-report-1.json").Validate(instance(t, out.Bytes())); err != nil {
		t.Error(err)
	}
}

// What the schema is for: a result that has lost a field, or has a wrong one,
// is refused, and one that has gained one is taken by clients.
func TestSchemaRefuses(t *testing.T) {
	text, err := json.Marshal(sample(t).Machines[0].Whole)
	if err != nil {
		t.Fatal(err)
	}
	s := strict(t, "oee-result-1.json")
	for name, change := range map[string]func(r map[string]any){
		"missing":       func(r map[string]any) { delete(r, "planned_s") },
		"text":          func(r map[string]any) { r["run_s"] = "12" },
		"null sum":      func(r map[string]any) { r["total"] = nil },
		"state":         func(r map[string]any) { r["state"] = "done" },
		"other version": func(r map[string]any) { r["schema"] = json.Number("2") },
		"not described": func(r map[string]any) { r["surprise"] = true },
		"time":          func(r map[string]any) { r["through"] = "yesterday" },
	} {
		r := instance(t, text).(map[string]any)
		change(r)
		if s.Validate(r) == nil {
			t.Errorf("%s: not refused", name)
		}
	}
	if s := string(mustRead(t, schemas+"oee-result-1.json")); strings.Contains(s, "additionalProperties") {
		t.Error("the published schema refuses fields to come")
	}
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// docs/oee-report.md has the columns of the CSV form.
func TestColumnsDocument(t *testing.T) {
	document := string(mustRead(t, "../../../docs/oee-report.md"))
	for _, c := range report.Columns() {
		if line := "| `" + c.Name + "` | " + c.Meaning + " |"; !strings.Contains(document, line+"\n") {
			t.Errorf("docs/oee-report.md lacks\n%s", line)
		}
	}
}
