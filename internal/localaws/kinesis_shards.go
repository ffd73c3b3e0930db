package localaws

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math"
	"time"
)

// shardFilter is ListShards' ShardFilter.
type shardFilter struct {
	Type      string
	ShardId   string
	Timestamp float64
}

// pageToken is what ListShards' NextToken holds.
type pageToken struct {
	ARN     string
	Created int64
	After   string
	Issued  int64 // Unix milliseconds
	Max     int
	Filter  *shardFilter
}

func listShards(c *call) ([]byte, *apiError) {
	var in struct {
		streamRef
		NextToken             string
		ExclusiveStartShardId string
		MaxResults            int
		ShardFilter           *shardFilter
	}
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	if in.MaxResults < 0 || in.MaxResults > maxPage {
		return nil, refuse("ValidationException", "1 validation error detected: Value '%d' at 'maxResults' failed to satisfy constraint: Member must have value between 1 and 10000", in.MaxResults)
	}
	now := c.server.now()
	page := pageToken{After: in.ExclusiveStartShardId, Max: in.MaxResults, Filter: in.ShardFilter}
	if in.NextToken != "" {
		if in.StreamName != "" || in.ShardFilter != nil || in.ExclusiveStartShardId != "" {
			return nil, refuse("InvalidArgumentException", "NextToken and StreamName, ExclusiveStartShardId or ShardFilter cannot be provided together.")
		}
		text, ok := c.server.unseal(in.NextToken)
		if !ok || json.Unmarshal(text, &page) != nil || (in.StreamARN != "" && in.StreamARN != page.ARN) {
			return nil, refuse("InvalidArgumentException", "NextToken is invalid.")
		}
		if now.UnixMilli()-page.Issued > 300_000 {
			return nil, refuse("ExpiredNextTokenException", "The token is expired: it lives for 300 seconds.")
		}
		in.StreamARN = page.ARN
		page.Max = cmp.Or(in.MaxResults, page.Max)
	}
	if page.After != "" && page.Filter != nil && in.NextToken == "" {
		return nil, refuse("InvalidArgumentException", "ExclusiveStartShardId and ShardFilter cannot be provided together.")
	}
	st, e := c.stream(in.streamRef, "")
	if e != nil {
		return nil, e
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.deleted || (in.NextToken != "" && page.Created != st.created.Unix()) {
		return nil, streamNotFound(st.name, st.account)
	}
	c.server.trim(st, now)
	limit := min(cmp.Or(page.Max, defaultListShardsPage), c.server.config.ListShardsPage)
	shards := []shardJSON{}
	out := map[string]any{}
	for _, sh := range st.shards {
		if sh == nil || sh.id <= page.After {
			continue
		}
		ok, e := page.Filter.selects(st, sh, now)
		if e != nil {
			return nil, e
		}
		if !ok {
			continue
		}
		if len(shards) == limit {
			page.ARN, page.Created, page.After, page.Issued = st.arn, st.created.Unix(), shards[limit-1].ShardId, now.UnixMilli()
			text, err := json.Marshal(page)
			if err != nil {
				return nil, c.internal()
			}
			out["NextToken"] = c.server.seal(text)
			break
		}
		shards = append(shards, sh.describe())
	}
	out["Shards"] = shards
	return encode(out)
}

// selects applies the filter to a listed shard; a nil filter takes all.
func (f *shardFilter) selects(st *stream, sh *shard, now time.Time) (bool, *apiError) {
	if f == nil {
		return true, nil
	}
	open := sh.closed.IsZero()
	at := time.UnixMilli(int64(math.Round(f.Timestamp * 1000)))
	switch f.Type {
	case "AFTER_SHARD_ID":
		if f.ShardId == "" {
			return false, refuse("InvalidArgumentException", "ShardId must be provided for the shard filter AFTER_SHARD_ID.")
		}
		return sh.id > f.ShardId, nil
	case "AT_TRIM_HORIZON":
		// Open at the horizon: no parent is left. Those shards cover the hash
		// key space exactly once.
		return !st.listed(sh.parent) && !st.listed(sh.adjacent), nil
	case "FROM_TRIM_HORIZON":
		return true, nil
	case "AT_LATEST":
		return open, nil
	case "AT_TIMESTAMP", "FROM_TIMESTAMP":
		if f.Timestamp <= 0 || at.After(now) {
			return false, refuse("InvalidArgumentException", "The shard filter %s needs a Timestamp that is not in the future.", f.Type)
		}
		if at.Before(now.Add(-st.retention)) {
			at = now.Add(-st.retention)
		}
		if at.Before(st.created) {
			at = st.created
		}
		ends := open || sh.closed.After(at)
		if f.Type == "AT_TIMESTAMP" {
			return ends && !sh.opened.After(at), nil
		}
		return ends, nil
	}
	return false, refuse("ValidationException", "1 validation error detected: Value '%s' at 'shardFilter.type' failed to satisfy constraint: Member must satisfy enum value set: [AT_TIMESTAMP, AT_TRIM_HORIZON, AT_LATEST, FROM_TIMESTAMP, FROM_TRIM_HORIZON, AFTER_SHARD_ID]", f.Type)
}

func (st *stream) listed(sh *shard) bool {
	return sh != nil && sh.index < len(st.shards) && st.shards[sh.index] != nil
}

// seal makes an opaque token of text that only this server can have made.
func (s *Server) seal(text []byte) string {
	mac := hmac.New(sha256.New, s.secret[:])
	mac.Write(text)
	return base64.StdEncoding.EncodeToString(append(mac.Sum(nil), text...))
}

func (s *Server) unseal(token string) ([]byte, bool) {
	b, err := base64.StdEncoding.DecodeString(token)
	if err != nil || len(b) < sha256.Size {
		return nil, false
	}
	mac := hmac.New(sha256.New, s.secret[:])
	mac.Write(b[sha256.Size:])
	return b[sha256.Size:], hmac.Equal(mac.Sum(nil), b[:sha256.Size])
}
