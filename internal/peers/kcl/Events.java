import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Instant;

/**
 * What a worker did, line by line, the fields between tabs: the time, then
 * one of
 *
 * <pre>
 * starting | stopping | stopped | hangs
 * begins      SHARD SEQUENCE          a tenure, from this checkpoint
 * record      SHARD SEQUENCE KEY DATA
 * checkpoint  SHARD SEQUENCE          is in the table
 * end         SHARD                   of the shard, checkpointed
 * lost        SHARD                   the lease
 * refused     SHARD REASON            a checkpoint
 * </pre>
 *
 * A line is written whole, before what follows it happens: it outlives
 * kill -9.
 */
class Events {
    private final FileOutputStream file;

    Events(String path) throws IOException {
        file = new FileOutputStream(path, true);
    }

    synchronized void write(String... fields) {
        var line = Instant.now() + "\t" + String.join("\t", fields) + "\n";
        try {
            file.write(line.getBytes(StandardCharsets.UTF_8));
        } catch (IOException e) {
            e.printStackTrace();
            Runtime.getRuntime().halt(2);
        }
    }
}
