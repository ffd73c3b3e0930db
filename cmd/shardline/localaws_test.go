package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestLocalAWSSaysHowToReachIt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	output, stdout := io.Pipe()
	var stderr bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"localaws", "--account", "222222222222", "--stream", "111111111111:eu-west-1:hotels:4", "--role", "111111111111:shardline-reader"},
			environment{stdin: strings.NewReader(""), stdout: stdout, stderr: &stderr, getenv: func(string) string { return "" }})
		stdout.Close()
	}()
	var text strings.Builder
	lines := bufio.NewScanner(output)
	endpoint := ""
	for lines.Scan() {
		text.WriteString(lines.Text() + "\n")
		if at, ok := strings.CutPrefix(lines.Text(), "export AWS_ENDPOINT_URL="); ok {
			endpoint = at
		}
		if strings.HasPrefix(lines.Text(), "# role ") { // the last line
			break
		}
	}
	for _, want := range []string{
		"trials and tests only", "# account 111111111111", "# account 222222222222", "export AWS_ACCESS_KEY_ID=AKIA", "export AWS_SECRET_ACCESS_KEY=",
		"export AWS_REGION=eu-west-1", "# stream arn:aws:kinesis:eu-west-1:111111111111:stream/hotels, 4 shards", "# role arn:aws:iam::111111111111:role/shardline-reader",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the output lacks %q:\n%s%s", want, text.String(), stderr.String())
		}
	}
	response, err := http.Get(endpoint + "/_localaws/stats")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	cancel()
	if c := <-code; c != 0 {
		t.Errorf("exit code %d: %s", c, stderr.String())
	}
}

func TestLocalAWSRefusesFlags(t *testing.T) {
	for want, args := range map[string][]string{
		"loopback address only":                 {"--listen", "0.0.0.0:0"},
		"it has the form ACCOUNT:REGION":        {"--stream", "hotels"},
		`"many" is no number of shards`:         {"--stream", "111111111111:eu-west-1:hotels:many"},
		"it has the form ACCOUNT:NAME":          {"--role", "reader"},
		"an account id has 12 digits":           {"--account", "1"},
		"create stream hotels: ResourceInUseEx": {"--stream", "111111111111:eu-west-1:hotels:1", "--stream", "111111111111:eu-west-1:hotels:1"},
	} {
		var stderr bytes.Buffer
		code := run(t.Context(), append([]string{"localaws"}, args...), environment{stdin: strings.NewReader(""), stdout: io.Discard, stderr: &stderr, getenv: func(string) string { return "" }})
		if code != 1 || !strings.Contains(stderr.String(), want) {
			t.Errorf("%q: exit code %d, %q, want %q", args, code, stderr.String(), want)
		}
	}
}
