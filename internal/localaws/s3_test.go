package localaws_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/shardline/shardline/internal/localaws"
)

// bucket is a bucket of account A and its client.
type bucket struct {
	*s3.Client
	w    *world
	name *string
	arn  string
}

func (w *world) s3(c localaws.Credentials) *s3.Client {
	return s3.NewFromConfig(w.config(c), func(o *s3.Options) { o.UsePathStyle = true })
}

func (w *world) bucket(name string) *bucket {
	w.t.Helper()
	arn, err := w.CreateBucket(accountA, region, name)
	w.must(err)
	return &bucket{w.s3(w.a), w, &name, arn}
}

func (b *bucket) put(key, body string, change func(*s3.PutObjectInput)) error {
	in := &s3.PutObjectInput{Bucket: b.name, Key: &key, Body: strings.NewReader(body)}
	if change != nil {
		change(in)
	}
	_, err := b.PutObject(background, in)
	return err
}

func (b *bucket) get(key, byteRange string) (string, *s3.GetObjectOutput, error) {
	in := &s3.GetObjectInput{Bucket: b.name, Key: &key}
	if byteRange != "" {
		in.Range = &byteRange
	}
	out, err := b.GetObject(background, in)
	if err != nil {
		return "", nil, err
	}
	defer out.Body.Close()
	data, err := io.ReadAll(out.Body)
	return string(data), out, err
}

func TestObjects(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	b := w.bucket("letters")
	const key = "a=b/dt=2026-01-02/x y+z%.jsonl" // what has to be escaped
	w.must(b.put(key, "0123456789", func(in *s3.PutObjectInput) {
		in.ContentType, in.ContentEncoding = aws.String("application/x-ndjson"), aws.String("gzip")
		in.Metadata = map[string]string{"worker": "w1"}
	}))
	got, out, err := b.get(key, "")
	w.must(err)
	if got != "0123456789" || aws.ToString(out.ContentEncoding) != "gzip" || out.Metadata["worker"] != "w1" {
		t.Errorf("got %q, encoding %s, metadata %v", got, aws.ToString(out.ContentEncoding), out.Metadata)
	}
	for text, want := range map[string]string{"bytes=2-4": "234", "bytes=8-": "89", "bytes=-3": "789", "bytes=8-20": "89"} {
		if got, _, err := b.get(key, text); err != nil || got != want {
			t.Errorf("%s is %q, %v; want %q", text, got, err, want)
		}
	}
	_, _, err = b.get(key, "bytes=10-")
	wantCode(t, err, "InvalidRange")
	head, err := b.HeadObject(background, &s3.HeadObjectInput{Bucket: b.name, Key: aws.String(key)})
	if err != nil || aws.ToInt64(head.ContentLength) != 10 {
		t.Errorf("head: %v, %v", head, err)
	}
	_, err = b.DeleteObject(background, &s3.DeleteObjectInput{Bucket: b.name, Key: aws.String(key)})
	w.must(err)
	_, _, err = b.get(key, "")
	wantType[*types.NoSuchKey](t, err)
	_, err = b.HeadObject(background, &s3.HeadObjectInput{Bucket: b.name, Key: aws.String(key)})
	wantType[*types.NotFound](t, err)
}

func TestConditionalPut(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	b := w.bucket("letters")
	fresh := func(in *s3.PutObjectInput) { in.IfNoneMatch = aws.String("*") }
	w.must(b.put("k", "one", fresh))
	wantCode(t, b.put("k", "two", fresh), "PreconditionFailed")
	_, out, err := b.get("k", "")
	w.must(err)
	same := func(in *s3.PutObjectInput) { in.IfMatch = out.ETag }
	w.must(b.put("k", "three", same))
	wantCode(t, b.put("k", "four", same), "PreconditionFailed")
	wantCode(t, b.put("new", "", same), "NoSuchKey")
	if got, _, _ := b.get("k", ""); got != "three" {
		t.Errorf("the object is %q, want three", got)
	}
	wantCode(t, b.put("k", "five", func(in *s3.PutObjectInput) { in.ChecksumCRC32 = aws.String("AAAAAA==") }), "BadDigest")
}

func TestListObjects(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	b := w.bucket("letters")
	for _, key := range []string{"a/1", "a/2", "b", "c/d/1", "c/e"} {
		w.must(b.put(key, "x", nil))
	}
	list := func(prefix, delimiter string, most int32) (all string, pages int) {
		p := s3.NewListObjectsV2Paginator(b, &s3.ListObjectsV2Input{Bucket: b.name, Prefix: &prefix, Delimiter: &delimiter, MaxKeys: &most})
		for p.HasMorePages() {
			out, err := p.NextPage(background)
			w.must(err)
			pages++
			for _, o := range out.Contents {
				all += *o.Key + " "
			}
			for _, o := range out.CommonPrefixes {
				all += *o.Prefix + " "
			}
		}
		return all, pages
	}
	for _, c := range []struct {
		prefix, delimiter string
		most              int32
		want              string
		pages             int
	}{
		{"", "", 1000, "a/1 a/2 b c/d/1 c/e ", 1},
		{"", "", 2, "a/1 a/2 b c/d/1 c/e ", 3},
		{"a/", "", 1000, "a/1 a/2 ", 1},
		{"", "/", 1, "a/ b c/ ", 3},
		{"c/", "/", 1000, "c/e c/d/ ", 1},
		{"none", "", 1000, "", 1},
	} {
		if got, pages := list(c.prefix, c.delimiter, c.most); got != c.want || pages != c.pages {
			t.Errorf("list %q by %q: %q in %d pages, want %q in %d", c.prefix, c.delimiter, got, pages, c.want, c.pages)
		}
	}
}

func TestBucketsRefuse(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	b := w.bucket("letters")
	other := w.s3(w.b)
	_, err := other.HeadBucket(background, &s3.HeadBucketInput{Bucket: b.name})
	if err == nil {
		t.Error("another account's bucket is open")
	}
	in := func() *s3.PutObjectInput {
		return &s3.PutObjectInput{Bucket: b.name, Key: aws.String("k"), Body: strings.NewReader("x")}
	}
	_, err = other.PutObject(background, in())
	wantCode(t, err, "AccessDenied")
	w.must(w.AllowAccount(b.arn, accountB))
	if _, err = other.PutObject(background, in()); err != nil {
		t.Errorf("not put though the bucket allows the account: %v", err)
	}
	config := w.config(w.a)
	config.Region = "us-east-2"
	_, err = s3.NewFromConfig(config, func(o *s3.Options) { o.UsePathStyle = true }).PutObject(background, in())
	wantCode(t, err, "PermanentRedirect")
	_, err = b.CreateBucket(background, &s3.CreateBucketInput{Bucket: b.name,
		CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: region}})
	wantType[*types.BucketAlreadyOwnedByYou](t, err)
	_, err = b.PutObject(background, &s3.PutObjectInput{Bucket: aws.String("nowhere"), Key: aws.String("k"), Body: strings.NewReader("x")})
	wantCode(t, err, "NoSuchBucket")

	// A role that may put, but not list, is not told that there is nothing.
	role, err := w.AddRole(localaws.Role{Account: accountA, Name: "writer", Trust: localaws.Trust{Principals: []string{accountA}},
		Permissions: []localaws.Permission{{Actions: []string{"s3:PutObject", "s3:GetObject"}, Resources: []string{b.arn + "/dead/*"}}}})
	w.must(err)
	session, err := w.Session(role, "test", 3600e9)
	w.must(err)
	writer := w.s3(session)
	for key, code := range map[string]string{"dead/a": "", "live/a": "AccessDenied"} {
		_, err := writer.PutObject(background, &s3.PutObjectInput{Bucket: b.name, Key: &key, Body: strings.NewReader("x")})
		if code == "" && err != nil {
			t.Errorf("put %s: %v", key, err)
		} else if code != "" {
			wantCode(t, err, code)
		}
	}
	_, err = writer.GetObject(background, &s3.GetObjectInput{Bucket: b.name, Key: aws.String("dead/none")})
	wantCode(t, err, "AccessDenied")
}

func TestBucketFaults(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	b := w.bucket("letters")
	for kind, code := range map[localaws.FaultKind]string{localaws.Throttle: "SlowDown", localaws.Error500: "InternalError"} {
		if _, err := w.AddFault(localaws.Fault{Operation: "s3.PutObject", Bucket: "letters", Kind: kind, Count: 1}); err != nil {
			t.Fatal(err)
		}
		wantCode(t, b.put("k", "x", nil), code)
	}
	// The answer is lost, and the object is there.
	_, err := w.AddFault(localaws.Fault{Operation: "s3.PutObject", Kind: localaws.DropAfter, Count: 1})
	w.must(err)
	if b.put("k", "x", nil) == nil {
		t.Error("the answer was not lost")
	}
	if got, _, err := b.get("k", ""); err != nil || got != "x" {
		t.Errorf("the object is %q, %v", got, err)
	}
	if calls := w.Stats().Calls["s3.PutObject"]; calls != 3 {
		t.Errorf("%s", fmt.Sprint(calls, " calls were counted, want 3"))
	}
}
