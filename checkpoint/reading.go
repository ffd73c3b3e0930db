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
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Reading is every item of an application's two tables as it stands, damaged
// ones too: what the operators' commands look at. A worker reads leases by List.
type Reading struct {
	Table, StateTable string
	Format            KeyFormat
	Items             []map[string]types.AttributeValue          // of the lease table, in the order of their keys
	State             map[string]map[string]types.AttributeValue // of the state table, by key
}

// Row is a lease item as far as it can be read.
type Row struct {
	Lease
	Damage []Finding // what cannot be read; empty: the lease is whole
}

// Read reads both tables consistently, the state table first: what an owner
// writes there before its lease names it is then read again by name. A state
// table that does not exist counts as an empty one: KCL workers have none.
func (d *DynamoDB) Read(ctx context.Context) (Reading, error) {
	r := Reading{Table: d.table, StateTable: d.stateTable, Format: d.format, State: map[string]map[string]types.AttributeValue{}}
	state, err := d.readAll(ctx, d.stateTable)
	var missing *types.ResourceNotFoundException
	if err != nil && !errors.As(err, &missing) {
		return Reading{}, err
	}
	for _, it := range state {
		r.State[text(it, aStateKey)] = it
	}
	if r.Items, err = d.readAll(ctx, d.table); err != nil {
		return Reading{}, err
	}
	slices.SortFunc(r.Items, func(a, b item) int { return strings.Compare(text(a, aLeaseKey), text(b, aLeaseKey)) })
	return r, d.readAgain(ctx, &r)
}

// readAgain reads leases once more that name what the state table did not hold,
// and what they name: their owner wrote it, or replaced it, between the scans.
func (d *DynamoDB) readAgain(ctx context.Context, r *Reading) error {
	for i := 0; i < len(r.Items); i++ {
		for attempt := 0; attempt < 3 && r.lacks(r.Items[i]); attempt++ {
			key := text(r.Items[i], aLeaseKey)
			out, err := d.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &d.table, Key: leaseKey(key), ConsistentRead: aws.Bool(true)}, twice)
			if err != nil {
				return fmt.Errorf("get lease %s of table %s: %w", key, d.table, storeError(err))
			}
			if out.Item == nil {
				r.Items = slices.Delete(r.Items, i, i+1)
				i--
				break
			}
			r.Items[i] = out.Item
			names := []string{text(out.Item, aBehindRef)}
			if fp := text(out.Item, aRoster); fp != "" {
				names = append(names, rosterName(fp))
			}
			for n := 0; n < len(names); n++ {
				if _, known := r.State[names[n]]; known || names[n] == "" {
					continue
				}
				it, err := d.state(ctx, names[n])
				var missing *types.ResourceNotFoundException
				if err != nil && !errors.As(err, &missing) {
					return err
				}
				if it == nil {
					continue
				}
				r.State[names[n]] = it
				for part := 1; n == 0 && part < parts(it); part++ {
					names = append(names, partName(names[0], part))
				}
			}
		}
	}
	return nil
}

// lacks says whether the reading has not everything that an item names.
func (r *Reading) lacks(it item) bool {
	if fp := text(it, aRoster); fp != "" && r.State[rosterName(fp)] == nil {
		return true
	}
	return r.missingPart(text(it, aBehindRef)) != ""
}

// missingPart is the first item of an overflow that the state table lacks;
// empty: all are there.
func (r *Reading) missingPart(ref string) string {
	if ref == "" {
		return ""
	}
	for i, n := 0, 1; i < n; i++ {
		it := r.State[partName(ref, i)]
		if it == nil {
			return partName(ref, i)
		}
		n = parts(it)
	}
	return ""
}

// parts is how many items an overflow has, by any one of them.
func parts(it item) int {
	r := reading{item: it}
	return int(min(max(r.number(aParts, false), 1), mostParts))
}

// readAll reads every item of a table, consistently.
func (d *DynamoDB) readAll(ctx context.Context, table string) ([]item, error) {
	var items []item
	pages := dynamodb.NewScanPaginator(d.client, &dynamodb.ScanInput{TableName: &table, ConsistentRead: aws.Bool(true)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("scan table %s: %w", table, storeError(err))
		}
		items = append(items, page.Items...)
	}
	return items, nil
}

// ErrNoTable: there is no table of that name.
var ErrNoTable = errors.New("table does not exist")

// Describe says what is wrong with the shape of the lease table; nil: nothing.
// ErrNoTable, ErrForeign.
func (d *DynamoDB) Describe(ctx context.Context) error {
	out, err := d.client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &d.table})
	var missing *types.ResourceNotFoundException
	switch {
	case errors.As(err, &missing):
		return fmt.Errorf("%w: %s, in this account and region; is it the right application, region and profile? A worker makes the table when it first starts", ErrNoTable, d.table)
	case err != nil:
		return fmt.Errorf("describe table %s: %w", d.table, storeError(err))
	}
	return checkSchema(d.table, aLeaseKey, out.Table)
}

// Rows are the leases, damaged ones too. Items that are none at all are left
// out; Check names them.
func (r Reading) Rows() []Row {
	var rows []Row
	for _, it := range r.Items {
		if isRow(it) {
			rows = append(rows, r.row(it))
		}
	}
	return rows
}

// isRow says whether an item is a lease, or one that was damaged.
func isRow(it item) bool {
	return isLease(it) && (it[aCounter] != nil || it[aCheckpoint] != nil || it[aSwitches] != nil)
}

// row reads one item.
func (r Reading) row(it item) Row {
	read := reading{item: it, table: r.Table, key: text(it, aLeaseKey)}
	row := Row{Lease: read.lease(r.Format)}
	for _, w := range read.all {
		row.Damage = append(row.Damage, damage(r.Table, read.key, w))
	}
	if fp := text(it, aRoster); fp != "" {
		names, f := r.roster(fp)
		if f != nil {
			f.Lease = read.key
			row.Damage = append(row.Damage, *f)
		}
		row.Roster = names
	}
	if ref := text(it, aBehindRef); ref != "" {
		entries, f := r.overflow(ref)
		if f != nil {
			f.Lease = read.key
			row.Damage = append(row.Damage, *f)
		}
		maps.Copy(entries, row.Behind) // the newer ones
		row.Behind = entries
	}
	return row
}

// roster reads the names behind a fingerprint.
func (r Reading) roster(fp string) ([]string, *Finding) {
	f := Finding{Severity: Error, Kind: "roster_missing", Table: r.StateTable, Attribute: aRoster, Other: rosterName(fp)}
	it := r.State[rosterName(fp)]
	if it == nil {
		f.Text = "the lease names roster " + fp + ", which is not there: workers refuse the whole table"
		f.Do = "restore the state table; where that cannot be done, leases set --force says anew where everybody stands"
		return nil, &f
	}
	read := reading{item: it, table: r.StateTable, key: rosterName(fp)}
	names := read.texts("names")
	if read.err != nil || fingerprint(names) != fp {
		f.Kind, f.Text = "roster_damaged", "roster "+fp+" does not hold the names that it is the fingerprint of: workers refuse the whole table"
		f.Do = "restore the item from a backup of the state table; where that cannot be done, leases set --force says anew where everybody stands"
		return nil, &f
	}
	return names, nil
}

// overflow reads what a lease item names, as far as it is there.
func (r Reading) overflow(ref string) (map[string]Entry, *Finding) {
	entries := map[string]Entry{}
	if name := r.missingPart(ref); name != "" {
		return entries, &Finding{Severity: Error, Kind: "overflow_missing", Table: r.StateTable, Attribute: aBehindRef, Other: name,
			Text: "the lease names overflow " + name + ", which is not there: where some subscribers stand is lost, and workers refuse the whole table",
			Do:   "restore the state table; where that cannot be done, leases set --force sets everybody back to a position that nobody has passed"}
	}
	for i, n := 0, parts(r.State[ref]); i < n; i++ {
		read := reading{item: r.State[partName(ref, i)], table: r.StateTable, key: partName(ref, i)}
		for name, e := range read.behind(read.item[aEntries], aEntries) {
			if old, ok := entries[name]; ok && old.Keys != nil {
				maps.Copy(old.Keys, e.Keys)
				e.Keys = old.Keys
			}
			entries[name] = e
		}
		if read.err != nil {
			return entries, &Finding{Severity: Error, Kind: "overflow_damaged", Table: r.StateTable, Attribute: aBehindRef, Other: read.key,
				Text: "overflow " + read.key + ": " + read.all[0].text + ": workers refuse the whole table",
				Do:   "run the version of Shardline that wrote it, or restore the item from a backup of the state table"}
		}
	}
	return entries, nil
}

// rosterName is a roster's key in the state table.
func rosterName(fp string) string { return "roster/" + fp }
