package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxLine is the longest line: the largest record of a stream, 10 MiB, in
// base64 and its envelope.
const maxLine = 16 << 20

// eachLine calls do with every line of a file, or of standard input for -,
// also compressed with gzip, that is not empty, and with its number. A line
// that is too long comes as nil. It ends with the first error.
func eachLine(env environment, file string, do func(number int, line []byte) error) error {
	input := env.stdin
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return err
		}
		defer opened.Close()
		input = opened
	}
	reader := bufio.NewReaderSize(input, 1<<20)
	if magic, _ := reader.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		unzipped, err := gzip.NewReader(reader)
		if err != nil {
			return fmt.Errorf("read %s: %w", file, err)
		}
		reader = bufio.NewReaderSize(unzipped, 1<<20)
	}
	var long []byte // the beginning of a line that the buffer is too small for
	for number := 1; ; number++ {
		line, err := reader.ReadSlice('\n')
		long = long[:0]
		tooLong := false
		for errors.Is(err, bufio.ErrBufferFull) {
			if tooLong = tooLong || len(long)+len(line) > maxLine; !tooLong {
				long = append(long, line...)
			}
			line, err = reader.ReadSlice('\n')
		}
		if len(long) > 0 {
			tooLong = tooLong || len(long)+len(line) > maxLine
			long = append(long, line...)
			line = long
		}
		last := err == io.EOF
		if err != nil && !last {
			return fmt.Errorf("read %s, line %d: %w", file, number, err)
		}
		if line = bytes.TrimSpace(line); tooLong {
			line = nil
		}
		if len(line) > 0 || tooLong {
			if err := do(number, line); err != nil {
				return err
			}
		}
		if last {
			return nil
		}
	}
}
