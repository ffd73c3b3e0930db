package deploy_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/shardline/shardline/metrics"
)

type rule struct {
	Alert       string
	Expr        string
	For         string
	Labels      map[string]string
	Annotations map[string]string
}

func rules(t *testing.T) []rule {
	t.Helper()
	data, err := os.ReadFile("prometheus/shardline.rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string
			Rules []rule
		}
	}
	if err := yaml.UnmarshalWithOptions(data, &file, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	var all []rule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 10 {
		t.Fatalf("%d rules", len(all))
	}
	return all
}

var metric = regexp.MustCompile(`\bshardline_[a-z0-9_]+`)

// An alert on a metric that nobody exports never fires.
func TestRulesNameDocumentedMetrics(t *testing.T) {
	names, err := metrics.Names("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules(t) {
		for _, name := range metric.FindAllString(r.Expr, -1) {
			if !names[name] {
				t.Errorf("%s asks for %s, which docs/metrics.md does not have", r.Alert, name)
			}
		}
	}
}

// What an operator is told to look at exists.
func TestOperationsNameDocumentedMetrics(t *testing.T) {
	names, err := metrics.Names("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	document, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	found := metric.FindAllString(string(document), -1)
	if len(found) == 0 {
		t.Fatal("docs/operations.md names no metric")
	}
	for _, name := range found {
		if !names[name] && !names[name+"_bucket"] { // a histogram goes by its own name
			t.Errorf("docs/operations.md names %s, which docs/metrics.md does not have", name)
		}
	}
}

// Whoever is woken finds what to do, and every alert has a test of its own.
func TestRulesLeadSomewhere(t *testing.T) {
	document, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("prometheus/shardline.rules.test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules(t) {
		if !strings.Contains(string(document), "\n### "+r.Alert+"\n") {
			t.Errorf("docs/operations.md has no section %s", r.Alert)
		}
		if !strings.HasSuffix(r.Annotations["runbook_url"], "/docs/operations.md#"+strings.ToLower(r.Alert)) {
			t.Errorf("%s: runbook_url %q", r.Alert, r.Annotations["runbook_url"])
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s: summary and description are needed", r.Alert)
		}
		if s := r.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s: severity %q", r.Alert, s)
		}
		if r.For != "" {
			if _, err := time.ParseDuration(r.For); err != nil {
				t.Errorf("%s: for: %v", r.Alert, err)
			}
		}
		if n := strings.Count(string(tests), "alertname: "+r.Alert); n < 2 {
			t.Errorf("%s stands %d times in the rule tests, want it once silent and once firing", r.Alert, n)
		}
	}
}
