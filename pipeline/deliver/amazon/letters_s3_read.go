package amazon

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/shardline/shardline/pipeline/deliver"
	"github.com/shardline/shardline/pipeline/redrive"
)

const (
	// maxUnpacked bounds an object's lines: those that are written here have
	// maxObjectBytes, or one letter.
	maxUnpacked = 64 << 20
	// cachedObjects is how many objects' lines are kept, for letters of many
	// keys that lie in few objects.
	cachedObjects = 4
	// marksFolder has what is redriven of objects that are not redriven as a
	// whole. Athena and Hive do not look into folders with such a name.
	marksFolder = "_redriven/"
	// lateDays is how long before and after a letter's time its object may be
	// written: a queue may have been down.
	lateDays = 7
)

// objectLine is the place of a letter.
type objectLine struct {
	object *letterObject
	line   int
}

// letterObject is an object of letters.
type letterObject struct {
	key    string
	lines  int
	done   map[int]bool
	marked string // ETag of its marks; empty: it has none
}

// objectMarks is the object that says which lines of another one are redriven.
type objectMarks struct {
	Object string `json:"object"`
	Lines  []int  `json:"redriven_lines"`
}

// objectCache is the lines of the last objects that were read.
type objectCache struct {
	keys  []string
	lines map[string][][]byte
}

// Partial implements redrive.Queue.
func (s *S3Letters) Partial() bool { return false }

// Scan implements redrive.Queue.
func (s *S3Letters) Scan(ctx context.Context, f redrive.Filter, found func(redrive.Found) error) error {
	prefix := s.prefix + "destination="
	if f.Destination != "" {
		prefix = s.prefix + destinationFolder(f.Destination)
	}
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: aws.String(s.bucket), Prefix: aws.String(prefix)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list %s%s/%s: %s", objectScheme, s.bucket, prefix, failed(err).Detail)
		}
		for _, o := range page.Contents {
			key := aws.ToString(o.Key)
			if !mayHave(key, f) {
				continue
			}
			if err := s.scanObject(ctx, key, found); err != nil {
				return err
			}
		}
	}
	return nil
}

// mayHave says whether an object may have letters that a filter means, by the
// date in its key.
func mayHave(key string, f redrive.Filter) bool {
	_, rest, ok := strings.Cut(key, "/dt=")
	day, _, _ := strings.Cut(rest, "/")
	date, err := time.Parse(time.DateOnly, day)
	if !ok || err != nil {
		return true
	}
	return (f.Since.IsZero() || date.AddDate(0, 0, 1).After(f.Since)) && (f.Until.IsZero() || !date.AddDate(0, 0, -lateDays).After(f.Until))
}

func (s *S3Letters) scanObject(ctx context.Context, key string, found func(redrive.Found) error) error {
	where := objectScheme + s.bucket + "/" + key
	if !strings.HasSuffix(key, letterSuffix) {
		if strings.HasSuffix(key, ".body") {
			return nil // another queue's overflow
		}
		return found(redrive.Found{Where: where, Problem: errors.New("no object of dead letters: its name does not end in " + letterSuffix)})
	}
	lines, err := s.lines(ctx, key)
	var gone *types.NoSuchKey
	switch {
	case errors.As(err, &gone):
		return nil // redriven just now
	case errors.Is(err, errDamaged):
		return found(redrive.Found{Where: where, Problem: err})
	case err != nil:
		return err
	}
	object := &letterObject{key: key, lines: len(lines), done: make(map[int]bool)}
	if err := s.readMarks(ctx, object); err != nil {
		return err
	}
	for i, line := range lines {
		if object.done[i] {
			continue
		}
		f := redrive.Found{Where: fmt.Sprintf("%s line %d", where, i+1), Place: objectLine{object, i}}
		f.Letter, f.Problem = deliver.ParseDeadLetter(line)
		f.Size = len(f.Letter.Data)
		f.Letter.Data = nil
		if err := found(f); err != nil {
			return err
		}
	}
	return nil
}

var errDamaged = errors.New("the object is damaged")

// lines reads an object's lines, or has them still.
func (s *S3Letters) lines(ctx context.Context, key string) ([][]byte, error) {
	if lines, ok := s.cache.lines[key]; ok {
		return lines, nil
	}
	where := objectScheme + s.bucket + "/" + key
	packed, _, err := s.read(ctx, key, maxUnpacked)
	if err != nil {
		return nil, err
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", where, errDamaged, err)
	}
	var lines [][]byte
	reader := bufio.NewReaderSize(io.LimitReader(unpacked, maxUnpacked+1), 64<<10)
	total := 0
	for {
		line, err := reader.ReadBytes('\n')
		if total += len(line); total > maxUnpacked {
			return nil, fmt.Errorf("%s: %w: it has more than %d MiB", where, errDamaged, maxUnpacked>>20)
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			lines = append(lines, line)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w: %w", where, errDamaged, err)
		}
	}
	if s.cache.lines == nil {
		s.cache.lines = make(map[string][][]byte)
	}
	if len(s.cache.keys) == cachedObjects {
		delete(s.cache.lines, s.cache.keys[0])
		s.cache.keys = s.cache.keys[1:]
	}
	s.cache.keys, s.cache.lines[key] = append(s.cache.keys, key), lines
	return lines, nil
}

func (s *S3Letters) read(ctx context.Context, key string, most int64) (data []byte, etag string, err error) {
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(s.bucket), Key: aws.String(key)})
	if err != nil {
		return nil, "", fmt.Errorf("get %s%s/%s: %w", objectScheme, s.bucket, key, err)
	}
	defer out.Body.Close()
	data, err = io.ReadAll(io.LimitReader(out.Body, most))
	if err != nil {
		return nil, "", fmt.Errorf("get %s%s/%s: %w", objectScheme, s.bucket, key, err)
	}
	return data, aws.ToString(out.ETag), nil
}

func (s *S3Letters) marksKey(o *letterObject) string {
	return s.prefix + marksFolder + strings.TrimPrefix(o.key, s.prefix) + ".json"
}

func (s *S3Letters) readMarks(ctx context.Context, o *letterObject) error {
	data, etag, err := s.read(ctx, s.marksKey(o), maxUnpacked)
	var gone *types.NoSuchKey
	if errors.As(err, &gone) {
		return nil
	}
	if err != nil {
		return err
	}
	var marks objectMarks
	if err := json.Unmarshal(data, &marks); err != nil || marks.Object != o.key {
		return fmt.Errorf("%s%s/%s: it does not say what is redriven of %s: put it away, and what was redriven of that object is redriven again", objectScheme, s.bucket, s.marksKey(o), o.key)
	}
	o.marked = etag
	for _, i := range marks.Lines {
		o.done[i] = true
	}
	return nil
}

// Load implements redrive.Queue.
func (s *S3Letters) Load(ctx context.Context, f *redrive.Found) error {
	place := f.Place.(objectLine)
	lines, err := s.lines(ctx, place.object.key)
	if err != nil {
		return err
	}
	if place.line >= len(lines) {
		return fmt.Errorf("%s: the object is another one now", f.Where)
	}
	letter, err := deliver.ParseDeadLetter(lines[place.line])
	if err != nil {
		return fmt.Errorf("%s: %w", f.Where, err)
	}
	f.Letter.Data, f.Loaded = letter.Data, letter.DataIn == ""
	return nil
}

// Done implements redrive.Queue. An object of which all is redriven is deleted;
// until then a small object beside says which lines are.
func (s *S3Letters) Done(ctx context.Context, _ string, letters []*redrive.Found) error {
	var objects []*letterObject
	for _, f := range letters {
		place := f.Place.(objectLine)
		place.object.done[place.line] = true
		if !slices.Contains(objects, place.object) {
			objects = append(objects, place.object)
		}
	}
	var problems error
	for _, o := range objects {
		problems = errors.Join(problems, s.mark(ctx, o))
	}
	return problems
}

func (s *S3Letters) mark(ctx context.Context, o *letterObject) error {
	if len(o.done) == o.lines {
		for _, key := range []string{o.key, s.marksKey(o)} {
			if key != o.key && o.marked == "" {
				break
			}
			if _, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(s.bucket), Key: aws.String(key)}); err != nil {
				return fmt.Errorf("delete %s%s/%s: %s", objectScheme, s.bucket, key, failed(err).Detail)
			}
		}
		return nil
	}
	marks := objectMarks{Object: o.key}
	for i := range o.done {
		marks.Lines = append(marks.Lines, i)
	}
	slices.Sort(marks.Lines)
	data, err := json.Marshal(marks)
	if err != nil {
		return err
	}
	in := &s3.PutObjectInput{Bucket: aws.String(s.bucket), Key: aws.String(s.marksKey(o)), Body: bytes.NewReader(data), ContentType: aws.String("application/json")}
	if o.marked == "" {
		in.IfNoneMatch = aws.String("*")
	} else {
		in.IfMatch = aws.String(o.marked)
	}
	out, err := s.client.PutObject(ctx, in, onceS3)
	if err != nil {
		var api smithy.APIError
		if errors.As(err, &api) && api.ErrorCode() == "PreconditionFailed" {
			return s.markedBefore(ctx, o)
		}
		return fmt.Errorf("put %s%s/%s: %s", objectScheme, s.bucket, s.marksKey(o), failed(err).Detail)
	}
	o.marked = aws.ToString(out.ETag)
	return nil
}

// markedBefore goes on after marks that are not as they were read: another
// redrive's, or those of a call of ours whose answer was lost.
func (s *S3Letters) markedBefore(ctx context.Context, o *letterObject) error {
	before := len(o.done)
	if err := s.readMarks(ctx, o); err != nil {
		return err
	}
	if len(o.done) == before {
		// They may lack some of ours all the same: the next mark says them all.
		return s.mark(ctx, o)
	}
	return fmt.Errorf("object %s%s/%s: somebody else redrives it at the same time", objectScheme, s.bucket, o.key)
}

// Release implements redrive.Queue.
func (s *S3Letters) Release(context.Context) error {
	s.cache = objectCache{}
	return nil
}
