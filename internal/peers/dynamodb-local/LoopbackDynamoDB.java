import com.amazonaws.services.dynamodbv2.local.main.ServerRunner;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;

/**
 * DynamoDB Local on 127.0.0.1, at a port of the kernel's choice, which goes to
 * the file that PEER_PORT_FILE names. Its own main has no option for a host,
 * listens on every interface and sends telemetry.
 */
public class LoopbackDynamoDB {
    public static void main(String[] args) throws Exception {
        var proxy = ServerRunner.createServerFromCommandLineArgs(args);
        var field = proxy.getClass().getDeclaredField("server");
        field.setAccessible(true);
        var connector = (ServerConnector) ((Server) field.get(proxy)).getConnectors()[0];
        connector.setHost("127.0.0.1");
        connector.setPort(0);
        proxy.start();
        var file = Path.of(System.getenv("PEER_PORT_FILE"));
        var part = Path.of(file + ".part");
        Files.writeString(part, Integer.toString(connector.getLocalPort()));
        Files.move(part, file, StandardCopyOption.ATOMIC_MOVE);
        proxy.join();
    }
}
