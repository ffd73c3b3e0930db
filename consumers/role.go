package consumers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"
)

// defaultDuration is how long assumed credentials live unless the role says
// otherwise: the shortest that the service grants.
const defaultDuration = 15 * time.Minute

// Role is what to assume.
type Role struct {
	ARN         string
	ExternalID  string
	SessionName string        // empty: the application's name
	Duration    time.Duration // 0: 15 minutes; at most 1 h when the base credentials are a role's
}

// STS is the call that AssumeRole makes; *sts.Client has it.
type STS interface {
	AssumeRole(ctx context.Context, in *sts.AssumeRoleInput, options ...func(*sts.Options)) (*sts.AssumeRoleOutput, error)
}

// assumedRole assumes a role, anew at every Retrieve.
type assumedRole struct {
	sts   STS
	input sts.AssumeRoleInput
}

// AssumeRole is a provider of a role's credentials, which calls the service
// whenever it is asked: it is for Credentials. Application is the session's name
// where the role has none.
func AssumeRole(service STS, role Role, application string) aws.CredentialsProvider {
	if role.Duration == 0 {
		role.Duration = defaultDuration
	}
	name := role.SessionName
	if name == "" {
		name = application
	}
	a := &assumedRole{sts: service, input: sts.AssumeRoleInput{
		RoleArn:         aws.String(role.ARN),
		RoleSessionName: aws.String(sessionName(name)),
		DurationSeconds: aws.Int32(int32(role.Duration / time.Second)),
	}}
	if role.ExternalID != "" {
		a.input.ExternalId = aws.String(role.ExternalID)
	}
	return a
}

// sessionName makes a name that the service takes: 2 to 64 letters, digits or
// characters of +=,.@_- .
func sessionName(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("+=,.@_-", r):
			return r
		}
		return '-'
	}, name)
	if len(name) < 2 {
		name = "shardline" + name
	}
	return name[:min(len(name), 64)]
}

// Retrieve calls the service once, the SDK's own retries aside.
func (a *assumedRole) Retrieve(ctx context.Context) (aws.Credentials, error) {
	start := now()
	out, err := a.sts.AssumeRole(ctx, &a.input)
	if err == nil && (out.Credentials == nil || out.Credentials.AccessKeyId == nil || out.Credentials.SecretAccessKey == nil ||
		out.Credentials.SessionToken == nil || out.Credentials.Expiration == nil) {
		err = errors.New("the answer holds no credentials")
	}
	if err != nil {
		f := failed("assume role "+*a.input.RoleArn, err)
		if f.reason == reasonArgument {
			f.text += a.remedy(f.text)
		}
		return aws.Credentials{}, f
	}
	// The service's expiry is by the service's clock. Its own date in the same
	// answer makes it a lifetime, which this host's clock can measure.
	// It has whole seconds, rounded down.
	lifetime := out.Credentials.Expiration.Sub(serverTime(out.ResultMetadata, start.Add(-time.Second)).Add(time.Second))
	value := aws.Credentials{
		AccessKeyID:     *out.Credentials.AccessKeyId,
		SecretAccessKey: *out.Credentials.SecretAccessKey,
		SessionToken:    *out.Credentials.SessionToken,
		Source:          "shardline",
		CanExpire:       true,
		Expires:         start.Add(lifetime),
	}
	if user := out.AssumedRoleUser; user != nil {
		if parts := strings.SplitN(aws.ToString(user.Arn), ":", 6); len(parts) == 6 {
			value.AccountID = parts[4]
		}
	}
	return value, nil
}

// remedy names the field that the service refuses: it knows limits that the
// configuration alone does not tell, such as the role's own.
func (a *assumedRole) remedy(text string) string {
	text = strings.ToLower(text)
	duration := time.Duration(*a.input.DurationSeconds) * time.Second
	switch {
	case strings.Contains(text, "role chaining"):
		return fmt.Sprintf(" (role.duration is %s: credentials of a role, such as those of a task or an instance, can assume another role for 1h at most)", duration)
	case strings.Contains(text, "maxsessionduration"):
		return fmt.Sprintf(" (role.duration is %s: lower it, or raise the role's maximum session duration)", duration)
	case strings.Contains(text, "durationseconds"):
		return fmt.Sprintf(" (role.duration is %s)", duration)
	case strings.Contains(text, "rolesessionname"):
		return fmt.Sprintf(" (role.session_name is %q)", *a.input.RoleSessionName)
	case strings.Contains(text, "externalid"):
		return " (see role.external_id)"
	case strings.Contains(text, strings.ToLower(*a.input.RoleArn)), strings.Contains(text, "rolearn"):
		return " (see role.arn)"
	}
	return ""
}

// now is the wall clock's time without the monotonic one: it is for comparing
// with the service's dates.
func now() time.Time { return time.Now().Round(0) }

// serverTime is the service's own date in an answer, or otherwise.
func serverTime(metadata middleware.Metadata, otherwise time.Time) time.Time {
	if t, ok := awsmiddleware.GetServerTime(metadata); ok && !t.IsZero() {
		return t
	}
	return otherwise
}
