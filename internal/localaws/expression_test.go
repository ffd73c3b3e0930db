package localaws_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/shardline/shardline/internal/localaws"
)

var placeholder = regexp.MustCompile(`[#:]\w+`)

// placeholders picks those that an expression uses, as the service wants it.
func placeholders(expressions ...string) (names map[string]string, values attributes) {
	allNames := map[string]string{"#l": "l", "#in": "in", "#dot": "a.b", "#size": "size"}
	allValues := attributes{
		":s": str("abc"), ":pre": str("ab"), ":n1": num("1"), ":n2": num("2.0"), ":n10": num("10"), ":y": str("y"),
		":t": &types.AttributeValueMemberBOOL{Value: true}, ":typeS": str("S"), ":typeM": str("M"),
		":set": &types.AttributeValueMemberSS{Value: []string{"y", "z"}}, ":both": &types.AttributeValueMemberSS{Value: []string{"x", "y"}},
		":list": &types.AttributeValueMemberL{Value: []types.AttributeValue{str("9")}},
		":map":  &types.AttributeValueMemberM{Value: attributes{"k": num("1")}},
		":neg":  num("-3"), ":small": num("0.1"), ":huge": num("99999999999999999999999999999999999999"),
	}
	for _, x := range expressions {
		for _, p := range placeholder.FindAllString(x, -1) {
			if name, ok := allNames[p]; ok {
				if names == nil {
					names = map[string]string{}
				}
				names[p] = name
			}
			if v, ok := allValues[p]; ok {
				if values == nil {
					values = attributes{}
				}
				values[p] = v
			}
		}
	}
	return names, values
}

// subject is the item that the expressions below see: n is 2, m.k 1, l [0 1 2].
func subject() attributes {
	return attributes{
		"leaseKey": str("a"), "s": str("abc"), "n": num("2"), "ss": &types.AttributeValueMemberSS{Value: []string{"x", "y"}},
		"l": &types.AttributeValueMemberL{Value: []types.AttributeValue{str("0"), str("1"), str("2")}},
		"m": &types.AttributeValueMemberM{Value: attributes{"k": num("1"), "in": str("deep")}}, "a.b": num("1"),
		"b": &types.AttributeValueMemberBOOL{Value: true},
	}
}

func TestConditions(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	d := w.dynamo(w.b)
	table := w.leases(d)
	_, err := d.PutItem(background, &dynamodb.PutItemInput{TableName: table, Item: subject()})
	w.must(err)
	const yes, no, invalid = 1, 0, -1
	for _, test := range []struct {
		condition string
		want      int
	}{
		{"n = :n2", yes}, {"n = :n1", no}, {"n <> :n1", yes}, {"n < :n10", yes}, {"n <= :n2", yes}, {"n > :n2", no}, {"n >= :n2", yes},
		{"n = :s", no}, {"n <> :s", yes}, {"n < :s", no}, {"n > :neg", yes}, {"n < :huge", yes}, {"n > :small", yes},
		{"gone = :s", no}, {"gone <> :s", yes}, {"NOT gone = :s", yes}, {"s = :s", yes}, {":s = s", yes}, {"b = :t", yes}, {"ss = :both", yes},
		{"attribute_exists(n)", yes}, {"attribute_exists(gone)", no}, {"attribute_not_exists(gone)", yes}, {"attribute_not_exists(m.k)", no},
		{"attribute_exists(m.gone)", no}, {"attribute_exists(l[2])", yes}, {"attribute_exists(l[3])", no}, {"attribute_exists(#dot)", yes},
		{"attribute_type(s, :typeS)", yes}, {"attribute_type(s, :typeM)", no}, {"begins_with(s, :pre)", yes}, {"begins_with(n, :pre)", no},
		{"contains(s, :pre)", yes}, {"contains(ss, :y)", yes}, {"contains(ss, :s)", no}, {"contains(l, :y)", no},
		{"size(s) = :n10", no}, {"size(ss) = n", yes}, {"size(l) > n", yes}, {"size(gone) < :n1", no},
		{"n BETWEEN :n1 AND :n10", yes}, {"n BETWEEN :n10 AND :n10", no}, {"n IN (:n1, :n2)", yes}, {"n IN (:n1)", no}, {"s IN (:n1, :s, :y)", yes},
		{"m.#in = :s OR m.k = :n1", yes}, {"m.k = :n1 AND l[1] = :s", no}, {"l[0] < l[1]", yes},
		{"NOT n = :n1 AND s = :s", yes}, {"NOT (n = :n1 OR s = :s)", no}, {"n = :n1 AND n = :n1 OR s = :s", yes}, {"n = :n1 AND (n = :n1 OR s = :s)", no},
		{"not attribute_exists(gone) and n between :n1 and :n10", yes}, {"NOT NOT n = :n2", yes},

		{"", invalid}, {"n", invalid}, {"n =", invalid}, {"n = :undefined", invalid}, {"#undefined = :s", invalid}, {"n = :n1 AND", invalid}, {"(n = :n1", invalid},
		{"n = :n1)", invalid}, {"n == :n1", invalid}, {"size(n)", invalid}, {"nonsense(n)", invalid}, {"attribute_exists(:s)", invalid}, {"begins_with(s)", invalid},
		{"begins_with(s, :n1)", invalid}, {"n < :t", invalid}, {"n BETWEEN :n10 AND :n1", invalid}, {"n BETWEEN :n1 AND :s", invalid}, {"attribute_type(s, :s)", invalid},
		{"status = :s", invalid}, {"owner = :s", invalid}, {"Counter = :n1", invalid}, {"n = 5", invalid}, {"n = :n1 ; s = :s", invalid}, {"l[x] = :s", invalid},
		{strings.Repeat("(", 300) + "n = :n1" + strings.Repeat(")", 300), invalid},
	} {
		names, values := placeholders(test.condition)
		_, err := d.DeleteItem(background, &dynamodb.DeleteItemInput{TableName: table, Key: attributes{"leaseKey": str("a")}, ConditionExpression: &test.condition, ExpressionAttributeNames: names, ExpressionAttributeValues: values})
		switch test.want {
		case yes:
			if err != nil {
				t.Errorf("%s: %v", test.condition, err)
			}
			_, err := d.PutItem(background, &dynamodb.PutItemInput{TableName: table, Item: subject()})
			w.must(err)
		case no:
			if err == nil {
				t.Errorf("%s holds", test.condition)
			}
			wantType[*types.ConditionalCheckFailedException](t, err)
		case invalid:
			if err == nil {
				t.Errorf("%s passes", test.condition)
			}
			wantCode(t, err, "ValidationException")
		}
	}
}

func TestUpdates(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	d := w.dynamo(w.b)
	table := w.leases(d)
	for _, test := range []struct {
		update string
		want   string // UPDATED_NEW; empty: refused
	}{
		{"SET n = n + :n1, s = :y", "{n:N3 s:y}"},
		{"SET n = n - :n10", "{n:N-8}"},
		{"SET n = :n1 + :small", "{n:N1.1}"},
		{"SET n = n + n REMOVE s", "{n:N4}"},
		{"SET s = n, n = m.k", "{n:N1 s:N2}"}, // both sides are the old item's
		{"SET x = if_not_exists(x, :n1), n = if_not_exists(n, :n10) + :n1", "{n:N3 x:N1}"},
		{"SET #l = list_append(#l, :list)", "{l:[0 1 2 9]}"},
		{"SET l = list_append(:list, l)", "{l:[9 0 1 2]}"},
		{"SET l = list_append(if_not_exists(l, :list), :list)", "{l:[0 1 2 9]}"},
		{"SET l[1] = :y", "{l:[y]}"},
		{"SET m.added = :map, m.#in = :y", "{m:{added:{k:N1} in:y}}"},
		{"SET #dot = :y", "{a.b:y}"},
		{"ADD n :n10, fresh :n1, ss :set", "{fresh:N1 n:N12 ss:SS[x y z]}"},
		{"ADD m.k :n1", "{m:{k:N2}}"},
		{"DELETE ss :set", "{ss:SS[x]}"},
		{"DELETE gone :set SET x = :s", "{x:abc}"},
		{"remove m.k set x = :s", "{x:abc}"},

		{"SET x = gone", ""}, {"SET gone.k = :s", ""}, {"SET s.k = :s", ""}, {"SET n[0] = :s", ""}, {"SET n = s + :n1", ""}, {"SET n = n + :s", ""},
		{"SET l = list_append(n, :list)", ""}, {"SET n = :huge + :huge", ""}, {"SET n = :huge + :small", ""},
		{"SET leaseKey = :s", ""}, {"REMOVE leaseKey", ""}, {"SET n = :n1, n = :n10", ""}, {"SET m = :map, m.k = :n1", ""}, {"SET n = :n1 SET s = :s", ""},
		{"ADD s :s", ""}, {"ADD ss :n1", ""}, {"ADD n :set", ""}, {"DELETE n :set", ""}, {"DELETE ss :n1", ""}, {"SET n", ""}, {"SET n = ", ""}, {"UPSERT n = :n1", ""},
		{"SET size = :n1", ""}, {"SET #size = :n1", "{size:N1}"}, {"SET n = attribute_exists(n)", ""}, {"REMOVE gone.k.x", ""}, {"SET n = :n1,", ""},
	} {
		_, err := d.PutItem(background, &dynamodb.PutItemInput{TableName: table, Item: subject()})
		w.must(err)
		names, values := placeholders(test.update)
		out, err := d.UpdateItem(background, &dynamodb.UpdateItemInput{TableName: table, Key: attributes{"leaseKey": str("a")}, UpdateExpression: &test.update,
			ExpressionAttributeNames: names, ExpressionAttributeValues: values, ReturnValues: types.ReturnValueUpdatedNew})
		if test.want == "" {
			if err == nil {
				t.Errorf("%s passes: %s", test.update, showItem(out.Attributes))
			}
			wantCode(t, err, "ValidationException")
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", test.update, err)
		} else if got := showItem(out.Attributes); got != test.want {
			t.Errorf("%s: %s, want %s", test.update, got, test.want)
		}
	}
}

func TestUpdateReturns(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	d := w.dynamo(w.b)
	table := w.leases(d)
	for _, test := range []struct {
		returned types.ReturnValue
		want     string
	}{
		{types.ReturnValueNone, "{}"},
		{types.ReturnValueAllOld, "{leaseKey:a n:N1 s:x}"},
		{types.ReturnValueUpdatedOld, "{n:N1}"},
		{types.ReturnValueAllNew, "{leaseKey:a n:N2 s:x t:y}"},
		{types.ReturnValueUpdatedNew, "{n:N2 t:y}"},
	} {
		_, err := d.PutItem(background, &dynamodb.PutItemInput{TableName: table, Item: attributes{"leaseKey": str("a"), "n": num("1"), "s": str("x")}})
		w.must(err)
		out, err := d.UpdateItem(background, &dynamodb.UpdateItemInput{TableName: table, Key: attributes{"leaseKey": str("a")}, UpdateExpression: aws.String("SET n = :n, t = :t"),
			ExpressionAttributeValues: attributes{":n": num("2"), ":t": str("y")}, ReturnValues: test.returned})
		w.must(err)
		if got := showItem(out.Attributes); got != test.want {
			t.Errorf("%s: %s, want %s", test.returned, got, test.want)
		}
	}
	// An update makes the item that is not there.
	_, err := d.UpdateItem(background, &dynamodb.UpdateItemInput{TableName: table, Key: attributes{"leaseKey": str("b")}})
	w.must(err)
	scanned, err := d.Scan(background, &dynamodb.ScanInput{TableName: table})
	w.must(err)
	if scanned.Count != 2 {
		t.Errorf("%d items", scanned.Count)
	}
	// Leftover placeholders are an error, as in the service.
	_, err = d.UpdateItem(background, &dynamodb.UpdateItemInput{TableName: table, Key: attributes{"leaseKey": str("b")}, UpdateExpression: aws.String("SET n = :n"),
		ExpressionAttributeValues: attributes{":n": num("2"), ":t": str("y")}})
	wantCode(t, err, "ValidationException")
	_, err = d.UpdateItem(background, &dynamodb.UpdateItemInput{TableName: table, Key: attributes{"leaseKey": str("b")}, UpdateExpression: aws.String("REMOVE n"),
		ExpressionAttributeNames: map[string]string{"#x": "x"}})
	wantCode(t, err, "ValidationException")
}

func TestNumbersAreExact(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	d := w.dynamo(w.b)
	table := w.leases(d)
	for in, want := range map[string]string{
		"0": "0", "-0": "0", "00.10": "0.1", "1e2": "100", "1.5E-3": "0.0015", "-12.340": "-12.34", "+7": "7", "0.000055": "0.000055",
		"12345678901234567890123456789012345678": "12345678901234567890123456789012345678", "1E125": "1" + strings.Repeat("0", 125),
	} {
		_, err := d.PutItem(background, &dynamodb.PutItemInput{TableName: table, Item: attributes{"leaseKey": str("a"), "n": num(in)}})
		w.must(err)
		if got := show(w.item(d, table)["n"]); got != "N"+want {
			t.Errorf("%s became %s, want %s", in, got, want)
		}
	}
}
