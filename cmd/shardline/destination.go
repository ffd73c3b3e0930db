package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/shardline/shardline/cmd/shardline/config"
	"github.com/shardline/shardline/internal/secrets"
	"github.com/shardline/shardline/pipeline/deliver"
	"github.com/shardline/shardline/pipeline/filter"
	"github.com/shardline/shardline/pipeline/opentravel"
)

// delivering is what the destinations of a worker share.
type delivering struct {
	config   *config.Config
	services *services
	letters  map[string]deliver.DeadLetters // by the queue's name
	gzip     *deliver.Gzip
	env      environment
	metrics  *deliver.Metrics
	logger   *zap.Logger

	secretMetrics *secrets.Metrics // nil: none
	loads         *loads           // gets what is to be read before the first attempt; nil: that is left to the background
}

// made is what a destination is made of, by its part of the configuration.
// Discard ends what keeps its credentials fresh; after an error that has ended.
func (s delivering) made(c *config.Destination) (d deliver.Config, discard func(), err error) {
	s.services, discard = s.services.scoped()
	defer func() {
		if err != nil {
			discard()
		}
	}()

	d = deliver.Config{
		Name: c.Name, Timeout: c.Timeout, Concurrency: c.Concurrency,
		Retry: deliver.RetryPolicy{Initial: c.Retry.Initial, Max: c.Retry.Max, Multiplier: c.Retry.Multiplier,
			MaxAttempts: c.Retry.MaxAttempts, MaxAge: c.Retry.MaxAge},
		RateLimit: c.RateLimit, KeyRateLimit: c.KeyRateLimit, BeforeTrim: c.BeforeTrim,
		Breaker: deliver.Breaker{Failures: c.Breaker.Failures, OpenFor: c.Breaker.OpenFor},
		URL:     c.URL, Method: c.Method, Auth: s.auth(c), UserAgent: "shardline/" + versionString(),
		DeadLetters: s.letters[c.DeadLetters], Metrics: s.metrics, Logger: s.logger,
	}
	d.TLS = deliver.TLS{Roots: c.TLS.Roots, Certificate: c.TLS.Certificate, Key: c.TLS.Key, ServerName: c.TLS.ServerName}
	d.Protocol = map[string]deliver.Protocol{config.ProtocolHTTP1: deliver.ProtocolHTTP1, config.ProtocolHTTP2: deliver.ProtocolHTTP2}[c.Protocol]
	if c.Type == config.TypeHTTP && c.Compression == config.CompressionGzip {
		d.Gzip = s.gzip
	}
	if c.Filter != "" {
		if d.Filter, err = filter.Parse(c.Filter); err != nil {
			return d, discard, fmt.Errorf("destination %s: filter: %w", c.Name, err)
		}
	}
	switch c.OnExhausted {
	case config.OnExhaustedHoldKey:
		d.OnExhausted = deliver.ExhaustedHoldKey
	case config.OnExhaustedHoldDestination:
		d.OnExhausted = deliver.ExhaustedHold
	}
	d.Classes, d.Statuses = classes(c.Codes)
	if c.Response == config.ResponseOpenTravel {
		d.Response = deliver.ResponseOpenTravel
	}
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		d.Headers = append(d.Headers, deliver.Header{Name: name, Value: value(c.Headers[name])})
	}
	if s.env.dry != nil {
		d.Transport = s.env.dry
		return d, discard, nil
	}
	transport, err := s.transport(c)
	if err != nil {
		return d, discard, fmt.Errorf("destination %s: %w", c.Name, err)
	}
	if transport == nil && s.env.hooks != nil {
		if transport, err = deliver.NewHTTP(d); err != nil {
			return d, discard, err
		}
	}
	if s.env.hooks != nil {
		transport = s.env.hooks.transport(transport)
	}
	d.Transport = transport
	return d, discard, nil
}

// auth is how requests to a destination are authenticated.
func (s *delivering) auth(c *config.Destination) deliver.Auth {
	a := &c.Auth
	switch a.Type {
	case config.AuthBasic:
		return deliver.Auth{Type: deliver.AuthBasic, Username: a.Username, Secret: value(a.Password)}
	case config.AuthBearer:
		return deliver.Auth{Type: deliver.AuthBearer, Secret: value(a.Token)}
	case config.AuthHeader:
		return deliver.Auth{Type: deliver.AuthHeader, Name: a.Name, Secret: value(a.Value)}
	case config.AuthWSSE:
		return deliver.Auth{Type: deliver.AuthWSSE, Username: a.Username, Secret: value(a.Password)}
	case config.AuthOAuth2:
		token := secrets.NewToken(secrets.TokenConfig{Name: "destination/" + c.Name, URL: a.TokenURL, ID: a.ClientID,
			Secret: a.ClientSecret.Value, SecretRefused: a.ClientSecret.Refused(), Scope: a.Scope, Audience: a.Audience,
			InBody: a.ClientAuth == config.ClientAuthBody, Metrics: s.secretMetrics, Logger: s.logger})
		s.services.refresh(token.Run)
		if s.loads != nil {
			*s.loads = append(*s.loads, token.Load)
		}
		return deliver.Auth{Type: deliver.AuthBearer, Secret: deliver.Value{Secret: token.Text, Fresh: true, Refused: token.Refused}}
	}
	return deliver.Auth{}
}

// value is a secret as requests have it.
func value(s config.Secret) deliver.Value {
	refused := s.Refused()
	return deliver.Value{Secret: s.Value, Fresh: refused != nil, Refused: refused}
}

// classes are what codes of bodies, and statuses, mean to a destination.
func classes(c config.Codes) (opentravel.Classes, map[int]deliver.Class) {
	own, statuses := opentravel.Classes{Codes: map[string]opentravel.Class{}, Types: map[string]opentravel.Class{}}, map[int]deliver.Class{}
	for _, list := range []struct {
		codes  []string
		body   opentravel.Class
		status deliver.Class
	}{{c.Retryable, opentravel.Retryable, deliver.Retry}, {c.Permanent, opentravel.Permanent, deliver.Refused}, {c.Hold, opentravel.Hold, deliver.Hold}} {
		for _, code := range list.codes {
			if status, is := strings.CutPrefix(code, "http:"); is {
				n, _ := strconv.Atoi(status) // it is a number: the configuration is valid
				statuses[n] = list.status
			} else if kind, is := strings.CutPrefix(code, "type:"); is {
				own.Types[kind] = list.body
			} else {
				own.Codes[code] = list.body
			}
		}
	}
	return own, statuses
}
