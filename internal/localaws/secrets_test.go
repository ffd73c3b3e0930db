package localaws_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go"

	"github.com/shardline/shardline/internal/localaws"
)

// TestSecrets: who may read a secret, under which names, and what refuses it.
func TestSecrets(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	arn, err := w.SetSecret(accountA, region, "partners/acme", "one")
	w.must(err)
	client := func(c localaws.Credentials) *secretsmanager.Client { return secretsmanager.NewFromConfig(w.config(c)) }
	read := func(c localaws.Credentials, id string) (string, string) {
		out, err := client(c).GetSecretValue(background, &secretsmanager.GetSecretValueInput{SecretId: &id})
		var failure smithy.APIError
		if errors.As(err, &failure) {
			return "", failure.ErrorCode()
		}
		w.must(err)
		return *out.SecretString, ""
	}
	some := w.assume(w.a, w.role(localaws.Role{Name: "one", Trust: localaws.Trust{Principals: []string{accountA}},
		Permissions: []localaws.Permission{{Actions: []string{"secretsmanager:GetSecretValue"}, Resources: []string{"*:secret:partners/*"}}}}))
	_, err = w.SetSecret(accountA, region, "others/acme", "x")
	w.must(err)
	for _, test := range []struct {
		who        localaws.Credentials
		id         string
		text, code string
	}{
		{w.a, "partners/acme", "one", ""},
		{w.a, arn, "one", ""},
		{w.a, strings.TrimSuffix(arn, arn[len(arn)-7:]), "one", ""},
		{w.a, "partners", "", "ResourceNotFoundException"},
		{w.b, "partners/acme", "", "ResourceNotFoundException"},
		{w.b, arn, "", "AccessDeniedException"},
		{some, "partners/acme", "one", ""},
		{some, "others/acme", "", "AccessDeniedException"},
	} {
		if text, code := read(test.who, test.id); text != test.text || code != test.code {
			t.Errorf("%s as %s: %q, %s; want %q, %s", test.id, test.who.AccountID, text, code, test.text, test.code)
		}
	}
	again, err := w.SetSecret(accountA, region, "partners/acme", "two")
	w.must(err)
	if text, _ := read(w.a, arn); text != "two" || again != arn {
		t.Errorf("after a rotation %q under %s", text, again)
	}
	_, err = client(w.a).CreateSecret(background, &secretsmanager.CreateSecretInput{Name: aws.String("partners/acme")})
	var failure smithy.APIError
	if !errors.As(err, &failure) || failure.ErrorCode() != "ResourceExistsException" {
		t.Errorf("made twice: %v", err)
	}
	w.must(w.DeleteSecret(arn))
	if _, code := read(w.a, arn); code != "InvalidRequestException" {
		t.Errorf("deleted: %s", code)
	}
}
