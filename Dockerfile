# A static binary in an empty image: CA certificates, time zones, one account,
# one directory that it may write to. Build with
#   docker build --build-arg VERSION=$(git describe --tags --always) -t shardline .
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/shardline ./cmd/shardline
# Certificates come from the base image, time zones from the Go tree.
RUN mkdir -p /root-fs/etc/ssl/certs /root-fs/usr/local/go/lib/time /root-fs/var/lib/shardline \
    && cp /etc/ssl/certs/ca-certificates.crt /root-fs/etc/ssl/certs/ \
    && cp "$(go env GOROOT)/lib/time/zoneinfo.zip" /root-fs/usr/local/go/lib/time/zoneinfo.zip \
    && echo 'shardline:x:65532:65532:shardline:/var/lib/shardline:/sbin/nologin' > /root-fs/etc/passwd \
    && echo 'shardline:x:65532:' > /root-fs/etc/group

FROM scratch
COPY --from=build /root-fs/etc /etc
COPY --from=build /root-fs/usr /usr
COPY --from=build --chown=65532:65532 /root-fs/var/lib/shardline /var/lib/shardline
COPY --from=build /out/shardline /usr/local/bin/shardline
ENV ZONEINFO=/usr/local/go/lib/time/zoneinfo.zip
# Dead letters of type file belong here: mount a volume that outlives the task.
VOLUME /var/lib/shardline
WORKDIR /var/lib/shardline
USER 65532:65532
# The drain takes up to pipeline.drain_timeout (20s); give `docker stop` and
# ECS' stopTimeout more than that.
STOPSIGNAL SIGTERM
# The image has no shell: the program asks itself.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=4 \
    CMD ["/usr/local/bin/shardline", "health"]
ENTRYPOINT ["/usr/local/bin/shardline"]
# The configuration is the text in SHARDLINE_CONFIG, or a mounted file:
#   docker run … shardline run --config /etc/shardline/shardline.yaml
CMD ["run"]
