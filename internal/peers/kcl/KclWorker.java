import java.net.URI;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.client.builder.AwsClientBuilder;
import software.amazon.awssdk.http.Protocol;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.common.InitialPositionInStream;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;
import software.amazon.kinesis.coordinator.CoordinatorConfig;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.metrics.NullMetricsFactory;
import software.amazon.kinesis.processor.SingleStreamTracker;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

/**
 * A worker of the Kinesis Client Library that reads one stream by polling and
 * writes what it does to a file: see {@link Events}. SIGTERM ends it
 * gracefully, and so does the end of its standard input, which a test holds
 * open as long as it lives.
 *
 * <p>Arguments, each name=value: kinesis and dynamodb (URLs), account (the
 * access key id, which names the account on kinesis-mock), region, stream,
 * application, worker, position (TRIM_HORIZON or LATEST), failover
 * (milliseconds), events (a file), and mode, a CLIENT_VERSION_CONFIG_… of KCL
 * 3.x.
 */
public class KclWorker {
    public static void main(String[] args) throws Exception {
        var given = new HashMap<String, String>();
        for (var arg : args) {
            var at = arg.indexOf('=');
            given.put(arg.substring(0, at), arg.substring(at + 1));
        }
        var kinesis = client(KinesisAsyncClient.builder(), "kinesis", given)
                .httpClientBuilder(NettyNioAsyncHttpClient.builder().protocol(Protocol.HTTP1_1)).build();
        var dynamodb = client(DynamoDbAsyncClient.builder(), "dynamodb", given).build();
        var cloudwatch = client(CloudWatchAsyncClient.builder(), "dynamodb", given).build(); // unused: no metrics
        var events = new Events(given.get("events"));

        var position = InitialPositionInStreamExtended.newInitialPosition(
                InitialPositionInStream.valueOf(given.get("position")));
        var stream = given.get("stream");
        var configs = new ConfigsBuilder(new SingleStreamTracker(stream, position), given.get("application"),
                kinesis, dynamodb, cloudwatch, given.get("worker"), () -> new RecordingProcessor(events));
        var leases = configs.leaseManagementConfig()
                .failoverTimeMillis(Long.parseLong(given.get("failover")))
                .shardSyncIntervalMillis(1000)
                .initialPositionInStream(position);
        var coordinator = configs.coordinatorConfig()
                .parentShardPollIntervalMillis(1000)
                .schedulerInitializationBackoffTimeMillis(1000);
        if (given.containsKey("mode")) {
            setMode(coordinator, given.get("mode"));
        }
        var polling = new PollingConfig(stream, kinesis).idleTimeBetweenReadsInMillis(1000);
        var scheduler = new Scheduler(configs.checkpointConfig(), coordinator, leases, configs.lifecycleConfig(),
                configs.metricsConfig().metricsFactory(new NullMetricsFactory()), configs.processorConfig(),
                configs.retrievalConfig().retrievalSpecificConfig(polling));

        var main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            events.write("stopping");
            try {
                scheduler.startGracefulShutdown().get(10, TimeUnit.SECONDS);
            } catch (TimeoutException e) {
                // KCL waits for ever for shards that are at their end; all
                // others have checkpointed by now.
                scheduler.shutdown();
            } catch (Exception e) {
                e.printStackTrace();
            }
            try {
                main.join(Duration.ofSeconds(30).toMillis());
            } catch (InterruptedException e) {
                return;
            }
            events.write(main.isAlive() ? "hangs" : "stopped");
        }));
        var input = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {}
            } catch (java.io.IOException e) {
                e.printStackTrace();
            }
            Runtime.getRuntime().halt(1); // the test has gone
        });
        input.setDaemon(true);
        input.start();
        events.write("starting");
        scheduler.run();
    }

    static <B extends AwsClientBuilder<B, ?>> B client(B builder, String endpoint, Map<String, String> given) {
        return builder.region(Region.of(given.get("region")))
                .endpointOverride(URI.create(given.get(endpoint)))
                .credentialsProvider(StaticCredentialsProvider.create(
                        AwsBasicCredentials.create(given.get("account"), "secret")));
    }

    /** By reflection: KCL 2.x has no such setting. */
    static void setMode(CoordinatorConfig coordinator, String mode) throws ReflectiveOperationException {
        for (var method : CoordinatorConfig.class.getMethods()) {
            if (method.getName().equals("clientVersionConfig") && method.getParameterCount() == 1) {
                for (var value : method.getParameterTypes()[0].getEnumConstants()) {
                    if (value.toString().equals(mode)) {
                        method.invoke(coordinator, value);
                        return;
                    }
                }
            }
        }
        throw new IllegalArgumentException("this KCL has no mode " + mode);
    }
}
