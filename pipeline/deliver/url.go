package deliver

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/shardline/shardline/pipeline"
)

// address is a URL with placeholders in its path and query.
type address struct {
	base  *url.URL // complete when path and query are nil
	path  []piece
	query []piece
	// target is what a request line asks for, as far as it is the same for all
	// records.
	target string
	typed  bool // {type} stands somewhere: not every record has one
}

// piece is text, or a placeholder's name.
type piece struct{ text, name string }

var (
	errNoType     = errors.New("the record has no message type for {type}")
	errDotSegment = errors.New("the record makes a path segment . or .. which receivers take for a step")
	placeholders  = []string{"key", "type", "sequence_number", "source"}
)

// parseAddress reads a template. Its errors never show the template, which may
// have a token in it.
func parseAddress(template string) (address, error) {
	scheme, rest, ok := strings.Cut(template, "://")
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return address{}, errors.New("url: it must begin with http:// or https://")
	}
	if strings.Contains(rest, "#") {
		return address{}, errors.New("url: a fragment (#…) is never sent: remove it")
	}
	host := rest
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		host = rest[:i]
	}
	if strings.ContainsAny(host, "{}") {
		return address{}, errors.New("url: placeholders may stand in the path and the query, not in the host")
	}
	if strings.Contains(host, "@") {
		return address{}, errors.New("url: credentials belong into auth")
	}
	path, query, hasQuery := strings.Cut(rest[len(host):], "?")
	pathPieces, pathNamed, err := parsePieces(path)
	if err != nil {
		return address{}, err
	}
	queryPieces, queryNamed, err := parsePieces(query)
	if err != nil {
		return address{}, err
	}
	// Receivers disagree about where a request line with such bytes ends.
	query = string(appendEscaped(nil, query, &visible))
	for i := range queryPieces {
		queryPieces[i].text = string(appendEscaped(nil, queryPieces[i].text, &visible))
	}
	for i := range pathPieces {
		pathPieces[i].text = string(appendEscaped(nil, pathPieces[i].text, &visible))
	}
	plain := scheme + "://" + host
	if !pathNamed {
		plain += path
	}
	if hasQuery && !queryNamed {
		plain += "?" + query
	}
	base, err := url.Parse(plain)
	if err != nil {
		var cause *url.Error
		if errors.As(err, &cause) {
			err = cause.Err
		}
		return address{}, fmt.Errorf("url: %w", err)
	}
	if base.Hostname() == "" {
		return address{}, errors.New("url: it has no host")
	}
	a := address{base: base, target: base.RequestURI()}
	for _, p := range append(pathPieces[:len(pathPieces):len(pathPieces)], queryPieces...) {
		a.typed = a.typed || p.name == "type"
	}
	if pathNamed {
		a.path = pathPieces
		// The text around the placeholders must be a path, too.
		if _, err := a.resolve(&pipeline.ShardInfo{}, &pipeline.Record{Description: pipeline.Description{Type: "x"}}); err != nil && !errors.Is(err, errDotSegment) {
			return address{}, fmt.Errorf("url: %w", err)
		}
	}
	if queryNamed {
		a.query = queryPieces
	}
	return a, nil
}

// parsePieces splits a template; named says whether it has placeholders.
func parsePieces(template string) (pieces []piece, named bool, err error) {
	for template != "" {
		text, rest, found := strings.Cut(template, "{")
		if strings.Contains(text, "}") {
			return nil, false, errors.New("url: } without {")
		}
		if text != "" {
			pieces = append(pieces, piece{text: text})
		}
		if !found {
			break
		}
		name, after, closed := strings.Cut(rest, "}")
		known := false
		for _, p := range placeholders {
			known = known || p == name
		}
		if !closed || !known {
			return nil, false, errors.New("url: unknown placeholder: allowed are {key} {type} {sequence_number} {source}")
		}
		pieces, named = append(pieces, piece{name: name}), true
		template = after
	}
	return pieces, named, nil
}

// resolve is the URL for a record. It is shared: nobody changes it.
func (a *address) resolve(shard *pipeline.ShardInfo, r *pipeline.Record) (*url.URL, error) {
	if a.path == nil && a.query == nil {
		return a.base, nil
	}
	if a.typed && r.Type == "" {
		return nil, errNoType
	}
	u := *a.base
	if a.path != nil {
		raw := string(appendPieces(nil, a.path, &pathSafe, shard, r))
		if dotSegment([]byte(raw)) {
			return nil, errDotSegment
		}
		path, err := url.PathUnescape(raw)
		if err != nil {
			return nil, err
		}
		u.Path, u.RawPath = path, raw
	}
	if a.query != nil {
		u.RawQuery = string(appendPieces(nil, a.query, &querySafe, shard, r))
	}
	return &u, nil
}

// appendTarget appends what a request line asks for: the URL for a record from
// its path on.
func (a *address) appendTarget(b []byte, shard *pipeline.ShardInfo, r *pipeline.Record) ([]byte, error) {
	if a.path == nil && a.query == nil {
		return append(b, a.target...), nil
	}
	if a.typed && r.Type == "" {
		return b, errNoType
	}
	if a.path == nil {
		b = append(b, a.target...)
	} else {
		from := len(b)
		b = appendPieces(b, a.path, &pathSafe, shard, r)
		if dotSegment(b[from:]) {
			return b, errDotSegment
		}
	}
	switch {
	case a.query != nil:
		b = appendPieces(append(b, '?'), a.query, &querySafe, shard, r)
	case a.path != nil && a.base.RawQuery != "":
		b = append(append(b, '?'), a.base.RawQuery...)
	}
	return b, nil
}

// dotSegment says whether a path has a segment that receivers take for a step,
// even when it is escaped.
func dotSegment(path []byte) bool {
	for segment := range bytes.SplitSeq(path, []byte("/")) {
		if s := string(segment); s == "." || s == ".." {
			return true
		}
	}
	return false
}

func appendPieces(b []byte, pieces []piece, safe *[256]bool, shard *pipeline.ShardInfo, r *pipeline.Record) []byte {
	for _, p := range pieces {
		switch p.name {
		case "":
			b = append(b, p.text...)
		case "key":
			b = appendEscaped(b, r.Key, safe)
		case "type":
			b = appendEscaped(b, r.Type, safe)
		case "sequence_number":
			b = appendEscaped(b, sequenceNumber(r), safe)
		case "source":
			b = appendEscaped(b, shard.Source, safe)
		}
	}
	return b
}
