package main

import (
	"strings"

	"github.com/shardline/shardline/cmd/shardline/config"
	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/jsonpointer"
	"github.com/shardline/shardline/pipeline/opentravel"
)

// Why a record takes its partition key although another one was asked for.
const (
	noHotelCode       = "no_hotel_code"
	severalHotelCodes = "several_hotel_codes"
	noValue           = "no_value"
)

// fallbacks are the reasons that a key may have.
func fallbacks(key string) []string {
	switch {
	case key == config.KeyHotelCode:
		return []string{noHotelCode, severalHotelCodes}
	case strings.HasPrefix(key, config.KeyJSON):
		return []string{noValue}
	}
	return nil
}

// describe reads what a destination needs of a message. With key: hotel_code
// a body that is not well-formed XML is an error, and with a JSON pointer one
// that is no JSON; otherwise it is delivered as the bytes that it is.
func describe(key string) pipeline.Describe {
	if pointer, isJSON := strings.CutPrefix(key, config.KeyJSON); isJSON {
		return describeJSON(pointer)
	}
	return func(partitionKey string, data []byte) (pipeline.Description, error) {
		d := pipeline.Description{Key: partitionKey}
		m, err := opentravel.Scan(data)
		if err != nil {
			if key == config.KeyHotelCode {
				return d, err
			}
			return d, nil
		}
		d.Type, d.Hotels, d.ContentType, d.Action, d.SOAP = m.Type, m.HotelCodes, m.ContentType, m.Action, m.SOAP
		if key == config.KeyHotelCode {
			switch len(m.HotelCodes) {
			case 0:
				d.Fallback = noHotelCode
			case 1:
				d.Key = m.HotelCodes[0]
			default:
				d.Fallback = severalHotelCodes
			}
		}
		return d, nil
	}
}

// describeJSON reads the key of a JSON body at a pointer, which the
// configuration has checked.
func describeJSON(text string) pipeline.Describe {
	pointer, bad := jsonpointer.Parse(text)
	return func(partitionKey string, data []byte) (pipeline.Description, error) {
		d := pipeline.Description{Key: partitionKey, ContentType: "application/json"}
		if bad != nil {
			return d, bad
		}
		value, err := pointer.Find(data)
		if err != nil {
			return d, err
		}
		if d.Key = value; value == "" {
			d.Key, d.Fallback = partitionKey, noValue
		}
		return d, nil
	}
}

// deduplication is what a source's records are told apart by; nil: nothing.
func deduplication(c *config.Deduplicate) *pipeline.Deduplication {
	if c == nil {
		return nil
	}
	d := &pipeline.Deduplication{Window: c.Window}
	switch text, isJSON := strings.CutPrefix(c.By, config.KeyJSON); {
	case isJSON:
		pointer, bad := jsonpointer.Parse(text)
		d.ID = func(data []byte) []byte {
			if bad != nil {
				return nil
			}
			value, err := pointer.Find(data)
			if err != nil {
				return nil
			}
			return []byte(value)
		}
	case c.By == config.ByMessageID:
		d.ID = messageID
	default:
		d.ID = func(data []byte) []byte { return data }
	}
	return d
}

// messageID is the id of an OpenTravel message among those of its type.
func messageID(data []byte) []byte {
	m, err := opentravel.Scan(data)
	if err != nil || m.ID == "" {
		return nil
	}
	return []byte(m.Type + " " + m.ID)
}
