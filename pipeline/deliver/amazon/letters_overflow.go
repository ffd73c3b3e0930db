package amazon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/shardline/shardline/pipeline/deliver"
	"github.com/shardline/shardline/pipeline/redrive"
)

// Objects are the calls for objects; *s3.Client has them.
type Objects interface {
	PutObject
	GetObject(ctx context.Context, in *s3.GetObjectInput, options ...func(*s3.Options)) (*s3.GetObjectOutput, error)
	DeleteObject(ctx context.Context, in *s3.DeleteObjectInput, options ...func(*s3.Options)) (*s3.DeleteObjectOutput, error)
	ListObjectsV2(ctx context.Context, in *s3.ListObjectsV2Input, options ...func(*s3.Options)) (*s3.ListObjectsV2Output, error)
}

// Overflow keeps the data of letters that their queue does not take: an object
// each.
type Overflow struct {
	Client Objects
	Bucket string
	Prefix string // of the objects' keys, as it is
}

const objectScheme = "s3://"

// put writes a letter's data, and says where it is. Written again, for the same
// letter, it is the same object.
func (o *Overflow) put(ctx context.Context, l *deliver.DeadLetter) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, letterTimeout)
	defer cancel()
	key := o.Prefix + letterFolder(l) + l.ID() + ".body"
	_, err := o.Client.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(o.Bucket), Key: aws.String(key), Body: bytes.NewReader(l.Data),
		ContentType: contentTypeOf(l)}, onceS3)
	if err != nil {
		return "", fmt.Errorf("put its data to %s%s/%s: %s", objectScheme, o.Bucket, key, failed(err).Detail)
	}
	return objectScheme + o.Bucket + "/" + key, nil
}

func contentTypeOf(l *deliver.DeadLetter) *string {
	if l.ContentType == "" {
		return nil
	}
	return aws.String(l.ContentType)
}

// get reads a letter's data.
func (o *Overflow) get(ctx context.Context, l *deliver.DeadLetter) ([]byte, error) {
	bucket, key, err := o.place(l)
	if err != nil {
		return nil, err
	}
	out, err := o.Client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String(key)})
	if err != nil {
		return nil, fmt.Errorf("get its data from %s: %s", l.DataIn, failed(err).Detail)
	}
	defer out.Body.Close()
	data, err := io.ReadAll(io.LimitReader(out.Body, maxLetterBytes+1))
	if err == nil && len(data) > maxLetterBytes {
		err = errors.New("it is larger than any record")
	}
	if err != nil {
		return nil, fmt.Errorf("get its data from %s: %w", l.DataIn, err)
	}
	return data, nil
}

// remove deletes a letter's data, when it has some here.
func (o *Overflow) remove(ctx context.Context, l *deliver.DeadLetter) error {
	if !strings.HasPrefix(l.DataIn, objectScheme) {
		return nil
	}
	bucket, key, err := o.place(l)
	if err != nil {
		return err
	}
	if _, err := o.Client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(bucket), Key: aws.String(key)}); err != nil {
		return fmt.Errorf("delete %s: %s", l.DataIn, failed(err).Detail)
	}
	return nil
}

// place is where a letter says that its data is. Letters are from outside: only
// the bucket that the configuration names is touched.
func (o *Overflow) place(l *deliver.DeadLetter) (bucket, key string, err error) {
	bucket, key, ok := strings.Cut(strings.TrimPrefix(l.DataIn, objectScheme), "/")
	switch {
	case o == nil:
		return "", "", fmt.Errorf("its data is in %s: configure the queue's s3: {bucket: …} to read it", l.DataIn)
	case !ok || bucket != o.Bucket || !strings.HasPrefix(key, o.Prefix):
		return "", "", fmt.Errorf("its data is in %s, which is not below %s%s/%s of the configuration", l.DataIn, objectScheme, o.Bucket, o.Prefix)
	}
	return bucket, key, nil
}

func onceS3(o *s3.Options) { o.Retryer = aws.NopRetryer{} }

// load fills in a letter's data when it is here.
func (o *Overflow) load(ctx context.Context, f *redrive.Found) error {
	if !strings.HasPrefix(f.Letter.DataIn, objectScheme) {
		return nil
	}
	data, err := o.get(ctx, &f.Letter)
	if err != nil {
		return err
	}
	f.Letter.Data, f.Loaded = data, true
	return nil
}
