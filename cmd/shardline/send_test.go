package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSend makes one attempt, and prints everything but secrets: what it means
// and what a worker would do.
func TestSend(t *testing.T) {
	var got []*http.Request
	status, answer := 0, ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r)
		w.Header().Set("X-Partner", "acme")
		if status == 429 {
			w.Header().Set("Retry-After", "7")
		}
		w.WriteHeader(status)
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(server.Close)
	folder := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	configuration := file("shardline.yaml", `application: trial
sources:
  - {name: hotels, stream: "arn:aws:kinesis:eu-west-1:111111111111:stream/hotels", initial_position: latest, key: hotel_code, dead_letters: failed, subscribers: all_destinations}
  - {name: others, stream: "arn:aws:kinesis:eu-west-1:111111111111:stream/others", initial_position: latest, subscribers: [both]}
destinations:
  - {name: partner, type: http, url: "`+server.URL+`/{source}?k={key}", dead_letters: failed, auth: {type: bearer, token: hunter2}, retry: {max_attempts: 5}, response: opentravel}
  - {name: holds, type: http, url: "`+server.URL+`/", on_exhausted: hold_destination}
  - {name: both, type: http, url: "`+server.URL+`/", dead_letters: failed}
  - {name: nowhere, type: http, url: "http://127.0.0.1:1/", dead_letters: failed}
dead_letter_queues:
  - {name: failed, type: file, path: failed.jsonl}
`)
	message := file("message.xml", `<OTA_HotelAvailNotifRQ xmlns="http://www.opentravel.org/OTA/2003/05"><AvailStatusMessages HotelCode="H42"/></OTA_HotelAvailNotifRQ>`)
	noHotel := file("ping.xml", `<OTA_PingRQ/>`)
	const success = `<OTA_HotelAvailNotifRS><Success/></OTA_HotelAvailNotifRS>`
	for _, test := range []struct {
		name   string
		status int
		answer string
		args   []string
		code   int
		want   []string // in what is printed, or in the error
	}{
		{"delivered", 200, success, []string{"partner", message}, 0, []string{
			"> POST /hotels?k=H42 HTTP/1.1\n", "> Authorization: [secret]\n", "> X-Shardline-Sequence-Number: 0\n", "> X-Shardline-Key: H42\n", "type OTA_HotelAvailNotifRQ, key H42)\n",
			"< HTTP/1.1 200 OK  (after ", "< X-Partner: acme\n", "< " + success + "\n", "\ndelivered: HTTP 200: Success\na worker would settle it"}},
		{"refused by its body", 200, `<X><Errors><Error Code="392" ShortText="no such hotel"/></Errors></X>`, []string{"partner", message}, 1, []string{
			"ota_permanent, code 392: ", "would write it to the dead letters failed"}},
		{"unauthorized", 401, "go\x1b[2Jaway", []string{"partner", message}, 1, []string{"< go�[2Jaway\n", "unauthorized: HTTP 401", "would hold the destination", "to do: correct the destination's credentials"}},
		{"throttled", 429, "", []string{"partner", message}, 1, []string{"throttled: HTTP 429", "after 7s, as the receiver asks", "after 5 attempts it would go to the dead letters failed"}},
		{"rejected without dead letters", 400, strings.Repeat("x", 5000), []string{"holds", message}, 1, []string{"(and so on)", "rejected: HTTP 400", "would hold the destination"}},
		{"nobody there", 0, "", []string{"nowhere", message}, 1, []string{"> POST / HTTP/1.1\n", "< (no answer, after ", "connection: dial tcp 127.0.0.1:1", "after at most 200ms"}},
		{"a key", 204, "", []string{"holds", noHotel, "--key", "K 7"}, 0, []string{"> X-Shardline-Key: K%207\n", "key K 7)"}},
		{"two sources", 204, "", []string{"both", message, "--source", "others"}, 0, []string{"\ndelivered\n"}},

		{"no key", 0, "", []string{"holds", noHotel}, 1, []string{"ping.xml: OTA_PingRQ names no hotel: say its partition key with --key"}},
		{"which source", 0, "", []string{"both", message}, 1, []string{"several sources: choose one of hotels, others with --source"}},
		{"another source", 0, "", []string{"partner", message, "--source", "others"}, 1, []string{`no subscriber of a source named "others"`}},
		{"nobody", 0, "", []string{"parner", message}, 1, []string{`there is no destination "parner"; there are: partner, holds, both, nowhere`}},
		{"no message", 0, "", []string{"partner", configuration, "--key", "x"}, 1, []string{"a worker would dead-letter it for the source hotels: "}},
		{"no file", 0, "", []string{"partner", folder + "/none"}, 1, []string{"/none: no such file or directory"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, status, answer = nil, test.status, test.answer
			var stdout, stderr bytes.Buffer
			code := run(context.Background(), append([]string{"send", "--config", configuration, "--destination"}, test.args...),
				environment{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, getenv: func(string) string { return "" }})
			text := stdout.String() + stderr.String()
			if code != test.code {
				t.Errorf("exit code %d, want %d: %s", code, test.code, text)
			}
			for _, want := range test.want {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in\n%s", want, text)
				}
			}
			if strings.Contains(text, "hunter2") {
				t.Errorf("a secret is shown: %s", text)
			}
			wanted := 0
			if test.status != 0 {
				wanted = 1
			}
			if len(got) != wanted {
				t.Errorf("%d requests, want %d", len(got), wanted)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(folder, "failed.jsonl")); err == nil {
		t.Error("the dead letter file was touched")
	}
}
