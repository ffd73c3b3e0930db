package localaws

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// secret is one of Secrets Manager's, with its current version alone.
type secret struct {
	arn, name string
	text      string
	version   string
	deleted   bool
}

var secretsOperations = map[string]operation{
	"CreateSecret":   createSecret,
	"PutSecretValue": putSecretValue,
	"GetSecretValue": getSecretValue,
}

const (
	// maxSecretText is the service's limit on a secret's value.
	maxSecretText = 65536
	secretLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// SetSecret makes a secret of an account, or gives it a new value, as a
// rotation does, and returns its ARN.
func (s *Server) SetSecret(account, region, name, text string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.accounts[account]; !ok {
		return "", fmt.Errorf("set secret %s: there is no account %s", name, account)
	}
	made := s.findSecret(account, region, name)
	if made == nil {
		made = s.addSecret(account, region, name)
	}
	made.text, made.version, made.deleted = text, requestID(), false
	return made.arn, nil
}

// DeleteSecret marks a secret for deletion: it cannot be read any more.
func (s *Server) DeleteSecret(arn string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.secrets[arn]
	if found == nil {
		return fmt.Errorf("delete secret %s: there is none", arn)
	}
	found.deleted = true
	return nil
}

// addSecret makes a secret. Its ARN ends with six letters of its own, as the
// service's do. s.mu is held.
func (s *Server) addSecret(account, region, name string) *secret {
	var b [6]byte
	rand.Read(b[:]) //nolint:errcheck // never fails
	for i := range b {
		b[i] = secretLetters[int(b[i])%len(secretLetters)]
	}
	made := &secret{name: name, arn: "arn:aws:secretsmanager:" + region + ":" + account + ":secret:" + name + "-" + string(b[:])}
	s.secrets[made.arn] = made
	return made
}

// findSecret finds a secret by its ARN, also without the six letters, or by its
// name in the caller's account. s.mu is held.
func (s *Server) findSecret(account, region, id string) *secret {
	if found := s.secrets[id]; found != nil {
		return found
	}
	prefix := id + "-"
	if !strings.HasPrefix(id, "arn:") {
		prefix = "arn:aws:secretsmanager:" + region + ":" + account + ":secret:" + id + "-"
	}
	for arn, found := range s.secrets {
		if strings.HasPrefix(arn, prefix) && len(arn) == len(prefix)+6 {
			return found
		}
	}
	return nil
}

type secretRequest struct {
	Name    string
	ID      string `json:"SecretId"`
	Text    string `json:"SecretString"`
	Stage   string `json:"VersionStage"`
	Version string `json:"VersionId"`
}

func (c *call) secretRequest() (in secretRequest, e *apiError) {
	if e = c.decode(&in); e == nil && len(in.Text) > maxSecretText {
		e = refuse("ValidationException", "1 validation error detected: Value at 'secretString' failed to satisfy constraint: Member must have length less than or equal to 65536")
	}
	return in, e
}

func createSecret(c *call) ([]byte, *apiError) {
	in, e := c.secretRequest()
	if e != nil {
		return nil, e
	}
	if in.Name == "" || len(in.Name) > 512 {
		return nil, refuse("ValidationException", "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!")
	}
	if e := c.enter(resource{account: c.caller.account, arn: "arn:aws:secretsmanager:" + c.region + ":" + c.caller.account + ":secret:" + in.Name}); e != nil {
		return nil, e
	}
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.findSecret(c.caller.account, c.region, in.Name) != nil {
		return nil, refuse("ResourceExistsException", "The operation failed because the secret %s already exists.", in.Name)
	}
	made := s.addSecret(c.caller.account, c.region, in.Name)
	made.text, made.version = in.Text, requestID()
	return encode(map[string]any{"ARN": made.arn, "Name": made.name, "VersionId": made.version})
}

func putSecretValue(c *call) ([]byte, *apiError) {
	in, found, e := c.secret()
	if e != nil {
		return nil, e
	}
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	found.text, found.version = in.Text, requestID()
	return encode(map[string]any{"ARN": found.arn, "Name": found.name, "VersionId": found.version, "VersionStages": []string{"AWSCURRENT"}})
}

func getSecretValue(c *call) ([]byte, *apiError) {
	in, found, e := c.secret()
	if e != nil {
		return nil, e
	}
	s := c.server
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case found.deleted:
		return nil, refuse("InvalidRequestException", "You can't perform this operation on the secret because it was marked for deletion.")
	case in.Stage != "" && in.Stage != "AWSCURRENT", in.Version != "" && in.Version != found.version:
		return nil, secretNotFound()
	}
	return encode(map[string]any{"ARN": found.arn, "Name": found.name, "VersionId": found.version, "SecretString": found.text,
		"VersionStages": []string{"AWSCURRENT"}, "CreatedDate": json.Number(fmt.Sprintf("%.3f", float64(s.now().UnixMilli())/1000))})
}

// secret is the secret of a request, which its caller may use.
func (c *call) secret() (secretRequest, *secret, *apiError) {
	in, e := c.secretRequest()
	if e != nil {
		return in, nil, e
	}
	s := c.server
	s.mu.RLock()
	found := s.findSecret(c.caller.account, c.region, in.ID)
	s.mu.RUnlock()
	r := resource{account: c.caller.account, arn: in.ID}
	if found != nil {
		r.arn = found.arn
		if r.account = strings.Split(found.arn, ":")[4]; r.account != c.caller.account {
			return in, nil, c.denied(found.arn, "no resource-based policy allows")
		}
	}
	if e := c.enter(r); e != nil {
		return in, nil, e
	}
	if found == nil {
		return in, nil, secretNotFound()
	}
	return in, found, nil
}

func secretNotFound() *apiError {
	return &apiError{status: http.StatusBadRequest, code: "ResourceNotFoundException", message: "Secrets Manager can't find the specified secret."}
}
