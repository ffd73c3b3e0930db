package main

import (
	"github.com/shardline/shardline/cmd/shardline/config"
	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/opentravel"
)

// Why a record takes its partition key although the hotel code was asked for.
const (
	noHotelCode       = "no_hotel_code"
	severalHotelCodes = "several_hotel_codes"
)

// describe reads what a destination needs of a message. With key: hotel_code
// a body that is not well-formed XML is an error; otherwise it is delivered
// as the bytes that it is.
func describe(key string) pipeline.Describe {
	return func(partitionKey string, data []byte) (pipeline.Description, error) {
		d := pipeline.Description{Key: partitionKey}
		m, err := opentravel.Scan(data)
		if err != nil {
			if key == config.KeyHotelCode {
				return d, err
			}
			return d, nil
		}
		d.Type, d.ContentType, d.Action, d.SOAP = m.Type, m.ContentType, m.Action, m.SOAP
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
