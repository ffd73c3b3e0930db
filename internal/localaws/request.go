package localaws

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxBody bounds a request: 10 MiB of records in base64 with their keys.
const maxBody = 32 << 20

// A large answer is held back a moment, to let the client return from writing
// its request. smithy-go closes a request's body as soon as it has the answer's
// header; where the HTTP transport is then still looking for the body's end, it
// sees an error instead, and closes the connection below the answer: one in ten
// on a busy machine's loopback, where no network keeps the two apart. A small
// answer arrives together with its header, and is safe.
const (
	turnaround  = 20 * time.Microsecond
	largeAnswer = 2 << 10
)

// apiError is an answer other than success, still without its protocol.
type apiError struct {
	status  int // 0: 400
	code    string
	message string
	item    []byte // DynamoDB: the old item, JSON
}

func refuse(code, format string, args ...any) *apiError {
	return &apiError{code: code, message: fmt.Sprintf(format, args...)}
}

// call is one authenticated request on its way through an operation.
type call struct {
	context   context.Context // the request's own: a delay ends with it
	server    *Server
	service   string // kinesis, dynamodb, sqs, sns, s3, secretsmanager, sts
	operation string
	region    string
	host      string // that the request came to
	caller    *identity
	body      []byte // owned by the handler: copied where kept
	form      url.Values
	s3        *s3Request // of S3 alone

	effects effects // what the faults that matched want of the operation

	subscription *subscription // answers the request, instead of a body; nil: none
}

// operation handlers by service and name. Each returns a JSON body, or for
// STS the XML of the result element.
type operation func(*call) ([]byte, *apiError)

var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/_localaws/") {
		s.serveAdmin(w, r)
		return
	}
	buffer := bodies.Get().(*bytes.Buffer)
	defer bodies.Put(buffer)
	buffer.Reset()
	if n := r.ContentLength; n > 0 && n <= maxBody {
		buffer.Grow(int(n) + bytes.MinRead)
	}
	if _, err := buffer.ReadFrom(io.LimitReader(r.Body, maxBody+1)); err != nil {
		return // the client has gone
	}
	c := &call{context: r.Context(), server: s, host: r.Host, body: buffer.Bytes()}
	handler, e := c.route(r)
	if e == nil && len(c.body) > maxBody {
		e = &apiError{status: http.StatusRequestEntityTooLarge, code: "RequestEntityTooLargeException", message: "the request is larger than 32 MiB"}
	}
	if e == nil && !(c.service == "sts" && c.operation == "AssumeRoleWithWebIdentity") { // that one is not signed
		e = s.authenticate(c, r)
	}
	var answer []byte
	if e == nil {
		answer, e = handler(c)
	}
	code := ""
	if e != nil {
		code = e.code
	}
	s.stats.count(c.service+"."+c.operation, code)
	if c.effects.dropBefore || c.effects.dropAfter {
		panic(http.ErrAbortHandler) // closes the connection without an answer
	}
	if c.subscription != nil {
		c.subscription.serve(w)
		return
	}
	if len(answer) > largeAnswer {
		time.Sleep(turnaround)
	}
	c.respond(w, answer, e)
}

// route finds the service and operation of a request: JSON services name them
// in X-Amz-Target, STS and SNS in their form, and S3 is what a request is signed for.
func (c *call) route(r *http.Request) (operation, *apiError) {
	c.service, c.operation = "unknown", "unknown"
	if strings.Contains(r.Header.Get("Authorization"), "/s3/aws4_request") {
		return c.routeS3(r)
	}
	var table map[string]operation
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		prefix, name, _ := strings.Cut(target, ".")
		switch prefix {
		case "Kinesis_20131202":
			c.service, table = "kinesis", kinesisOperations
		case "DynamoDB_20120810":
			c.service, table = "dynamodb", dynamoOperations
		case "AmazonSQS":
			c.service, table = "sqs", sqsOperations
		case "secretsmanager":
			c.service, table = "secretsmanager", secretsOperations
		default:
			return nil, refuse("UnknownOperationException", "the local AWS has no service %q", prefix)
		}
		if contentType := r.Header.Get("Content-Type"); !strings.HasPrefix(contentType, "application/x-amz-json-1.") {
			return nil, &apiError{status: http.StatusUnsupportedMediaType, code: "SerializationException",
				message: fmt.Sprintf("the local AWS speaks JSON, not %q", contentType)}
		}
		handler := table[name]
		if handler == nil {
			return nil, refuse("UnknownOperationException", "the local AWS has no operation %s.%s", c.service, name)
		}
		c.operation = name
		return handler, nil
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		c.service, table = "sts", stsOperations
		if strings.Contains(r.Header.Get("Authorization"), "/sns/aws4_request") {
			c.service, table = "sns", snsOperations
		}
		form, err := url.ParseQuery(string(c.body))
		if err != nil {
			return nil, refuse("MalformedInput", "%v", err)
		}
		c.form = form
		handler := table[form.Get("Action")]
		if handler == nil {
			return nil, refuse("InvalidAction", "Could not find operation %s for version %s", form.Get("Action"), form.Get("Version"))
		}
		c.operation = form.Get("Action")
		return handler, nil
	}
	return nil, &apiError{status: http.StatusNotFound, code: "UnknownOperationException", message: "the local AWS serves Kinesis, DynamoDB, SQS, SNS, S3, Secrets Manager and STS"}
}

// respond writes an answer or error in the service's own protocol.
func (c *call) respond(w http.ResponseWriter, answer []byte, e *apiError) {
	if c.s3 != nil {
		c.respondS3(w, answer, e)
		return
	}
	header := w.Header()
	id := requestID()
	header.Set("X-Amzn-Requestid", id)
	header.Set("Date", c.server.now().UTC().Format(http.TimeFormat))
	status := http.StatusOK
	if e != nil {
		status = e.status
		if status == 0 {
			status = http.StatusBadRequest
		}
	}
	switch {
	case c.service == "sts" || c.service == "sns":
		header.Set("Content-Type", "text/xml")
		answer = queryEnvelope(querySpaces[c.service], c.operation, id, answer, e)
	case e == nil:
		header.Set("Content-Type", c.contentType())
	default:
		header.Set("Content-Type", c.contentType())
		if c.service == "sqs" {
			header.Set("X-Amzn-Query-Error", queryError(e))
		}
		answer = c.jsonError(e)
	}
	if c.service == "dynamodb" {
		header.Set("X-Amz-Crc32", strconv.FormatUint(uint64(crc32.ChecksumIEEE(answer)), 10))
	}
	header.Set("Content-Length", strconv.Itoa(len(answer)))
	w.WriteHeader(status)
	w.Write(answer) // an error here is the client's absence
}

func (c *call) contentType() string {
	if c.service == "dynamodb" || c.service == "sqs" {
		return "application/x-amz-json-1.0"
	}
	return "application/x-amz-json-1.1"
}

// jsonError is the error body of awsJson: Kinesis names the bare code,
// DynamoDB one with the name space of the layer that refused.
func (c *call) jsonError(e *apiError) []byte {
	code := e.code
	if c.service == "dynamodb" {
		switch code {
		case "ValidationException":
			code = "com.amazon.coral.validate#" + code
		case "UnrecognizedClientException", "ExpiredTokenException", "InvalidSignatureException", "MissingAuthenticationTokenException",
			"AccessDeniedException", "UnknownOperationException", "SerializationException", "IncompleteSignatureException":
			code = "com.amazon.coral.service#" + code
		default:
			code = "com.amazonaws.dynamodb.v20120810#" + code
		}
	}
	if c.service == "sqs" {
		code = "com.amazonaws.sqs#" + code
	}
	out := append([]byte(`{"__type":`), quote(code)...)
	if e.item != nil {
		out = append(append(out, `,"Item":`...), e.item...)
	}
	if e.message != "" {
		out = append(append(out, `,"message":`...), quote(e.message)...)
	}
	return append(out, '}')
}

// queryNames are the codes that SQS had before it spoke JSON, which its clients
// still see.
var queryNames = map[string]string{
	"QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue", "QueueNameExists": "QueueAlreadyExists",
	"BatchEntryIdsNotDistinct":     "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
	"BatchRequestTooLong":          "AWS.SimpleQueueService.BatchRequestTooLong",
	"EmptyBatchRequest":            "AWS.SimpleQueueService.EmptyBatchRequest",
	"InvalidBatchEntryId":          "AWS.SimpleQueueService.InvalidBatchEntryId",
	"TooManyEntriesInBatchRequest": "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
	"MessageNotInflight":           "AWS.SimpleQueueService.MessageNotInflight",
}

func queryError(e *apiError) string {
	fault := ";Sender"
	if e.status >= 500 {
		fault = ";Receiver"
	}
	if name := queryNames[e.code]; name != "" {
		return name + fault
	}
	return e.code + fault
}

// querySpaces are the name spaces of the services that speak the query protocol.
var querySpaces = map[string]string{
	"sts": `xmlns="https://sts.amazonaws.com/doc/2011-06-15/"`,
	"sns": `xmlns="http://sns.amazonaws.com/doc/2010-03-31/"`,
}

// queryEnvelope wraps a result or an error in the query protocol's XML.
func queryEnvelope(space, name, id string, result []byte, e *apiError) []byte {
	if e != nil {
		fault := "Sender"
		if e.status >= 500 {
			fault = "Receiver"
		}
		return fmt.Appendf(nil, `<ErrorResponse %s><Error><Type>%s</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>%s</RequestId></ErrorResponse>`,
			space, fault, escapeXML(e.code), escapeXML(e.message), id)
	}
	return fmt.Appendf(nil, `<%sResponse %s><%sResult>%s</%sResult><ResponseMetadata><RequestId>%s</RequestId></ResponseMetadata></%sResponse>`,
		name, space, name, result, name, id, name)
}

func escapeXML(s string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(s)) // a Builder does not fail
	return b.String()
}

// decode reads the request of a cold operation into v.
func (c *call) decode(v any) *apiError {
	if len(c.body) == 0 {
		return nil
	}
	if err := json.Unmarshal(c.body, v); err != nil {
		return refuse("SerializationException", "%v", err)
	}
	return nil
}

// encode is the answer of a cold operation.
func encode(v any) ([]byte, *apiError) {
	out, err := json.Marshal(v)
	if err != nil {
		return nil, &apiError{status: http.StatusInternalServerError, code: "InternalFailure", message: err.Error()}
	}
	return out, nil
}

func randomBytes(b []byte) { rand.Read(b) } // never fails, by its contract

func requestID() string {
	var b [16]byte
	randomBytes(b[:])
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
