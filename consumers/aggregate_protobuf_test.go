package consumers_test

import (
	"bytes"
	"crypto/md5"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/consumers"
)

// aggregatedRecord is the producer library's message, described to the protobuf
// library.
func aggregatedRecord(t *testing.T) (aggregated, record protoreflect.MessageDescriptor) {
	t.Helper()
	field := func(name string, number int32, label descriptorpb.FieldDescriptorProto_Label, kind descriptorpb.FieldDescriptorProto_Type, message string) *descriptorpb.FieldDescriptorProto {
		f := &descriptorpb.FieldDescriptorProto{Name: &name, Number: &number, Label: &label, Type: &kind}
		if message != "" {
			f.TypeName = &message
		}
		return f
	}
	const (
		required, optional, repeated = descriptorpb.FieldDescriptorProto_LABEL_REQUIRED, descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL, descriptorpb.FieldDescriptorProto_LABEL_REPEATED
		text, number, data, message  = descriptorpb.FieldDescriptorProto_TYPE_STRING, descriptorpb.FieldDescriptorProto_TYPE_UINT64, descriptorpb.FieldDescriptorProto_TYPE_BYTES, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
	)
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("messages.proto"), Syntax: proto.String("proto2"),
		MessageType: []*descriptorpb.DescriptorProto{
			{Name: proto.String("AggregatedRecord"), Field: []*descriptorpb.FieldDescriptorProto{
				field("partition_key_table", 1, repeated, text, ""), field("explicit_hash_key_table", 2, repeated, text, ""), field("records", 3, repeated, message, ".Record")}},
			{Name: proto.String("Tag"), Field: []*descriptorpb.FieldDescriptorProto{
				field("key", 1, required, text, ""), field("value", 2, optional, text, "")}},
			{Name: proto.String("Record"), Field: []*descriptorpb.FieldDescriptorProto{
				field("partition_key_index", 1, required, number, ""), field("explicit_hash_key_index", 2, optional, number, ""),
				field("data", 3, required, data, ""), field("tags", 4, repeated, message, ".Tag")}},
		},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return file.Messages().ByName("AggregatedRecord"), file.Messages().ByName("Record")
}

// TestAggregateOfTheProtobufLibrary holds encoder and decoder against what the
// protobuf library reads and writes by the message's own description.
func TestAggregateOfTheProtobufLibrary(t *testing.T) {
	users := []consumers.UserRecord{
		{PartitionKey: "h-1", ExplicitHashKey: "7", Data: []byte("one")},
		{PartitionKey: "Hôtel", Data: bytes.Repeat([]byte{0}, 300)},
		{PartitionKey: "h-1", ExplicitHashKey: "340282366920938463463374607431768211455", Data: []byte{}},
	}
	aggregated, record := aggregatedRecord(t)
	m := dynamicpb.NewMessage(aggregated)
	written := consumers.Aggregate(users)
	if err := proto.Unmarshal(written[4:len(written)-16], m); err != nil {
		t.Fatalf("the library cannot read it: %v", err)
	}
	table := func(m protoreflect.Message, name protoreflect.Name) protoreflect.List {
		return m.Get(aggregated.Fields().ByName(name)).List()
	}
	keys, hashKeys, records := table(m, "partition_key_table"), table(m, "explicit_hash_key_table"), table(m, "records")
	var read []consumers.UserRecord
	for i := range records.Len() {
		r := records.Get(i).Message()
		u := consumers.UserRecord{PartitionKey: keys.Get(int(r.Get(record.Fields().ByNumber(1)).Uint())).String(), Data: r.Get(record.Fields().ByNumber(3)).Bytes()}
		if f := record.Fields().ByNumber(2); r.Has(f) {
			u.ExplicitHashKey = hashKeys.Get(int(r.Get(f).Uint())).String()
		}
		read = append(read, u)
		// As the library's producer may, with tags.
		tags := r.Mutable(record.Fields().ByNumber(4)).List()
		tag := tags.AppendMutable().Message()
		tag.Set(tag.Descriptor().Fields().ByNumber(1), protoreflect.ValueOfString("colour"))
		tag.Set(tag.Descriptor().Fields().ByNumber(2), protoreflect.ValueOfString("blue"))
	}
	same := func(a, b consumers.UserRecord) bool {
		return a.PartitionKey == b.PartitionKey && a.ExplicitHashKey == b.ExplicitHashKey && bytes.Equal(a.Data, b.Data)
	}
	if !slices.EqualFunc(read, users, same) {
		t.Errorf("the library reads %q, want %q", read, users)
	}
	body, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	digest := md5.Sum(body)
	got, _, err := consumers.Deaggregate(slices.Concat([]byte{0xf3, 0x89, 0x9a, 0xc2}, body, digest[:]), checkpoint.Shard{})
	if err != nil || !slices.EqualFunc(got, users, same) {
		t.Errorf("of the library's, with tags: %q, %v, want %q", got, err, users)
	}
}
