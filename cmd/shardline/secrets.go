package main

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/shardline/shardline/cmd/shardline/config"
	"github.com/shardline/shardline/secrets"
)

// secretsWait is how long a start waits for secrets: whoever lacks one holds
// until it is read, and nobody else waits for that.
const secretsWait = 15 * time.Second

// newSecrets makes the store of the secrets of AWS Secrets Manager.
func newSecrets(s *services, m *secrets.Metrics) *secrets.Store {
	return secrets.New(secrets.Config{Metrics: m, Logger: s.logger, Client: func(region string) secrets.API {
		return secretsmanager.NewFromConfig(s.config("secrets", region, nil))
	}})
}

// bindSecrets lets a configuration's secrets come from the store, and returns
// the names of those that do.
func bindSecrets(c *config.Config, store *secrets.Store) (ids []string) {
	for _, s := range c.Secrets() {
		if id, field, ok := s.SecretsManager(); ok {
			v := store.Value(id, field)
			s.Bind(v.Text, v.Refused)
			ids = append(ids, id)
		}
	}
	return ids
}

// loadSecrets reads what has not been read yet. What fails is logged, and read
// again in the background.
func loadSecrets(ctx context.Context, store *secrets.Store) {
	ctx, cancel := context.WithTimeout(ctx, secretsWait)
	defer cancel()
	_ = store.Load(ctx)
}
