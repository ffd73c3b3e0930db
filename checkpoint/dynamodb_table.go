package checkpoint

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"go.uber.org/zap"
)

// Prepare creates missing tables if it may. It refuses (ErrForeign) missing ones
// that it may not create, tables of another shape, damaged items, and a live fleet
// of KCL 3.x workers that assign leases by themselves. It may be called again.
func (d *DynamoDB) Prepare(ctx context.Context) error {
	if err := d.prepareTable(ctx, d.table, aLeaseKey); err != nil {
		return err
	}
	if err := d.prepareTable(ctx, d.stateTable, aStateKey); err != nil {
		return err
	}
	return d.waitForStillness(ctx)
}

// prepareCall bounds one call of Prepare: one whose answer never comes is an error,
// and whoever prepares tries again.
const prepareCall = 5 * time.Second

// prepareTable leaves a table ACTIVE with key as its hash key, or refuses.
func (d *DynamoDB) prepareTable(ctx context.Context, table, key string) error {
	for created := false; ; {
		call, cancel := context.WithTimeout(ctx, prepareCall)
		out, err := d.client.DescribeTable(call, &dynamodb.DescribeTableInput{TableName: &table}, twice)
		cancel()
		var missing *types.ResourceNotFoundException
		switch {
		case errors.As(err, &missing) && created: // not visible yet
		case errors.As(err, &missing) && d.create:
			if err := d.createTable(ctx, table, key); err != nil {
				return err
			}
			created = true
			continue
		case errors.As(err, &missing):
			return fmt.Errorf("table %s does not exist; create it with the hash key %s (S), or set leases.create_tables: %w", table, key, ErrForeign)
		case err != nil:
			return fmt.Errorf("describe table %s: %w", table, storeError(err))
		default:
			if err := checkSchema(table, key, out.Table); err != nil {
				return err
			}
			switch status := out.Table.TableStatus; status {
			case types.TableStatusActive, types.TableStatusUpdating:
				return nil
			case types.TableStatusCreating:
			default:
				return fmt.Errorf("table %s is %s", table, status)
			}
		}
		if !sleep(ctx, 500*time.Millisecond) {
			return fmt.Errorf("wait for table %s: %w", table, context.Cause(ctx))
		}
	}
}

func (d *DynamoDB) createTable(ctx context.Context, table, key string) error {
	call, cancel := context.WithTimeout(ctx, prepareCall)
	defer cancel()
	_, err := d.client.CreateTable(call, &dynamodb.CreateTableInput{
		TableName: &table, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: &key, AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: &key, KeyType: types.KeyTypeHash}},
	}, once)
	var exists *types.ResourceInUseException
	if err != nil && !errors.As(err, &exists) { // another worker was first
		return fmt.Errorf("create table %s: %w", table, storeError(err))
	}
	if err == nil {
		d.log.Info("table created", zap.String("table", table))
	}
	return nil
}

func checkSchema(table, key string, t *types.TableDescription) error {
	kinds := map[string]types.ScalarAttributeType{}
	for _, a := range t.AttributeDefinitions {
		kinds[aws.ToString(a.AttributeName)] = a.AttributeType
	}
	var found []string
	for _, k := range t.KeySchema {
		name := aws.ToString(k.AttributeName)
		found = append(found, fmt.Sprintf("%s %s (%s)", k.KeyType, name, kinds[name]))
	}
	want := fmt.Sprintf("HASH %s (S)", key)
	got := strings.Join(found, ", ")
	switch {
	case got == want:
		return nil
	case strings.HasPrefix(got, "HASH ShardID "):
		return fmt.Errorf("table %s looks like a table of vmware-go-kcl: its key is %s, a lease table's %s; use a new table (shardline leases import fills it): %w", table, got, want, ErrForeign)
	}
	return fmt.Errorf("table %s has the key %s, wanted %s; use another table: %w", table, got, want, ErrForeign)
}

// fingerprint is what a lease item says of its roster.
func fingerprint(names []string) string {
	sum := sha256.Sum256([]byte(strings.Join(slices.Sorted(slices.Values(names)), "\n")))
	return hex.EncodeToString(sum[:16])
}

// saveRoster writes the names of a roster and names them. It writes also what
// this process knows to have been there: nobody may have named it for long, so
// that leases check --clean removed it. The stamp tells it that somebody is
// about to name the roster again.
func (d *DynamoDB) saveRoster(ctx context.Context, u *update, names []string) error {
	fp := fingerprint(names)
	u.setText(aRoster, fp)
	it := item{aStateKey: textValue(rosterName(fp)), "names": textsValue(names), aStamp: textValue(rand.Text())}
	if _, err := d.client.PutItem(ctx, &dynamodb.PutItemInput{TableName: &d.stateTable, Item: it}, twice); err != nil {
		return fmt.Errorf("write roster %s to table %s: %w", fp, d.stateTable, unsaved(err))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rosters[fp] = slices.Sorted(slices.Values(names))
	return nil
}

// roster reads the names behind a fingerprint.
func (d *DynamoDB) roster(ctx context.Context, fp string) ([]string, error) {
	d.mu.Lock()
	names, ok := d.rosters[fp]
	d.mu.Unlock()
	if ok {
		return slices.Clone(names), nil
	}
	it, err := d.state(ctx, rosterName(fp))
	if err != nil {
		return nil, err
	}
	r := reading{item: it, table: d.stateTable, key: rosterName(fp)}
	names = r.texts("names")
	switch {
	case r.err != nil:
		return nil, r.err
	case it == nil:
		return nil, fmt.Errorf("roster %s is not in table %s; was it replaced?: %w", fp, d.stateTable, ErrForeign)
	case fingerprint(names) != fp:
		return nil, fmt.Errorf("roster %s of table %s is damaged: %w", fp, d.stateTable, ErrForeign)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rosters[fp] = names
	return slices.Clone(names), nil
}
