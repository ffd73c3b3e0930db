package localaws

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"hash/crc32"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// checksums are the sums that a put may carry, to be checked.
var checksums = map[string]func() hash.Hash{
	"Content-Md5":           md5.New,
	"X-Amz-Checksum-Crc32":  func() hash.Hash { return crc32.NewIEEE() },
	"X-Amz-Checksum-Crc32c": func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) },
	"X-Amz-Checksum-Sha1":   sha1.New,
	"X-Amz-Checksum-Sha256": sha256.New,
}

// precondition checks If-Match and If-None-Match against the object that is
// there; nil: there is none.
func (r *s3Request) precondition(o *object) *apiError {
	failed := &apiError{status: http.StatusPreconditionFailed, code: "PreconditionFailed", message: "At least one of the pre-conditions you specified did not hold"}
	if want := r.Header.Get("If-Match"); want != "" {
		if o == nil {
			return noSuchKey()
		}
		if want != o.etag && want != "*" {
			return failed
		}
	}
	if r.Header.Get("If-None-Match") == "*" && o != nil {
		return failed
	}
	return nil
}

func noSuchKey() *apiError {
	return &apiError{status: http.StatusNotFound, code: "NoSuchKey", message: "The specified key does not exist."}
}

func putObject(c *call) ([]byte, *apiError) {
	r := c.s3
	b, e := c.bucketOf()
	if e != nil {
		return nil, e
	}
	if len(r.key) > maxObjectKey {
		return nil, refuse("KeyTooLongError", "Your key is too long")
	}
	if strings.Contains(r.Header.Get("Content-Encoding"), "aws-chunked") || r.Header.Get("X-Amz-Copy-Source") != "" {
		return nil, &apiError{status: http.StatusNotImplemented, code: "NotImplemented", message: "The local AWS has no chunked uploads and no copies."}
	}
	for name, sum := range checksums {
		want := r.Header.Get(name)
		if want == "" {
			continue
		}
		h := sum()
		h.Write(c.body)
		if base64.StdEncoding.EncodeToString(h.Sum(nil)) != want {
			return nil, refuse("BadDigest", "The %s you specified did not match the calculated checksum.", name)
		}
	}
	sum := md5.Sum(c.body)
	o := &object{data: bytes.Clone(c.body), etag: `"` + hex.EncodeToString(sum[:]) + `"`, modified: c.server.now(), header: http.Header{}}
	for name, values := range r.Header {
		if name == "Content-Type" || name == "Content-Encoding" || name == "Cache-Control" || strings.HasPrefix(name, "X-Amz-Meta-") {
			o.header[name] = slices.Clone(values)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.objects[r.key]
	if e := r.precondition(old); e != nil {
		return nil, e
	}
	size := b.bytes + int64(len(o.data))
	if old != nil {
		size -= int64(len(old.data))
	}
	if size > maxBucketBytes {
		return nil, &apiError{status: http.StatusInsufficientStorage, code: "InsufficientStorage", message: "a bucket of the local AWS holds 1 GiB"}
	}
	if old == nil {
		at, _ := slices.BinarySearch(b.keys, r.key)
		b.keys = slices.Insert(b.keys, at, r.key)
	}
	b.objects[r.key], b.bytes = o, size
	r.header.Set("ETag", o.etag)
	return nil, nil
}

// getObject answers GetObject and HeadObject.
func getObject(c *call) ([]byte, *apiError) {
	r := c.s3
	b, e := c.bucketOf()
	if e != nil {
		return nil, e
	}
	b.mu.Lock()
	o := b.objects[r.key]
	b.mu.Unlock()
	if o == nil {
		// Who may not list learns nothing of what is there.
		if !c.caller.allows("s3:ListBucket", b.arn) {
			return nil, &apiError{status: http.StatusForbidden, code: "AccessDenied", message: "Access Denied"}
		}
		return nil, noSuchKey()
	}
	if e := r.precondition(o); e != nil {
		return nil, e
	}
	maps.Copy(r.header, o.header)
	r.header.Set("ETag", o.etag)
	r.header.Set("Last-Modified", o.modified.UTC().Format(http.TimeFormat))
	r.header.Set("Accept-Ranges", "bytes")
	wanted := r.Header.Get("Range")
	if wanted == "" {
		return o.data, nil
	}
	from, to, ok := byteRange(wanted, len(o.data))
	if !ok {
		return nil, &apiError{status: http.StatusRequestedRangeNotSatisfiable, code: "InvalidRange", message: "The requested range is not satisfiable"}
	}
	r.status = http.StatusPartialContent
	r.header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, len(o.data)))
	return o.data[from : to+1], nil
}

// byteRange reads bytes=FROM-TO, bytes=FROM- or bytes=-LAST.
func byteRange(text string, size int) (from, to int, ok bool) {
	first, last, found := strings.Cut(strings.TrimPrefix(text, "bytes="), "-")
	if !found || !strings.HasPrefix(text, "bytes=") || size == 0 {
		return 0, 0, false
	}
	from, fromErr := strconv.Atoi(first)
	to, toErr := strconv.Atoi(last)
	switch {
	case first == "" && toErr == nil && to > 0:
		return max(size-to, 0), size - 1, true
	case fromErr == nil && last == "":
		return from, size - 1, from < size
	case fromErr == nil && toErr == nil:
		return from, min(to, size-1), from <= to && from < size
	}
	return 0, 0, false
}

func deleteObject(c *call) ([]byte, *apiError) {
	b, e := c.bucketOf()
	if e != nil {
		return nil, e
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if o := b.objects[c.s3.key]; o != nil {
		b.bytes -= int64(len(o.data))
		delete(b.objects, c.s3.key)
		if at, found := slices.BinarySearch(b.keys, c.s3.key); found {
			b.keys = slices.Delete(b.keys, at, at+1)
		}
	}
	c.s3.status = http.StatusNoContent
	return nil, nil
}

// respondS3 writes an answer, or an error in S3's own XML.
func (c *call) respondS3(w http.ResponseWriter, answer []byte, e *apiError) {
	id := requestID()
	header := w.Header()
	maps.Copy(header, c.s3.header)
	header.Set("X-Amz-Request-Id", id)
	header.Set("Date", c.server.now().UTC().Format(http.TimeFormat))
	status := c.s3.status
	if status == 0 {
		status = http.StatusOK
	}
	if e != nil {
		if status = e.status; status == 0 {
			status = http.StatusBadRequest
		}
		header.Set("Content-Type", "application/xml")
		answer = fmt.Appendf(nil, `<?xml version="1.0" encoding="UTF-8"?>`+"\n"+`<Error><Code>%s</Code><Message>%s</Message><Resource>%s</Resource><RequestId>%s</RequestId></Error>`,
			escapeXML(e.code), escapeXML(e.message), escapeXML(c.s3.URL.Path), id)
	}
	if status == http.StatusNoContent {
		w.WriteHeader(status)
		return
	}
	header.Set("Content-Length", strconv.Itoa(len(answer)))
	w.WriteHeader(status)
	if c.s3.Method != http.MethodHead {
		w.Write(answer) // an error here is the client's absence
	}
}
