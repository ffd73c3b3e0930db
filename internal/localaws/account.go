package localaws

import (
	"encoding/base32"
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Role is a role of an account: who may assume it and what it may do there.
type Role struct {
	Account string
	Name    string
	Trust   Trust
	// Permissions bound the role's sessions; none: everything in the role's
	// own account, and what other accounts' streams allow.
	Permissions []Permission
}

// Trust says who may assume a role.
type Trust struct {
	// Principals are account ids (everybody in it), account root ARNs, or the
	// ARNs of roles or users; "*" is everybody.
	Principals []string
	// ExternalID must be given when it is set.
	ExternalID string
	// MaxDuration bounds a session, 1 to 12 hours; 0: 1 hour, as in the
	// service.
	MaxDuration time.Duration
	// Tokens are those of a web identity that may assume the role; see
	// SetTokens.
	Tokens []string
}

// Permission allows actions ("kinesis:GetRecords") on resources (ARNs); in
// both, * stands for anything. No resources: all.
type Permission struct {
	Actions   []string
	Resources []string
}

type role struct {
	Role
	arn    string
	denied atomic.Pointer[[]string] // actions, as patterns
	tokens atomic.Pointer[[]string]
}

func newRole(r Role, arn string) *role {
	made := &role{Role: r, arn: arn}
	made.denied.Store(new([]string))
	tokens := slices.Clone(r.Trust.Tokens)
	made.tokens.Store(&tokens)
	return made
}

// denies says whether an action is denied to the role: to its sessions, and for
// sts:AssumeRole and the like also to whoever assumes it.
func (r *role) denies(action string) bool { return matchAny(*r.denied.Load(), action) }

var (
	accountID = regexp.MustCompile(`^[0-9]{12}$`)
	roleName  = regexp.MustCompile(`^[\w+=,.@-]{1,64}$`)
)

// AddAccount makes an account (12 digits) and returns the keys bound to it;
// for an account that exists, its keys.
func (s *Server) AddAccount(id string) (Credentials, error) {
	if !accountID.MatchString(id) {
		return Credentials{}, fmt.Errorf("add account %q: an account id has 12 digits", id)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if credentials, ok := s.accounts[id]; ok {
		return credentials, nil
	}
	key := newAccessKey("AKIA", id)
	key.identity = identity{account: id, arn: "arn:aws:iam::" + id + ":user/local", userID: "AIDA" + key.AccessKeyID[4:]}
	s.keys[key.AccessKeyID] = key
	s.accounts[id] = key.Credentials
	return key.Credentials, nil
}

// AddRole makes a role and returns its ARN.
func (s *Server) AddRole(r Role) (string, error) {
	if !roleName.MatchString(r.Name) {
		return "", fmt.Errorf("add role %q: a role's name has 1 to 64 letters, digits and +=,.@-_", r.Name)
	}
	if r.Trust.MaxDuration == 0 {
		r.Trust.MaxDuration = time.Hour
	}
	if d := r.Trust.MaxDuration; d < time.Hour || d > 12*time.Hour {
		return "", fmt.Errorf("add role %s: the largest session duration is 1 to 12 hours, not %s", r.Name, d)
	}
	arn := "arn:aws:iam::" + r.Account + ":role/" + r.Name
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.accounts[r.Account]; !ok {
		return "", fmt.Errorf("add role %s: there is no account %s", r.Name, r.Account)
	}
	if s.roles[arn] != nil {
		return "", fmt.Errorf("add role %s: it exists", arn)
	}
	r.Trust.Principals = slices.Clone(r.Trust.Principals)
	s.roles[arn] = newRole(r, arn)
	return arn, nil
}

// RevokeRole takes everything from a role: it cannot be assumed, and its
// sessions are denied, until GrantRole.
func (s *Server) RevokeRole(arn string) error { return s.DenyActions(arn, "*") }

// GrantRole undoes RevokeRole and DenyActions.
func (s *Server) GrantRole(arn string) error { return s.DenyActions(arn) }

// DenyActions denies these actions ("kinesis:GetRecords"; * stands for
// anything) to a role's sessions, instead of what it denied before.
// sts:AssumeRole is denied to whoever wants to be the role, while its sessions
// live on.
func (s *Server) DenyActions(arn string, actions ...string) error {
	return s.changeRole(arn, func(r *role) {
		actions := slices.Clone(actions)
		r.denied.Store(&actions)
	})
}

// SetTokens changes the tokens of a web identity that may assume a role.
func (s *Server) SetTokens(arn string, tokens ...string) error {
	return s.changeRole(arn, func(r *role) {
		tokens := slices.Clone(tokens)
		r.tokens.Store(&tokens)
	})
}

func (s *Server) changeRole(arn string, change func(*role)) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r := s.roles[arn]
	if r == nil {
		return fmt.Errorf("role %s: there is none", arn)
	}
	change(r)
	return nil
}

// Session makes temporary credentials of a role, as a task or an instance has
// them, whoever is trusted to assume it.
func (s *Server) Session(arn, name string, duration time.Duration) (Credentials, error) {
	var c Credentials
	var r *role
	if err := s.changeRole(arn, func(found *role) { r = found }); err != nil {
		return c, err
	}
	return s.addSession(r, name, duration).Credentials, nil
}

// SetSessionLifetime changes Config.SessionLifetime for sessions to come.
func (s *Server) SetSessionLifetime(d time.Duration) { s.sessionLifetime.Store(int64(d)) }

// Environment is what a process of the account needs to reach the server with
// the AWS SDK's default settings.
func (s *Server) Environment(credentials Credentials) []string {
	return []string{
		"AWS_ENDPOINT_URL=" + s.Endpoint(),
		"AWS_ACCESS_KEY_ID=" + credentials.AccessKeyID,
		"AWS_SECRET_ACCESS_KEY=" + credentials.SecretAccessKey,
		"AWS_SESSION_TOKEN=" + credentials.SessionToken,
		"AWS_REGION=" + s.config.Region,
	}
}

// newAccessKey makes a random key: AKIA… for an account, ASIA… for a session.
func newAccessKey(prefix, account string) *accessKey {
	var b [40]byte
	randomBytes(b[:])
	return &accessKey{Credentials: Credentials{
		AccountID:       account,
		AccessKeyID:     prefix + base32.StdEncoding.EncodeToString(b[:10]),
		SecretAccessKey: base64.RawStdEncoding.EncodeToString(b[10:]),
	}}
}

// allows reports whether the caller's own account lets it do action on arn.
func (i *identity) allows(action, arn string) bool {
	if i.role == nil {
		return true
	}
	if i.role.denies(action) {
		return false
	}
	if len(i.role.Permissions) == 0 {
		return true
	}
	for _, p := range i.role.Permissions {
		if matchAny(p.Actions, action) && (len(p.Resources) == 0 || matchAny(p.Resources, arn)) {
			return true
		}
	}
	return false
}

func matchAny(patterns []string, s string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return match(p, s) })
}

// match is a pattern of an IAM policy, where * stands for anything.
func match(pattern, s string) bool {
	head, tail, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == s
	}
	if !strings.HasPrefix(s, head) {
		return false
	}
	s = s[len(head):]
	for {
		part, rest, more := strings.Cut(tail, "*")
		if !more {
			return strings.HasSuffix(s, part)
		}
		at := strings.Index(s, part)
		if at < 0 {
			return false
		}
		s, tail = s[at+len(part):], rest
	}
}

// resource is what an operation works on; faults match it.
type resource struct {
	account, arn, stream, shard, table, queue, topic, bucket, role string
}

// enter is passed by every operation once its resource is known and before it
// has any effect: permission first, then faults.
func (c *call) enter(r resource) *apiError {
	if !c.caller.allows(c.action(), r.arn) {
		return c.denied(r.arn, "no identity-based policy allows")
	}
	return c.fault(r)
}

// action is the call's permission; SQS and SNS have none of their own for
// batches.
func (c *call) action() string {
	if c.service == "sqs" || c.service == "sns" {
		return c.service + ":" + strings.TrimSuffix(c.operation, "Batch")
	}
	if action := s3Actions[c.operation]; c.service == "s3" && action != "" {
		return action
	}
	return c.service + ":" + c.operation
}

func (c *call) denied(arn, why string) *apiError {
	e := refuse("AccessDeniedException", "User: %s is not authorized to perform: %s on resource: %s because %s the %s action",
		c.caller.arn, c.action(), arn, why, c.action())
	if c.service == "sts" || c.service == "s3" {
		e.code, e.status = "AccessDenied", 403
	}
	if c.service == "sns" {
		e.code, e.status = "AuthorizationError", 403
	}
	return e
}
