package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/shardline/shardline/internal/localaws"
)

// refused answers for good that messages of some keys are wrong.
func refused(keys ...string) func(*request) reply {
	return func(q *request) reply {
		if slices.Contains(keys, q.key) {
			return reply{status: http.StatusBadRequest, body: "not today"}
		}
		return accept()
	}
}

// sequences are the sequence numbers of a key that a receiver has accepted, in
// that order.
func (r *receiver) sequences(key string) (all []string) {
	for _, q := range r.all() {
		if q.accepted && q.key == key {
			all = append(all, q.sequence)
		}
	}
	return all
}

// TestDeadLettersRedriven lets a receiver refuse the messages of some keys, into
// a queue of each kind, and delivers them again when it takes them.
func TestDeadLettersRedriven(t *testing.T) {
	t.Parallel()
	must := func(_ string, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	const url = "https://sqs.eu-west-1.amazonaws.com/" + tablesAccount + "/"
	for kind, queue := range map[string]func(s *scene) string{
		"file": func(s *scene) string { return "type: file, path: lost.jsonl" },
		"sqs": func(s *scene) string {
			must(s.aws.CreateQueue(tablesAccount, testRegion, "lost", nil))
			return "type: sqs, queue: " + url + "lost"
		},
		"fifo": func(s *scene) string {
			must(s.aws.CreateQueue(tablesAccount, testRegion, "lost.fifo", nil))
			return "type: sqs, queue: " + url + "lost.fifo"
		},
		"by position": func(s *scene) string {
			must(s.aws.CreateQueue(tablesAccount, testRegion, "small.fifo", map[string]string{"MaximumMessageSize": "1900"}))
			return "type: sqs, queue: " + url + "small.fifo"
		},
		"kinesis": func(s *scene) string {
			arn, err := s.aws.CreateStream(tablesAccount, testRegion, "lost", 2)
			must(arn, err)
			return "type: kinesis, stream: " + arn
		},
		"s3": func(s *scene) string {
			must(s.aws.CreateBucket(tablesAccount, testRegion, "lost-letters"))
			return "type: s3, bucket: lost-letters, prefix: dead/"
		},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, localaws.Config{}, 2)
			partner := s.receiver("partner").behaves(refused("wrong-1", "wrong-2"))
			config := s.config(settings{queue: "{name: lost, " + queue(s) + "}",
				destinations: []destinationSettings{{receiver: partner, more: "dead_letters: lost"}}})
			const each = 7
			for i := range each {
				for _, key := range []string{"wrong-1", "right", "wrong-2"} {
					s.put(s.streams[0], key, fmt.Appendf(nil, "<m n='%d'>%s %s</m>", i, key, strings.Repeat("x", 1500)))
				}
			}
			p := s.start(config)
			await(t, "all are accepted or refused", func() error {
				if got := len(partner.all()); got < 3*each {
					return fmt.Errorf("%d requests", got)
				}
				return nil
			})
			p.stop()
			before := len(partner.all())

			run := func(wantCode int, args ...string) string {
				t.Helper()
				code, stdout, stderr := s.command(append([]string{"dead-letters"}, append(args, "--queue", "lost", "--config", config)...)...)
				if code != wantCode {
					t.Fatalf("%s: exit %d, want %d: %s%s", args, code, wantCode, stdout, stderr)
				}
				return stdout + stderr
			}
			fifo := kind == "fifo" || kind == "by position"
			if list := run(0, "list"); !fifo && !strings.Contains(list, fmt.Sprintf("%d letters in lost", 2*each)) {
				t.Errorf("listed\n%s", list)
			}
			lines := strings.Split(strings.TrimSpace(run(0, "list", "--json", "--key", "wrong-1")), "\n")
			var first listedLetter
			if err := json.Unmarshal([]byte(lines[0]), &first); err != nil || first.Reason != "rejected" || first.Destination != "partner" || first.Attempts != 1 {
				t.Errorf("first line %s: %v", lines[0], err)
			}
			if data := run(0, "show", first.ID[:10], "--data"); !strings.HasPrefix(data, "<m n='0'>wrong-1 x") {
				t.Errorf("its data is %q", data)
			}
			if plan := run(0, "redrive", "--dry-run"); !strings.Contains(plan, "of 2 keys") || !strings.Contains(plan, "0 would stay") {
				t.Errorf("planned\n%s", plan)
			}
			if len(partner.all()) != before {
				t.Fatal("a dry run has sent something")
			}
			// One key is taken by now, the other still refused.
			partner.behaves(refused("wrong-2"))
			if said := run(1, "redrive", "--id", "second-try"); !strings.Contains(said, "7 letters delivered, ") || !fifo && !strings.Contains(said, "7 refused again, 0 left, 0 skipped") {
				t.Errorf("redriven\n%s", said)
			}
			partner.behaves(nil)
			if said := run(0, "redrive", "--rate", "50"); !strings.Contains(said, "7 letters delivered, 0 refused again, 0 left, 0 skipped") {
				t.Errorf("redriven\n%s", said)
			}
			if list := run(0, "list"); !strings.Contains(list, "0 letters in lost") {
				t.Errorf("listed after all are redriven\n%s", list)
			}
			ids := map[string]bool{}
			for _, q := range partner.all() {
				if ids[q.id+" "+q.sequence] {
					t.Errorf("%s of %s comes under the same idempotency key again", q.sequence, q.key)
				}
				ids[q.id+" "+q.sequence] = true
			}
			for _, key := range []string{"wrong-1", "wrong-2"} {
				if got := partner.sequences(key); len(got) != each || !slices.IsSortedFunc(got, func(a, b string) int {
					if a == b || grows(a, b) {
						return -1
					}
					return 1
				}) {
					t.Errorf("%s was accepted as %q", key, got)
				}
			}
		})
	}
}

// TestRedriveHolds holds a key while its letters are delivered again, one a
// second: a live record of the key waits for all of them, one of another key
// does not.
func TestRedriveHolds(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 1)
	partner := s.receiver("partner").behaves(refused("wrong"))
	config := s.config(settings{destinations: []destinationSettings{{receiver: partner, more: "timeout: 1s"}}})
	put := func(key string, n int) { s.put(s.streams[0], key, fmt.Appendf(nil, "%s %d", key, n)) }
	const letters = 4
	for i := range letters {
		put("wrong", i)
	}
	p := s.start(config)
	await(t, "all are refused", func() error {
		if got := len(s.letters()); got < letters {
			return fmt.Errorf("%d letters", got)
		}
		return nil
	})
	partner.behaves(nil)
	var code int
	var said string
	done := make(chan struct{})
	go func() {
		defer close(done)
		var stdout, stderr string
		code, stdout, stderr = s.command("dead-letters", "redrive", "--hold", "--rate", "1", "--config", config)
		said = stdout + stderr
	}()
	await(t, "the first letter is there", func() error {
		if len(partner.sequences("wrong")) == 0 {
			return fmt.Errorf("none")
		}
		return nil
	})
	put("wrong", letters)
	put("right", 0)
	await(t, "the other key's record is there", func() error {
		if len(partner.sequences("right")) == 0 {
			return fmt.Errorf("none")
		}
		return nil
	})
	if got := len(partner.sequences("wrong")); got == letters+1 {
		t.Error("the live record of the key did not wait")
	}
	<-done
	if code != 0 || !strings.Contains(said, "partner: 1 key held on every shard") || !strings.Contains(said, "4 letters delivered") {
		t.Errorf("exit %d: %s", code, said)
	}
	await(t, "the live record is there", func() error {
		if got := len(partner.sequences("wrong")); got <= letters {
			return fmt.Errorf("%d are", got)
		}
		return nil
	})
	if got := partner.sequences("wrong"); !slices.IsSortedFunc(got, func(a, b string) int {
		if grows(a, b) {
			return -1
		}
		return 1
	}) {
		t.Errorf("the key's records came as %q", got)
	}
	if _, stdout, _ := s.command("destinations", "list", "partner", "--config", config); strings.Contains(stdout, "wrong") {
		t.Errorf("the key is still held\n%s", stdout)
	}
	p.stop()
}

// TestRedriveKilled kills a redrive in the middle and goes on with it: every
// letter is delivered, in order, and what comes twice has the same idempotency
// key.
func TestRedriveKilled(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 1)
	partner := s.receiver("partner").behaves(refused("wrong"))
	config := s.config(settings{})
	const letters, killed = 50, 35 // after more than a second
	for i := range letters {
		s.put(s.streams[0], "wrong", fmt.Appendf(nil, "wrong %d", i))
	}
	p := s.start(config)
	await(t, "all are refused", func() error {
		if got := len(s.letters()); got < letters {
			return fmt.Errorf("%d letters", got)
		}
		return nil
	})
	p.stop()
	partner.behaves(nil)
	redriving := startProcess(t, "redrive", append([]string{"TEST_WORKER=operator"}, s.environment...),
		"dead-letters", "redrive", "--id", "killed", "--rate", "20", "--config", config)
	await(t, "some are delivered", func() error {
		if got := len(partner.sequences("wrong")); got < killed {
			return fmt.Errorf("%d are", got)
		}
		return nil
	})
	redriving.kill()
	code, stdout, stderr := s.command("dead-letters", "redrive", "--id", "killed", "--config", config)
	if code != 0 {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	ids := map[string]string{}
	var order []string
	twice := 0
	for _, q := range partner.all() {
		if !q.accepted {
			continue
		}
		if id, again := ids[q.sequence]; !again {
			order = append(order, q.sequence)
		} else if twice++; id != q.id {
			t.Errorf("%s came again under another idempotency key", q.sequence)
		}
		ids[q.sequence] = q.id
	}
	if len(order) != letters || !slices.IsSortedFunc(order, func(a, b string) int {
		if grows(a, b) {
			return -1
		}
		return 1
	}) {
		t.Errorf("%d of %d letters, in the order %q", len(order), letters, order)
	}
	t.Logf("%d of %d came twice", twice, letters)
	if twice >= killed {
		t.Error("everything came twice: nothing was marked")
	}
}
