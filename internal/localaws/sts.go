package localaws

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var stsOperations = map[string]operation{
	"AssumeRole":                assumeRole,
	"AssumeRoleWithWebIdentity": assumeRoleWithWebIdentity,
	"GetCallerIdentity":         getCallerIdentity,
}

const (
	minDuration     = 900
	maxDuration     = 43200
	defaultDuration = 3600

	// maxSessions bounds the sessions remembered; beyond it those that ended
	// an hour ago are forgotten, and their keys become unknown ones.
	maxSessions = 10000
)

var (
	sessionName = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
	externalID  = regexp.MustCompile(`^[\w+=,.@:/-]{2,}$`)
)

func assumeRole(c *call) ([]byte, *apiError) {
	arn, name, external := c.form.Get("RoleArn"), c.form.Get("RoleSessionName"), c.form.Get("ExternalId")
	if e := checkAssumeRole(c, arn, name, external); e != nil {
		return nil, e
	}
	duration, e := c.duration()
	if e != nil {
		return nil, e
	}
	r, res := c.role(arn)
	if e := c.enter(res); e != nil {
		return nil, e
	}
	// One answer for a role that does not exist, does not trust the caller,
	// or wants another external id: nobody learns which.
	if r == nil || r.denies("sts:AssumeRole") || !r.Trust.trusts(c.caller) || (r.Trust.ExternalID != "" && r.Trust.ExternalID != external) {
		return nil, &apiError{status: http.StatusForbidden, code: "AccessDenied",
			message: fmt.Sprintf("User: %s is not authorized to perform: sts:AssumeRole on resource: %s", c.caller.arn, arn)}
	}
	if duration > r.Trust.MaxDuration {
		return nil, refuse("ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	if c.caller.role != nil && duration > time.Hour {
		return nil, refuse("ValidationError", "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.")
	}
	return c.session(r, name, duration), nil
}

// assumeRoleWithWebIdentity is called without a signature: the token says who
// calls.
func assumeRoleWithWebIdentity(c *call) ([]byte, *apiError) {
	c.caller = &identity{}
	arn, name, token := c.form.Get("RoleArn"), c.form.Get("RoleSessionName"), c.form.Get("WebIdentityToken")
	if e := checkAssumeRole(c, arn, name, ""); e != nil {
		return nil, e
	}
	duration, e := c.duration()
	if e != nil {
		return nil, e
	}
	r, res := c.role(arn)
	if e := c.fault(res); e != nil {
		return nil, e
	}
	switch {
	case r == nil || r.denies("sts:AssumeRoleWithWebIdentity") || len(*r.tokens.Load()) == 0:
		return nil, &apiError{status: http.StatusForbidden, code: "AccessDenied", message: "Not authorized to perform sts:AssumeRoleWithWebIdentity"}
	case !slices.Contains(*r.tokens.Load(), token):
		return nil, refuse("ExpiredTokenException", "Token expired: current date/time must be before the expiration date/time")
	case duration > r.Trust.MaxDuration:
		return nil, refuse("ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	return c.session(r, name, duration), nil
}

// duration is the session's that the call asks for.
func (c *call) duration() (time.Duration, *apiError) {
	text := c.form.Get("DurationSeconds")
	if text == "" {
		return defaultDuration * time.Second, nil
	}
	seconds, err := strconv.Atoi(text)
	if err != nil || seconds < minDuration || seconds > maxDuration {
		return 0, refuse("ValidationError", "1 validation error detected: Value '%s' at 'durationSeconds' failed to satisfy constraint: Member must have value between %d and %d", text, minDuration, maxDuration)
	}
	return time.Duration(seconds) * time.Second, nil
}

// role is the one of an ARN, or nil, as the call's resource.
func (c *call) role(arn string) (*role, resource) {
	c.server.mu.RLock()
	r := c.server.roles[arn]
	c.server.mu.RUnlock()
	res := resource{arn: arn, role: arn}
	if r != nil {
		res.account = r.Account
	}
	return r, res
}

// session answers with new credentials of a role.
func (c *call) session(r *role, name string, duration time.Duration) []byte {
	key := c.server.addSession(r, name, duration)
	return fmt.Appendf(nil, `<Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken>%s</SessionToken><Expiration>%s</Expiration></Credentials>`+
		`<AssumedRoleUser><AssumedRoleId>%s</AssumedRoleId><Arn>%s</Arn></AssumedRoleUser>`,
		key.AccessKeyID, escapeXML(key.SecretAccessKey), escapeXML(key.SessionToken), key.Expires.UTC().Format("2006-01-02T15:04:05.000Z"),
		escapeXML(key.userID), escapeXML(key.arn))
}

func checkAssumeRole(c *call, arn, name, external string) *apiError {
	if !strings.HasPrefix(arn, "arn:aws:iam::") || len(arn) < 20 {
		return refuse("ValidationError", "%s is invalid", arn)
	}
	if !sessionName.MatchString(name) {
		return refuse("ValidationError", `1 validation error detected: Value '%s' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]*, of 2 to 64 characters`, name)
	}
	if c.form.Has("ExternalId") && (!externalID.MatchString(external) || len(external) > 1224) {
		return refuse("ValidationError", `1 validation error detected: Value at 'externalId' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@:\/-]*, of 2 to 1224 characters`)
	}
	return nil
}

func (t *Trust) trusts(caller *identity) bool {
	root := "arn:aws:iam::" + caller.account + ":root"
	return slices.ContainsFunc(t.Principals, func(p string) bool {
		return p == "*" || p == caller.account || p == root || p == caller.arn || (caller.role != nil && p == caller.role.arn)
	})
}

// addSession makes temporary credentials of a role. They end after duration,
// or after the server's own lifetime of sessions where that is set.
func (s *Server) addSession(r *role, name string, duration time.Duration) *accessKey {
	if override := time.Duration(s.sessionLifetime.Load()); override > 0 {
		duration = override
	}
	key := newAccessKey("ASIA", r.Account)
	var token [96]byte
	randomBytes(token[:])
	key.SessionToken = base64.StdEncoding.EncodeToString(token[:])
	now := s.now()
	key.Expires = now.Add(duration)
	key.identity = identity{
		account: r.Account,
		arn:     "arn:aws:sts::" + r.Account + ":assumed-role/" + r.Name + "/" + name,
		userID:  "AROA" + key.AccessKeyID[4:] + ":" + name,
		role:    r,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.keys) > maxSessions {
		for id, k := range s.keys {
			if !k.Expires.IsZero() && k.Expires.Before(now.Add(-time.Hour)) {
				delete(s.keys, id)
			}
		}
	}
	s.keys[key.AccessKeyID] = key
	return key
}

func getCallerIdentity(c *call) ([]byte, *apiError) {
	// Needs no permission, as in the service; faults still apply.
	if e := c.fault(resource{account: c.caller.account}); e != nil {
		return nil, e
	}
	return fmt.Appendf(nil, `<Arn>%s</Arn><UserId>%s</UserId><Account>%s</Account>`,
		escapeXML(c.caller.arn), escapeXML(c.caller.userID), c.caller.account), nil
}
