package deploy_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

// The task definition in the document can be copied, and gives a drain its
// time.
func TestTaskDefinition(t *testing.T) {
	document, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(document), "\n```json\n")
	text, _, ok2 := strings.Cut(rest, "\n```\n")
	if !ok || !ok2 {
		t.Fatal("docs/operations.md has no JSON block")
	}
	var task struct {
		ContainerDefinitions []struct {
			StopTimeout int
			Command     []string
			HealthCheck struct{ Command []string }
		}
	}
	if err := json.Unmarshal([]byte(text), &task); err != nil {
		t.Fatal(err)
	}
	if len(task.ContainerDefinitions) != 1 {
		t.Fatalf("%d containers", len(task.ContainerDefinitions))
	}
	c := task.ContainerDefinitions[0]
	// pipeline.drain_timeout is 20 s; Fargate gives 120 s at most.
	if c.StopTimeout < 30 || c.StopTimeout > 120 {
		t.Errorf("stopTimeout is %d s", c.StopTimeout)
	}
	// ECS ignores the image's health check, so the definition has to have it.
	if got := strings.Join(c.HealthCheck.Command, " "); got != "CMD /usr/local/bin/shardline health" {
		t.Errorf("the health check runs %q", got)
	}
}

var deployed = regexp.MustCompile(`deploy/[a-z]+/[a-zA-Z0-9._-]+`)

// What the documents point at exists.
func TestDocumentsNameExistingFiles(t *testing.T) {
	for _, document := range []string{"../README.md", "../docs/operations.md", "../CHANGELOG.md"} {
		data, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range deployed.FindAllString(string(data), -1) {
			if _, err := os.Stat("../" + strings.TrimRight(file, ".")); err != nil {
				t.Errorf("%s names %s: %v", document, file, err)
			}
		}
	}
}
