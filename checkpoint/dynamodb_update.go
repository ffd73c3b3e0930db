package checkpoint

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

type item = map[string]types.AttributeValue

// update collects one conditional UpdateItem of a lease. Every attribute is
// named by a placeholder: some of KCL's names are reserved words.
type update struct {
	key        string
	conditions []string
	set        item
	removed    []string
	names      map[string]string
	values     item
	positions  bool   // it writes positions
	ref        string // the overflow that the item names afterwards
}

// update starts with the condition that the item exists.
func (d *DynamoDB) update(key string) *update {
	u := &update{key: key, set: item{}, names: map[string]string{}, values: item{}}
	u.conditions = append(u.conditions, "attribute_exists("+u.name(aLeaseKey)+")")
	return u
}

func (u *update) name(attribute string) string {
	u.names["#"+attribute] = attribute
	return "#" + attribute
}

func (u *update) value(v types.AttributeValue) string {
	name := ":v" + strconv.Itoa(len(u.values))
	u.values[name] = v
	return name
}

func (u *update) is(attribute string, v types.AttributeValue) {
	u.conditions = append(u.conditions, u.name(attribute)+" = "+u.value(v))
}

// isText: an empty text means that the attribute is absent.
func (u *update) isText(attribute, s string) {
	if s == "" {
		u.conditions = append(u.conditions, "attribute_not_exists("+u.name(attribute)+")")
		return
	}
	u.is(attribute, textValue(s))
}

// asSeen is the condition of Take and Delete.
func (u *update) asSeen(seen Lease) {
	u.is(aCounter, numberValue(seen.Counter))
	u.isText(aOwner, seen.Owner)
	u.isText(aTenure, seen.Tenure)
}

// asHeld is the condition of Renew and Release: the next owner asks without
// touching the counter.
func (u *update) asHeld(held Lease) {
	u.is(aCounter, numberValue(held.Counter))
	u.isText(aTenure, held.Tenure)
	u.isText(aHandingOver, held.HandingOver)
}

func (u *update) setText(attribute, s string)         { u.set[attribute] = textValue(s) }
func (u *update) setNumber(attribute string, n int64) { u.set[attribute] = numberValue(n) }

// setThroughput leaves the item as it is when there is nothing to tell.
func (u *update) setThroughput(kBps float64) {
	if kBps > 0 {
		u.set[aThroughput] = &types.AttributeValueMemberN{Value: strconv.FormatFloat(kBps, 'f', -1, 64)}
	} else {
		u.remove(aThroughput)
	}
}

func (u *update) remove(attributes ...string) { u.removed = append(u.removed, attributes...) }

// setTexts: a set cannot be empty.
func (u *update) setTexts(attribute string, set []string) {
	if len(set) == 0 {
		u.remove(attribute)
		return
	}
	u.set[attribute] = textsValue(set)
}

func (u *update) condition() string { return strings.Join(u.conditions, " AND ") }

func (u *update) expression() string {
	var set, remove []string
	for _, a := range slices.Sorted(maps.Keys(u.set)) {
		set = append(set, u.name(a)+" = "+u.value(u.set[a]))
	}
	for _, a := range u.removed {
		remove = append(remove, u.name(a))
	}
	e := ""
	if len(set) > 0 {
		e = "SET " + strings.Join(set, ", ")
	}
	if len(remove) > 0 {
		e += " REMOVE " + strings.Join(remove, ", ")
	}
	return e
}

// valuesOrNil: the service refuses an empty map.
func (u *update) valuesOrNil() item {
	if len(u.values) == 0 {
		return nil
	}
	return u.values
}

func textValue(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func numberValue(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

func textsValue(set []string) types.AttributeValue {
	return &types.AttributeValueMemberSS{Value: slices.Compact(slices.Sorted(slices.Values(set)))}
}

func leaseKey(key string) item { return item{aLeaseKey: textValue(key)} }
