package localaws

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	maxBuckets     = 1000    // per server
	maxBucketBytes = 1 << 30 // of its objects: they are in memory
	maxObjectKey   = 1024
	maxListed      = 1000
)

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// s3Bucket is one of S3. Buckets of all accounts share one name space.
type s3Bucket struct {
	account, region, name, arn string
	created                    time.Time

	mu       sync.Mutex // guards everything below
	objects  map[string]*object
	keys     []string // of objects, sorted
	bytes    int64
	policies map[string]bool // accounts that may use the bucket
}

// object is never changed: a put makes another one.
type object struct {
	data     []byte
	etag     string // in quotes
	modified time.Time
	header   http.Header // what was put with it: its type, encoding and metadata
}

// s3Request is what S3 has in the request itself; its answer has headers.
type s3Request struct {
	*http.Request
	bucket, key string
	query       url.Values
	status      int // of the answer; 0: 200
	header      http.Header
}

// routeS3 finds the operation of a request for a bucket or an object, whose name
// is the path (path style).
func (c *call) routeS3(r *http.Request) (operation, *apiError) {
	c.service = "s3"
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	c.s3 = &s3Request{Request: r, bucket: bucket, key: key, query: r.URL.Query(), header: http.Header{}}
	operations := map[string]operation{"PutObject": putObject, "GetObject": getObject, "HeadObject": getObject, "DeleteObject": deleteObject}
	name := map[string]string{"PUT": "PutObject", "GET": "GetObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}[r.Method]
	if key == "" {
		operations = map[string]operation{"CreateBucket": createBucket, "ListObjectsV2": listObjects, "HeadBucket": headBucket, "DeleteBucket": deleteBucket}
		name = map[string]string{"PUT": "CreateBucket", "GET": "ListObjectsV2", "HEAD": "HeadBucket", "DELETE": "DeleteBucket"}[r.Method]
	}
	for parameter := range c.s3.query {
		known := []string{"x-id", "list-type", "prefix", "delimiter", "max-keys", "continuation-token", "start-after", "encoding-type", "fetch-owner"}
		if !slices.Contains(known, parameter) {
			name = "" // an operation of its own, such as ?acl
		}
	}
	if name == "ListObjectsV2" && c.s3.query.Get("list-type") != "2" || bucket == "" {
		name = ""
	}
	if name == "" {
		return nil, &apiError{status: http.StatusNotImplemented, code: "NotImplemented", message: "The local AWS does not implement this operation of S3."}
	}
	c.operation = name
	return operations[name], nil
}

// s3Actions are the permissions that are not named as the operation.
var s3Actions = map[string]string{"ListObjectsV2": "s3:ListBucket", "HeadBucket": "s3:ListBucket", "HeadObject": "s3:GetObject"}

// bucketOf finds the bucket of a request, checks that the caller may use it,
// and lets faults act.
func (c *call) bucketOf() (*s3Bucket, *apiError) {
	name := c.s3.bucket
	c.server.mu.RLock()
	b := c.server.buckets[name]
	c.server.mu.RUnlock()
	arn := "arn:aws:s3:::" + name
	if c.s3.key != "" {
		arn += "/" + c.s3.key
	}
	if b != nil && b.account != c.caller.account && !b.allowsAccount(c.caller.account) {
		return nil, c.denied(arn, "no resource-based policy allows")
	}
	account := c.caller.account
	if b != nil {
		account = b.account
	}
	if e := c.enter(resource{account: account, arn: arn, bucket: name}); e != nil {
		return nil, e
	}
	switch {
	case b == nil:
		return nil, &apiError{status: http.StatusNotFound, code: "NoSuchBucket", message: "The specified bucket does not exist"}
	case b.region != c.region:
		c.s3.header.Set("X-Amz-Bucket-Region", b.region)
		return nil, &apiError{status: http.StatusMovedPermanently, code: "PermanentRedirect", message: "The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint."}
	}
	return b, nil
}

func (b *s3Bucket) allowsAccount(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.policies[id]
}

func (s *Server) allowBucket(arn, account string) error {
	name := strings.TrimPrefix(arn, "arn:aws:s3:::")
	s.mu.RLock()
	b := s.buckets[name]
	s.mu.RUnlock()
	if b == nil {
		return fmt.Errorf("bucket %s: there is none", arn)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.policies[account] = true
	return nil
}

// CreateBucket makes a bucket of an account and returns its ARN.
func (s *Server) CreateBucket(account, region, name string) (string, error) {
	s.mu.RLock()
	_, ok := s.accounts[account]
	s.mu.RUnlock()
	if !ok {
		return "", fmt.Errorf("create bucket %s: there is no account %s", name, account)
	}
	b, e := s.createBucket(account, region, name)
	if e != nil {
		return "", e.asError("create bucket " + name)
	}
	return b.arn, nil
}

func (s *Server) createBucket(account, region, name string) (*s3Bucket, *apiError) {
	if !bucketName.MatchString(name) || strings.Contains(name, "..") {
		return nil, refuse("InvalidBucketName", "The specified bucket is not valid.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.buckets[name]; old != nil {
		code := "BucketAlreadyExists"
		if old.account == account {
			code = "BucketAlreadyOwnedByYou"
		}
		return nil, &apiError{status: http.StatusConflict, code: code, message: "The requested bucket name is not available."}
	}
	if len(s.buckets) >= maxBuckets {
		return nil, refuse("TooManyBuckets", "You have attempted to create more buckets than allowed")
	}
	b := &s3Bucket{account: account, region: region, name: name, arn: "arn:aws:s3:::" + name, created: s.now(),
		objects: map[string]*object{}, policies: map[string]bool{}}
	s.buckets[name] = b
	return b, nil
}

func createBucket(c *call) ([]byte, *apiError) {
	var in struct{ LocationConstraint string }
	if len(c.body) > 0 && xml.Unmarshal(c.body, &in) != nil {
		return nil, refuse("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	}
	region := in.LocationConstraint
	if region == "" {
		region = "us-east-1"
	}
	if e := c.enter(resource{account: c.caller.account, arn: "arn:aws:s3:::" + c.s3.bucket, bucket: c.s3.bucket}); e != nil {
		return nil, e
	}
	if region != c.region {
		return nil, refuse("IllegalLocationConstraintException", "The %s location constraint is incompatible for the region specific endpoint this request was sent to.", region)
	}
	if _, e := c.server.createBucket(c.caller.account, region, c.s3.bucket); e != nil {
		return nil, e
	}
	c.s3.header.Set("Location", "/"+c.s3.bucket)
	return nil, nil
}

func headBucket(c *call) ([]byte, *apiError) {
	b, e := c.bucketOf()
	if e != nil {
		return nil, e
	}
	c.s3.header.Set("X-Amz-Bucket-Region", b.region)
	return nil, nil
}

func deleteBucket(c *call) ([]byte, *apiError) {
	b, e := c.bucketOf()
	if e != nil {
		return nil, e
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.objects) > 0 {
		return nil, &apiError{status: http.StatusConflict, code: "BucketNotEmpty", message: "The bucket you tried to delete is not empty"}
	}
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	delete(c.server.buckets, b.name)
	c.s3.status = http.StatusNoContent
	return nil, nil
}

// listing is the answer of ListObjectsV2.
type listing struct {
	XMLName               xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListBucketResult"`
	Name, Prefix          string
	Delimiter             string `xml:",omitempty"`
	EncodingType          string `xml:",omitempty"`
	MaxKeys, KeyCount     int
	IsTruncated           bool
	NextContinuationToken string `xml:",omitempty"`
	Contents              []listedObject
	CommonPrefixes        []listedPrefix
}

type listedObject struct {
	Key, LastModified, ETag string
	Size                    int
	StorageClass            string
}

type listedPrefix struct{ Prefix string }

func listObjects(c *call) ([]byte, *apiError) {
	b, e := c.bucketOf()
	if e != nil {
		return nil, e
	}
	query := c.s3.query
	most := maxListed
	if text := query.Get("max-keys"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return nil, refuse("InvalidArgument", "Provided max-keys not an integer or within integer range")
		}
		most = min(n, maxListed)
	}
	prefix, delimiter, after := query.Get("prefix"), query.Get("delimiter"), query.Get("start-after")
	if token := query.Get("continuation-token"); token != "" {
		text, ok := strings.CutPrefix(token, "after:")
		if !ok {
			return nil, refuse("InvalidArgument", "The continuation token provided is incorrect")
		}
		after = text
	}
	shown := func(s string) string { return s }
	if query.Get("encoding-type") == "url" {
		shown = url.QueryEscape
	}
	out := listing{Name: b.name, Prefix: shown(prefix), Delimiter: shown(delimiter), EncodingType: query.Get("encoding-type"), MaxKeys: most}
	b.mu.Lock()
	defer b.mu.Unlock()
	last := ""
	for _, key := range b.keys {
		if !strings.HasPrefix(key, prefix) || key <= after || after != "" && strings.HasSuffix(after, delimiter) && delimiter != "" && strings.HasPrefix(key, after) {
			continue
		}
		common := ""
		if delimiter != "" {
			if head, _, found := strings.Cut(key[len(prefix):], delimiter); found {
				common = prefix + head + delimiter
			}
		}
		if n := len(out.CommonPrefixes); common != "" && n > 0 && out.CommonPrefixes[n-1].Prefix == shown(common) {
			continue
		}
		if out.KeyCount == most {
			out.IsTruncated, out.NextContinuationToken = most > 0, "after:"+last
			break
		}
		out.KeyCount++
		if common != "" {
			last = common
			out.CommonPrefixes = append(out.CommonPrefixes, listedPrefix{shown(common)})
			continue
		}
		last = key
		o := b.objects[key]
		out.Contents = append(out.Contents, listedObject{Key: shown(key), LastModified: o.modified.UTC().Format("2006-01-02T15:04:05.000Z"),
			ETag: o.etag, Size: len(o.data), StorageClass: "STANDARD"})
	}
	text, err := xml.Marshal(out)
	if err != nil {
		return nil, c.internal()
	}
	c.s3.header.Set("Content-Type", "application/xml")
	return append([]byte(xml.Header), text...), nil
}
