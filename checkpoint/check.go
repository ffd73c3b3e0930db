package checkpoint

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Severity says whether a finding breaks something.
type Severity string

const (
	// Error: workers refuse the table, records may be lost, or order broken.
	Error Severity = "error"
	// Warning: nothing is broken yet, or only the stream can tell.
	Warning Severity = "warning"
)

// Finding is what an examination of the tables found wrong in one place.
type Finding struct {
	Severity  Severity
	Kind      string // one of a closed set, in lower snake case
	Table     string
	Stream    string // what it is about when that is no one lease: a stream's leases together
	Lease     string // key; empty: it is not about one lease
	Attribute string // empty: it is not about one attribute
	Other     string // what else it is about: another lease, an item of the state table, a worker
	Text      string // what is wrong
	Do        string // what to do
}

// same says whether both find the same thing, at different times.
func (f Finding) same(o Finding) bool {
	return f.Kind == o.Kind && f.Table == o.Table && f.Stream == o.Stream && f.Lease == o.Lease && f.Attribute == o.Attribute && f.Other == o.Other
}

// Confirmed are the findings of now that were there before, too. A scan is not
// made at one instant, so that a shard that ends meanwhile looks like a damage.
func Confirmed(before, now []Finding) []Finding {
	return slices.DeleteFunc(slices.Clone(now), func(f Finding) bool { return !slices.ContainsFunc(before, f.same) })
}

// Check finds what is wrong with the leases of a reading: with each item, and
// between the leases of each stream. Errors come first.
func Check(r Reading) []Finding {
	var found []Finding
	streams := map[string][]Row{}
	for _, it := range r.Items {
		if !isRow(it) {
			found = append(found, foreignItem(r.Table, it))
			continue
		}
		row := r.row(it)
		found = append(found, row.Damage...)
		found = append(found, itemFindings(r, it, row)...)
		if row.Shard != "" {
			streams[row.Stream] = append(streams[row.Stream], row)
		}
	}
	newest := newestEpochs(streams)
	if r.Format == SingleStream && len(newest) > 1 {
		// What a KCL worker made does not say its stream: it is the present one.
		present := newest[""]
		for name, stream := range newest {
			if name != "" {
				present = stream
			}
		}
		streams[present] = append(streams[present], streams[""]...)
		delete(streams, "")
	}
	for stream, rows := range streams {
		if latest := newest[unepoched(stream)]; latest != stream {
			found = append(found, Finding{Severity: Warning, Kind: "old_epoch", Table: r.Table, Stream: stream,
				Text: fmt.Sprintf("%s of a stream that was deleted and made again: no worker reads them; the stream of that name is now %s", leases(len(rows)), latest),
				Do:   "nothing while workers run: they remove them when nobody renews them any more"})
			continue
		}
		found = append(found, streamFindings(r.Table, stream, rows)...)
	}
	return sorted(found)
}

func sorted(found []Finding) []Finding {
	slices.SortStableFunc(found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Severity, b.Severity), cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.Lease, b.Lease),
			cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Attribute, b.Attribute))
	})
	return found
}

func leases(n int) string {
	if n == 1 {
		return "1 lease"
	}
	return fmt.Sprintf("%d leases", n)
}

// unepoched is account:stream of account:stream:epoch.
func unepoched(stream string) string { return stream[:max(0, strings.LastIndexByte(stream, ':'))] }

// newestEpochs is the stream of the latest creation, by account:stream.
func newestEpochs(streams map[string][]Row) map[string]string {
	newest, made := map[string]string{}, map[string]time.Time{}
	for stream := range streams {
		name := unepoched(stream)
		_, _, created, err := ParseStreamID(stream)
		if err != nil && stream != "" {
			continue
		}
		if _, ok := newest[name]; !ok || created.After(made[name]) {
			newest[name], made[name] = stream, created
		}
	}
	return newest
}

// kclItems are what KCL 3.5 keeps beside the leases.
var kclItems = []string{"LEADER", "CLIENT_VERSION_MIGRATION", "TABLE_MIGRATION", "STREAM", "WORKER_METRIC_STATS"}

// foreignItem is the finding of an item that is no lease.
func foreignItem(table string, it item) Finding {
	f := Finding{Severity: Error, Kind: "foreign_item", Table: table, Lease: text(it, aLeaseKey), Other: text(it, aEntityType)}
	switch kind := f.Other; {
	case slices.Contains(kclItems, kind):
		f.Severity, f.Kind = Warning, "kcl_item"
		f.Text = "an item of KCL 3.5 workers (" + kind + "): Shardline skips it, KCL workers before 3.5 cannot start on this table"
		f.Do = "nothing, unless such workers are to use this table: then delete it while no KCL 3.5 worker runs"
	case it[aEntityType] != nil:
		f.Text = fmt.Sprintf("no lease: entityType %q is not known; a newer version of the Kinesis Client Library may have written it", kind)
		f.Do = "find out who wrote it; workers of KCL before 3.5 stop taking leases because of it"
	default:
		f.Text = "no lease: it has neither leaseCounter nor checkpoint; workers refuse the whole table"
		f.Do = "delete it: a lease table holds leases alone"
	}
	return f
}

// damage is the finding of an attribute that cannot be read.
func damage(table, key string, w wrong) Finding {
	f := Finding{Severity: Error, Kind: "attribute", Table: table, Lease: key, Attribute: w.attribute, Text: w.text + ": workers refuse the whole table"}
	switch {
	case w.attribute == aLeaseKey:
		f.Kind, f.Text, f.Do = "lease_key", w.text, "when all leases have this form, correct leases.key_format or leases.table and leave the items alone; a single one that no worker made can be deleted"
	case strings.HasPrefix(w.text, "is missing"):
		f.Kind, f.Text = "missing_attribute", "is missing: workers refuse the whole table, KCL 2.x workers stop taking leases"
		f.Do = "write the attribute back (leaseCounter and ownerSwitchesSinceCheckpoint: 0; checkpoint: where the shard was read to, else TRIM_HORIZON), or delete the item: the audit makes the lease anew"
	case w.attribute == aBehind:
		f.Do = "run the version of Shardline that wrote it; where it is damaged, leases set --force sets everybody back to a position that nobody has passed"
	default:
		f.Do = "correct the attribute, or delete the item: the audit makes the lease anew, where the application begins"
	}
	return f
}

// itemFindings are what is wrong with an item beside what cannot be read.
func itemFindings(r Reading, it item, row Row) []Finding {
	var found []Finding
	add := func(s Severity, kind, attribute, text, do string) {
		found = append(found, Finding{Severity: s, Kind: kind, Table: r.Table, Lease: row.Key, Attribute: attribute, Text: text, Do: do})
	}
	for _, a := range []string{aOwner, aHandingOver, aAskedBy, aTenure, aRoster, aBehindRef, aHashFrom, aHashTo, aStreamName, aShardID, aStream} {
		v, there := it[a]
		if s, isText := v.(*types.AttributeValueMemberS); there && (!isText || s.Value == "") {
			add(Error, "attribute", a, "is no text, or an empty one: it is read as if it were absent", "remove or correct the attribute")
		}
	}
	if row.Stream != "" {
		if stream, shard := text(it, aStreamName), text(it, aShardID); (stream != "" || shard != "") && (stream != row.Stream || shard != row.Shard) {
			add(Error, "stream_name", aStreamName, fmt.Sprintf("streamName %q and shardId %q are not those of the lease key", stream, shard), "correct them by the key")
		}
	}
	if row.Tenure != "" && len(row.Tenure) != tenureDigits {
		add(Warning, "attribute", aTenure, "is not of the form that this version writes; a newer one may have", "look at the versions of the workers")
	}
	if kind, what := hashProblem(row.HashFrom, row.HashTo); what != "" {
		add(kind, "hash_range", aHashFrom, fmt.Sprintf("the hash range %q to %q %s", row.HashFrom, row.HashTo, what),
			"correct startingHashKey and endingHashKey by the stream's ListShards, or remove both")
	}
	if len(row.Damage) == 0 {
		for name := range row.Behind {
			if !slices.Contains(row.Roster, name) {
				add(Error, "behind_off_roster", aBehind, fmt.Sprintf("%q is behind, but not on the roster: workers would forget where it stands", name),
					"set the lease back to where it stands: leases set "+row.Key+" --to "+row.Behind[name].At.String())
			}
		}
	}
	return found
}

// hashProblem says what is wrong with a hash range; empty: nothing.
func hashProblem(from, to string) (Severity, string) {
	if from == "" && to == "" {
		return "", ""
	}
	a, okA := hashKey(from)
	b, okB := hashKey(to)
	switch {
	case !okA || !okB:
		return Error, "is not two numbers from 0 to 2^128-1"
	case a.Cmp(b) > 0:
		return Error, "is inverted: KCL 2.x workers stop taking leases, and coverage cannot be checked"
	case a.Cmp(b) == 0:
		return Warning, "is a single hash key, which KCL workers refuse"
	}
	return "", ""
}
