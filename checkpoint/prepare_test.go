package checkpoint_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/shardline/shardline/checkpoint"
)

// silent is a service whose answers never come.
type silent struct{}

func (silent) Do(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, context.Cause(r.Context())
}

// TestPrepareWithoutAnswers: a call whose answer never comes ends within seconds,
// so that it can be tried again.
func TestPrepareWithoutAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := dynamodb.New(dynamodb.Options{Region: "eu-west-1", BaseEndpoint: aws.String("http://127.0.0.1"), HTTPClient: silent{},
			Credentials: credentials.NewStaticCredentialsProvider("AKIA", "secret", "")})
		store := checkpoint.NewDynamoDB(checkpoint.DynamoDBConfig{Client: client, Table: "app", StateTable: "app-state", Format: checkpoint.MultiStream, Create: true})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		began := time.Now()
		err := store.Prepare(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 10*time.Second {
			t.Errorf("after %s: %v, want a time-out within 10s", time.Since(began), err)
		}
	})
}
