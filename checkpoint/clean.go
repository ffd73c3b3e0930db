package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

const (
	rosterPrefix   = "roster/"
	overflowPrefix = "behind/"
)

// Orphans are items of the state table that no lease named at the beginning and
// at the end of a watch: what a worker that died had no time to delete, and
// rosters of earlier configurations. They cost storage, nothing else.
//
// Clean removes them but those that it must keep: overflow whose lease has been
// in one tenure since the watch began. Its owner may have written it before it
// names it.
func Orphans(w Watched) []Finding {
	var found []Finding
	for _, name := range orphans(w) {
		f := Finding{Severity: Warning, Kind: "orphan", Table: w.Last.StateTable, Other: name,
			Text: "no lease names " + name, Do: "leases check --clean removes it"}
		if w.mayName(name) {
			f.Text += ", but the lease's owner may yet"
			f.Do = "nothing, or leases check --clean after the lease has moved"
		}
		found = append(found, f)
	}
	return found
}

// orphans are the names, sorted.
func orphans(w Watched) []string {
	before, now := w.First.named(), w.Last.named()
	var names []string
	for _, name := range slices.Sorted(maps.Keys(w.Last.State)) {
		if !strings.HasPrefix(name, rosterPrefix) && !strings.HasPrefix(name, overflowPrefix) {
			continue // not of this kind
		}
		if _, old := w.First.State[name]; old && !before[name] && !now[name] {
			names = append(names, name)
		}
	}
	return names
}

// named are the items of the state table that the leases name.
func (r Reading) named() map[string]bool {
	named := map[string]bool{}
	for _, it := range r.Items {
		if fp := text(it, aRoster); fp != "" {
			named[rosterName(fp)] = true
		}
		if ref := text(it, aBehindRef); ref != "" {
			for i, n := 0, parts(r.State[ref]); i < n; i++ {
				named[partName(ref, i)] = true
			}
		}
	}
	return named
}

// mayName says whether the owner of the lease that an overflow was written for
// has been in the same tenure all the time: only it can name it.
func (w Watched) mayName(overflow string) bool {
	tenures := func(r Reading) map[string]string {
		of := map[string]string{}
		for _, it := range r.Items {
			of[text(it, aLeaseKey)] = text(it, aTenure)
		}
		return of
	}
	before, now := tenures(w.First), tenures(w.Last)
	for key, tenure := range now {
		if tenure != "" && tenure == before[key] && strings.HasPrefix(overflow, overflowPrefix+key+"/") {
			return true
		}
	}
	return false
}

// Clean removes the orphans of a watch, which must have lasted for the fail-over
// time at least: a save that was to name one is over by then. A roster that was
// written again meanwhile stays. At the end it looks once more: what a lease
// names after all is put back. It returns what is gone.
func (d *DynamoDB) Clean(ctx context.Context, w Watched) ([]string, error) {
	var removed []string
	var failed error
	for _, name := range orphans(w) {
		if w.mayName(name) {
			continue
		}
		u := &update{names: map[string]string{}, values: item{}}
		u.conditions = append(u.conditions, "attribute_exists("+u.name(aStateKey)+")")
		u.isText(aStamp, text(w.First.State[name], aStamp))
		_, err := d.client.DeleteItem(ctx, &dynamodb.DeleteItemInput{
			TableName: &d.stateTable, Key: item{aStateKey: textValue(name)}, ConditionExpression: aws.String(u.condition()),
			ExpressionAttributeNames: u.names, ExpressionAttributeValues: u.valuesOrNil(),
		})
		if err = storeError(err); errors.Is(err, ErrConflict) {
			continue // gone, or about to be named
		}
		if err != nil {
			failed = fmt.Errorf("delete %s of table %s: %w", name, d.stateTable, err)
			break
		}
		removed = append(removed, name)
	}
	if len(removed) == 0 {
		return nil, failed
	}
	// Whatever ended ctx, this is not left undone.
	again, err := d.Read(context.WithoutCancel(ctx))
	if err != nil {
		return removed, errors.Join(failed, fmt.Errorf("look whether a lease names what was removed: %w; run leases check", err))
	}
	named := again.named()
	gone := removed[:0:0]
	for _, name := range removed {
		if !named[name] {
			gone = append(gone, name)
			continue
		}
		_, err := d.client.PutItem(context.WithoutCancel(ctx), &dynamodb.PutItemInput{TableName: &d.stateTable, Item: w.Last.State[name]})
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("put %s back into table %s, which a lease names: %w", name, d.stateTable, err))
		}
	}
	return gone, failed
}
