package esdb

import (
	"encoding/binary"
	"strconv"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec "proto", for everything else
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/emet-node/emet/domain/es"
)

// A replay is one message for each event, so that this message is written by
// hand: half of the server's time went into the general encoder.

// encoded is a message in its written form.
type encoded struct{ mem.Buffer }

// codec passes on what is encoded and leaves the rest to "proto".
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2("proto")} }

// Marshal implements [encoding.CodecV2].
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if e, ok := v.(encoded); ok {
		return mem.BufferSlice{e.Buffer}, nil
	}
	return c.CodecV2.Marshal(v)
}

// Fields of the messages, as the protocol numbers them.
const (
	respEvent        = 1
	readEventEvent   = 1
	readEventCommit  = 3
	recordedID       = 1
	recordedStream   = 2
	recordedRevision = 3
	recordedPrepare  = 4
	recordedCommit   = 5
	recordedSystem   = 6
	recordedMeta     = 7
	recordedData     = 8
	uuidStructured   = 1
	uuidText         = 2
	streamName       = 3
	entryKey         = 1
	entryValue       = 2
)

// writer encodes events; its buffers are used again.
type writer struct {
	event, part []byte
	asText      bool
}

// message encodes the answer that holds one event, which no link led to.
func (w *writer) message(e *es.Event) encoded {
	w.recorded(e)
	at := wirePosition(e.Position)
	inner := protowire.SizeTag(readEventEvent) + protowire.SizeBytes(len(w.event)) + protowire.SizeTag(readEventCommit) + protowire.SizeVarint(at)
	pool := mem.DefaultBufferPool()
	buf := pool.Get(protowire.SizeTag(respEvent) + protowire.SizeBytes(inner))
	b := protowire.AppendTag((*buf)[:0], respEvent, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(inner))
	b = appendBytes(b, readEventEvent, w.event)
	*buf = appendNumber(b, readEventCommit, at)
	return encoded{mem.NewBuffer(buf, pool)}
}

func (w *writer) recorded(e *es.Event) {
	at := wirePosition(e.Position)
	b := w.id(w.event[:0], e.ID)
	w.part = appendString(w.part[:0], streamName, string(e.Stream))
	b = appendBytes(b, recordedStream, w.part)
	if e.Revision > 0 {
		b = appendNumber(b, recordedRevision, uint64(e.Revision))
	}
	b = appendNumber(b, recordedPrepare, at)
	b = appendNumber(b, recordedCommit, at)
	b = w.system(b, keyType, e.Type)
	b = w.system(b, keyContent, contentType(e))
	b = w.system(b, keyCreated, strconv.FormatInt(ticks(e.Recorded), 10))
	if len(e.Meta) > 0 {
		b = appendBytes(b, recordedMeta, e.Meta)
	}
	if len(e.Data) > 0 {
		b = appendBytes(b, recordedData, e.Data)
	}
	w.event = b
}

func (w *writer) id(b []byte, id es.ID) []byte {
	if w.asText {
		w.part = appendString(w.part[:0], uuidText, id.String())
		return appendBytes(b, recordedID, w.part)
	}
	var two [2 * (1 + binary.MaxVarintLen64)]byte
	s := appendNumber(two[:0], 1, binary.BigEndian.Uint64(id[:8]))
	s = appendNumber(s, 2, binary.BigEndian.Uint64(id[8:]))
	w.part = appendBytes(w.part[:0], uuidStructured, s)
	return appendBytes(b, recordedID, w.part)
}

func (w *writer) system(b []byte, key, value string) []byte {
	w.part = appendString(appendString(w.part[:0], entryKey, key), entryValue, value)
	return appendBytes(b, recordedSystem, w.part)
}

func appendBytes(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}

func appendString(b []byte, field protowire.Number, v string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), v)
}

func appendNumber(b []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}
