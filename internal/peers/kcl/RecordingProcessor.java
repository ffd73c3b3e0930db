import java.nio.charset.StandardCharsets;
import software.amazon.kinesis.exceptions.ShutdownException;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ProcessRecordsInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.processor.RecordProcessorCheckpointer;
import software.amazon.kinesis.processor.ShardRecordProcessor;

/** Writes every record of a shard to the events, and checkpoints after each batch. */
class RecordingProcessor implements ShardRecordProcessor {
    private final Events events;
    private String shard;
    private String last = "";

    RecordingProcessor(Events events) {
        this.events = events;
    }

    @Override
    public void initialize(InitializationInput input) {
        shard = input.shardId();
        last = input.extendedSequenceNumber().sequenceNumber();
        events.write("begins", shard, last);
    }

    @Override
    public void processRecords(ProcessRecordsInput input) {
        for (var record : input.records()) {
            var data = StandardCharsets.UTF_8.decode(record.data()).toString();
            last = record.sequenceNumber();
            events.write("record", shard, last, record.partitionKey(), data);
        }
        if (!input.records().isEmpty()) {
            checkpoint(input.checkpointer());
        }
    }

    private void checkpoint(RecordProcessorCheckpointer checkpointer) {
        try {
            checkpointer.checkpoint();
            events.write("checkpoint", shard, last);
        } catch (ShutdownException e) {
            events.write("refused", shard, "the lease is lost");
        } catch (Exception e) {
            events.write("refused", shard, e.toString().replaceAll("\\s", " "));
        }
    }

    @Override
    public void leaseLost(LeaseLostInput input) {
        events.write("lost", shard);
    }

    @Override
    public void shardEnded(ShardEndedInput input) {
        // An exception makes the library try again: the shard must not end
        // without it.
        try {
            input.checkpointer().checkpoint();
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
        events.write("end", shard);
    }

    @Override
    public void shutdownRequested(ShutdownRequestedInput input) {
        checkpoint(input.checkpointer());
    }
}
