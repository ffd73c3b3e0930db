import java.nio.file.Files;
import java.nio.file.Path;
import org.elasticmq.rest.sqs.SQSRestServerBuilder;

/** ElasticMQ on the loopback interface alone, at a port of the kernel's choice. */
public class LoopbackElasticMQ {
    public static void main(String[] args) throws Exception {
        var server = SQSRestServerBuilder.withInterface("127.0.0.1").withPort(0).start();
        int port = server.waitUntilStarted().localAddress().getPort();
        Path part = Path.of(System.getenv("PEER_PORT_FILE") + ".part");
        Files.writeString(part, Integer.toString(port));
        Files.move(part, Path.of(System.getenv("PEER_PORT_FILE")));
        Thread.currentThread().join();
    }
}
