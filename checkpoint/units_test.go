package checkpoint_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/internal/localaws"
)

// meter is a way to DynamoDB that counts what calls cost, by the service's
// rules: an eventually consistent read half a unit per 4 KB, a consistent one
// a unit; a write a unit per KB of the item.
type meter struct {
	handler http.Handler

	mu      sync.Mutex
	reads   float64
	writes  int
	scans   int
	largest int // bytes of the largest item read
}

func (m *meter) Do(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	q := httptest.NewRequestWithContext(r.Context(), r.Method, r.URL.String(), bytes.NewReader(body))
	q.Header = r.Header.Clone() // the client keeps its own
	w := httptest.NewRecorder()
	if dropped(func() { m.handler.ServeHTTP(w, q) }) {
		return nil, errors.New("connection reset by peer")
	}
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	var answer struct {
		Item  map[string]map[string]any
		Items []map[string]map[string]any
	}
	_ = json.Unmarshal(w.Body.Bytes(), &answer) // errors have neither
	m.mu.Lock()
	defer m.mu.Unlock()
	switch op {
	case "Scan":
		total := 0
		for _, it := range answer.Items {
			n := itemSize(it)
			total, m.largest = total+n, max(m.largest, n)
		}
		m.scans++
		m.reads += math.Ceil(float64(total)/4096) / 2
	case "GetItem":
		m.reads += math.Ceil(float64(max(itemSize(answer.Item), 1)) / 4096)
	case "UpdateItem", "PutItem", "DeleteItem":
		m.writes++ // no item is larger than 1 KB: checked at every scan
	}
	return w.Result(), nil
}

// dropped says whether a handler closed its connection.
func dropped(serve func()) (closed bool) {
	defer func() {
		if r := recover(); r == http.ErrAbortHandler {
			closed = true
		} else if r != nil {
			panic(r)
		}
	}()
	serve()
	return false
}

// itemSize is what the service counts for an item of its wire form.
func itemSize(it map[string]map[string]any) int {
	n := 0
	for name, v := range it {
		n += len(name)
		for kind, x := range v {
			switch kind {
			case "S":
				n += len(x.(string))
			case "N":
				n += len(x.(string))/2 + 2
			case "SS":
				for _, s := range x.([]any) {
					n += len(s.(string))
				}
			default:
				n += len(fmt.Sprint(x)) // none in the steady state
			}
		}
	}
	return n
}

// meteredTables is a client of a local AWS without a network, for fake time.
func meteredTables(t testing.TB) (*dynamodb.Client, *localaws.Server, *meter) {
	t.Helper()
	server := localaws.New(localaws.Config{})
	account, err := server.AddAccount("333333333333")
	if err != nil {
		t.Fatal(err)
	}
	m := &meter{handler: server.Handler()}
	return dynamodb.NewFromConfig(aws.Config{
		Region: "eu-west-1", BaseEndpoint: aws.String("http://localhost"), HTTPClient: m,
		Credentials: credentials.NewStaticCredentialsProvider(account.AccessKeyID, account.SecretAccessKey, ""),
	}), server, m
}

// units is what a fleet's lease table costs in the steady state, per minute and
// worker.
type units struct {
	Reads, Writes, Scans float64
	Largest              int // bytes of the largest item
}

// countUnits runs so many workers on so many leases in the steady state.
func countUnits(t *testing.T, leases, workers int) (u units) {
	synctest.Test(t, func(t *testing.T) {
		client, _, m := meteredTables(t)
		open := func() *checkpoint.DynamoDB {
			s := checkpoint.NewDynamoDB(checkpoint.DynamoDBConfig{Client: client, Table: "reservations", StateTable: "reservations-state", Format: checkpoint.MultiStream, Create: true})
			if err := s.Prepare(t.Context()); err != nil {
				t.Fatal(err)
			}
			return s
		}
		store := open()
		start := time.Now()
		stream := checkpoint.StreamID("123456789012", "reservations-production", start)
		for i := range leases {
			s := checkpoint.Shard{ID: shardName(i), Parents: []string{shardName(2*i + 5000), shardName(2*i + 5001)},
				HashFrom: strings.Repeat("1", 39), HashTo: strings.Repeat("2", 39)}
			if err := store.Create(t.Context(), checkpoint.NewLease(checkpoint.MultiStream, stream, s, checkpoint.TrimHorizon)); err != nil {
				t.Fatal(err)
			}
		}
		roster := make([]string, 100)
		for i := range roster {
			roster[i] = fmt.Sprintf("destination-%03d", i)
		}
		ctx, stop := context.WithCancel(context.Background())
		var all sync.WaitGroup
		var holders []*checkpoint.Holder
		for i := range workers {
			h := checkpoint.NewHolder(checkpoint.HolderConfig{Store: open(), Worker: fmt.Sprintf("ip-10-0-1-%d.eu-west-1.compute.internal:%d", i, 4711+i),
				Failover: failover, Clock: func() time.Duration { return time.Since(start) }})
			holders = append(holders, h)
			all.Go(func() {
				if err := h.Run(ctx, func(ctx context.Context, t *checkpoint.Tenure) error {
					t.Positions(func() checkpoint.Saved { // it moves all the time
						t.Appended(1 << 20)
						return checkpoint.Saved{Roster: roster, Checkpoint: checkpoint.Number(fmt.Sprintf("496123456789012345678901234567890123456%017d", time.Since(start).Milliseconds()), 7)}
					})
					select {
					case <-ctx.Done():
					case <-t.Draining():
					}
					return nil
				}); err != nil {
					t.Error(err)
				}
			})
			time.Sleep(3 * time.Second)
		}
		time.Sleep(time.Duration(60+leases/8) * time.Second)
		for i, h := range holders {
			if n := h.Held(); n < leases/workers || n > leases/workers+1 {
				t.Errorf("worker %d of %d holds %d of %d leases", i, workers, n, leases)
			}
		}
		const minutes = 2
		m.mu.Lock()
		m.reads, m.writes, m.scans = 0, 0, 0
		m.mu.Unlock()
		time.Sleep(minutes * time.Minute)
		m.mu.Lock()
		per := float64(minutes * workers)
		u = units{m.reads / per, float64(m.writes) / per, float64(m.scans) / per, m.largest}
		m.mu.Unlock()
		stop()
		all.Wait()
	})
	if u.Largest > 1024 {
		t.Errorf("an item of %d bytes costs two units per write", u.Largest)
	}
	// One write per lease every F/4 at most: 24 per minute at F = 10 s.
	if most := 24 * math.Ceil(float64(leases)/float64(workers)); u.Writes > most {
		t.Errorf("%d leases, %d workers: %.0f writes per minute and worker, want %.0f at most", leases, workers, u.Writes, most)
	}
	// A scan every F/4 of who is alone, every F/11 of others.
	if most := map[bool]float64{true: 24, false: 66}[workers == 1]; u.Scans > most {
		t.Errorf("%d leases, %d workers: %.0f scans per minute and worker, want %.0f at most", leases, workers, u.Scans, most)
	}
	return u
}

// TestUnits holds a small fleet to its bounds. As the other half of
// BenchmarkUnits it counts the fleet that it is asked for.
func TestUnits(t *testing.T) {
	if fleet := os.Getenv(unitsFleet); fleet != "" {
		var leases, workers int
		if _, err := fmt.Sscan(fleet, &leases, &workers); err != nil {
			t.Fatalf("%s=%q: %v", unitsFleet, fleet, err)
		}
		counted, err := json.Marshal(countUnits(t, leases, workers))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("%s%s\n", unitsCounted, counted)
		return
	}
	for _, workers := range []int{1, 3} {
		countUnits(t, 10, workers)
	}
}

// How BenchmarkUnits and TestUnits talk: the fleet, LEASES WORKERS, in the
// environment, and a line of the output.
const (
	unitsFleet   = "SHARDLINE_TEST_UNITS"
	unitsCounted = "counted "
)

// BenchmarkUnits counts what the lease table costs: the figures of
// docs/operations.md. It counts minutes of fake time, which a test alone can
// have: TestUnits runs for it, in a process of its own.
func BenchmarkUnits(b *testing.B) {
	for _, leases := range []int{10, 78, 1000} {
		for _, workers := range []int{1, 3} {
			b.Run(fmt.Sprintf("leases=%d/workers=%d", leases, workers), func(b *testing.B) {
				var sum units
				for b.Loop() {
					u := countInProcess(b, leases, workers)
					sum.Reads, sum.Writes, sum.Scans = sum.Reads+u.Reads, sum.Writes+u.Writes, sum.Scans+u.Scans
				}
				n := float64(b.N)
				b.ReportMetric(0, "ns/op") // says nothing
				b.ReportMetric(sum.Reads/n, "reads/min")
				b.ReportMetric(sum.Writes/n, "writes/min")
				b.ReportMetric(sum.Scans/n, "scans/min")
			})
		}
	}
}

func countInProcess(b *testing.B, leases, workers int) (u units) {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	test := exec.CommandContext(b.Context(), self, "-test.run=^TestUnits$")
	test.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d", unitsFleet, leases, workers))
	out, err := test.CombinedOutput()
	if err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	_, counted, _ := strings.Cut(string(out), unitsCounted)
	counted, _, _ = strings.Cut(counted, "\n")
	if err := json.Unmarshal([]byte(counted), &u); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return u
}
