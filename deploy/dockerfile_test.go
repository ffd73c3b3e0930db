package deploy_test

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// instructions returns the Dockerfile's instructions, continued lines joined.
func instructions(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	open := false
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		text, continued := strings.CutSuffix(line, `\`)
		if open {
			all[len(all)-1] += text
		} else {
			all = append(all, text)
		}
		open = continued
	}
	return all
}

func has(all []string, prefix string) bool {
	for _, i := range all {
		if strings.HasPrefix(i, prefix) {
			return true
		}
	}
	return false
}

func TestDockerfile(t *testing.T) {
	all := instructions(t)
	for _, want := range []string{
		"FROM golang:1.26 AS build",
		"FROM scratch",
		"ARG VERSION",
		"USER 65532:65532", // a number: an orchestrator can see that it is not root
		"STOPSIGNAL SIGTERM",
		"HEALTHCHECK ",
		`ENTRYPOINT ["/usr/local/bin/shardline"]`,
		"COPY --from=build --chown=65532:65532 /root-fs/var/lib/shardline /var/lib/shardline",
	} {
		if !has(all, want) {
			t.Errorf("no instruction %s", want)
		}
	}
	if last := all[len(all)-1]; last != `CMD ["run"]` {
		t.Errorf("the last instruction is %s", last)
	}
	goMod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(goMod), "\ngo 1.26") {
		t.Error("go.mod asks for another Go than the image has")
	}
}

// There is no engine to build the image with, so the test runs the line that
// the image runs, and looks at what an empty image would have to run.
func TestDockerfileBuildsAStaticProgram(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program: not with -short")
	}
	if runtime.GOOS != "linux" {
		t.Skip("the image is for Linux, this is", runtime.GOOS)
	}
	var line string
	for _, i := range instructions(t) {
		if strings.Contains(i, "go build") {
			line = strings.TrimPrefix(i, "RUN ")
		}
	}
	program := filepath.Join(t.TempDir(), "shardline")
	if !strings.Contains(line, " -o /out/shardline ") {
		t.Fatalf("the build line is %q", line)
	}
	line = strings.Replace(line, " -o /out/shardline ", " -o "+program+" ", 1)
	build := exec.CommandContext(t.Context(), "sh", "-ec", line)
	build.Dir = ".."
	build.Env = append(os.Environ(), "VERSION=9.8.7-test")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, output)
	}

	file, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the program is dynamic (%v): an empty image cannot run it", p.Type)
		}
	}
	output, err := exec.CommandContext(t.Context(), program, "version").CombinedOutput()
	if want := regexp.MustCompile(`^shardline 9\.8\.7-test \(go1\.`); err != nil || !want.Match(output) {
		t.Errorf("version says %q (%v)", output, err)
	}
}
