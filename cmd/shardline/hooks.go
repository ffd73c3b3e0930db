package main

import (
	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline/deliver"
)

// hooks let the tests of real worker processes stand between the parts, to
// end the process at a named point. A nil *hooks, as always in production,
// changes nothing.
type hooks struct {
	wrapStore     func(checkpoint.Store) checkpoint.Store
	wrapLetters   func(deliver.DeadLetters) deliver.DeadLetters
	wrapTransport func(deliver.Transport) deliver.Transport
}

func (h *hooks) store(s checkpoint.Store) checkpoint.Store {
	if h == nil {
		return s
	}
	return h.wrapStore(s)
}

func (h *hooks) letters(l deliver.DeadLetters) deliver.DeadLetters {
	if h == nil {
		return l
	}
	return h.wrapLetters(l)
}

func (h *hooks) transport(t deliver.Transport) deliver.Transport { return h.wrapTransport(t) }
