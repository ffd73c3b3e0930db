package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"golang.org/x/sync/errgroup"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/cmd/shardline/config"
	"github.com/shardline/shardline/internal/secrets"
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

// bindSecrets lets a configuration's secrets come from the store.
func bindSecrets(c *config.Config, store *secrets.Store) {
	for _, s := range c.Secrets() {
		if id, field, ok := s.SecretsManager(); ok {
			v := store.Value(id, field)
			s.Bind(v.Text, v.Refused)
		}
	}
}

// trySecrets reads each secret once, and the fields of it that the configuration
// names.
func trySecrets(ctx context.Context, c *config.Config, s *services, who string) (lines []triedLine) {
	store := newSecrets(s, nil)
	values := map[string]*secrets.Value{} // by id#field
	for _, secret := range c.Secrets() {
		if id, field, ok := secret.SecretsManager(); ok {
			values[id+"#"+field] = store.Value(id, field)
		}
	}
	_ = store.Load(ctx) // each says for itself
	for _, name := range slices.Sorted(maps.Keys(values)) {
		id, field, _ := strings.Cut(name, "#")
		tried := checkpoint.Tried{Call: "secretsmanager:GetSecretValue", Of: id}
		if field != "" {
			tried.Detail = "field " + field
		}
		_, tried.Err = values[name].Text()
		lines = append(lines, lineOf("secret "+id, tried, who, nil))
	}
	return lines
}

// loads read what attempts need, each once.
type loads []func(context.Context) error

// run runs them at once, and forgets them.
func (l *loads) run(ctx context.Context) error {
	errs := make([]error, len(*l))
	var g errgroup.Group
	for i, load := range *l {
		g.Go(func() error {
			errs[i] = load(ctx)
			return nil
		})
	}
	_ = g.Wait() // none returns an error
	*l = nil
	return errors.Join(errs...)
}

// loadSecrets reads what has not been read yet: secrets, then the tokens that are
// asked for with them. What fails is logged, and read again in the background.
func loadSecrets(ctx context.Context, store *secrets.Store, tokens *loads) error {
	ctx, cancel := context.WithTimeout(ctx, secretsWait)
	defer cancel()
	return errors.Join(store.Load(ctx), tokens.run(ctx))
}

// secretIDs are the names of the secrets of AWS Secrets Manager.
func secretIDs(c *config.Config) (ids []string) {
	for _, s := range c.Secrets() {
		if id, _, ok := s.SecretsManager(); ok {
			ids = append(ids, id)
		}
	}
	return ids
}
