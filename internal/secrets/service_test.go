package secrets_test

import (
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/shardline/shardline/internal/localaws"
	"github.com/shardline/shardline/internal/secrets"
)

func TestLocal(t *testing.T) {
	s := localaws.New(localaws.Config{})
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	own, err := s.AddAccount("111111111111")
	if err != nil {
		t.Fatal(err)
	}
	testService(t, server.URL, own.AccessKeyID, own.SecretAccessKey)
}

func TestPeerMoto(t *testing.T) {
	endpoint := os.Getenv("SHARDLINE_PEER_MOTO")
	if endpoint == "" {
		t.Skip("SHARDLINE_PEER_MOTO is not set: see internal/peers/run")
	}
	testService(t, endpoint, "AKIAIOSFODNN7EXAMPLE", "secret")
}

// testService holds a service to what a store needs of it: by name and by ARN,
// a rotation, and an error for a secret that is not there.
func testService(t *testing.T, endpoint, key, keySecret string) {
	client := secretsmanager.New(secretsmanager.Options{Region: "eu-west-1", BaseEndpoint: &endpoint, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(key, keySecret, "")})
	name := fmt.Sprintf("partners/acme-%d", time.Now().UnixNano()) // a peer may outlive a test
	created, err := client.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: &name, SecretString: aws.String(`{"token": "one"}`)})
	if err != nil {
		t.Fatal(err)
	}
	read := func(id, field string) string {
		t.Helper()
		s := secrets.New(secrets.Config{Client: func(string) secrets.API { return client }})
		v := s.Value(id, field)
		if err := s.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		text, err := v.Text()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	if a, b := read(name, "token"), read(*created.ARN, ""); a != "one" || b != `{"token": "one"}` {
		t.Errorf("%q by name, %q by ARN", a, b)
	}
	if _, err := client.PutSecretValue(t.Context(), &secretsmanager.PutSecretValueInput{SecretId: &name, SecretString: aws.String(`{"token": "two"}`)}); err != nil {
		t.Fatal(err)
	}
	if got := read(name, "token"); got != "two" {
		t.Errorf("%q after the rotation", got)
	}
	s := secrets.New(secrets.Config{Client: func(string) secrets.API { return client }})
	s.Value("nobody", "")
	if err := s.Load(t.Context()); err == nil || !strings.Contains(err.Error(), "ResourceNotFoundException") {
		t.Errorf("a secret that is not there: %v", err)
	}
}
