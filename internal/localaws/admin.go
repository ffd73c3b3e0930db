package localaws

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// adminRequest is the body of the administration calls; each uses some.
type adminRequest struct {
	Stream        string `json:"stream"` // ARN
	Shard         string `json:"shard"`
	AdjacentShard string `json:"adjacent_shard"`
	Sequence      string `json:"sequence_number"`
	Account       string `json:"account"`
	Role          string `json:"role"` // ARN
	Shards        int    `json:"shards"`
}

// adminActions are the POST calls with an adminRequest.
var adminActions = map[string]func(*Server, adminRequest) error{
	"split":         func(s *Server, in adminRequest) error { return s.SplitShard(in.Stream, in.Shard) },
	"merge":         func(s *Server, in adminRequest) error { return s.MergeShards(in.Stream, in.Shard, in.AdjacentShard) },
	"scale":         func(s *Server, in adminRequest) error { return s.Scale(in.Stream, in.Shards) },
	"trim":          func(s *Server, in adminRequest) error { return s.TrimShard(in.Stream, in.Shard, in.Sequence) },
	"delete_stream": func(s *Server, in adminRequest) error { return s.DeleteStream(in.Stream) },
	"allow_account": func(s *Server, in adminRequest) error { return s.AllowAccount(in.Stream, in.Account) },
	"revoke_role":   func(s *Server, in adminRequest) error { return s.RevokeRole(in.Role) },
	"grant_role":    func(s *Server, in adminRequest) error { return s.GrantRole(in.Role) },
}

// serveAdmin answers /_localaws/…, unauthenticated: whoever reaches the
// loopback port. A browser's cross-site request is refused.
func (s *Server) serveAdmin(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Origin") != "" {
		http.Error(w, "not for browsers", http.StatusForbidden)
		return
	}
	name := strings.TrimPrefix(r.URL.Path, "/_localaws/")
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
	body.DisallowUnknownFields()
	switch r.Method + " " + name {
	case "GET stats":
		answerAdmin(w, s.Stats())
		return
	case "DELETE stats":
		s.ResetStats()
		answerAdmin(w, struct{}{})
		return
	case "POST faults":
		var f Fault
		if err := body.Decode(&f); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		id, err := s.AddFault(f)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answerAdmin(w, map[string]int{"id": id})
		return
	case "DELETE faults":
		if text := r.URL.Query().Get("id"); text != "" {
			id, err := strconv.Atoi(text)
			if err != nil {
				http.Error(w, "id is a fault's number", http.StatusBadRequest)
				return
			}
			s.RemoveFault(id)
		} else {
			s.ClearFaults()
		}
		answerAdmin(w, struct{}{})
		return
	}
	action := adminActions[name]
	if action == nil || r.Method != http.MethodPost {
		http.Error(w, "no such administration call", http.StatusNotFound)
		return
	}
	var in adminRequest
	if err := body.Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := action(s, in); err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	answerAdmin(w, struct{}{})
}

func answerAdmin(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v) // an error here is the client's absence
}
