package localaws_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	kinesistypes "github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/shardline/shardline/internal/localaws"
)

// role makes a role of account A.
func (w *world) role(r localaws.Role) string {
	w.t.Helper()
	r.Account = accountA
	arn, err := w.AddRole(r)
	w.must(err)
	return arn
}

// assume assumes a role and returns the session's keys.
func (w *world) assume(c localaws.Credentials, arn string) localaws.Credentials {
	w.t.Helper()
	out, err := w.sts(c).AssumeRole(background, &sts.AssumeRoleInput{RoleArn: &arn, RoleSessionName: aws.String("test")})
	w.must(err)
	return session(out.Credentials)
}

func session(c *types.Credentials) localaws.Credentials {
	return localaws.Credentials{AccessKeyID: *c.AccessKeyId, SecretAccessKey: *c.SecretAccessKey, SessionToken: *c.SessionToken, Expires: *c.Expiration}
}

func TestAssumedRoleIsOfItsAccount(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	arn := w.role(localaws.Role{Name: "reader", Trust: localaws.Trust{Principals: []string{accountB}}})
	stream := w.stream("hotels", 1)

	who, err := w.sts(w.b).GetCallerIdentity(background, nil)
	w.must(err)
	if *who.Account != accountB || *who.Arn != "arn:aws:iam::222222222222:user/local" {
		t.Errorf("account's own key: %s %s", *who.Account, *who.Arn)
	}
	keys := w.assume(w.b, arn)
	if !strings.HasPrefix(keys.AccessKeyID, "ASIA") {
		t.Errorf("session's key is %s", keys.AccessKeyID)
	}
	if left := time.Until(keys.Expires); left < 59*time.Minute || left > time.Hour {
		t.Errorf("session ends in %s", left)
	}
	who, err = w.sts(keys).GetCallerIdentity(background, nil)
	w.must(err)
	if *who.Account != accountA || *who.Arn != "arn:aws:sts::111111111111:assumed-role/reader/test" {
		t.Errorf("session: %s %s", *who.Account, *who.Arn)
	}
	for _, ref := range []*kinesis.DescribeStreamSummaryInput{{StreamName: aws.String("hotels")}, {StreamARN: &stream}} {
		out, err := w.kinesis(keys).DescribeStreamSummary(background, ref)
		w.must(err)
		if *out.StreamDescriptionSummary.StreamARN != stream {
			t.Errorf("described %s", *out.StreamDescriptionSummary.StreamARN)
		}
	}
	// The SDK's own provider gets and uses the credentials too.
	config := w.config(w.b)
	config.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(w.sts(w.b), arn))
	_, err = kinesis.NewFromConfig(config).ListShards(background, &kinesis.ListShardsInput{StreamName: aws.String("hotels")})
	w.must(err)
}

func TestAssumeRoleRefusals(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	trusted := w.role(localaws.Role{Name: "reader", Trust: localaws.Trust{Principals: []string{accountB}, ExternalID: "partner-7", MaxDuration: 2 * time.Hour}})
	other := w.role(localaws.Role{Name: "other", Trust: localaws.Trust{Principals: []string{"333333333333"}}})
	first := w.role(localaws.Role{Name: "first", Trust: localaws.Trust{Principals: []string{"arn:aws:iam::222222222222:root"}}})
	chained := w.role(localaws.Role{Name: "chained", Trust: localaws.Trust{Principals: []string{first}, MaxDuration: 12 * time.Hour}})
	hop := w.assume(w.b, first)

	for _, test := range []struct {
		name     string
		caller   localaws.Credentials
		arn      string
		external string
		session  string
		seconds  int32
		want     string
	}{
		{"as it should be", w.b, trusted, "partner-7", "s-1", 7200, ""},
		{"shortest", w.b, trusted, "partner-7", "s-1", 900, ""},
		{"wrong external id", w.b, trusted, "partner-8", "s-1", 900, "AccessDenied"},
		{"no external id", w.b, trusted, "", "s-1", 900, "AccessDenied"},
		{"unknown role", w.b, trusted + "x", "", "s-1", 900, "AccessDenied"},
		{"caller not trusted", w.b, other, "", "s-1", 900, "AccessDenied"},
		{"own account is not trusted by itself", w.a, other, "", "s-1", 900, "AccessDenied"},
		{"too short", w.b, trusted, "partner-7", "s-1", 899, "ValidationError"},
		{"longer than the role allows", w.b, trusted, "partner-7", "s-1", 7201, "ValidationError"},
		{"longer than any", w.b, trusted, "partner-7", "s-1", 43201, "ValidationError"},
		{"bad session name", w.b, trusted, "partner-7", "a b", 900, "ValidationError"},
		{"short session name", w.b, trusted, "partner-7", "a", 900, "ValidationError"},
		{"chained", hop, chained, "", "s-1", 3600, ""},
		{"chained for more than an hour", hop, chained, "", "s-1", 3601, "ValidationError"},
		{"chained role by the account", w.b, chained, "", "s-1", 900, "AccessDenied"},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := &sts.AssumeRoleInput{RoleArn: &test.arn, RoleSessionName: &test.session, DurationSeconds: &test.seconds}
			if test.external != "" {
				in.ExternalId = &test.external
			}
			out, err := w.sts(test.caller).AssumeRole(background, in)
			if test.want != "" {
				wantCode(t, err, test.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if left := time.Until(*out.Credentials.Expiration).Round(time.Minute); left != time.Duration(test.seconds)*time.Second {
				t.Errorf("session of %s", left)
			}
		})
	}
}

func TestCredentialsExpire(t *testing.T) {
	clock := newClock()
	w := newWorld(t, localaws.Config{Now: clock.now, SessionLifetime: 10 * time.Second})
	arn := w.role(localaws.Role{Name: "reader", Trust: localaws.Trust{Principals: []string{accountB}}})
	w.stream("hotels", 1)
	keys := w.assume(w.b, arn)
	if !keys.Expires.Equal(clock.now().Add(10 * time.Second)) {
		t.Errorf("expires %s, now %s", keys.Expires, clock.now())
	}
	use := func() (k, d, s error) {
		_, k = w.kinesis(keys).ListStreams(background, nil)
		_, d = w.dynamo(keys).ListTables(background, nil)
		_, s = w.sts(keys).GetCallerIdentity(background, nil)
		return k, d, s
	}
	clock.advance(10*time.Second - 1)
	k, d, s := use()
	w.must(k)
	w.must(d)
	w.must(s)
	clock.advance(1)
	k, d, s = use()
	wantCode(t, k, "ExpiredTokenException")
	wantCode(t, d, "ExpiredTokenException")
	wantCode(t, s, "ExpiredToken")
	w.SetSessionLifetime(0)
	if again := w.assume(w.b, arn); !again.Expires.Equal(clock.now().Add(time.Hour)) {
		t.Errorf("without the override a session ends at %s, now %s", again.Expires, clock.now())
	}
}

func TestWrongCredentials(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	arn := w.role(localaws.Role{Name: "reader", Trust: localaws.Trust{Principals: []string{accountB}}})
	keys := w.assume(w.b, arn)
	unknown, secret, token, noToken := w.a, w.a, keys, keys
	unknown.AccessKeyID = "AKIAUNKNOWN"
	secret.SecretAccessKey += "x"
	token.SessionToken += "x"
	noToken.SessionToken = ""
	for _, test := range []struct {
		name      string
		keys      localaws.Credentials
		json, sts string
	}{
		{"unknown key", unknown, "UnrecognizedClientException", "InvalidClientTokenId"},
		{"wrong secret", secret, "InvalidSignatureException", "SignatureDoesNotMatch"},
		{"wrong token", token, "UnrecognizedClientException", "InvalidClientTokenId"},
		{"no token", noToken, "UnrecognizedClientException", "InvalidClientTokenId"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := w.kinesis(test.keys).ListStreams(background, nil)
			wantCode(t, err, test.json)
			_, err = w.dynamo(test.keys).ListTables(background, nil)
			wantCode(t, err, test.json)
			_, err = w.sts(test.keys).GetCallerIdentity(background, nil)
			wantCode(t, err, test.sts)
		})
	}
}

// changedBody sends another body than the one that was signed.
type changedBody struct{ http.RoundTripper }

func (c changedBody) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	body = bytes.Replace(body, []byte("hotels"), []byte("flights"), 1)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return c.RoundTripper.RoundTrip(r)
}

func TestSignatureCoversTheBody(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	w.stream("flights", 1)
	config := w.config(w.a)
	config.HTTPClient = &http.Client{Transport: changedBody{http.DefaultTransport}}
	_, err := kinesis.NewFromConfig(config).DescribeStreamSummary(background, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String("hotels")})
	wantCode(t, err, "InvalidSignatureException")
}

func TestRevokedRole(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	arn := w.role(localaws.Role{Name: "reader", Trust: localaws.Trust{Principals: []string{accountB}}})
	w.stream("hotels", 1)
	keys := w.assume(w.b, arn)
	list := func() error {
		_, err := w.kinesis(keys).ListShards(background, &kinesis.ListShardsInput{StreamName: aws.String("hotels")})
		return err
	}
	w.must(list())
	w.must(w.RevokeRole(arn))
	wantType[*kinesistypes.AccessDeniedException](t, list())
	_, err := w.sts(w.b).AssumeRole(background, &sts.AssumeRoleInput{RoleArn: &arn, RoleSessionName: aws.String("test")})
	wantCode(t, err, "AccessDenied")
	w.must(w.GrantRole(arn))
	w.must(list())
	if w.RevokeRole(arn+"x") == nil {
		t.Error("a role that does not exist was revoked")
	}
}

func TestDeniedActions(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	arn := w.role(localaws.Role{Name: "reader", Trust: localaws.Trust{Principals: []string{accountB}}})
	w.stream("hotels", 1)
	keys := w.assume(w.b, arn)
	list := func() error {
		_, err := w.kinesis(keys).ListShards(background, &kinesis.ListShardsInput{StreamName: aws.String("hotels")})
		return err
	}
	assume := func() error {
		_, err := w.sts(w.b).AssumeRole(background, &sts.AssumeRoleInput{RoleArn: &arn, RoleSessionName: aws.String("test")})
		return err
	}
	w.must(w.DenyActions(arn, "sts:AssumeRole")) // its sessions live on
	wantCode(t, assume(), "AccessDenied")
	w.must(list())
	w.must(w.DenyActions(arn, "kinesis:List*"))
	w.must(assume())
	wantType[*kinesistypes.AccessDeniedException](t, list())
	w.must(w.DenyActions(arn))
	w.must(list())
}

func TestWebIdentity(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	arn := w.role(localaws.Role{Name: "worker", Trust: localaws.Trust{Tokens: []string{"one"}}})
	other := w.role(localaws.Role{Name: "other", Trust: localaws.Trust{Principals: []string{accountA}}})
	anybody := aws.Config{Region: region, BaseEndpoint: aws.String(w.endpoint), HTTPClient: w.client, Retryer: func() aws.Retryer { return aws.NopRetryer{} }}
	assume := func(arn, token string, seconds int32) (*sts.AssumeRoleWithWebIdentityOutput, error) {
		return sts.NewFromConfig(anybody).AssumeRoleWithWebIdentity(background, &sts.AssumeRoleWithWebIdentityInput{
			RoleArn: &arn, RoleSessionName: aws.String("pod"), WebIdentityToken: &token, DurationSeconds: &seconds})
	}
	out, err := assume(arn, "one", 900)
	w.must(err)
	who, err := w.sts(session(out.Credentials)).GetCallerIdentity(background, nil)
	w.must(err)
	if *who.Arn != "arn:aws:sts::111111111111:assumed-role/worker/pod" {
		t.Errorf("the session is %s", *who.Arn)
	}
	w.must(w.SetTokens(arn, "two"))
	for _, test := range []struct {
		arn, token string
		seconds    int32
		want       string
	}{
		{arn, "one", 900, "ExpiredTokenException"},
		{other, "two", 900, "AccessDenied"},
		{arn + "x", "two", 900, "AccessDenied"},
		{arn, "two", 3601, "ValidationError"},
		{arn, "two", 899, "ValidationError"},
	} {
		_, err := assume(test.arn, test.token, test.seconds)
		wantCode(t, err, test.want)
	}
	_, err = assume(arn, "two", 900)
	w.must(err)
	w.must(w.DenyActions(arn, "sts:AssumeRoleWithWebIdentity"))
	_, err = assume(arn, "two", 900)
	wantCode(t, err, "AccessDenied")
}

func TestSessionOfATask(t *testing.T) {
	clock := newClock()
	w := newWorld(t, localaws.Config{Now: clock.now})
	arn := w.role(localaws.Role{Name: "worker"})
	keys, err := w.Session(arn, "task", 3*time.Second)
	w.must(err)
	list := func() error {
		_, err := w.kinesis(keys).ListStreams(background, nil)
		return err
	}
	w.must(list())
	clock.advance(3 * time.Second)
	wantCode(t, list(), "ExpiredTokenException")
	if _, err := w.Session(arn+"x", "task", time.Hour); err == nil {
		t.Error("a session of no role")
	}
}

// TestSkew has a server whose clock is off: it refuses requests as the service
// does, and tells its date.
func TestSkew(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	for _, test := range []struct {
		skew time.Duration
		want string
	}{
		{4 * time.Minute, ""},
		{-4 * time.Minute, ""},
		{10 * time.Minute, "Signature expired: "},
		{-10 * time.Minute, "Signature not yet current: "},
	} {
		w.SetSkew(test.skew)
		// A client of its own: another learns the server's date.
		_, k := w.kinesis(w.a).ListStreams(background, nil)
		_, d := w.dynamo(w.a).ListTables(background, nil)
		_, s := w.sts(w.a).GetCallerIdentity(background, nil)
		for _, err := range []error{k, d, s} {
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("skew %s: error %v, want %q", test.skew, err, test.want)
			}
		}
		if test.want != "" {
			wantCode(t, k, "InvalidSignatureException")
			wantCode(t, d, "InvalidSignatureException")
			wantCode(t, s, "SignatureDoesNotMatch")
		}
		client := w.kinesis(w.a)
		_, _ = client.ListStreams(background, nil)
		_, err := client.ListStreams(background, nil)
		w.must(err) // by the server's date
	}
}

func TestPermissionsOfARole(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	stream := w.stream("hotels", 1)
	w.stream("flights", 1)
	arn := w.role(localaws.Role{
		Name:  "reader",
		Trust: localaws.Trust{Principals: []string{accountB}},
		Permissions: []localaws.Permission{
			{Actions: []string{"kinesis:Get*", "kinesis:ListShards"}, Resources: []string{"arn:aws:kinesis:*:stream/hotels"}},
			{Actions: []string{"dynamodb:*"}},
		},
	})
	keys := w.assume(w.b, arn)
	k := w.kinesis(keys)
	w.get(k, w.iterate(k, stream, "shardId-000000000000", kinesistypes.ShardIteratorTypeLatest, ""))
	_, err := k.PutRecord(background, &kinesis.PutRecordInput{StreamARN: &stream, PartitionKey: aws.String("k"), Data: []byte("x")})
	if denied := wantType[*kinesistypes.AccessDeniedException](t, err); denied != nil {
		for _, part := range []string{"assumed-role/reader/test", "kinesis:PutRecord", stream} {
			if !strings.Contains(denied.ErrorMessage(), part) {
				t.Errorf("%q does not name %s", denied.ErrorMessage(), part)
			}
		}
	}
	_, err = k.ListShards(background, &kinesis.ListShardsInput{StreamName: aws.String("flights")})
	wantType[*kinesistypes.AccessDeniedException](t, err)
	_, err = w.dynamo(keys).ListTables(background, &dynamodb.ListTablesInput{})
	w.must(err)
	_, err = w.sts(keys).AssumeRole(background, &sts.AssumeRoleInput{RoleArn: &arn, RoleSessionName: aws.String("test")})
	wantCode(t, err, "AccessDenied")
}

func TestSecretsAreNotPrinted(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	var out bytes.Buffer
	printAll(&out, w.a)
	if strings.Contains(out.String(), w.a.SecretAccessKey) {
		t.Errorf("printed %s", out.String())
	}
}
